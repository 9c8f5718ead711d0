#!/usr/bin/perl

# Publishers of several priorities: the highest is on air.

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

live_run($t, app => "publish_priority on;");

###############################################################################

my $low = publisher('s?pubpri=1');
my $v = player('s');
$low->send_video(0, video_header('low'));
$low->send_video(0, key_frame(1));
is($v->read_until(sub { $_[0]{payload} eq key_frame(1) })->{timestamp}, 0, 'the first one');

my $high = publisher('s?pubpri=2');
is($high->status(), 'NetStream.Publish.Start', 'another priority is let in');
$high->send_video(5000, video_header('high'));
$high->send_video(5000, key_frame(2));
$low->send_video(40, key_frame(3));
$high->send_video(5040, inter_frame(4));
my @got = map { $v->read_video() } 1 .. 3;
is_deeply([map { $_->{payload} } @got], [video_header('high'), key_frame(2), inter_frame(4)],
	'the higher one is on air, with its own header');
cmp_ok($got[1]{timestamp}, '>', 0, 'time goes on');
cmp_ok($got[1]{timestamp}, '<', 1000, 'without a jump');

is(publisher('s?pubpri=2')->status(), 'NetStream.Publish.BadName', 'the same priority is refused');
$low->send_video(80, inter_frame(5));
$high->close();
# in the middle of its group of pictures
for (1 .. 100) {
	$low->send_video(120 + $_, inter_frame(6));
	last if $v->read_until(sub { $_[0]{payload} eq video_header('low') }, 0.05);
}
$low->send_video(400, key_frame(7));
is($v->read_video()->{payload}, key_frame(7), 'the one that stood by goes on at a key frame');

###############################################################################
