#!/usr/bin/perl

# ffmpeg publishes, ffmpeg plays: what comes out is what went in, for those who
# were there first and for those who came later.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Media;
use Test::Nginx::Process;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has_daemon('ffmpeg');

# the two ffmpegs, each as publisher and as player of the other
my %ffmpeg = (old => ffmpeg());
$ffmpeg{new} = ffmpeg_new() if ffmpeg_new();
my @pairs = map { my $from = $_; map { [$from, $_] } sort keys %ffmpeg }
	sort keys %ffmpeg;

my %media = (
	both => { video => 'h264', audio => 'aac' },
	bframes => { video => 'h264_bframes', audio => 'aac' },
	audio => { video => 0, audio => 'aac' },
	video => { video => 'h264', audio => 0 },
);

$t->plan(6 * @pairs + 2);

$t->write_file_expand('nginx.conf', <<'EOC');

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
            cache_time 1s;
        }
    }
}

EOC

$t->run();

###############################################################################

my (%file, %source);
for my $kind (keys %media) {
	$file{$kind} = make_flv($t, "$kind.flv", duration => 2, %{$media{$kind}});
	$source{$kind} = [frames($t, $file{$kind})];
}

for my $pair (@pairs) {
	my ($from, $to) = @$pair;
	my (@publishers, %player);

	for my $kind (sort keys %media) {
		my $url = 'rtmp://127.0.0.1:' . port(1935) . "/live/$from-$to-$kind";
		$player{$kind} = ffmpeg_play($t, $url, ffmpeg => $ffmpeg{$to},
			limit($kind, 40));
		push @publishers, ffmpeg_publish($t, $file{$kind}, $url,
			ffmpeg => $ffmpeg{$from}, loop => -1);
	}

	for my $kind (sort keys %media) {
		my @got = frames($t, $player{$kind});
		my $name = "$from ffmpeg to $to ffmpeg, $kind";

		is_run_of([hashes(0, @got)], [hashes(0, @{$source{$kind}})],
			"$name, stream 0");
		is_run_of([hashes(1, @got)], [hashes(1, @{$source{$kind}})],
			"$name, stream 1") if $kind =~ /^b/;
	}
}

# a late joiner decodes from its first frame on: no error is printed

for my $to ('old') {
	my $url = 'rtmp://127.0.0.1:' . port(1935) . '/live/late';
	my $publisher = ffmpeg_publish($t, $file{both}, $url, loop => -1);
	my $first = ffmpeg_play($t, $url, frames => 20);
	$first->wait();

	my $late = ffmpeg_play($t, $url, frames => 30, decode => 1);
	is($late->wait(), 0, 'late joiner ends well');
	unlike($late->output(), qr/^[^#\d]/m, 'late joiner decodes without an error');
}

###############################################################################

sub limit {
	my ($kind, $count) = @_;
	return $kind eq 'audio' ? (audio_frames => $count) : (frames => $count);
}

###############################################################################
