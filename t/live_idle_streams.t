#!/usr/bin/perl

# With idle_streams off there is no waiting for a publisher.

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

live_run($t, app => 'idle_streams off;');

###############################################################################

my $v = player('s');
is($v->status(), 'NetStream.Play.StreamNotFound', 'nobody publishes');
ok($v->closed(5), 'the session ends');

my $p = publisher('s');
$v = player('s');
is($v->status(), 'NetStream.Play.Start', 'somebody publishes');
$p->send_command(1, 'deleteStream', 0, undef, 1);
ok($v->read_until(sub { ($_[0]{values}[3]{code} // '') eq 'NetStream.Play.StreamNotFound' }),
	'the publisher leaves');
ok($v->closed(5), 'and the session ends');

###############################################################################
