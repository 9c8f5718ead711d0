#!/usr/bin/perl

# HTTP-FLV: a client that goes is gone at once, whatever it was waiting for.

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

my $t = Test::Nginx->new()->has(qw/http/)->plan(7);

# the place that a player leaves is free for the next one
flv_run($t, app => 'max_connections 2; cache_time 1s;', rtmp => 'application idle {
	live on; max_connections 1; }');

###############################################################################

my $p = publisher('s');
published($p);

for my $how (qw/ close abort /) {
	my $player = flv_play('s');
	is(flv_play('s')->status(), 403, 'no place');
	$player->$how();
	is(next_status('/live/s'), 200, "place after $how");
}

# one that has got nothing yet

my $waits = http_flv(port(8080), '/idle/none', wait => 0);
http_get('/live/');
is(next_status('/idle/none'), 403, 'a waiting player has a place');
$waits->close();
my $rtmp = rtmp_connect(port(1935), 'idle');
is($rtmp->publish('other'), 'NetStream.Publish.Start', 'until it goes');

# and one of WebSocket

my $ws = websocket(port(8080), '/live/s');
$ws->abort();
is(next_status('/live/s'), 200, 'place after a WebSocket');

###############################################################################

# The status of a new player, which leaves again.
sub next_status {
	my ($uri) = @_;
	my $player = http_flv(port(8080), $uri) or return 'none';
	my $status = $player->status();
	$player->close();
	# it has left when a later request is answered
	http_get('/live/');
	return $status;
}
