#!/usr/bin/perl

# With low_latency a player that lags goes on at each new key frame.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Live;
use Test::Nginx::Process;
use Test::Nginx::RTMP;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->plan(1);

live_run($t, app => 'low_latency on;');

###############################################################################

my $p = publisher('s', chunk_size => 65536);
my $v = player('s', rcvbuf => 4096);
my $last;
for my $n (0 .. 199) {
	$p->send_video($n * 40, ($n % 10 ? inter_frame($n) : key_frame($n)) . 'x' x 40000);
}
$p->result($p->command('createStream', undef));
$p->send_video(100_000, key_frame(999));
my $frames = 0;
$v->read_until(sub {
	$frames++ if $_[0]{type} == RTMP_VIDEO;
	return $_[0]{payload} eq key_frame(999);
}, 10);
cmp_ok($frames, '<', 190, 'most of what it was behind is left out');

###############################################################################
