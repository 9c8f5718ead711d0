#!/usr/bin/perl

# What a stream holds is bounded, whatever its publisher sends and however its players take it.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::FLV;
use Test::Nginx::FlvLive;
use Test::Nginx::Live qw/ publisher player video_header key_frame inter_frame /;
use Test::Nginx::Process;
use Test::Nginx::RTMP;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

# of a stream, and of a player, in KiB
my $STREAM = 64 * 1024;
my $PLAYER = 2 * 1024;

my $t = Test::Nginx->new()->has(qw/http/)->plan(8);

flv_run($t, app => 'cache_time 1s;', rtmp => 'application uncached { live on; }
	application jumping { live on; cache_time 1s; low_latency on; }');

###############################################################################

my ($worker) = worker_pids($t);
my $empty = sub { rtmp_chunk(0, 4, '', length => 0, type => RTMP_AUDIO, stream => 1) };

# bytes are not what counts: a header of one byte repeats the message before

for my $app (qw/ live uncached jumping /) {
	my $p = publish($app);
	my @players = players($app);
	my $before = rss_kb($worker);
	for (1 .. 20) {
		$p->send_raw($empty->() . "\xc4" x 99_999, 30);
		$p->send_video($_, key_frame($_));
	}
	done($p);
	bounded("$app: two million empty messages", $before, scalar @players);
	ok(scalar(grep { still_there($_) } @players), "$app: its players are not closed for that");
}

# as fast as it can, with nobody who takes it

my $p = publish('uncached');
my @players = players('uncached');
my $before = rss_kb($worker);
$p->send_video($_, inter_frame($_) . 'x' x 200_000) for 1 .. 1500;
done($p);
bounded('300 MB in large messages', $before, scalar @players);

# with sequence headers that change at each key frame

@players = players('jumping', my $q = publish('jumping'));
$before = rss_kb($worker);
for (1 .. 300) {
	$q->send_video($_, video_header($_ . 'h' x 100_000));
	$q->send_video($_, key_frame($_) . 'x' x 100_000);
}
done($q);
bounded('300 sequence headers of 100 KB', $before, scalar @players);

###############################################################################

my $streams = 0;

sub publish {
	my ($app) = @_;
	my $p = rtmp_connect(port(1935), $app, chunk_size => 0xffffff);
	$p->publish('s' . ++$streams);
	$p->send_video(0, video_header());
	$p->send_video(0, key_frame(0));
	return $p;
}

# Those who take nothing from the stream that was published last: as RTMP and FLV, one that has
# paused, and two that do not want everything.
sub players {
	my ($app) = @_;
	my @rtmp = map { rtmp_connect(port(1935), $app, rcvbuf => 4096) } 1 .. 5;
	$_->play("s$streams") for @rtmp;
	$rtmp[1]->send_command(1, 'pause', 0, undef, JSON::PP::true(), 0);
	$rtmp[2]->send_command(1, 'receiveVideo', 0, undef, JSON::PP::false());
	$rtmp[3]->send_command(1, 'receiveAudio', 0, undef, JSON::PP::false());
	my @flv = map { http_flv(port(8080), "/$app/s$streams", rcvbuf => 4096) } 1 .. 3;
	return @rtmp, @flv;
}

# All that was sent has been handled.
sub done {
	my ($client) = @_;
	ok(0, 'the publisher is answered') if !$client->result($client->command('createStream', undef), 60);
}

sub bounded {
	my ($name, $before, $players) = @_;
	my $grown = rss_kb($worker) - $before;
	cmp_ok($grown, '<', $STREAM + $players * $PLAYER, "$name: $grown KiB held");
}

sub still_there { !$_[0]->{eof} }

###############################################################################
