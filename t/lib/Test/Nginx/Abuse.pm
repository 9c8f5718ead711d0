package Test::Nginx::Abuse;

# A server to be abused, with a publisher and a player on it that must not
# notice: for t/abuse_*.t.

use warnings;
use strict;

use base qw/ Exporter /;
our @EXPORT = qw/ abuse_run refused bystanders_unharmed grown_kb
	key_frame inter_frame video_header /;

use Test::Nginx;
use Test::Nginx::Process;
use Test::Nginx::RTMP;

my (%bystander, %rss, $frame);

# Starts nginx with one worker; the options are more lines for the server and
# the application block.  A stream runs on it from then on.
sub abuse_run {
	my ($t, %options) = @_;
	my ($server, $app) = @options{qw/ server app /};
	$_ //= '' for $server, $app;

	$t->write_file_expand('nginx.conf', <<"EOC");

%%TEST_GLOBALS%%

daemon off;
worker_processes 1;
worker_shutdown_timeout 1s;

events {
}

rtmp {
    rtmp_auto_pull_port unix:%%TESTDIR%%/inner;

    server {
        listen 127.0.0.1:%%PORT_1935%%;
        $server

        application live {
            live on;
            $app
        }
    }
}

EOC
	$t->run();

	my $publisher = rtmp_connect(port(1935), 'live');
	$publisher->publish('bystander');
	my $player = rtmp_connect(port(1935), 'live');
	$player->play('bystander');
	$publisher->send_video(0, video_header());
	$publisher->send_video(0, key_frame(0));
	$player->read_until(sub { $_[0]{payload} eq key_frame(0) });
	%bystander = (publisher => $publisher, player => $player);
	$frame = 0;
	my ($worker) = worker_pids($t);
	%rss = (pid => $worker, kb => rss_kb($worker));
}

# True if the next frame of the bystanding stream arrives.
sub bystanders_unharmed {
	$frame++;
	$bystander{publisher}->send_video($frame * 40, key_frame($frame));
	return $bystander{player}->read_until(sub {
		$_[0]{payload} eq key_frame($frame)
	}, 5);
}

# How much larger the worker is than before the abuse, in KiB.
sub grown_kb { rss_kb($rss{pid}) - $rss{kb} }

# True if the server has ended the session.
sub refused { $_[0]->closed($_[1] // 5) }

sub video_header { "\x17\x00\x00\x00\x00" . 'header' }
sub key_frame { "\x17\x01\x00\x00\x00" . pack('N', $_[0]) . 'k' x 200 }
sub inter_frame { "\x27\x01\x00\x00\x00" . pack('N', $_[0]) . 'i' x 100 }

1;
