#!/usr/bin/perl

# A worker with few players sends at once, one with many gathers.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Live;
use Test::Nginx::RTMP;
use Time::HiRes qw/ time /;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

# players of a busy worker, and its window in seconds, less a millisecond for each
# of the two clocks
my ($MANY, $WINDOW) = (250, 0.031);

my $t = Test::Nginx->new()->plan(4);

live_run($t);

###############################################################################

my $p = publisher('s');
my @players = player('s');
my $n = 0;
$p->send_video(0, key_frame(0));
ok($players[0]->read_video(), 'one player');
cmp_ok(quickest(), '<', $WINDOW, 'is not made to wait');

push @players, player('s') while @players < $MANY;
$p->send_video(0, key_frame(++$n));
is(scalar(grep { $_->read_until(sub { $_[0]{payload} eq key_frame($n) }) } @players), $MANY, 'many');
cmp_ok(quickest(), '>=', $WINDOW, 'are written to once a window');

###############################################################################

# The least time of some that a message takes to the first player.
sub quickest {
	my $least;
	for (1 .. 5) {
		my $begin = time();
		$p->send_video(40 * ++$n, inter_frame($n));
		$players[0]->read_until(sub { $_[0]{payload} eq inter_frame($n) }) or die "no message $n\n";
		my $took = time() - $begin;
		$least = $took if !defined $least || $took < $least;
	}
	return $least;
}

###############################################################################
