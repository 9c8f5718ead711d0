#!/usr/bin/perl

# Players get the header of the frame that they start with, whatever came after it.

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

use constant {
	SEQUENCE_END => "\x17\x02\0\0\0",
	HEVC_HEADER => "\x1c\0\0\0\0hvcC",
	HEVC_KEY => "\x1c\1\0\0\0key",
	EX_HEADER => "\x90hvc1hvcC",
	EX_KEY => "\x93hvc1key",
	H263_KEY => "\x12key",
	G711 => "\x82sound",
};

# what a publisher sends in one write, and what a player gets that waits for it, and
# one that comes later
my $aac = audio_frame(1);
my @CASES = (
	['end of sequence', [video_header(), key_frame(1), SEQUENCE_END],
		waits => [video_header(), key_frame(1), SEQUENCE_END], cached => [video_header(), key_frame(1), SEQUENCE_END]],
	['another header', [video_header(1), key_frame(1), video_header(2), key_frame(2)],
		waits => [video_header(1), key_frame(1), video_header(2), key_frame(2)],
		cached => [video_header(2), key_frame(2)]],
	['AVC, then HEVC', [video_header(), key_frame(1), HEVC_HEADER, HEVC_KEY],
		waits => [video_header(), key_frame(1), HEVC_HEADER, HEVC_KEY], cached => [HEVC_HEADER, HEVC_KEY]],
	['AVC, then enhanced HEVC', [video_header(), key_frame(1), EX_HEADER, EX_KEY],
		waits => [video_header(), key_frame(1), EX_HEADER, EX_KEY], cached => [EX_HEADER, EX_KEY]],
	['AVC, then H.263', [video_header(), key_frame(1), H263_KEY],
		waits => [video_header(), key_frame(1), H263_KEY], cached => [H263_KEY]],
	['AAC, then G.711', [audio_header(), $aac, G711, G711],
		waits => [audio_header(), $aac, G711, G711], cached => [G711, G711]],
	['AAC, then G.711, then AAC', [audio_header(), $aac, G711, $aac],
		waits => [audio_header(), $aac, G711, audio_header(), $aac], cached => [audio_header(), $aac]],
	['one frame of another codec', [video_header(), audio_header(), key_frame(1), G711, key_frame(2), $aac],
		waits => [video_header(), key_frame(1), G711, key_frame(2), audio_header(), $aac],
		cached => [video_header(), key_frame(1), G711, key_frame(2), audio_header(), $aac]],
);

my $t = Test::Nginx->new()->plan(3 * @CASES);

live_run($t, server => 'application cached { live on; cache_time 10s; }');

###############################################################################

for my $case (@CASES) {
	my ($name, $sent, %want) = @$case;
	for my $app (qw/ live cached /) {
		my $p = client($app);
		$p->publish('s');
		my $waits = client($app);
		$waits->play('s');
		$waits->result($waits->command('createStream', undef));
		my $n = 0;
		$p->send_raw(join '', map {
			$p->message(/^[\x82\xaf]/ ? 8 : 9, 40 * $n++, 1, $_)
		} @$sent);
		is_deeply(got($waits, scalar @{$want{waits}}), $want{waits}, "$name, $app: a player that waits");
		if ($app eq 'cached') {
			my $late = client($app);
			$late->play('s');
			is_deeply(got($late, scalar @{$want{cached}}), $want{cached}, "$name: from the cache");
		}
		$p->close();
		$waits->read_until(sub { ($_[0]{event} // -1) == 1 });
	}
}

###############################################################################

sub client { rtmp_connect(port(1935), $_[0]) }

# So many messages that a player gets, of audio and video.
sub got {
	my ($player, $count) = @_;
	return [map {
		($player->read_until(sub { $_[0]{type} == RTMP_VIDEO || $_[0]{type} == RTMP_AUDIO }) // {})->{payload}
	} 1 .. $count];
}

###############################################################################
