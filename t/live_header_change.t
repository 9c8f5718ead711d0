#!/usr/bin/perl

# When a header changes, players get the new one and no frame of the old.

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

live_run($t, app => 'cache_time 5s;');

###############################################################################

my $p = publisher('s');
$p->send_video(0, video_header(1));
$p->send_video(0, key_frame(0));
$p->send_video(40, inter_frame(1));
$p->send_video(80, video_header(2));
$p->send_video(80, key_frame(2));
$p->send_video(120, video_header(2));
$p->send_video(120, inter_frame(3));
$p->result($p->command('createStream', undef));
my $v = player('s');
my @got = map { $v->read_video()->{payload} } 1 .. 4;
is_deeply(\@got, [video_header(2), key_frame(2), video_header(2), inter_frame(3)],
	'the cache starts after the change, and a repeated header is no change');

###############################################################################
