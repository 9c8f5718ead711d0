#!/usr/bin/perl

# A pull works when media comes: an origin that is up but has no stream, or loses it, is left for
# the next url.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Live qw/ video_header key_frame /;
use Test::Nginx::Process;
use Test::Nginx::Relay;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->plan(17);

relay_run($t, near => <<'EOC', http => <<'EOH', far => <<'EOF');
        }

        application rtmp {
            live on;
            cache_time 1s;
            relay_timeout 2s;
            relay_idle_timeout 2s;
            pull rtmp://127.0.0.1:%%PORT_1936%%/main rtmp://127.0.0.1:%%PORT_1936%%/spare;
        }

        application http {
            live on;
            cache_time 1s;
            relay_timeout 2s;
            relay_idle_timeout 2s;
            pull http://127.0.0.1:%%PORT_8083%%/main http://127.0.0.1:%%PORT_8083%%/spare;
        }

        application default {
            live on;
            cache_time 1s;
            pull rtmp://127.0.0.1:%%PORT_1936%%/main rtmp://127.0.0.1:%%PORT_1936%%/spare;
        }

        application alone {
            live on;
            cache_time 1s;
            relay_timeout 500ms;
            relay_reconnect 100ms;
            pull rtmp://127.0.0.1:%%PORT_8081%%;
EOC
    server {
        listen 127.0.0.1:%%PORT_8083%%;
        location / {
            flv_live %%PORT_1936%%;
        }
    }
EOH
        }

        application main {
            live on;
            cache_time 1s;
        }

        application spare {
            live on;
            cache_time 1s;
EOF

###############################################################################

# main has no stream: with the defaults, within ten seconds

my $default = near('default');
my $spare = publisher('spare', 'default', 1);
$default->play('default');

for my $way (qw/ rtmp http /) {
	# main is up, and has no stream
	my $name = "$way-s";
	my $p = publisher('spare', $name, 10);
	my $v = near($way);
	is($v->play($name), 'NetStream.Play.Start', "$way: a player");
	ok(plays($v, 10), "$way: gets the spare's");
	$v->close();
	$p->close();

	# main has it, and loses it while the publisher of the spare goes on
	$p = publisher('main', "$name-2", 20);
	my $q = publisher('spare', "$name-2", 30);
	$v = near($way);
	$v->play("$name-2");
	ok(plays($v, 20), "$way: main is first");
	$p->close();
	ok(plays($v, 30), "$way: its publisher leaves: the spare");

	# the spare's publisher is silent: back to main
	$p = publisher('main', "$name-2", 40);
	ok(plays($v, 40), "$way: the spare's publisher is silent: main");
	ok(!$v->{eof}, "$way: the player has not left");
	$_->close() for $v, $p, $q;
}

ok(plays($default, 1, 20), 'the defaults: the spare\'s');

# with one url nothing is gained by asking again: the pull stays

my $server = rtmp_server(port(8081));
my $v = near('alone');
$v->play('s');
my $origin = rtmp_accept($server);
$server->timeout(3);
ok(!$server->accept(), 'one url: asked once, however long there is nothing');
$origin->send_video(0, $_) for video_header(), key_frame(50);
ok(plays($v, 50), 'one url: played when there is something');

# unless there is somebody else to ask for

$v->close();
$v = near('alone');
$v->play('t?a=1');
$origin = rtmp_accept($server);
my $w = near('alone');
$w->play('t?a=2');
my $other = rtmp_accept($server);
is($other->{name}, 't?a=2', 'one url: another player has its turn');
$other->send_video(0, $_) for video_header(), key_frame(60);
ok(plays($v, 60), 'one url: and both play');

###############################################################################

# A publisher of the far server that has sent one key frame.
sub publisher {
	my ($app, $name, $n) = @_;
	my $p = far($app);
	$p->publish($name);
	$p->send_video(0, $_) for video_header(), key_frame($n);
	return $p;
}

# Whether the player gets this key frame.
sub plays {
	my ($player, $n, $timeout) = @_;
	return $player->read_until(sub { $_[0]{payload} eq key_frame($n) },
		$timeout // 15 * ($ENV{TEST_NGINX_SLOW} || 1));
}

###############################################################################
