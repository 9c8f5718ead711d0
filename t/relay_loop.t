#!/usr/bin/perl

# Tests for relays that lead back to where they came from.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Live qw/ video_header key_frame /;
use Test::Nginx::RTMP;
use Test::Nginx::Relay;
use Time::HiRes qw/ sleep /;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->plan(13);

relay_run($t, near => <<'EOC', far => <<'EOC2');
            pull rtmp://127.0.0.1:%%PORT_1936%%;
        }

        application self {
            live on;
            pull rtmp://localhost:%%PORT_1935%%;
            push rtmp://127.0.0.1:%%PORT_1935%%/self;
        }

        application both {
            live on;
            push rtmp://127.0.0.1:%%PORT_1936%%;
        }

        application hops {
            live on;
            push rtmp://127.0.0.1:%%PORT_8081%%;
EOC
            pull rtmp://127.0.0.1:%%PORT_1935%%;
        }

        application both {
            live on;
            push rtmp://127.0.0.1:%%PORT_1935%%;
EOC2

###############################################################################

# A pulls from B, B pulls from A, and nobody has the stream

my $v = near();
$v->play('s');
my ($line) = wait_lines($t, qr/come through here before/);
like($line, qr!relay of "live/s" is refused!, 'a loop of pulls');
sleep(1);
my @pulls = log_lines($t, qr/pull of "live\/s" .*established/);
cmp_ok(@pulls, '<', 10, 'it does not spin');

# it is no loop any more when somebody publishes

my $p = far();
$p->publish('s');
$p->send_video(0, video_header());
$p->send_video(0, key_frame(1));
ok($v->read_until(sub { $_[0]{payload} eq key_frame(1) }), 'played once there is a source');
$_->close() for $p, $v;

# A pushes to B, B pushes to A

$p = near('both');
is($p->publish('s'), 'NetStream.Publish.Start', 'published');
($line) = wait_lines($t, qr!relay of "both/s" is refused!);
like($line, qr/come through here before/, 'a loop of pushes');
$v = far('both');
$v->play('s');
$p->send_video(0, video_header());
$p->send_video(0, key_frame(2));
ok($v->read_until(sub { $_[0]{payload} eq key_frame(2) }), 'pushed to the other');
$_->close() for $p, $v;

# this very stream, by an own address

$v = near('self');
$v->play('s');
($line) = wait_lines($t, qr/pull of "self\/s" .*is this very stream here/);
like($line, qr/^pull/, 'a pull from itself');
$p = near('self');
is($p->publish('s'), 'NetStream.Publish.Start', 'a publisher');
($line) = wait_lines($t, qr/push of "self\/s" .*is this very stream here/);
like($line, qr/^push/, 'a push to itself');
$_->close() for $p, $v;

# a chain that is too long

my $server = rtmp_server(port(8081));
$p = near('hops', connect => { ngxRtmpHops => 7 });
$p->publish('seven');
my $peer = rtmp_accept($server);
is($peer->{connect}{ngxRtmpHops}, 8, 'the eighth relay');
$p->close();

$p = near('hops', connect => { ngxRtmpHops => 8 });
is($p->publish('eight'), 'NetStream.Publish.Start', 'taken from the eighth relay');
($line) = wait_lines($t, qr/push of "hops\/eight"/);
like($line, qr/come through 8 relays already/, 'but not relayed on');
$p->close();

$p = near('hops', connect => { ngxRtmpHops => 9 });
is($p->publish('nine'), 'NetStream.Publish.BadName', 'not taken from a ninth');

###############################################################################
