#!/usr/bin/perl

# A publisher that sends nothing is dropped, also if it never sent.

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

my $t = Test::Nginx->new()->plan(5);

live_run($t, app => 'drop_idle_publisher 1s;');

###############################################################################

my $p = publisher('s');
is($p->status(), 'NetStream.Publish.Start', 'publishes');
ok($p->closed(5), 'and is dropped');

$p = publisher('s');
is($p->status(), 'NetStream.Publish.Start', 'the name is free again');
for my $n (1 .. 8) {
	$p->send_video($n * 200, key_frame($n));
	last if $p->closed(0.25);
}
ok(!$p->{eof}, 'one that sends stays for two seconds');
ok($p->closed(5), 'until it stops');

###############################################################################
