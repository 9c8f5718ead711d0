#!/usr/bin/perl

# A player that does not read keeps key frames in the log. What one more message costs does not
# grow with how many there are.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Live;
use Test::Nginx::Process;
use Test::Nginx::RTMP;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $KEY_FRAMES = 200_000;

my $t = Test::Nginx->new()->plan(2);

# room for all of them: it is time that is measured
live_run($t, app => 'cache_time 1s; cache_size 256m; out_queue 10m size=256m;
	}

	application jumping {
		live on;
		low_latency on;
		cache_time 1s; cache_size 256m; out_queue 10m size=256m;');

###############################################################################

my ($worker) = worker_pids($t);

# of the processor, not of the clock; it would be ten seconds if each message looked at all before
my $MOST = 2 * ($ENV{TEST_NGINX_SLOW} || 1);
for my $app (qw/ live jumping /) {
	my $used = flooded($app, 20);
	cmp_ok($used, '<', $MOST, "$app: $used seconds for $KEY_FRAMES key frames");
}

###############################################################################

# The processor's time that a flood of key frames takes, in seconds.
sub flooded {
	my ($app, $players) = @_;

	my $p = rtmp_connect(port(1935), $app, chunk_size => 65536);
	$p->publish("s$players");
	$p->send_video(0, video_header('x' x 1000));
	$p->send_video(0, key_frame(0));
	my @players = map { rtmp_connect(port(1935), $app, rcvbuf => 4096) } 1 .. $players;
	$_->play("s$players") for @players;
	# more than their sockets take
	$p->send_video($_, inter_frame($_) . 'x' x 30000) for 1 .. 300;
	$p->result($p->command('createStream', undef));

	my $before = cpu_seconds($worker);
	my $key = "\x17\x01\0\0\0";
	# a chunk header of type 1: one millisecond after the last one
	my $flood = ("\x46\0\0\1\0\0\5\x09" . $key) x ($KEY_FRAMES / 100);
	$p->send_video(301, $key, csid => 6);
	$p->send_raw($flood, 60) for 1 .. 100;
	$p->result($p->command('createStream', undef), 60);
	my $used = cpu_seconds($worker) - $before;
	$p->close();
	return $used;
}

###############################################################################
