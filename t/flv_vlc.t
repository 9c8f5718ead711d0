#!/usr/bin/perl

# HTTP-FLV in VLC, without a screen.

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

my $t = Test::Nginx->new()->has(qw/http/)->has_daemon('cvlc')->has_daemon('ffmpeg');

$t->plan(4);

flv_run($t, app => 'cache_time 1s;');

###############################################################################

my $file = make_flv($t, 'media.flv', duration => 10);
my $publisher = ffmpeg_publish($t, $file, 'rtmp://127.0.0.1:' . port(1935) . '/live/s',
	loop => -1);

# VLC does not run as root; it records what it demuxes, and is asked to stop
my $d = $t->testdir();
chmod 0777, $d;
my @user = $> == 0 ? ('setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', 'env',
	"HOME=$d") : ();
my $vlc = spawn($t, @user, 'cvlc', '-I', 'dummy', '--no-media-library', '-vv',
	'http://127.0.0.1:' . port(8080) . '/live/s.flv',
	'--sout', "#std{access=file,mux=ts,dst=$d/vlc.ts}", '--sout-all', 'vlc://quit');
ok(wait_for(sub { (-s "$d/vlc.ts" // 0) > 200_000 }, 20), 'VLC records');
$vlc->stop('INT');

my @got = frames($t, "$d/vlc.ts");
my ($video) = grep { @$_ > 20 } map { my $s = $_; [grep { $_->{stream} == $s } @got] } 0, 1;
ok($video, 'frames in what it recorded');
my $decode = spawn($t, 'ffmpeg', qw/ -nostdin -v error -i /, "$d/vlc.ts",
	qw/ -map 0:v -frames:v 20 -f null - /);
is($decode->wait(), 0, 'they decode');
unlike($vlc->output(), qr/main demux error|http stream error/i, 'no error of VLC');

###############################################################################
