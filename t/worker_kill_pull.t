#!/usr/bin/perl

# The worker that pulls a stream dies: another one pulls it, within a second, and the
# players of the others stay connected.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Process;
use Test::Nginx::RTMP;
use Test::Nginx::Relay qw/ rtmp_server rtmp_accept /;
use Test::Nginx::Workers;
use Time::HiRes qw/ time /;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $WORKERS = 4;
my $PLAYERS = 20;
# the workers that are started for dead ones are killed, too
my $ROUNDS = 12;
# seconds from a worker's death to the first frame of its pulls
my $SOON = 1 * ($ENV{TEST_NGINX_SLOW} || 1);

my $t = Test::Nginx->new()->plan(5);

workers_run($t, $WORKERS, app => <<'EOC');
            pull rtmp://127.0.0.1:%%PORT_8081%%/live;
            max_connections 20;
        }

        application kept {
            live on;
            cache_time 1s;
            pull rtmp://127.0.0.1:%%PORT_8082%%/live name=s static;
EOC

###############################################################################

# the master says so
$t->todo_alerts();

my %server = map { $_ => rtmp_server(port($_)) } 8081, 8082;
my @players = map { player('s') } 1 .. $PLAYERS;
my %origin = map { $_ => rtmp_accept($server{$_}) } keys %server;
my $frame = 0;
is(fed(@players), $PLAYERS, 'played');

my ($lost, $starved, $missing, @took) = (0, 0, 0);
for my $round (1 .. $ROUNDS) {
	# each of them in turn, for whatever it does, and most often the one that pulls
	my @workers = worker_pids($t);
	my $victim = $round % 3 ? worker_of($t, $origin{8081}) : $workers[$round / 3 % @workers];
	my @stay = grep { worker_of($t, $_) != $victim } @players;
	my @broken = grep { worker_of($t, $origin{$_}) == $victim } keys %origin;

	my $begin = time();
	kill 'KILL', $victim;
	$origin{$_} = rtmp_accept($server{$_}) or $missing++ for @broken;
	last if $missing;
	$starved += @stay - fed(@stay);
	push @took, time() - $begin;
	$lost += grep { $_->{eof} } @stay;

	wait_for { my @now = worker_pids($t); @now == $WORKERS && !grep { $_ == $victim } @now };
	@players = (@stay, map { admitted() } @stay + 1 .. $PLAYERS);
	$starved += $PLAYERS - fed(@players);
}
is($missing, 0, 'each pull of a dead worker comes back');
is("$lost lost, $starved starved", '0 lost, 0 starved', 'the players of the others play on');
my ($longest) = sort { $b <=> $a } @took;
note(sprintf 'after %.0f ms at most', $longest * 1000);
cmp_ok($longest, '<', $SOON, 'soon');

# all of them are counted, and the dead are not
is(player('one more')->status(), 'NetStream.Play.Forbidden', 'no place is left free or taken by a ghost');

###############################################################################

# A player that comes again until it is let in: the places of the dead are free when the
# new worker has looked around.
sub admitted {
	my $player;
	wait_for { $player = player('s'); $player->status() eq 'NetStream.Play.Start' };
	return $player;
}

# Sends a frame from the origin; how many of the players get it.
sub fed {
	my (@players) = @_;
	$origin{8081}->send_video(40 * $frame, video_header());
	$origin{8081}->send_video(40 * $frame, key_frame(++$frame));
	return scalar grep { $_->read_until(sub { $_[0]{payload} eq key_frame($frame) }) } @players;
}

# the subs hold it, and it must end before the tests are counted
undef $t;

###############################################################################
