package Test::Nginx::Media;

# Media for the tests, and the real clients that carry it: ffmpeg (Debian's and
# the newest), rtmpdump, GStreamer.

use warnings;
use strict;

use base qw/ Exporter /;

our @EXPORT = qw/
	ffmpeg ffmpeg_new make_flv remux flv_tags
	ffmpeg_publish ffmpeg_play frames hashes is_run_of
	rtmpdump_play gst_publish gst_play
/;

use File::Spec;
use Test::More;

use Test::Nginx qw//;
use Test::Nginx::FLV;
use Test::Nginx::Process;

# Debian's, whose RTMP is the older, plain one.
sub ffmpeg { 'ffmpeg' }

# The newest one: TEST_FFMPEG_NEW, or what the PyPI package imageio-ffmpeg brings
# along; undef if there is none.
sub ffmpeg_new {
	return $ENV{TEST_FFMPEG_NEW} if $ENV{TEST_FFMPEG_NEW};

	my $path = `python3 -c 'import imageio_ffmpeg as i; print(i.get_ffmpeg_exe())' 2>/dev/null`;
	chomp $path;
	return -x $path ? $path : undef;
}

###############################################################################
# media

my @X264 = qw/ -c:v libx264 -preset ultrafast -tune zerolatency -bf 0 /;
my %ENCODE = (
	h264 => [@X264],
	# with frames out of order, so that composition times count
	h264_bframes => [qw/ -c:v libx264 -preset ultrafast -bf 2 /],
	hevc => [qw/ -c:v libx265 -preset ultrafast -x265-params log-level=error /],
	av1 => [qw/ -c:v libsvtav1 -preset 12 -svtav1-params lp=1 /],
	vp9 => [qw/ -c:v libvpx-vp9 -deadline realtime -cpu-used 8 /],
	vvc => [qw/ -c:v libvvenc -preset faster /],
	aac => [qw/ -c:a aac -b:a 64k /],
	mp3 => [qw/ -c:a libmp3lame -b:a 64k /],
	opus => [qw/ -c:a libopus -b:a 64k /],
	flac => [qw/ -c:a flac /],
	ac3 => [qw/ -c:a ac3 -b:a 64k /],
);

# A test picture and a tone as a file of the test's directory; its path.
# Options: duration (seconds, 3), fps (25), gop (frames, fps), size (160x120),
# bitrate (of the video, as ffmpeg writes it), video (h264; 0 for none), audio
# (aac; 0 for none); video and audio may be lists: one track each; ffmpeg.
sub make_flv {
	my ($t, $name, %options) = @_;

	my $file = $t->testdir() . "/$name";
	my $fps = $options{fps} // 25;
	my @video = grep { $_ } _list($options{video} // 'h264');
	my @audio = grep { $_ } _list($options{audio} // 'aac');

	my (@inputs, @maps, @codecs);
	for my $i (0 .. $#video) {
		push @inputs, '-f', 'lavfi', '-i', 'testsrc2=rate=' . $fps
			. ':size=' . ($options{size} // '160x120');
		push @maps, '-map', $#maps / 2 + 0.5;
		push @codecs, map { s/^(-c:v)$/$1:$i/r } @{$ENCODE{$video[$i]}};
	}
	for my $i (0 .. $#audio) {
		push @inputs, '-f', 'lavfi', '-i',
			'sine=sample_rate=48000:frequency=' . 440 * ($i + 1);
		push @maps, '-map', $#maps / 2 + 0.5;
		push @codecs, map { s/^(-[cb]:a)$/$1:$i/r } @{$ENCODE{$audio[$i]}};
	}

	_ffmpeg($t, $options{ffmpeg}, @inputs, @maps,
		'-t', $options{duration} // 3, @codecs,
		@video ? ('-pix_fmt', 'yuv420p', '-g', $options{gop} // $fps) : (),
		$options{bitrate} ? ('-b:v', $options{bitrate}) : (),
		'-f', 'flv', $file);
	return $file;
}

# The same media as ffmpeg writes it when it only copies; the file's path.
sub remux {
	my ($t, $file, %options) = @_;
	_ffmpeg($t, $options{ffmpeg}, '-i', $file, qw/ -map 0 -c copy -f flv /,
		"$file-copy");
	return "$file-copy";
}

# The tags of a file.
sub flv_tags {
	my ($file) = @_;
	open my $input, '<:raw', $file or die "cannot read $file: $!\n";
	local $/;
	return @{flv_parse(<$input> // '')->{tags}};
}

sub _list { ref $_[0] ? @{$_[0]} : $_[0] }

# Runs ffmpeg to its end; dies with what it says if that is an error.
sub _ffmpeg {
	my ($t, $ffmpeg, @arguments) = @_;

	my $run = spawn($t, $ffmpeg // ffmpeg(), qw/ -nostdin -y -v error /,
		@arguments);
	my $code = $run->wait();
	die "ffmpeg @arguments: ", $code // 'timeout', "\n", $run->output() . "\n"
		if !defined $code || $code;
}

###############################################################################
# ffmpeg as a publisher and as a player

# Publishes a file as it is, in real time, in the background; the process.
# Options: loop, how often it is repeated (-1 for ever; 0); rate, 0 for as fast
# as it goes; ffmpeg; options, a list for the output.
sub ffmpeg_publish {
	my ($t, $file, $url, %options) = @_;

	return spawn($t, $options{ffmpeg} // ffmpeg(), qw/ -nostdin -v error /,
		$options{rate} // 1 ? '-re' : (),
		'-stream_loop', $options{loop} // 0, '-i', $file,
		qw/ -map 0 -c copy /, @{$options{options} // []}, '-f', 'flv', $url);
}

# Plays an url in the background; the process, for frames().  Video streams are
# numbered before audio streams, whatever came first.  Options: frames, the number
# of video frames to end with; audio_frames, of audio frames; seconds, of
# media; decode, 1 to hash decoded frames instead of packets; file, to record to
# (packets as they are, by that file's format) instead of hashing; ffmpeg;
# options, a list for the input.
sub ffmpeg_play {
	my ($t, $url, %options) = @_;

	# a live stream may have one track only; ffmpeg looks for the other so many us
	return spawn($t, $options{ffmpeg} // ffmpeg(), qw/ -nostdin -y -v error /,
		qw/ -analyzeduration 500000 /, @{$options{options} // []}, '-i', $url, qw/ -map 0:v? -map 0:a? /,
		$options{decode} ? () : qw/ -c copy /,
		$options{frames} ? ('-frames:v', $options{frames}) : (),
		$options{audio_frames} ? ('-frames:a', $options{audio_frames}) : (),
		$options{seconds} ? ('-t', $options{seconds}) : (),
		$options{file} ? $options{file} : qw/ -f framemd5 - /);
}

# What a player started with ffmpeg_play() (or, given a file's path, what ffmpeg)
# sees: a list of { stream, dts, pts, size, hash }.  A player is waited for.
sub frames {
	my ($t, $from, %options) = @_;

	my $player = ref $from ? $from : ffmpeg_play($t, $from, %options);
	$player->wait($options{timeout});
	my @frames;
	for my $line (split /\n/, $player->output()) {
		next unless $line =~ /^\d+,/;
		my ($stream, $dts, $pts, undef, $size, $hash) = split /,\s*/, $line;
		push @frames, { stream => $stream, dts => $dts, pts => $pts,
			size => $size, hash => $hash };
	}
	return @frames;
}

# The hashes of one stream's frames, in order.
sub hashes {
	my ($stream, @frames) = @_;
	return map { $_->{hash} } grep { $_->{stream} == $stream } @frames;
}

# Tests that a list is a run out of another one, which may be repeated without
# end: what a player got of a looping file.
sub is_run_of {
	my ($got, $source, $name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return fail("$name (nothing came)") if !@$got || !@$source;
	START: for my $start (grep { $source->[$_] eq $got->[0] } 0 .. $#$source) {
		for my $i (0 .. $#$got) {
			next START
				if $got->[$i] ne $source->[($start + $i) % @$source];
		}
		return pass($name);
	}
	fail($name);
	my %known = map { $_ => 1 } @$source;
	diag(scalar(@$got), ' came, ', scalar(grep { !$known{$_} } @$got),
		' of them never sent');
	return;
}

###############################################################################
# rtmpdump

# Records a live stream to a file in the background; the process.  The options name
# the stream: -r URL and more.
sub rtmpdump_play {
	my ($t, $file, @options) = @_;
	return spawn($t, qw/ rtmpdump --live -q -o /, $file, @options);
}

###############################################################################
# GStreamer

# Publishes an FLV file by rtmp2sink in real time; the process.
sub gst_publish {
	my ($t, $file, $url) = @_;

	my @tags = flv_tags($file);
	my @tracks = map {
		my ($type, $pad) = @$_;
		(grep { $_->{type} == $type } @tags)
			? ("d.$pad", '!', 'queue', '!', "m.$pad") : ();
	} [FLV_VIDEO, 'video'], [FLV_AUDIO, 'audio'];
	return spawn($t, qw/ gst-launch-1.0 -q filesrc /, "location=$file",
		qw/ ! flvdemux name=d flvmux name=m streamable=true ! rtmp2sink sync=true /,
		"location=$url", @tracks);
}

# Records a live stream by rtmp2src, as an FLV file.
sub gst_play {
	my ($t, $url, $file, @options) = @_;
	return spawn($t, 'gst-launch-1.0', '-q', '-e', 'rtmp2src', "location=$url",
		@options, '!', 'filesink', "location=$file", 'buffer-mode=2');
}

###############################################################################

1;

###############################################################################
