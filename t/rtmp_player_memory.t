#!/usr/bin/perl

# What a player costs a worker, with its connection and what it said of itself.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Live qw/ live_run publisher player video_header key_frame /;
use Test::Nginx::Process;
use Test::Nginx::RTMP;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $PLAYERS = 300;
# those that come first make a worker read in its libraries
my $FIRST = 20;
# of each player, in KiB
my $MOST = 3.5;

my $t = Test::Nginx->new()->plan(2);

live_run($t);

###############################################################################

my $p = publisher('s');
$p->send_video(0, video_header());
$p->send_video(0, key_frame(0));

sub players {
	my ($n) = @_;
	my %connect = (pageUrl => 'http://example.com/watch', swfUrl => 'http://example.com/player.swf');
	my @players = map { player('s', connect => \%connect) } 1 .. $n;
	$p->send_video($n, key_frame($n));
	my $came = grep { $_->read_until(sub { $_[0]{payload} eq key_frame($n) }) } @players;
	return ($came, @players);
}

my (undef, @first) = players($FIRST);
my ($worker) = worker_pids($t);
my $before = rss_kb($worker);
my ($came, @players) = players($PLAYERS);
is($came, $PLAYERS, 'all play');
my $each = (rss_kb($worker) - $before) / $PLAYERS;
cmp_ok($each, '<', $MOST, 'KiB that a player costs') or diag("$each KiB");

###############################################################################
