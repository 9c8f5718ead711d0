#!/usr/bin/perl

# Without a cache a player waits for the next key frame, but hears at once.

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

live_run($t);

###############################################################################

my $p = publisher('s');
$p->send_video(0, video_header());
$p->send_audio(0, audio_header());
$p->send_video(0, key_frame(0));
$p->result($p->command('createStream', undef));

my $v = player('s');
$p->send_video(40, inter_frame(1));
$p->send_audio(50, audio_frame(1));
$p->send_video(80, inter_frame(2));
$p->send_video(120, key_frame(3));
$p->send_video(160, inter_frame(4));
my @got = map { $v->read_until(sub { $_[0]{type} == RTMP_VIDEO || $_[0]{type} == RTMP_AUDIO }) }
	1 .. 5;
is_deeply([map { $_->{payload} } @got],
	[video_header(), audio_header(), audio_frame(1), key_frame(3), inter_frame(4)],
	'headers, audio, then video from a key frame on');

###############################################################################
