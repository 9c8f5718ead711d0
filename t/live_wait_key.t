#!/usr/bin/perl

# With wait_key off video starts wherever it is.

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

live_run($t, app => 'wait_key off;');

###############################################################################

my $p = publisher('s');
$p->send_video(0, video_header());
$p->send_video(0, key_frame(0));
$p->result($p->command('createStream', undef));

my $v = player('s');
$p->send_video(40, inter_frame(1));
my @got = map { $v->read_video()->{payload} } 1 .. 2;
is_deeply(\@got, [video_header(), inter_frame(1)], 'a frame that is no key frame');

###############################################################################
