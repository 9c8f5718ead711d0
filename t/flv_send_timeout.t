#!/usr/bin/perl

# HTTP-FLV: a client that takes nothing for send_timeout is closed.

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

my $t = Test::Nginx->new()->has(qw/http/)->plan(3);

# the publisher has one place, and a player that is closed leaves the other one
flv_run($t, location => 'send_timeout 500ms;', app => 'cache_time 1s; out_queue 10m;
	max_connections 2;');

###############################################################################

my $p = publisher('s', chunk_size => 65536);
$p->send_video(0, video_header());
$p->send_audio(0, audio_header());
$p->send_video(0, key_frame(0));
my $stuck = flv_play('s', rcvbuf => 4096);
is($stuck->status(), 200, 'a player');
is(flv_play('s')->status(), 403, 'has the place');

my $n = 0;
ok(wait_for(sub {
	$p->send_video(40 * ++$n, key_frame($n) . 'x' x 40000);
	my $next = flv_play('s');
	my $status = $next->status();
	$next->close();
	return $status == 200;
}, 20), 'and leaves it');

###############################################################################
