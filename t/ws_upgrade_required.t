#!/usr/bin/perl

# WebSocket: a handshake that is not right is refused (RFC 6455, 4.2), and what is none is HTTP-FLV.

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

my $t = Test::Nginx->new()->has(qw/http/)->plan(20);

flv_run($t, app => 'cache_time 1s;');

###############################################################################

my %right = (Connection => 'Upgrade', Upgrade => 'websocket', 'Sec-WebSocket-Version' => 13,
	'Sec-WebSocket-Key' => 'dGhlIHNhbXBsZSBub25jZQ==');

for my $case (
	['right', {}, 101],
	['a list in Connection', { Connection => 'keep-alive, upgrade' }, 101],
	['a list in Upgrade', { Upgrade => 'h2c, WebSocket' }, 101],
	['no Connection', { Connection => undef }, 400],
	['another Connection', { Connection => 'keep-alive' }, 400],
	['a part of a token', { Connection => 'upgrade-not' }, 400],
	['no version', { 'Sec-WebSocket-Version' => undef }, 426],
	['an old version', { 'Sec-WebSocket-Version' => 8 }, 426],
	['no key', { 'Sec-WebSocket-Key' => undef }, 400],
	['a short key', { 'Sec-WebSocket-Key' => 'dGhlIHNhbXBsZQ==' }, 400],
	['a key that is no base64', { 'Sec-WebSocket-Key' => 'dGhlIHNhbXBsZSBub25j*Q==' }, 400],
	['no Upgrade', { Upgrade => undef }, 200],
	['another Upgrade', { Upgrade => 'h2c' }, 200],
) {
	my ($name, $changed, $status) = @$case;
	my $answer = ask({ %right, %$changed });
	is($answer->status(), $status, $name);
	is($answer->header('Sec-WebSocket-Version'), 13, "$name: which one is right")
		if $status == 426;
	is($answer->header('Content-Type'), 'video/x-flv', "$name: HTTP-FLV") if $status == 200;
}

# HTTP/1.0 knows no upgrade, and HEAD has no use for one
is(ask(\%right, version => '1.0')->status(), 200, 'HTTP/1.0');
is(ask(\%right, method => 'HEAD')->status(), 200, 'HEAD');

# a browser says which page it is for; where flv_cors says nothing of that, every page may
is(ask({ %right, Origin => 'https://elsewhere.example' })->status(), 101, 'a page of another site');

###############################################################################

sub ask {
	my ($headers, %options) = @_;
	delete @$headers{grep { !defined $headers->{$_} } keys %$headers};
	my $answer = http_flv(port(8080), '/live/s', headers => $headers, wait => 0, %options);
	$answer->answered();
	return $answer;
}
