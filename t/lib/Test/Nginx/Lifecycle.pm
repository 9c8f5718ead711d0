package Test::Nginx::Lifecycle;

# A server with a client in every state that there is: for t/lifecycle_*.t.

use warnings;
use strict;

use base qw/ Exporter /;
our @EXPORT = qw/ lifecycle_run lifecycle_states enter_state sources balance /;

use JSON::PP ();

use Test::Nginx;
use Test::Nginx::FLV;
use Test::Nginx::FlvLive qw/ websocket /;
use Test::Nginx::Live;
use Test::Nginx::OCLP;
use Test::Nginx::Process;
use Test::Nginx::Relay qw/ tcp_server /;
use Test::Nginx::RTMP;

# the publishers of the streams that are there, and a server that never says anything
my ($oclp, $source, $far, $mute);
my $names = 0;

# Starts nginx with one worker; the option shutdown is its worker_shutdown_timeout.
# Publishing, playing and streams of the application "live" are told to a callback
# server, which never answers what is asked for "wait".
sub lifecycle_run {
	my ($t, %options) = @_;
	my $shutdown = $options{shutdown} // '1s';

	$oclp = oclp_server($t, port(8081));
	$oclp->answer('/wait *', hang => 1);
	$mute = tcp_server(port(8083));

	$t->write_file_expand('nginx.conf', <<"EOC");

%%TEST_GLOBALS%%

daemon off;
worker_processes 1;
worker_shutdown_timeout $shutdown;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%
    access_log off;

    server {
        listen 127.0.0.1:8080;
        server_name localhost;
        location / {
            flv_live %%PORT_1935%%;
        }
    }
}

rtmp {
    rtmp_auto_pull_port unix:%%TESTDIR%%/inner;
    ${\patient()}
    live on;

    server {
        listen 127.0.0.1:%%PORT_1935%%;

        application live {
            cache_time 1s;
            oclp_publish http://127.0.0.1:8081/told stage=done;
            oclp_play http://127.0.0.1:8081/told stage=done;
            oclp_stream http://127.0.0.1:8081/told stage=done;
        }
        application wait {
            oclp_publish http://127.0.0.1:8081/wait timeout=1s;
            oclp_play http://127.0.0.1:8081/wait timeout=1s;
        }
        application denied { deny all; }
        application mute { pull rtmp://127.0.0.1:8083/live; push rtmp://127.0.0.1:8083/live; }
        application down { pull rtmp://127.0.0.1:8084/live; push rtmp://127.0.0.1:8084/live; }
        application near {
            pull rtmp://127.0.0.1:%%PORT_1936%%/far/source;
            push rtmp://127.0.0.1:%%PORT_1936%%/far;
        }
        application http { pull http://127.0.0.1:8080/live/source; }
    }

    server {
        listen 127.0.0.1:%%PORT_1936%%;
        application far { cache_time 1s; }
    }
}

EOC
	$t->run();
	sources();
}

# Publishes what the players play; again after a reload.
sub sources {
	$_ && $_->close() for $source, $far;
	$source = published('live', 1935);
	$far = published('far', 1936);
}

sub published {
	my ($app, $port) = @_;
	my $client;
	# the one before may not have left yet
	wait_for {
		$client = rtmp_connect(port($port), $app);
		$client->publish('source') eq 'NetStream.Publish.Start';
	};
	$client->send_video(0, key_frame(0));
	return $client;
}

# How many starts were told without an end, once it is none or time is up. The source's own
# publish and stream go on.
sub balance {
	my $open;
	wait_for {
		$open = -2;
		for my $call (qw/ publish play stream /) {
			$open += () = $oclp->requests("/told $call start");
			$open -= () = $oclp->requests("/told $call done");
		}
		$open == 0;
	};
	return $open;
}

sub client { rtmp_connect(port(1935), $_[0], @_[1 .. $#_]) }

sub asked {
	my ($app, $command, $name) = @_;
	my $client = client($app);
	$client->create_stream() // return $client;
	$client->send_command($client->{stream}, $command, 9, undef, $name);
	return $client;
}

# the name of a new stream
sub name { 'n' . ++$names }

# By name: what a client does to get there.
my %STATES = (
	'accepted' => sub { rtmp_open(port(1935)) },
	'in the handshake' => sub {
		my $client = rtmp_open(port(1935));
		$client->send_raw("\x03" . 'x' x 700);
		return $client;
	},
	'behind the handshake' => sub {
		my $client = rtmp_open(port(1935));
		$client->handshake();
		return $client;
	},
	'connected' => sub { client('live') },
	'publish is decided about' => sub { asked('wait', 'publish', name()) },
	'play is decided about' => sub { asked('wait', 'play', name()) },
	'publishing' => sub {
		my $client = client('live');
		$client->publish(name());
		$client->send_video(0, key_frame(0));
		return $client;
	},
	'in the middle of a message' => sub {
		my $client = client('live');
		$client->publish(name());
		my $bytes = $client->message(RTMP_VIDEO, 0, 1, key_frame(0));
		$client->send_raw(substr($bytes, 0, 100));
		return $client;
	},
	'waiting for a source' => sub {
		my $client = client('live');
		$client->play(name());
		return $client;
	},
	'playing' => sub {
		my $client = client('live');
		$client->play('source');
		$client->read_video();
		return $client;
	},
	'paused' => sub {
		my $client = client('live');
		$client->play('source');
		$client->send_command(1, 'pause', 5, undef, JSON::PP::true(), 0);
		$client->read_status();
		return $client;
	},
	'not reading' => sub {
		my ($name, $client) = (name(), client('live', rcvbuf => 2048));
		my $publisher = client('live');
		$publisher->publish($name);
		$client->play($name);
		$publisher->send_video(40 * $_, key_frame($_) . 'x' x 60000) for 1 .. 80;
		$client->{with} = $publisher;
		return $client;
	},
	'refused' => sub {
		my $client = client('denied');
		$client->publish(name());
		return $client;
	},
	(map {
		my $app = $_;
		("pull, $app" => sub {
			my $client = client($app);
			$client->play(name());
			return $client;
		}, $app eq 'http' ? () : ("push, $app" => sub {
			my $client = client($app);
			$client->publish(name());
			$client->send_video(0, key_frame(0));
			return $client;
		}))
	} qw/ mute down near http /),
	'HTTP-FLV is decided about' => sub {
		http_flv(port(8080), '/wait/' . name(), wait => 0);
	},
	'HTTP-FLV waits' => sub { http_flv(port(8080), '/live/' . name(), wait => 0) },
	'HTTP-FLV plays' => sub { http_flv(port(8080), '/live/source') },
	'WebSocket plays' => sub { websocket(port(8080), '/live/source') },
);

sub lifecycle_states { sort keys %STATES }

# A client in this state.
sub enter_state {
	my ($state) = @_;
	return $STATES{$state}->();
}

1;
