#!/usr/bin/perl

# When video falls silent, players to come get cache_time of audio, and start with video when it is back.

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

my $t = Test::Nginx->new()->plan(11);

live_run($t, server => 'application all { live on; cache_time 1s; send_all on; }',
	app => 'cache_time 1s;');

###############################################################################

for my $app (qw/ live all /) {
	my $p = rtmp_connect(port(1935), $app);
	$p->publish('s');
	$p->send_video(0, video_header());
	$p->send_audio(0, audio_header());
	for my $n (0 .. 9) {
		$p->send_video($n * 40, $n ? inter_frame($n) : key_frame(0));
		$p->send_audio($n * 40, audio_frame($n));
	}
	# a minute without a picture
	$p->send_audio($_ * 40, audio_frame($_)) for 10 .. 1500;
	my @got = audio($p, $app, 1500);
	cmp_ok($got[0], '>=', 59_000, "$app: no older audio");
	cmp_ok($got[0], '<', 59_080, "$app: but as much as there is");
	is($got[-1], 60_000, "$app: up to now");

	# the picture is back, in the middle of a group, then with a key frame
	$p->send_video(60_040, inter_frame(1501));
	$p->send_audio($_ * 40, audio_frame($_)) for 1501 .. 1600;
	@got = audio($p, $app, 1600);
	cmp_ok($got[0], '>=', 62_980, "$app: without a key frame it is by time as well");
	$p->send_video(64_040, key_frame(1601));
	$p->result($p->command('createStream', undef));
	my $v = rtmp_connect(port(1935), $app);
	$v->play('s');
	is($v->read_until(sub { $_[0]{payload} eq key_frame(1601) })->{timestamp}, 64_040,
		"$app: a key frame is where players start again");
}

# a stream that is never anything but audio

my $p = publisher('audio');
$p->send_audio(0, audio_header());
$p->send_audio($_ * 40, audio_frame($_)) for 0 .. 1500;
my @got = audio($p, 'live', 1500, 'audio');
is($got[0], 59_000, 'audio alone');

###############################################################################

# The times of the audio frames that a new player gets, up to this one.
sub audio {
	my ($publisher, $app, $last, $name) = @_;
	$publisher->result($publisher->command('createStream', undef));
	my $player = rtmp_connect(port(1935), $app);
	$player->play($name // 's');
	my @times;
	while (my $message = $player->read_until(sub { $_[0]{payload} =~ /^\xaf\x01/ })) {
		push @times, $message->{timestamp};
		last if $message->{payload} eq audio_frame($last);
	}
	$player->close();
	return @times;
}

###############################################################################
