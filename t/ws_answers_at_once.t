#!/usr/bin/perl

# WebSocket: the handshake is answered when it is decided that a client may play, since a browser
# opens no other one to that address meanwhile.  What comes of the stream later is told by a close.

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

my $t = Test::Nginx->new()->has(qw/http/)->plan(10);

flv_run($t, app => 'cache_time 1s;',
	rtmp => 'application quiet { live on; idle_streams off; }
		application closed { live on; deny play all; }
		application patient { live on; idle_timeout 1s; }');

###############################################################################

my $ws = websocket(port(8080), '/live/later.flv');
is($ws->{status}, 101, 'answered before there is a stream');
$ws->send_frame(9, 'here?');
is_deeply($ws->control(), { opcode => 10, final => 1, payload => 'here?' }, 'and pings are');

my $p = publisher('later');
my @sent = published($p);
my $flv = flv_parse($ws->stream(length(flv_file(5, @sent))));
is($flv->{flags}, 5, 'then the FLV');
is_deeply([map { $_->{payload} } grep { flv_kind($_) =~ /key|frame/ } @{$flv->{tags}}],
	[map { $_->{payload} } grep { flv_kind($_) =~ /key|frame/ } @sent], 'and its frames');

# refused before

is(websocket(port(8080), '/quiet/none')->{status}, 404, 'no such stream');
is(websocket(port(8080), '/closed/none')->{status}, 403, 'forbidden');

# and after

my $unfed = websocket(port(8080), '/patient/none');
is($unfed->{status}, 101, 'waits');
is($unfed->control()->{payload}, pack('n', 4404) . 'nobody publishes the stream',
	'idle_timeout is told');
ok(!defined $unfed->frame() && $unfed->{eof}, 'and the end');

my $q = rtmp_connect(port(1935), 'quiet');
$q->publish('ends');
my $ends = websocket(port(8080), '/quiet/ends');
published($q);
$ends->stream(100);
$q->close();
is($ends->control()->{payload}, pack('n', 1001) . 'the publisher has left', 'the end is told');
