#!/usr/bin/perl

# A late player starts with whole groups of pictures that cover cache_time.

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

my $t = Test::Nginx->new()->plan(9);

live_run($t, app => 'cache_time 1s;');

###############################################################################

my $p = publisher('s');
$p->send_data(0, '@setDataFrame', 'onMetaData', { width => 640 });
$p->send_video(0, video_header());
$p->send_audio(0, audio_header());

# a group of 500 ms each, to 2.9 s
for my $n (0 .. 29) {
	$p->send_video($n * 100, $n % 5 ? inter_frame($n) : key_frame($n));
	$p->send_audio($n * 100, audio_frame($n));
}
# what was sent is there when this is answered
$p->result($p->command('createStream', undef));

my $v = player('s');
my @got = map { $v->read_media() } 1 .. 8;
is($got[0]{values}[0], '|RtmpSampleAccess', 'the start of a play');
is($got[1]{values}[0], 'onMetaData', 'metadata, without its envelope');
is($got[2]{payload}, video_header(), 'the header of video');
is($got[3]{payload}, audio_header(), 'the header of audio');
is($got[4]{payload}, key_frame(20), 'the oldest key frame that is not older than a second');
is($got[4]{timestamp}, 2000, 'with its own time');
is($got[3]{timestamp}, 2000, 'which the headers share');
is($got[5]{payload}, audio_frame(20), 'audio');
is($got[6]{payload}, inter_frame(21), 'and everything after it');

###############################################################################
