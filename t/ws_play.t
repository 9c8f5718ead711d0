#!/usr/bin/perl

# FLV in the frames of a WebSocket.

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

my $t = Test::Nginx->new()->has(qw/http/)->plan(20);

flv_run($t, app => 'cache_time 10s;', rtmp => 'application quiet { live on;
	cache_time 1s; idle_streams off; }');

###############################################################################

my $p = publisher('s');
my @sent = published($p);
# everything is there when the next answer is
$p->result($p->command('createStream', undef));

my $ws = websocket(port(8080), '/live/s.flv');
is($ws->{status}, 101, 'status');
like($ws->{head}, qr/^Upgrade: websocket\r$/mi, 'upgrade');
like($ws->{head}, qr/^Connection: upgrade\r$/mi, 'connection');
like($ws->{head}, qr/^Sec-WebSocket-Accept: \Q$ws->{accept}\E\r$/mi, 'accept');

my $length = length(flv_file(5, @sent));
my $flv = flv_parse($ws->stream($length));
is($flv->{flags}, 5, 'flags');
is_deeply([map { $_->{payload} } @{$flv->{tags}}], [map { $_->{payload} } @sent], 'tags');

# pings, in pieces and with other frames around them

$ws->send_frame(9, 'one');
is_deeply($ws->control(), { opcode => 10, final => 1, payload => 'one' }, 'pong');
$ws->send_frame(1, 'x' x 60000);
$ws->send_frame(2, 'y' x 300, final => 0);
$ws->send_frame(9, 'p' x 125);
$ws->send_frame(0, 'z' x 300);
is($ws->control()->{payload}, 'p' x 125, 'pong between other frames');
$ws->send_raw($_) for split //, "\x89\x83abcd" . ('two' ^ 'abc');
is($ws->control()->{payload}, 'two', 'ping byte by byte');
$ws->send_frame(10, 'a pong that nobody asked for');

# media go on, and a large frame as well

my $big = key_frame(1) . 'x' x 200_000;
$p->send_video(5000, $big);
my $tag = flv_tag(FLV_VIDEO, 5000, $big);
is(substr($ws->stream($length + length($tag)), $length), $tag, 'a large tag');

$ws->send_frame(8, "\x03\xe8bye");
is_deeply($ws->control(), { opcode => 8, final => 1, payload => "\x03\xe8bye" }, 'close');
ok(!defined $ws->frame() && $ws->{eof}, 'and the end');

# what is not allowed

for my $case (
	['no mask', 9, 'x', mask => ''],
	['a long ping', 9, 'x' x 126],
	['a ping in pieces', 9, 'x', final => 0],
) {
	my ($name, @frame) = @$case;
	my $bad = websocket(port(8080), '/live/s');
	$bad->stream(13);
	$bad->send_frame(@frame);
	is($bad->control()->{payload}, pack('n', 1002), $name);
	ok(!defined $bad->frame() && $bad->{eof}, "$name, closed");
}

# refusals are answers of HTTP

is(websocket(port(8080), '/quiet/none')->{status}, 404, 'no stream');

# a stream that ends

my $q = rtmp_connect(port(1935), 'quiet');
$q->publish('ends');
published($q);
my $ends = websocket(port(8080), '/quiet/ends');
$q->close();
is($ends->control()->{payload}, pack('n', 1001) . 'the publisher has left',
	'closed when the publisher leaves');

###############################################################################
