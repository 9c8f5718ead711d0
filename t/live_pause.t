#!/usr/bin/perl

# A paused player gets nothing; it goes on at a key frame.

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

my $t = Test::Nginx->new()->plan(4);

live_run($t);

###############################################################################

my $p = publisher('s');
my $v = player('s');
$p->send_video(0, key_frame(0));
$v->read_video();
$v->send_command(1, 'pause', 0, undef, JSON::PP::true, 0);
ok($v->read_until(sub { ref $_[0]{values} && ref $_[0]{values}[3]
	&& $_[0]{values}[3]{code} eq 'NetStream.Pause.Notify' }), 'paused');
$p->send_video(40, key_frame(1));
ok(!$v->read_until(sub { $_[0]{type} == RTMP_VIDEO }, 0.3), 'nothing comes');
$v->send_command(1, 'pause', 0, undef, JSON::PP::false, 0);
ok($v->read_until(sub { ref $_[0]{values} && ref $_[0]{values}[3]
	&& $_[0]{values}[3]{code} eq 'NetStream.Unpause.Notify' }), 'goes on');
$p->send_video(80, inter_frame(2));
$p->send_video(120, key_frame(3));
is($v->read_video()->{payload}, key_frame(3), 'at a key frame');

###############################################################################
