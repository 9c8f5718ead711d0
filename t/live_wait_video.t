#!/usr/bin/perl

# With wait_video on there is no audio before the first video.

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

my $t = Test::Nginx->new()->plan(2);

live_run($t, app => 'wait_video on;');

###############################################################################

my $p = publisher('s');
$p->send_video(0, video_header());
$p->send_video(0, key_frame(0));
$p->result($p->command('createStream', undef));

my $v = player('s');
$p->send_audio(20, audio_frame(1));
$p->send_video(40, key_frame(2));
$p->send_audio(60, audio_frame(3));
my @got = map {
	$v->read_until(sub { $_[0]{type} == RTMP_VIDEO || $_[0]{type} == RTMP_AUDIO })->{payload}
} 1 .. 3;
is_deeply(\@got, [video_header(), key_frame(2), audio_frame(3)], 'audio after video');

# a stream without video is not waited for
my $q = publisher('t');
$q->send_audio(0, audio_header());
my $w = player('t');
$q->send_audio(20, audio_frame(1));
is($w->read_until(sub { $_[0]{type} == RTMP_AUDIO && $_[0]{payload} eq audio_frame(1) })->{timestamp},
	20, 'audio alone');

###############################################################################
