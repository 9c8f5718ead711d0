#!/usr/bin/perl

# HTTP-FLV: a slow player is moved to a key frame, then closed; others see no gap.

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

my $t = Test::Nginx->new()->has(qw/http/)->plan(9);

flv_run($t, app => 'cache_time 1s; out_queue 10s size=256k drop=2;',
	rtmp => 'application slow { live on; out_queue 10s size=256k; }');

###############################################################################

# a player that reads nothing while 8 MB are sent, beside one that reads all

my $p = rtmp_connect(port(1935), 'slow', chunk_size => 65536);
$p->publish('s');
$p->send_video(0, video_header());
$p->send_video(0, key_frame(0));
my ($slow, $fast) = map { http_flv(port(8080), '/slow/s', wait => 0, @$_) }
	[rcvbuf => 4096], [];
http_get('/live/');

my %sent = (key_frame(0) => 0);
my @fast;
for my $n (1 .. 200) {
	my $frame = ($n % 5 ? inter_frame($n) : key_frame($n)) . chr(65 + $n % 26) x 40000;
	$sent{$frame} = $n;
	$p->send_video($n * 40, $frame);
	push @fast, map { $sent{$_->{payload}} // () } $fast->read_tags(5, 0.01)
		if $n > 10 && $fast->answered();
}
$p->send_video(100_000, key_frame(999));
push @fast, map { $sent{$_->{payload}} // () } until_frame($fast, key_frame(999));
is_deeply([grep { $fast[$_] != $fast[$_ - 1] + 1 } 1 .. $#fast], [], 'no gap for the other');
is($fast[-1], 200, 'up to the end');

$slow->answered();
my @got = until_frame($slow, key_frame(999));
is(scalar(grep { !exists $sent{$_->{payload}} && flv_kind($_) ne 'header' } @got), 0,
	'every tag is one that was sent');
my @numbers = map { $sent{$_->{payload}} // () } @got;
my @jumps = grep { $numbers[$_] != $numbers[$_ - 1] + 1 } 1 .. $#numbers;
cmp_ok(scalar @numbers, '<', 200, 'some were left out');
is(scalar(grep { $numbers[$_] % 5 } @jumps), 0, 'up to a key frame');

# with drop=2, it is closed

my $q = publisher('s', chunk_size => 65536);
$q->send_video(0, video_header());
$q->send_video(0, key_frame(0));
my $closed = flv_play('s', rcvbuf => 4096);
for my $n (1 .. 200) {
	$q->send_video($n * 40, ($n % 5 ? inter_frame($n) : key_frame($n)) . 'x' x 40000);
}
$q->result($q->command('createStream', undef));
is($closed->status(), 200, 'answered');
ok($closed->closed(10), 'closed');
isnt($closed->closed(), 'complete', 'not as if it were complete');

# many that stop reading hold little: what one holds is MAX_HANDED and the blocks it lies in

my $r = rtmp_connect(port(1935), 'slow', chunk_size => 65536);
$r->publish('many');
$r->send_video(0, video_header());
$r->send_video(0, key_frame(0));
my ($worker) = worker_pids($t);
my @many = map { http_flv(port(8080), '/slow/many', wait => 0, rcvbuf => 4096) } 1 .. 100;
http_get('/live/');
my $before = rss_kb($worker);
for my $n (1 .. 200) {
	$r->send_video($n * 40, ($n % 5 ? inter_frame($n) : key_frame($n)) . 'x' x 40000);
}
$r->result($r->command('createStream', undef));
my $each = (rss_kb($worker) - $before) / @many;
cmp_ok($each, '<', 64 + 2 * 128, "memory of a player that stopped, $each KiB");

###############################################################################

sub until_frame {
	my ($player, $last) = @_;
	my @tags;
	while (my $tag = $player->read_tag(10)) {
		last if $tag->{payload} eq $last;
		push @tags, $tag;
	}
	return @tags;
}
