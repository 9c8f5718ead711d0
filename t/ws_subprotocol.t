#!/usr/bin/perl

# WebSocket: the first subprotocol that a client offers is its; browsers give up if none is.

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

my $t = Test::Nginx->new()->has(qw/http/)->plan(6);

flv_run($t, app => 'cache_time 1s;');

###############################################################################

for my $case (['flv', 'flv'], ['flv, rtmp', 'flv'], [' a.b ,flv', 'a.b']) {
	my ($offered, $answered) = @$case;
	my $ws = ws($offered);
	like($ws->{head}, qr/^Sec-WebSocket-Protocol: \Q$answered\E\r$/mi, "offered: $offered");
}
unlike(websocket(port(8080), '/live/s')->{head}, qr/^Sec-WebSocket-Protocol/mi, 'none offered');
is(ws($_)->{status}, 400, "offered: \"$_\"") for ', flv', 'a b';

###############################################################################

sub ws {
	my ($offered) = @_;
	return websocket(port(8080), '/live/s', headers => { 'Sec-WebSocket-Protocol' => $offered });
}
