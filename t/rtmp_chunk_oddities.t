#!/usr/bin/perl

# Chunk streams as encoders use them beside the specification's letter: high
# ids, a first chunk of type 1, control messages of odd sizes.

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

my $t = Test::Nginx->new()->plan(19);

live_run($t);

###############################################################################

my $n = 0;

# A publisher and a player, past the first key frame.
sub pair {
	my $p = publisher('s' . ++$n);
	my $v = player("s$n");
	$p->send_video(0, video_header());
	$p->send_video(0, key_frame(0));
	$v->read_until(sub { $_[0]{payload} eq key_frame(0) });
	return ($p, $v);
}

# True if a frame still arrives, with its time.
sub goes_on {
	my ($p, $v, $what) = @_;
	$p->send_video(80, inter_frame(9));
	is($v->read_until(sub { $_[0]{payload} eq inter_frame(9) })->{timestamp}, 80, "$what: the stream goes on");
}

for my $csid (32, 63, 64, 319, 320, 65599) {
	my ($p, $v) = pair();
	$p->send_message(RTMP_AUDIO, 23, 1, audio_frame(1), csid => $csid);
	$p->send_message(RTMP_AUDIO, 23, 1, audio_frame(2), csid => $csid, fmt => 1);
	my @got = map { $v->read_media() } 1 .. 2;
	is_deeply([map { @$_{qw/ timestamp payload /} } @got],
		[23, audio_frame(1), 46, audio_frame(2)], "audio on chunk stream $csid");
}

for my $csid (12, 70) {
	my ($p, $v) = pair();
	$p->send_message(RTMP_AUDIO, 23, 1, audio_frame(1), csid => $csid, fmt => 1);
	$p->send_message(RTMP_AUDIO, 20, 1, audio_frame(2), csid => $csid, fmt => 1);
	my @got = map { $v->read_media() } 1 .. 2;
	is_deeply([map { @$_{qw/ timestamp payload /} } @got],
		[23, audio_frame(1), 43, audio_frame(2)], "chunk stream $csid begins with type 1");
	goes_on($p, $v, 'type 1');
}

my ($p, $v) = pair();
$p->send_raw("\x8d\0\0\x17");
goes_on($p, $v, 'a first chunk of type 2, without a length');
$p->send_raw("\xce");
ok($p->closed(), 'a first chunk without any header ends the session');

# set chunk size, abort, acknowledgement, user control, window, bandwidth
for my $type (1 .. 6) {
	my ($p, $v) = pair();
	$p->send_message($type, 0, 0, substr("\0\0\1\0", 0, $_)) for 0 .. 3;
	goes_on($p, $v, "control messages of type $type with 0 to 3 bytes");
}

($p, $v) = pair();
$p->send_message(1, 0, 0, "\0\0\x10\0\xff\xff");
$p->{out_chunk} = 4096;
$p->send_video(40, key_frame(3));
ok($v->read_until(sub { $_[0]{payload} eq key_frame(3) }), 'of a longer one the first four bytes count');

###############################################################################
