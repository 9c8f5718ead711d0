#!/usr/bin/perl

# Enhanced RTMP: codecs that go by a FourCC, and several tracks.  The newest ffmpeg
# publishes, and a player gets what it sent, byte for byte and with its timestamps.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::FLV;
use Test::Nginx::Media;
use Test::Nginx::Process;
use Test::Nginx::RTMP;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new();
my $ffmpeg = ffmpeg_new() or plan(skip_all => 'no new ffmpeg');

my @media = (
	['HEVC and AAC', video => 'hevc', audio => 'aac'],
	['AV1 and Opus', video => 'av1', audio => 'opus'],
	['VP9 and FLAC', video => 'vp9', audio => 'flac'],
	['Opus alone', video => 0, audio => 'opus'],
	['two videos, two audios', video => ['h264', 'h264'],
		audio => ['aac', 'aac']],
	['tracks of several codecs', video => ['h264', 'hevc'],
		audio => ['aac', 'opus']],
);

$t->plan(5 * @media);

$t->write_file_expand('nginx.conf', <<'EOF');

%%TEST_GLOBALS%%

daemon off;
worker_shutdown_timeout 1s;

events {
}

rtmp {
    server {
        listen 127.0.0.1:%%PORT_1935%%;

        application live {
            live on;
            cache_time 10s;
        }
    }
}

EOF

$t->run();

###############################################################################

for my $number (0 .. $#media) {
	my ($name, %options) = @{$media[$number]};

	# what ffmpeg makes of the file when it publishes it
	my $file = make_flv($t, "$number.flv", duration => 1, gop => 10,
		ffmpeg => $ffmpeg, %options);
	my @sent = media_of(flv_tags(remux($t, $file, ffmpeg => $ffmpeg)));

	# who is there first gets all of it

	my $early = rtmp_connect(port(1935), 'live');
	is($early->play($number), 'NetStream.Play.Start', "$name, play");
	my $publisher = ffmpeg_publish($t, $file,
		'rtmp://127.0.0.1:' . port(1935) . "/live/$number", ffmpeg => $ffmpeg);
	my @got = read_frames($early, scalar frames_of(@sent));
	is_deeply(summary(frames_of(@got)), summary(frames_of(@sent)),
		"$name, as it was sent");
	is_deeply(headers_of(@got), headers_of(@sent), "$name, headers");
	$early->close();
	$publisher->wait();

	# who comes late gets every track's header, then everything from the first key
	# frame on

	$publisher = rtmp_connect(port(1935), 'live');
	$publisher->publish("$number-again");
	my @media = grep { flv_kind($_) ne 'end' } @sent;
	$publisher->send_tag($_) for @media;
	my @expected = frames_of(@media);
	if ($options{video}) {
		shift @expected while flv_kind($expected[0]) ne 'key';
	}

	my $late = rtmp_connect(port(1935), 'live');
	$late->play("$number-again");
	@got = read_frames($late, scalar @expected);
	is_deeply(headers_of(@got), headers_of(@media),
		"$name, headers for a late player");
	is_deeply(summary(frames_of(@got)), summary(@expected),
		"$name, frames for a late player");
}

###############################################################################

sub media_of {
	return grep { $_->{type} == FLV_AUDIO || $_->{type} == FLV_VIDEO } @_;
}

sub frames_of { grep { flv_kind($_) =~ /key|frame/ } media_of(@_) }

# each once, whatever their order among the tracks
sub headers_of {
	my %headers = map { $_ => 1 }
		map { sprintf('%d: %s', $_->{type}, unpack('H40', $_->{payload})) }
		grep { flv_kind($_) eq 'header' } media_of(@_);
	return [sort keys %headers];
}

# all messages until so many frames have come
sub read_frames {
	my ($player, $count) = @_;

	my @got;
	$player->read_until(sub {
		push @got, $_[0];
		frames_of($_[0]) && --$count == 0;
	});
	return @got;
}

# short enough to read when it differs
sub summary {
	return [map {
		sprintf('%d at %d: %d bytes %s', $_->{type}, $_->{timestamp},
			length($_->{payload}), unpack('H16', $_->{payload}))
			. '...' . unpack('%32C*', $_->{payload})
	} @_];
}

###############################################################################
