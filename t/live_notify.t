#!/usr/bin/perl

# publish_notify and play_restart tell players when the publisher comes and goes.

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

live_run($t, app => 'publish_notify on; play_restart on;');

###############################################################################

my $code = sub { my $code = shift; return sub {
	ref $_[0]{values} && ref $_[0]{values}[3] && $_[0]{values}[3]{code} eq $code } };
my $v = rtmp_connect(port(1935), 'live');
$v->send_command($v->create_stream(), 'play', 0, undef, 's');
ok(!$v->read_until($code->('NetStream.Play.Start'), 0.3), 'no start before the publisher');
my $p = publisher('s');
ok($v->read_until($code->('NetStream.Play.Start')), 'it comes with it');
ok($v->read_until($code->('NetStream.Play.PublishNotify')), 'with a notice');
$p->close();
ok($v->read_until($code->('NetStream.Play.Stop')), 'the stop');
ok($v->read_until($code->('NetStream.Play.UnpublishNotify')), 'and the notice');

###############################################################################
