#!/usr/bin/perl

# GStreamer's rtmp2sink and rtmp2src, an RTMP stack that owes nothing to the others:
# it publishes for ffmpeg, plays what ffmpeg publishes, and both at once.

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

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has_daemon('ffmpeg')->has_daemon('gst-launch-1.0');
system('gst-inspect-1.0 --exists rtmp2sink') == 0
	or plan(skip_all => 'no rtmp2sink');

my %media = (
	both => { video => 'h264', audio => 'aac' },
	audio => { video => 0, audio => 'aac' },
	video => { video => 'h264', audio => 0 },
);

$t->plan(6 * keys %media);

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

my $server = 'rtmp://127.0.0.1:' . port(1935) . '/live';

for my $kind (sort keys %media) {
	my $file = make_flv($t, "$kind.flv", duration => 2, %{$media{$kind}});
	my @sent = flv_tags($file);

	# ffmpeg to GStreamer

	my $record = $t->testdir() . "/$kind-recorded.flv";
	my $player = gst_play($t, "$server/$kind-1", $record);
	my $publisher = ffmpeg_publish($t, $file, "$server/$kind-1", loop => -1);
	my @got;
	wait_for {
		@got = eval { flv_tags($record) };
		@got > 40;
	} 10;
	$_->stop() for $player, $publisher;
	same($kind, 'ffmpeg to GStreamer', \@got, \@sent);

	# GStreamer to GStreamer, and to ffmpeg

	$record = $t->testdir() . "/$kind-recorded-2.flv";
	$player = gst_play($t, "$server/$kind-2", $record);
	my $ffmpeg = ffmpeg_play($t, "$server/$kind-2",
		$kind eq 'audio' ? (audio_frames => 30) : (frames => 30));
	$publisher = gst_publish($t, $file, "$server/$kind-2");
	is($publisher->wait(), 0, "$kind, GStreamer publishes to its end")
		or diag($publisher->output());
	wait_for {
		@got = eval { flv_tags($record) };
		@got > 40;
	};
	$player->stop();
	same($kind, 'GStreamer to GStreamer', \@got, \@sent);

	is_run_of([hashes(0, frames($t, $ffmpeg))], [hashes(0, frames($t, $file))],
		"$kind, GStreamer to ffmpeg");
}

###############################################################################

# two tests
sub same {
	my ($kind, $name, $got, $sent) = @_;

	for my $type (FLV_VIDEO, FLV_AUDIO) {
		my @got = frames_of($type, @$got);
		my @sent = frames_of($type, @$sent);
		if (@sent) {
			is_run_of(\@got, \@sent, "$kind, $name, type $type");
		} else {
			is(scalar @got, 0, "$kind, $name, nothing of type $type");
		}
	}
}

sub frames_of {
	my ($type, @tags) = @_;
	return flv_payloads($type, grep { flv_kind($_) !~ /header|end/ } @tags);
}

###############################################################################
