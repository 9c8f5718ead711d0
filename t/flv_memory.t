#!/usr/bin/perl

# HTTP-FLV: a request's memory does not grow with what is sent.

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

my $t = Test::Nginx->new()->has(qw/http/)->plan(3);

flv_run($t, app => 'cache_time 1s;');

###############################################################################

# writes, and what each may leave behind, in bytes: less than the smallest piece
# that a pool gives away
my $WRITES = 10_000;
my $EACH = 8;

my $p = publisher('s', chunk_size => 65536);
$p->send_video(0, video_header());
$p->send_audio(0, audio_header());
$p->send_video(0, key_frame(0));
my ($worker) = worker_pids($t);

my %play = (
	'HTTP/1.1' => sub { flv_play('s') },
	'HTTP/1.0' => sub { flv_play('s', version => '1.0') },
	'WebSocket' => sub { websocket(port(8080), '/live/s') },
);
for my $name (sort keys %play) {
	# one at a time, since the stream keeps for a player what it does not read
	my $player = $play{$name}->();
	my $n = 0;
	my $write = sub {
		# each is seen before the next one is sent, so that it is a write of its own
		for (1 .. $_[0]) {
			$p->send_video(40 * ++$n, $n % 100 ? inter_frame($n) : key_frame($n));
			$player->receive(Time::HiRes::time() + 5) or last;
			@$player{qw/ in body /} = ('', '');
		}
	};
	# until buffers have found their size
	$write->(2 * $WRITES);
	my $before = rss_kb($worker);
	$write->($WRITES);
	my $grown = rss_kb($worker) - $before;
	cmp_ok($grown, '<', $WRITES * $EACH / 1024, "$name: $WRITES writes, $grown KiB");
	$player->close();
}

###############################################################################
