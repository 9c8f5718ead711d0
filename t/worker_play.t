#!/usr/bin/perl

# Players of any worker play what is published in any other.

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

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->plan(6);

workers_run($t, 4);

###############################################################################

use Time::HiRes qw/ time /;

my $p = publisher('s');
$p->send_video(0, video_header());
$p->send_video(0, key_frame(0));
$p->result($p->command('createStream', undef));

my @late;
my @players = map {
	my $begin = time();
	my $player = player('s');
	$player->read_until(sub { $_[0]{payload} eq key_frame(0) })
		or diag("player $_ gets nothing");
	push @late, time() - $begin;
	$player;
} 1 .. 40;
is(scalar @late, 40, 'forty players');
my @times = sort { $a <=> $b } @late;
cmp_ok($times[20], '<', 0.1, 'start at once');

$p->send_video(40, inter_frame(1));
my $got = grep { $_->read_until(sub { $_[0]{payload} eq inter_frame(1) }) } @players;
is($got, 40, 'all of them get what comes');

my $pulls = inner_pulls($t);
my ($sum) = values %$pulls;
is(scalar keys %$pulls, 1, 'one worker gives');
cmp_ok($sum, '<=', 3, 'once to each of the others');

$_->close() for @players;
ok(wait_for { !%{inner_pulls($t)} }, 'and nothing when nobody watches');

###############################################################################
