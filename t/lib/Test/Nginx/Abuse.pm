package Test::Nginx::Abuse;

# A server to be abused, with a publisher and a player on it that must not
# notice: for t/abuse_*.t.

use warnings;
use strict;

use Test::Nginx::Live;

use base qw/ Exporter /;
our @EXPORT = (qw/ abuse_run refused bystanders_unharmed another_frame frame_is_there grown_kb /,
	@Test::Nginx::Live::EXPORT);

use Test::Nginx;
use Test::Nginx::Process;
use Test::Nginx::RTMP;

my (%bystander, %rss, $frame);

# Starts nginx with one worker; the options are more lines for the server and
# the application block.  A stream runs on it from then on.
sub abuse_run {
	my ($t, %options) = @_;
	live_run($t, %options);

	my $publisher = publisher('bystander');
	my $player = player('bystander');
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
	my $frame = another_frame();
	return $bystander{player}->read_until(sub { $_[0]{payload} eq key_frame($frame) }, 5);
}

# Sends the next frame of the bystanding stream; its number.
sub another_frame {
	$frame++;
	$bystander{publisher}->send_video($frame * 40, key_frame($frame));
	return $frame;
}

# True if that frame has arrived by now.
sub frame_is_there {
	my ($frame) = @_;
	while (my $message = $bystander{player}->read_message(0)) {
		return 1 if $message->{payload} eq key_frame($frame);
	}
	return 0;
}

# How much larger the worker is than before the abuse, in KiB.
sub grown_kb { rss_kb($rss{pid}) - $rss{kb} }

# True if the server has ended the session.
sub refused { $_[0]->closed($_[1] // 5) }

1;
