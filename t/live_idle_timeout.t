#!/usr/bin/perl

# A player waits for a publisher as long as idle_timeout says.

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

live_run($t, app => 'idle_timeout 1s;');

###############################################################################

my $v = player('s');
is($v->status(), 'NetStream.Play.Start', 'the play is accepted');
my $p = publisher('s');
$p->send_video(0, key_frame(0));
ok($v->read_video(), 'a publisher comes in time');
ok(!$v->closed(1.5), 'and the player stays');
$p->close();
ok($v->read_until(sub { ($_[0]{values}[3]{code} // '') eq 'NetStream.Play.StreamNotFound' }, 5),
	'the publisher leaves, the time is over');
ok($v->closed(5), 'the session ends');

###############################################################################
