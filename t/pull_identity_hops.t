#!/usr/bin/perl

# Relays that a player says to have come through count for that player alone.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::FLV;
use Test::Nginx::Live qw/ video_header key_frame /;
use Test::Nginx::Process;
use Test::Nginx::Relay;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $mark = '0123456789abcdef';
# what a player says of itself, and whether a pull may be made for it
my @cases = (
	['eight relays', { ngxRtmpHops => 8 }, 0],
	['seven', { ngxRtmpHops => 7 }, 1],
	['eight marks', { ngxRtmpVia => join ',', ($mark) x 8 }, 0],
	['seven marks', { ngxRtmpVia => join ',', ($mark) x 7 }, 1],
	['marks with a line feed', { ngxRtmpVia => "$mark\r\nX: y" }, 0],
	['a page and a version', { pageUrl => "a\nb", flashVer => 'x' x 60000, swfUrl => "\0" }, 1],
);

my $t = Test::Nginx->new()->plan(2 * 3 * @cases + 4);

relay_run($t, near => <<'EOC', far => 'idle_streams off;', http => <<'EOH');
        }

        application rtmp {
            live on;
            cache_time 1s;
            pull rtmp://127.0.0.1:%%PORT_1936%%/live;
        }

        application http {
            live on;
            cache_time 1s;
            pull http://127.0.0.1:%%PORT_8083%%/live;
        }

        application scripted {
            live on;
            cache_time 1s;
            pull rtmp://127.0.0.1:%%PORT_8081%%;
EOC
    server {
        listen 127.0.0.1:%%PORT_8083%%;
        location / {
            flv_live %%PORT_1936%%;
        }
    }
EOH

###############################################################################

my $n = 0;
for my $way (qw/ rtmp http /) {
	for (@cases) {
		my ($what, $connect, $may) = @$_;
		my $name = 's' . ++$n;
		my $p = far();
		$p->publish($name);
		$p->send_video(0, $_) for video_header(), key_frame(1);

		my $odd = near($way, connect => $connect);
		my $code = $odd->play($name);
		my $v = near($way);
		$v->play($name);
		ok($v->read_video(), "$way, $what: others play");
		$p->send_video(40, key_frame(2));
		if ($may) {
			ok($odd->read_video(), "$way, $what: it plays");
		} else {
			$code = $odd->read_status() if $code eq 'NetStream.Play.Start';
			is($code, 'NetStream.Play.StreamNotFound', "$way, $what: it is refused");
		}
		$odd->close();
		$v->close();
		# one that comes when it has left
		$v = near($way);
		$v->play($name);
		ok($v->read_video(), "$way, $what: so do those who come later");
		$_->close() for $v, $p;
	}
}

# a pull says what was said by the one that it is for, who is no relay if there is one

my $server = rtmp_server(port(8081));
my $relay = near('scripted', connect => { ngxRtmpHops => 3, ngxRtmpVia => $mark });
$relay->play('s');
my $peer = rtmp_accept($server, until => 'play');
is($peer->{connect}{ngxRtmpHops}, 4, 'the relays of the player, and this one');
like($peer->{connect}{ngxRtmpVia}, qr/^$mark,[0-9a-f]{16}$/, 'and their marks');
my $v = near('scripted');
$v->play('s');
$peer->close();
$peer = rtmp_accept($server);
is($peer->{connect}{ngxRtmpHops}, 1, 'then in the name of one that is no relay');
$peer->send_video(0, $_) for video_header(), key_frame(1);
ok($relay->read_video(), 'which is for the relay as well');

###############################################################################
