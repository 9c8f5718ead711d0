#!/usr/bin/perl

# Tests for an origin that is restarted: players stay connected, and timestamps
# never go back.

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
use Time::HiRes qw/ time sleep /;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->plan(11);

relay_run($t, near => 'pull rtmp://127.0.0.1:%%PORT_8081%%; idle_streams off;');

###############################################################################

my @players = map { near() } 1 .. 3;
my $server = rtmp_server(port(8081));
is($_->play('s'), 'NetStream.Play.Start', 'admitted, since it may be pulled') for @players;

my (@last, $round);
for my $start (50000, 0, 4294960000) {
	my $origin = rtmp_accept($server);
	my $first = 100 * ++$round;
	my @sent = (key_frame($first), map { inter_frame($first + $_) } 1 .. 20);
	$origin->send_video($start, video_header());
	$origin->send_video(($start + 40 * $_) % 2 ** 32, $sent[$_]) for 0 .. $#sent;

	# each player sees all of it, later and later
	my $good = 0;
	for my $n (0 .. $#players) {
		my ($i, $right) = (0, 1);
		while ($i < @sent) {
			my $message = $players[$n]->read_video() or last;
			next if $message->{payload} =~ /avcC/;
			$right &&= $message->{payload} eq $sent[$i++];
			my $step = $message->{timestamp} - ($last[$n] // $start);
			$right &&= $step >= 0 && $step <= 1000;
			$last[$n] = $message->{timestamp};
		}
		$good++ if $i == @sent && $right;
	}
	is($good, 3, "from $start on, all players, in order");

	# the origin goes away for a while
	$origin->close();
	$server->close();
	sleep(0.5);
	$server = rtmp_server(port(8081));
}

my $down = () = log_lines($t, qr/pull of .*again in [1-9]/);
cmp_ok($down, '>=', 3, 'attempts while it was down');
ok(!$_->closed(0.1), 'still connected') for @players;
is(scalar(() = log_lines($t, qr/PLAY/)), 0, 'no player has left');

###############################################################################
