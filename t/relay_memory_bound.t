#!/usr/bin/perl

# What is bounded for a stream is bounded wherever it goes on: to a server that it is pulled from
# here, one that it is pushed to, and to another worker.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Live qw/ video_header key_frame /;
use Test::Nginx::Process;
use Test::Nginx::Relay;
use Test::Nginx::RTMP;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

# of a stream, in KiB; each worker has two of them at the most
my $STREAM = 64 * 1024;

my $t = Test::Nginx->new()->plan(5);

relay_run($t, workers => 2, near => 'pull rtmp://127.0.0.1:%%PORT_1936%%;',
	far => 'push rtmp://127.0.0.1:%%PORT_1935%%/pushed;
	}

	application pushed {
		live on;
		cache_time 1s;', rtmp => '');

###############################################################################

my $far = far();
$far->publish('s');
$far->send_video(0, video_header());
$far->send_video(0, key_frame(0));
my @players = map { near() } 1 .. 4;
$_->play('s') for @players;
for my $n (0 .. $#players) {
	ok($players[$n]->read_until(sub { $_[0]{payload} eq key_frame(0) }), "player $n plays");
}

my %before = map { $_ => rss_kb($_) } worker_pids($t);
my $empty = rtmp_chunk(0, 4, '', length => 0, type => RTMP_AUDIO, stream => 1);
for my $n (1 .. 40) {
	$far->send_raw($empty . "\xc4" x 99_999, 30);
	$far->send_video($n, key_frame($n));
}
$far->result($far->command('createStream', undef), 60);
my $most = 0;
for my $pid (keys %before) {
	my $grown = rss_kb($pid) - $before{$pid};
	$most = $grown if $grown > $most;
}
cmp_ok($most, '<', 2 * $STREAM, "four million empty messages: $most KiB in a worker");

###############################################################################
