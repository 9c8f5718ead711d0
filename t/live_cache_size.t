#!/usr/bin/perl

# The cache is bounded in bytes, too.

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

live_run($t, app => 'cache_time 10s; cache_size 64k;');

###############################################################################

my $p = publisher('s', chunk_size => 65536);
for my $n (0 .. 9) {
	$p->send_video($n * 100, ($n % 2 ? inter_frame($n) : key_frame($n)) . 'x' x 10000);
}
$p->result($p->command('createStream', undef));
is(player('s')->read_video()->{payload}, key_frame(4) . 'x' x 10000,
	'as many whole groups as fit');

# a group that is too large by itself is not cached: the next one is waited for
my $q = publisher('t', chunk_size => 65536);
$q->send_video(0, key_frame(0) . 'x' x 100000);
$q->result($q->command('createStream', undef));
my $v = player('t');
$q->send_video(40, inter_frame(1));
$q->send_video(80, key_frame(2));
is($v->read_video()->{payload}, key_frame(2), 'never more than cache_size');

###############################################################################
