#!/usr/bin/perl

# HTTP-FLV: the codecs of enhanced RTMP; who comes late decodes from the first frame on.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::FLV;
use Test::Nginx::FlvLive;
use Test::Nginx::Live qw/ publisher player video_header audio_header key_frame inter_frame
	audio_frame /;
use Test::Nginx::Media;
use Test::Nginx::Process;
use Test::Nginx::RTMP;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http/);
my $ffmpeg = ffmpeg_new() or plan(skip_all => 'no new ffmpeg');

my %media = (
	hevc => { video => 'hevc', audio => 'aac' },
	av1 => { video => 'av1', audio => 'opus' },
	opus => { video => 0, audio => 'opus' },
);

$t->plan(3 * keys %media);

flv_run($t, app => 'cache_time 1s;');

###############################################################################

for my $name (sort keys %media) {
	my $file = make_flv($t, "$name.flv", duration => 2, ffmpeg => $ffmpeg, %{$media{$name}});
	my $publisher = ffmpeg_publish($t, $file, 'rtmp://127.0.0.1:' . port(1935) . "/live/$name",
		ffmpeg => $ffmpeg, loop => -1);
	my $first = flv_play($name);
	$first->read_tags(60);

	my $late = flv_play($name);
	is($late->flags(), $media{$name}{video} ? 5 : 4, "$name, flags");
	my $play = ffmpeg_play($t, 'http://127.0.0.1:' . port(8080) . "/live/$name.flv",
		ffmpeg => $ffmpeg, decode => 1,
		$media{$name}{video} ? (frames => 20) : (audio_frames => 20));
	is($play->wait(), 0, "$name, decodes");
	unlike($play->output(), qr/^[^#\d]/m, "$name, without an error");
}

###############################################################################
