#!/usr/bin/perl

# Headers and metadata are kept for later players up to 1 MiB of a source; what is beyond is
# passed on all the same, and they do not pile up in front of a player that takes nothing.

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

my $t = Test::Nginx->new()->plan(9);

live_run($t, app => 'cache_time 1s;
	}

	application jumping {
		live on;
		low_latency on;');

###############################################################################

# 600 KB of video header fit, 600 KB of audio header do not fit beside them

my ($video, $audio) = (video_header('v' x 600_000), audio_header('a' x 600_000));
my $p = publisher('s', chunk_size => 0xffffff);
my $v = player('s');
$p->send_video(0, $video);
$p->send_audio(0, $audio);
$p->send_video(0, key_frame(0));
ok(has($v, $video), 'a large header is passed on');
ok(has($v, $audio), 'and one that does not fit');

my $later = player('s');
my $frame = $later->read_until(sub { $_[0]{payload} eq key_frame(0) });
ok($frame, 'a later player plays');
my @headers = grep { $_->{type} == RTMP_VIDEO || $_->{type} == RTMP_AUDIO } @{$later->{skipped}};
is(scalar @headers, 1, 'with one header');
ok($headers[0]{payload} eq $video, 'the one that was kept');

# it is said once of a source

$p->send_audio(1, $audio) for 1 .. 3;
$p->send_video(40, inter_frame(1));
ok(has($v, inter_frame(1)), 'the stream goes on');
is(scalar(grep { /later players of "live\/s" do not get/ } split /\n/, $t->read_file('error.log')), 1,
	'one line');

# each key frame moves a player that is behind, and none brings the headers once more

my $h = rtmp_connect(port(1935), 'jumping', chunk_size => 0xffffff);
$h->publish('s');
my $header = video_header('h' x 400_000);
$h->send_video(0, $header);
$h->send_video(0, key_frame(0));
my $slow = rtmp_connect(port(1935), 'jumping', rcvbuf => 4096);
$slow->play('s');
my $jumps = 60;
for my $n (1 .. $jumps) {
	$h->send_video($n * 40, key_frame($n) . 'x' x 100_000);
	# its answer comes behind the flush
	$h->result($h->command('createStream', undef));
}
$h->send_video(10_000, key_frame(999));
my $last = $slow->read_until(sub { $_[0]{payload} eq key_frame(999) }, 30);
ok($last, 'a player that was behind plays on');
my $times = grep { $_->{payload} eq $header } @{$slow->{skipped}};
cmp_ok($times, '<', 5, "it got the header $times times for $jumps key frames");

###############################################################################

sub has {
	my ($player, $payload) = @_;
	return $player->read_until(sub { $_[0]{payload} eq $payload }, 10);
}

###############################################################################
