#!/usr/bin/perl

# When a publisher comes back, players go on: time does not go back.

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

my $t = Test::Nginx->new()->plan(7);

live_run($t, app => 'cache_time 1s;');

###############################################################################

my $p = publisher('s');
my $v = player('s');
$p->send_video(0, video_header(1));
$p->send_video(70_000, key_frame(1));
$p->send_video(70_040, inter_frame(2));
is($v->read_until(sub { $_[0]{payload} eq inter_frame(2) })->{timestamp}, 70_040, 'the first life');
$p->close();
ok($v->read_until(sub { defined $_[0]{event} && $_[0]{event} == 1 }), 'StreamEOF');

$p = publisher('s');
ok($v->read_until(sub { defined $_[0]{event} && $_[0]{event} == 0 }), 'StreamBegin');
$p->send_video(0, video_header(2));
$p->send_video(0, key_frame(3));
$p->send_video(40, inter_frame(4));
my @got = map { $v->read_video() } 1 .. 3;
is_deeply([map { $_->{payload} } @got], [video_header(2), key_frame(3), inter_frame(4)],
	'the second life, with its new header');
cmp_ok($got[1]{timestamp}, '>', 70_040, 'later than the first');
cmp_ok($got[1]{timestamp}, '<', 71_000, 'but not much');
is($got[2]{timestamp} - $got[1]{timestamp}, 40, 'in its own pace');

###############################################################################
