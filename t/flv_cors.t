#!/usr/bin/perl

# flv_cors: which pages of other sites may read the streams, their refusals, and open a WebSocket.

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

my $t = Test::Nginx->new()->has(qw/http/)->plan(34);

flv_run($t, app => 'cache_time 1s;',
	rtmp => 'application closed { live on; deny play all; }
		application quiet { live on; idle_streams off; }',
	location => 'flv_cors https://a.example http://b.example:8080;',
	http => 'flv_cors *;',
	server => 'location /off/ { flv_live %%PORT_1935%% app=live; flv_cors off; }
		location /any/ { flv_live %%PORT_1935%% app=live; }
		location = /denied { return 200 denied; }
		location /paged/ { flv_live %%PORT_1935%% app=closed; error_page 403 /denied; }');

###############################################################################

my $p = publisher('s');
published($p);

for my $case (['/live/s', 200], ['/closed/s', 403], ['/quiet/none', 404], ['/', 404]) {
	my ($uri, $status) = @$case;
	my $named = ask($uri, 'https://a.example');
	is($named->status(), $status, $uri);
	is($named->header('Access-Control-Allow-Origin'), 'https://a.example', "$uri, the origin");
	is($named->header('Vary'), 'Origin', "$uri, Vary");
	my $other = ask($uri, 'https://c.example');
	is($other->status(), $status, "$uri for another origin");
	is($other->header('Access-Control-Allow-Origin'), undef, "$uri, not for it");
}
is(ask('/live/s', 'http://B.example:8080')->header('Access-Control-Allow-Origin'),
	'http://B.example:8080', 'the other one');
is(ask('/live/s', 'http://b.example')->header('Access-Control-Allow-Origin'), undef,
	'without its port');

is(ask('/any/s', 'https://c.example')->header('Access-Control-Allow-Origin'), '*',
	'every origin, of the http block');
is(ask('/any/s')->header('Vary'), undef, 'the same for all');
is(ask('/paged/s', 'https://c.example')->header('Access-Control-Allow-Origin'), '*',
	'with a page of its own for refusals');
is(ask('/off/s', 'https://a.example')->header('Access-Control-Allow-Origin'), undef, 'off');

# what a browser asks before a request with fields of its own

my $preflight = http_flv(port(8080), '/live/s', method => 'OPTIONS', headers => {
	Origin => 'https://a.example', 'Access-Control-Request-Method' => 'GET',
	'Access-Control-Request-Headers' => 'x-token' });
is($preflight->status(), 204, 'preflight');
is($preflight->header('Access-Control-Allow-Methods'), 'GET, HEAD, OPTIONS', 'methods');
is($preflight->header('Access-Control-Allow-Headers'), 'x-token', 'headers');

# a WebSocket is open to pages that CORS does not hold back, unless the server looks

is(ws('/live/s', Origin => 'https://a.example'), 101, 'WebSocket of a page that may');
is(ws('/live/s', Origin => 'https://c.example'), 403, 'WebSocket of a page that may not');
is(ws('/live/s', Origin => 'http://localhost'), 101, 'WebSocket of an own page');
is(ws('/live/s'), 101, 'WebSocket of no page');
is(ws('/any/s', Origin => 'https://c.example'), 101, 'every page may');

###############################################################################

sub ask {
	my ($uri, $origin) = @_;
	return http_flv(port(8080), $uri, headers => $origin ? { Origin => $origin } : {});
}

sub ws {
	my ($uri, %headers) = @_;
	return websocket(port(8080), $uri, headers => \%headers)->{status};
}
