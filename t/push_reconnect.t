#!/usr/bin/perl

# Tests for the delays between the attempts of a push, for what attempts without
# end cost, and for what a server gets that has come back.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Live qw/ video_header audio_header key_frame inter_frame /;
use Test::Nginx::Process;
use Test::Nginx::RTMP;
use Test::Nginx::Relay;
use Time::HiRes qw/ time sleep /;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->plan(15);

relay_run($t, near => 'push rtmp://127.0.0.1:%%PORT_8081%%; '
	. 'failed_reconnect 100ms; push_reconnect 800ms;');

###############################################################################

# a server that closes every connection: the delays double up to the cap, 20 % off
# by chance at most

my $server = tcp_server(port(8081));
my $p = near();
$p->publish('s');
my @times;
for (1 .. 6) {
	$server->timeout(5 * ($ENV{TEST_NGINX_SLOW} || 1));
	my $socket = $server->accept() or last;
	push @times, time();
	$socket->close();
}
my $slack = 0.1 * ($ENV{TEST_NGINX_SLOW} || 1);
my @expected = (0.1, 0.2, 0.4, 0.8, 0.8);
for my $i (0 .. $#expected) {
	my $delay = ($times[$i + 1] // 0) - ($times[$i] // 0);
	ok($delay >= $expected[$i] * 0.79 && $delay <= $expected[$i] * 1.2 + $slack,
		"delay $i") or diag("$delay instead of $expected[$i]");
}
is(scalar(() = wait_lines($t, qr/push of "live\/s" .* again in \d+ms/, scalar @times)), scalar @times,
	'one line for an attempt');

# one that is down, and 100 publishers: neither memory nor descriptors grow

$server->close();
my @publishers = map { my $p = near(); $p->publish("many-$_"); $p } 1 .. 100;
sleep(1);
my ($worker) = worker_pids($t);
my ($rss, $fds) = (rss_kb($worker), fd_count($worker));
sleep(4);
my $attempts = () = log_lines($t, qr/push of "live\/many-/);
cmp_ok($attempts, '>', 300, 'many attempts');
cmp_ok(rss_kb($worker) - $rss, '<', 512, 'memory is constant');
cmp_ok(abs(fd_count($worker) - $fds), '<=', 101, 'descriptors are constant');
@publishers = ();
ok(wait_for { fd_count($worker) < 40 }, 'and gone with the publishers');

# it comes back: it gets the headers and then a key frame

$p->send_data(0, '@setDataFrame', 'onMetaData', { width => 16 });
$p->send_video(0, video_header());
$p->send_audio(0, audio_header());
$p->send_video(40 * $_, $_ % 25 ? inter_frame($_) : key_frame($_)) for 0 .. 60;
$server = rtmp_server(port(8081));
my $peer = rtmp_accept($server);
is($peer->{name}, 's', 'it is back');
my @kinds = map {
	my $message = $peer->read_media();
	substr($message->{payload} // '', 0, 2);
} 1 .. 3;
is($kinds[0], "\x02\x00", 'metadata');
is($kinds[1], "\x17\x00", 'video header');
is($kinds[2], "\xaf\x00", 'audio header');
$p->send_video(2500, key_frame(62));
is(substr($peer->read_video()->{payload}, 0, 2), "\x17\x01", 'a key frame');

###############################################################################
