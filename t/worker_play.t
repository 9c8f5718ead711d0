#!/usr/bin/perl

# Players of any worker play what is published in any other, soon, and a worker
# takes a stream once from another, and only for players of its own.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Process;
use Test::Nginx::RTMP;
use Test::Nginx::Workers;
use Time::HiRes qw/ time /;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

# one published in each, so that most of the plays cross workers
my $STREAMS = 60;
# seconds, for a play that crosses
my $SOON = 0.02 * ($ENV{TEST_NGINX_SLOW} || 1);

my $t = Test::Nginx->new()->has_daemon('ss')->plan(10);

workers_run($t, 4);

###############################################################################

my $p = publisher('s');
$p->send_video(0, video_header());
$p->send_video(0, key_frame(0));

my @players = map { player('s') } 1 .. 40;
is(fed(key_frame(0), @players), 40, 'forty players');
$p->send_video(40, inter_frame(1));
is(fed(inter_frame(1), @players), 40, 'all of them get what comes');

my $home = worker_of($t, $p);
is_deeply([keys %{inner_pulls($t)}], [$home], 'one worker gives');
is_deeply(inner_takers($t), takers(@players), 'once to each of the others with a player');

# they leave, but for those of one worker

my ($other) = grep { $_ != $home } map { worker_of($t, $_) } @players;
my @stay = grep { worker_of($t, $_) == $other } @players;
worker_of($t, $_) == $other || $_->close() for @players;
ok(wait_for { join(',', %{inner_takers($t)}) eq "$other,1" }, 'not to one without players any more');
$p->send_video(80, inter_frame(2));
is(fed(inter_frame(2), @stay), scalar @stay, 'those who stay play on');
$_->close() for @stay;
ok(wait_for { !%{inner_takers($t)} }, 'and nothing when nobody watches');

# from the command to the first key frame

my @crossed;
my $played = 0;
for my $n (1 .. $STREAMS) {
	my $publisher = publisher("s$n");
	$publisher->send_video(0, video_header());
	$publisher->send_video(0, key_frame($n));
	my $player = rtmp_connect(port(1935), 'live');
	my $begin = time();
	$player->play("s$n");
	$played += fed(key_frame($n), $player);
	my $took = time() - $begin;
	push @crossed, $took if worker_of($t, $publisher) != worker_of($t, $player);
}
is($played, $STREAMS, 'every stream is played');
cmp_ok(scalar @crossed, '>', $STREAMS / 4, 'many of the plays cross workers');
my $median = (sort { $a <=> $b } @crossed)[@crossed / 2];
note(sprintf 'a play that crosses starts within %.1f ms', $median * 1000);
cmp_ok($median, '<', $SOON, 'and start at once');

###############################################################################

# How many of the players get this frame.
sub fed {
	my ($frame, @players) = @_;
	return scalar grep { $_->read_until(sub { $_[0]{payload} eq $frame }) } @players;
}

# The workers that have to take a stream for these players.
sub takers {
	my %takers = map { worker_of($t, $_) => 1 } @_;
	delete $takers{$home};
	return \%takers;
}

# the subs hold it, and it must end before the tests are counted
undef $t;

###############################################################################
