package Test::Nginx::Live;

# A server with one application, and small media of which every byte is known:
# for tests of what players receive.

use warnings;
use strict;

use base qw/ Exporter /;
our @EXPORT = qw/ live_run publisher player video_header audio_header key_frame
	inter_frame audio_frame /;

use Test::Nginx;
use Test::Nginx::Process;
use Test::Nginx::RTMP;

# Starts nginx with one worker and the application "live"; the options are more
# lines for the server and the application block.
sub live_run {
	my ($t, %options) = @_;
	my ($server, $app, $rtmp) = @options{qw/ server app rtmp /};
	$_ //= '' for $server, $app, $rtmp;

	$t->write_file_expand('nginx.conf', <<"EOC");

%%TEST_GLOBALS%%

daemon off;
worker_processes 1;
worker_shutdown_timeout 1s;

events {
}

rtmp {
    rtmp_auto_pull_port unix:%%TESTDIR%%/inner;
    ${\patient()}

    server {
        listen 127.0.0.1:%%PORT_1935%%;
        $server

        application live {
            live on;
            $app
        }
    }

    $rtmp
}

EOC
	$t->run();
}

# A client that has published, or asked to; options as for rtmp_connect().
sub publisher {
	my ($name, %options) = @_;
	my $client = rtmp_connect(port(1935), 'live', %options);
	$client->publish($name);
	return $client;
}

sub player {
	my ($name, %options) = @_;
	my $client = rtmp_connect(port(1935), 'live', %options);
	$client->play($name);
	return $client;
}

sub video_header { "\x17\x00\x00\x00\x00" . 'avcC' . ($_[0] // '') }
sub audio_header { "\xaf\x00" . 'asc' . ($_[0] // '') }
sub key_frame { "\x17\x01\x00\x00\x00" . pack('N', $_[0]) . 'k' x 200 }
sub inter_frame { "\x27\x01\x00\x00\x00" . pack('N', $_[0]) . 'i' x 100 }
sub audio_frame { "\xaf\x01" . pack('N', $_[0]) . 'a' x 50 }

1;
