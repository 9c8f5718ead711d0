#!/usr/bin/perl

# HTTP-FLV: the header announces the tracks of which frames came, not of which headers did.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::FLV;
use Test::Nginx::FlvLive;
use Test::Nginx::Live qw/ publisher video_header audio_header key_frame inter_frame audio_frame /;
use Test::Nginx::Process;
use Test::Nginx::RTMP;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http/)->plan(9);

flv_run($t, app => 'cache_time 3s;');

###############################################################################

# a header alone announces nothing

for my $case (
	['video, and a header of audio', [qw/ audio_header video_header key inter /], 1],
	['audio, and a header of video', [qw/ video_header audio_header audio audio /], 4],
	['both', [qw/ video_header audio_header key audio inter /], 5],
) {
	my ($name, $messages, $flags) = @$case;
	(my $stream = $name) =~ s/\W+/-/g;
	my $early = flv_play($stream);
	my $ws = websocket(port(8080), "/live/$stream");
	my $p = publisher($stream);
	my $n = 0;
	for my $message (@$messages) {
		my $time = 20 * $n++;
		$p->send_video($time, video_header()) if $message eq 'video_header';
		$p->send_audio($time, audio_header()) if $message eq 'audio_header';
		$p->send_video($time, key_frame($n)) if $message eq 'key';
		$p->send_video($time, inter_frame($n)) if $message eq 'inter';
		$p->send_audio($time, audio_frame($n)) if $message eq 'audio';
	}
	is($early->flags(), $flags, "$name: who waited");
	is(flv_parse($ws->stream(13))->{flags}, $flags, "$name: by WebSocket");
	my $late = flv_play($stream);
	$p->send_video(1000, key_frame(99)) if $flags & 1;
	$p->send_audio(1000, audio_frame(99)) if $flags & 4;
	is($late->flags(), $flags, "$name: who comes later");
}
