#!/usr/bin/perl

# With send_all a late player gets all that is cached.

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

live_run($t, app => 'cache_time 1s; send_all on;');

###############################################################################

my $p = publisher('s');
for my $n (0 .. 29) {
	$p->send_video($n * 100, $n % 7 ? inter_frame($n) : key_frame($n));
}
$p->result($p->command('createStream', undef));

# groups at 0, 7, 14, 21, 28: from 14 on they cover a second
is(player('s')->read_video()->{payload}, key_frame(14), 'at least cache_time of it');

###############################################################################
