#!/usr/bin/perl

# HTTP-FLV: who gets no stream is told why.

###############################################################################

use warnings;
use strict;

use Time::HiRes;

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

my $t = Test::Nginx->new()->has(qw/http/)->plan(22);

flv_run($t,
	app => 'cache_time 1s;',
	location => 'error_page 403 /denied;',
	server => 'location /denied { return 200 "denied page"; }
		location /fixed/ { flv_live 127.0.0.1:%%PORT_1935%% app=live; }
		location /if/ { if ($arg_x) { set $y 1; } flv_live %%PORT_1935%% app=live; }',
	rtmp => 'application quiet { live on; idle_streams off; }
		application patient { live on; idle_timeout 300ms; }
		application closed { live on; deny play all; }
		application off { live off; }');

###############################################################################

is(status('/quiet/none'), 404, 'no stream');
my $unfed = http_flv(port(8080), '/patient/none');
is($unfed->status(), 200, 'a stream that may come');
is($unfed->closed(), 'complete', 'and does not within idle_timeout');
like(http_get('/closed/s'), qr/denied page/, 'denied, with its page');
like(http_get('/off/s'), qr/denied page/, 'live off');
is(status('/nothing/s'), 404, 'no application');
is(status('/s'), 404, 'no application in the path');
is(status('/live/'), 404, 'no name');
is(status('/live/.flv'), 404, 'no name but the suffix');
is(status('/live/' . 'x' x 300), 404, 'a name too long');
is(status('/live/a%01b'), 404, 'a name with control bytes');
for my $method (qw/ POST PUT DELETE /) {
	is(status('/live/s', method => $method), 405, $method);
}

my $p = publisher('s');
published($p);
like(http_head('/live/s'), qr{^HTTP/1.1 200 .*video/x-flv}s, 'HEAD');
is(status('/fixed/any/where/s.flv'), 200, 'app=');
is(status('/if/s?x=1'), 200, 'if');
is(status('/if/s'), 200, 'if, not taken');

# a stream that ends: the answer ends as HTTP says

my $q = rtmp_connect(port(1935), 'quiet');
$q->publish('ends');
published($q);
my $player = http_flv(port(8080), '/quiet/ends', wait => 0);
$q->send_video(5000, key_frame(7)) until $player->receive(Time::HiRes::time() + 0.1);
$player->answered();
$q->close();
is($player->closed(), 'complete', 'the answer is complete when the publisher leaves');

# the client that waits for a stream is told when there is none any more
my $waits = rtmp_connect(port(1935), 'patient');
$waits->publish('s');
my $held = http_flv(port(8080), '/patient/s', wait => 0);
$waits->close();
$held->answered();
is($held->status(), 200, 'a publisher without media');
is($held->closed(), 'complete', 'who left');
is($held->body(), '', 'and sent nothing');

###############################################################################

sub status {
	my ($uri, %options) = @_;
	my $answer = http_flv(port(8080), $uri, %options) or return 'none';
	return $answer->status();
}
