#!/usr/bin/perl

# HTTP-FLV: what a player gets is what was published, tag by tag.

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

my $t = Test::Nginx->new()->has(qw/http/)->has_daemon('ffmpeg');

$t->plan(23);

flv_run($t, app => 'cache_time 10s;', location => 'add_header X-Location flv;');

###############################################################################

# a player that is there first, one that comes later, and the older HTTP

my $p = publisher('s');
my $first = flv_play('s.flv?a=b', wait => 0);
# it has joined when a later request is answered
http_get('/live/');
my @sent = published($p);
ok($first->answered(), 'answered');
is_deeply(tags_of($first, scalar @sent), \@sent, 'first player');

my $late = flv_play('s');
is($late->status(), 200, 'status');
is($late->header('Content-Type'), 'video/x-flv', 'type');
is($late->header('Cache-Control'), 'no-cache', 'cache control');
is($late->header('X-Location'), 'flv', 'add_header');
is($late->header('Transfer-Encoding'), 'chunked', 'chunked');
is($late->header('Connection'), 'close', 'connection');
is($late->flags(), 5, 'flags of both');
is_deeply([map { $_->{payload} } $late->read_tags(scalar @sent)],
	[map { $_->{payload} } @sent], 'late player');

my $old = flv_play('s', version => '1.0');
is($old->header('Transfer-Encoding'), undef, 'HTTP/1.0 is not chunked');
is_deeply([map { $_->{payload} } $old->read_tags(scalar @sent)],
	[map { $_->{payload} } @sent], 'HTTP/1.0');

# what comes goes to all of them

$p->send_video(2000, key_frame(99));
is($_->read_tag()->{payload}, key_frame(99), 'next tag') for $first, $late, $old;

# one track

for my $kind ([video => FLV_VIDEO, 1], [audio => FLV_AUDIO, 4]) {
	my ($name, $type, $flags) = @$kind;
	my $publisher = publisher($name);
	my $early = flv_play($name, wait => 0);
	http_get('/live/');
	published($publisher, $name);
	$early->answered();
	is($early->flags(), $flags, "flags of $name only");
	my $player = flv_play($name);
	is($player->flags(), $flags, "flags of $name only, late");
	is(join(' ', grep { $_ != $type } map { $_->{type} } $player->read_tags(10)), '',
		"tags of $name only");
}

# a real stream, decoded

my $file = make_flv($t, 'media.flv', duration => 2);
my @source = frames($t, $file);
my $publisher = ffmpeg_publish($t, $file, 'rtmp://127.0.0.1:' . port(1935) . '/live/ffmpeg',
	loop => -1);
my $url = 'http://127.0.0.1:' . port(8080) . '/live/ffmpeg.flv';
my @got = frames($t, $url, frames => 60);
is_run_of([hashes(0, @got)], [hashes(0, @source)], 'ffmpeg, video');
my $decode = ffmpeg_play($t, $url, frames => 40, decode => 1);
is($decode->wait(), 0, 'decoded');

###############################################################################
