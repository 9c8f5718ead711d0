#!/usr/bin/perl

# HTTP-FLV and WS-FLV in a browser: the page of nginx-conf with mpegts.js, and flv.js.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Browser;
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

my $t = Test::Nginx->new()->has(qw/http/)->has_daemon('chromium')->has_daemon('ffmpeg')
	->has_daemon('npm');

# seconds of media, and frames, that count as playing
my $PLAYED = 2;
my $FRAMES = 25;

my $d = $t->testdir();
mkdir "$d/www";
system("cp ../nginx-conf/www/index.html $d/www && ../nginx-conf/www/install $d/www >$d/npm.log 2>&1")
	== 0 or plan(skip_all => 'mpegts.js cannot be had');
my $flv_js = system("npm install --prefix $d/npm --silent --no-save --no-package-lock "
	. "--ignore-scripts flv.js\@1.6.2 >$d/npm.log 2>&1 "
	. "&& cp $d/npm/node_modules/flv.js/dist/flv.min.js $d/www") == 0;

$t->plan(15);

$t->write_file('www/flv.html', <<'EOF');
<!doctype html>
<video id="video" muted></video>
<script src="flv.min.js"></script>
<script>
const ws = location.search === '?ws';
const player = flvjs.createPlayer({ type: 'flv', isLive: true,
	url: (ws ? 'ws' : 'http') + '://' + location.host + '/live/s.flv' });
player.attachMediaElement(document.getElementById('video'));
player.load();
player.play();
</script>
EOF

flv_run($t, app => 'cache_time 1s;', server => 'location = /index.html { root www; }
	location = /mpegts.js { root www; }
	location = /flv.html { root www; }
	location = /flv.min.js { root www; }',
	http => 'types { text/html html; application/javascript js; }');

###############################################################################

my $file = make_flv($t, 'media.flv', duration => 10, size => '320x240');
my $publisher = ffmpeg_publish($t, $file, 'rtmp://127.0.0.1:' . port(1935) . '/live/s',
	loop => -1);
my $browser = browser($t);
my $url = 'http://127.0.0.1:' . port(8080);

for my $by (qw/ http ws /) {
	my $page = $browser->page("$url/index.html?stream=s&by=$by");
	plays($page, "mpegts.js by $by");
	cmp_ok($page->until('parseFloat(document.getElementById("bitrate").textContent)'), '>', 0,
		'bitrate is shown');
	ok($page->screenshot("$d/player-$by.png"), 'screenshot');
	$page->close();
}

SKIP: {
	skip('flv.js cannot be had', 4) if !$flv_js;
	for my $by (qw/ http ws /) {
		my $page = $browser->page("$url/flv.html?$by");
		plays($page, "flv.js by $by");
		$page->close();
	}
}

# what the page says when there is nothing to play

my $page = $browser->page("$url/index.html?stream=nothing/there");
ok($page->until('/no such stream/.test(document.getElementById("said").textContent)'),
	'no such stream');

# and by keyboard

$page->call('Page.navigate', { url => "$url/index.html" });
$page->until('document.activeElement && document.activeElement.id == "stream"');
$page->call('Input.insertText', { text => 'live/s' });
$page->call('Input.dispatchKeyEvent', { type => 'keyDown', key => 'Enter', text => "\r",
	windowsVirtualKeyCode => 13 });
plays($page, 'by keyboard');

###############################################################################

sub plays {
	my ($page, $name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $video = 'document.querySelector("video")';
	$page->until("$video && $video.currentTime > $PLAYED");
	# the frames decoded in the meantime may lag on a busy machine
	$page->until("$video.getVideoPlaybackQuality().totalVideoFrames > $FRAMES");
	cmp_ok($page->value("$video.currentTime"), '>', $PLAYED, "$name, time")
		or diag($page->value('document.body.innerText'), map { substr($_, 0, 400) . "\n" }
			$browser->console());
	cmp_ok($page->value("$video.getVideoPlaybackQuality().totalVideoFrames"), '>', $FRAMES,
		"$name, frames");
}

###############################################################################
