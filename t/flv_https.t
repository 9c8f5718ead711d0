#!/usr/bin/perl

# HTTP-FLV through TLS and HTTP/2.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::FLV;
use Test::Nginx::FlvLive;
use Test::Nginx::Live qw/ publisher player video_header audio_header key_frame inter_frame
	audio_frame /;
use Test::Nginx::Media;
use Test::Nginx::Process;
use Test::Nginx::RTMP;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http http_ssl http_v2/)->has_daemon('openssl')
	->has_daemon('curl')->has_daemon('ffmpeg');

$t->plan(11);

my $d = $t->testdir();
my $slow = $ENV{TEST_NGINX_SLOW} || 1;
system("openssl req -x509 -new -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost "
	. "-keyout $d/localhost.key -out $d/localhost.crt >/dev/null 2>&1") == 0
	or die "no certificate\n";

flv_run($t, app => 'cache_time 1s; out_queue 10s size=256k; max_connections 2;',
	http => 'ssl_certificate localhost.crt; ssl_certificate_key localhost.key;',
	server => $t->has_version('1.25.1')
		? 'listen 127.0.0.1:%%PORT_8443%% ssl; http2 on;'
		: 'listen 127.0.0.1:%%PORT_8443%% ssl http2;');

###############################################################################

my $file = make_flv($t, 'media.flv', duration => 2);
my @source = frames($t, $file);
my $publisher = ffmpeg_publish($t, $file, 'rtmp://127.0.0.1:' . port(1935) . '/live/s',
	loop => -1);
my $url = 'https://127.0.0.1:' . port(8443) . '/live/s.flv';

for my $version (qw/ 1.1 2 /) {
	my $out = "$d/out-$version.flv";
	my $curl = spawn($t, 'curl', '-k', '-s', '--max-time', 4 * $slow, '-N', "--http$version",
		'-D', "$d/head-$version", '-o', $out, $url);
	# ended by its own limit of time
	is($curl->wait(), 28, "HTTP/$version");
	like($t->read_file("head-$version"), qr{^HTTP/$version 200.*video/x-flv}s, 'head');
	my $bytes = $t->read_file("out-$version.flv");
	my $flv = flv_parse($bytes);
	is($flv->{flags}, 5, 'flags');
	my @got = grep { flv_kind($_) =~ /key|frame/ && $_->{type} == FLV_VIDEO } @{$flv->{tags}};
	my @sent = grep { flv_kind($_) =~ /key|frame/ && $_->{type} == FLV_VIDEO } flv_tags($file);
	is_run_of([map { $_->{payload} } @got], [map { $_->{payload} } @sent], 'video as it was sent');
}

# whoever gives up leaves his place at once: the publisher has the other one

for my $version (qw/ 1.1 2 /) {
	my $curl = spawn($t, 'curl', '-k', '-s', '-N', "--http$version", '-o', "$d/given-up", $url);
	wait_for { -s "$d/given-up" };
	unlink "$d/given-up";
	$curl->stop();
	my $next = spawn($t, 'curl', '-k', '-s', '--max-time', $slow, '-o', '/dev/null',
		'-w', '%{http_code}', $url);
	$next->wait();
	is($next->output(), 200, "place after HTTP/$version");
}

my @got = frames($t, $url, frames => 30, options => ['-tls_verify', 0]);
is_run_of([hashes(0, @got)], [hashes(0, @source)], 'ffmpeg by TLS');

###############################################################################
