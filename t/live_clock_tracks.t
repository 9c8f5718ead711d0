#!/usr/bin/perl

# Audio and video have clocks of their own: what one does moves the other nowhere.

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

my $t = Test::Nginx->new()->plan(17);

live_run($t);

###############################################################################

# two bases, and a late audio that has its own

my ($p, $v) = pair('bases');
run($p, 20_000, 0);
my %got = frames($v);
is_deeply($got{video}, [steps(20_000)], 'video counts from twenty seconds');
is_deeply($got{audio}, [steps(0)], 'audio from nothing');

# counters of 24 bits that wrap one after the other

($p, $v) = pair('wraps');
my $high = 0xFFFFFF - 300;
run($p, $high, $high - 320);
%got = frames($v);
is_deeply($got{video}, [steps($high)], 'video wraps');
is_deeply($got{audio}, [steps($high - 320)], 'audio wraps later');

# an encoder restarts in one track alone, then in the other one as well

($p, $v) = pair('restarts');
run($p, 50_000, 50_010);
frames($v);
run($p, 0, 50_010 + 20 * 40);
%got = frames($v);
is_deeply($got{video}, [steps(50_000 + 20 * 40)], 'video goes on, though its clock fell');
is_deeply($got{audio}, [steps(50_010 + 20 * 40)], 'audio is not moved by it');
run($p, 20 * 40, 20 * 40 + 5);
%got = frames($v);
is_deeply($got{video}, [steps(50_000 + 40 * 40)], 'video goes on');
is_deeply($got{audio}, [steps(50_000 + 40 * 40 + 5)], 'audio fell too: to where it belongs again');

# another publisher, whose audio is as far from its video as before

($p, $v) = pair('republish');
run($p, 20_000, 0);
my %first = frames($v);
$p->close();
ok($v->read_until(sub { defined $_[0]{event} && $_[0]{event} == 1 }), 'the publisher has gone');
$p = publisher('republish');
headers($p);
run($p, 23_000, 3_000);
%got = frames($v);
for my $kind (qw/ video audio /) {
	my $gap = $got{$kind}[0] - $first{$kind}[-1];
	cmp_ok($gap, '>', 0, "$kind goes on");
	cmp_ok($gap, '<', 1000, "$kind does not go far");
	is_deeply([map { $_ - $got{$kind}[0] } @{$got{$kind}}], [steps(0)], "$kind keeps its pace");
}
is($got{video}[0] - $got{audio}[0], 20_000, 'and they are as far apart as in the source');

# none of them is late by its own fault

my @back = grep { $_ > 0 && $got{video}[$_] <= $got{video}[$_ - 1] } 0 .. $#{$got{video}};
is(scalar @back, 0, 'no step back');

###############################################################################

# A publisher that has sent its headers, and a player that waits.
sub pair {
	my ($name) = @_;
	my $publisher = publisher($name);
	headers($publisher);
	my $player = player($name);
	$player->result($player->command('createStream', undef));
	return ($publisher, $player);
}

sub headers {
	$_[0]->send_video(0, video_header());
	$_[0]->send_audio(0, audio_header());
}

# Twenty frames of each track, from these timestamps on, in 24 bits.
sub run {
	my ($publisher, $video, $audio) = @_;
	for my $n (0 .. 19) {
		$publisher->send_video(($video + $n * 40) & 0xFFFFFF, key_frame($n));
		$publisher->send_audio(($audio + $n * 40) & 0xFFFFFF, audio_frame($n));
	}
}

sub steps { map { $_[0] + $_ * 40 } 0 .. 19 }

# The timestamps of twenty frames of each track.
sub frames {
	my ($player) = @_;
	my %frames = (video => [], audio => []);
	while (@{$frames{video}} < 20 || @{$frames{audio}} < 20) {
		my $message = $player->read_until(sub { $_[0]{payload} =~ /^[\x17\xaf]\x01/ }) or last;
		push @{$frames{$message->{type} == RTMP_VIDEO ? 'video' : 'audio'}}, $message->{timestamp};
	}
	return %frames;
}

###############################################################################
