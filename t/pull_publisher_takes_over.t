#!/usr/bin/perl

# Tests for a publisher that comes while a stream is pulled, and one that leaves
# while it is played.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Live qw/ video_header key_frame inter_frame /;
use Test::Nginx::Process;
use Test::Nginx::RTMP;
use Test::Nginx::Relay;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->plan(10);

relay_run($t, near => 'pull rtmp://127.0.0.1:%%PORT_8081%%; push rtmp://127.0.0.1:%%PORT_8082%%;');

###############################################################################

my $server = rtmp_server(port(8081));
my $target = rtmp_server(port(8082));

my $player = near();
$player->play('s');
my $origin = rtmp_accept($server);
$origin->send_video(0, video_header());
$origin->send_video(0, key_frame(1));
ok(frame(1), 'pulled');

# one who publishes here wins

my $p = near();
is($p->publish('s'), 'NetStream.Publish.Start', 'a publisher');
$p->send_video(0, video_header());
$p->send_video(0, key_frame(2));
ok(frame(2), 'is played');
ok($origin->closed(), 'the pull ends');
$target->timeout(2);
my $pushed = rtmp_accept($target);
is($pushed->{name}, 's', 'the publisher is pushed');
$target->timeout(0.2);
ok(!$target->accept(), 'once');

# and leaves: the stream is pulled again

$p->close();
ok($pushed->closed(), 'the push ends');
$origin = rtmp_accept($server);
is($origin->{name}, 's', 'the stream is pulled again');
$origin->send_video(0, video_header());
$origin->send_video(0, key_frame(3));
ok(frame(3), 'and played');
$target->timeout(0.2);
ok(!$target->accept(), 'what is pulled is not pushed');

###############################################################################

sub frame {
	my ($n) = @_;
	return $player->read_until(sub {
		$_[0]{type} == RTMP_VIDEO && $_[0]{payload} eq key_frame($n)
	});
}

###############################################################################
