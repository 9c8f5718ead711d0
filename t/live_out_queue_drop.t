#!/usr/bin/perl

# A player that falls behind too often is closed.

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

my $t = Test::Nginx->new()->plan(2);

live_run($t, app => 'out_queue 10s size=128k drop=2;');

###############################################################################

my $p = publisher('s', chunk_size => 65536);
my $v = player('s', rcvbuf => 4096);
my $w = player('s');
my $seen = 0;
for my $n (0 .. 299) {
	my $frame = ($n % 5 ? inter_frame($n) : key_frame($n)) . 'x' x 40000;
	$p->send_video($n * 40, $frame);
	$seen++ if $w->read_until(sub { $_[0]{payload} eq $frame }, 5);
}
is($seen, 300, 'who keeps up gets everything');
ok($v->closed(10), 'who does not is closed');

###############################################################################
