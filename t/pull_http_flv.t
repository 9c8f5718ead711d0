#!/usr/bin/perl

# Tests for pull over HTTP-FLV: from our own flv_live and from servers that frame the
# body in other ways, with redirects, and with answers that are none.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::FLV;
use Test::Nginx::Live qw/ video_header audio_header key_frame inter_frame /;
use Test::Nginx::Media;
use Test::Nginx::RTMP;
use Test::Nginx::Relay;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has_daemon('ffmpeg')->plan(26);

relay_run($t, http => <<'EOC', near => <<'EOC2');
    server {
        listen 127.0.0.1:8080;
        location / {
            flv_live 127.0.0.1:%%PORT_1936%%;
        }
    }
EOC
            pull http://127.0.0.1:%%PORT_8080%%;
            failed_reconnect 200ms;
        }

        application scripted {
            live on;
            pull http://127.0.0.1:%%PORT_8081%%/path/$name?$args domain=Origin.Example
                referer=http://page/ user_agent=ua/1;
            failed_reconnect 200ms;
            relay_redirects any;
EOC2

###############################################################################

# what ffmpeg publishes there is what ffmpeg plays here

my $file = make_flv($t, 'source.flv', duration => 2);
my @source = frames($t, $file);
my $publisher = ffmpeg_publish($t, $file, 'rtmp://127.0.0.1:' . port(1936) . '/live/s',
	loop => -1);
my $player = ffmpeg_play($t, 'rtmp://127.0.0.1:' . port(1935) . '/live/s', frames => 40);
my @got = frames($t, $player);
is_run_of([hashes(0, @got)], [hashes(0, @source)], 'video');
is_run_of([hashes(1, @got)], [hashes(1, @source)], 'audio');
$publisher->stop();

# names with bytes that mean something in an url

my $p = far();
$p->publish('a b%20c+d');
$p->send_video(0, video_header());
$p->send_video(0, key_frame(0));
my $v = near();
$v->play('a b%20c+d');
ok($v->read_video(), 'a name of all sorts');
$_->close() for $p, $v;

# the three ways of framing, in pieces of all sizes

my $flv = flv_file(5,
	{ type => FLV_DATA, timestamp => 0, payload => amf0('onMetaData', { width => 16 }) },
	{ type => FLV_VIDEO, timestamp => 0, payload => video_header() },
	{ type => FLV_AUDIO, timestamp => 0, payload => audio_header() },
	# 24 bits are not enough for these timestamps
	map { { type => FLV_VIDEO, timestamp => 0xFFFFF0 + 40 * $_,
		payload => $_ ? inter_frame($_) : key_frame($_) } } 0 .. 20);
my $server = tcp_server(port(8081));

my %framing = (
	'until close' => ["", sub { $_[0] }],
	'content-length' => ["Content-Length: " . length($flv) . "\r\n", sub { $_[0] }],
	'chunked' => ["Transfer-Encoding: chunked\r\n",
		sub { sprintf("%x;x=y\r\n%s\r\n", length($_[0]), $_[0]) }],
);
for my $name (sort keys %framing) {
	my ($header, $frame) = @{$framing{$name}};
	my ($v, $socket, $request) = asked('s');
	print $socket "HTTP/1.1 200 OK\r\nContent-Type: video/x-flv\r\n$header\r\n";
	for (my ($at, $size) = (0, 1); $at < length($flv); $at += $size++) {
		print $socket $frame->(substr($flv, $at, $size));
	}
	my @came;
	while (@came < 21) {
		my $message = $v->read_video() or last;
		push @came, $message if $message->{payload} !~ /avcC/;
	}
	is_deeply([map { $_->{payload} } @came], [key_frame(0), map { inter_frame($_) } 1 .. 20],
		"$name: frames");
	is_deeply([map { $_->{timestamp} } @came], [map { 0xFFFFF0 + 40 * $_ } 0 .. 20],
		"$name: timestamps");
	next if $name ne 'chunked';

	like($request, qr!^GET /path/s\?t=1 HTTP/1.1\r\n!, 'request line');
	like($request, qr!^Host: Origin.Example\r$!m, 'Host');
	like($request, qr!^Referer: http://page/\r$!m, 'Referer');
	like($request, qr!^User-Agent: ua/1\r$!m, 'User-Agent');
	like($request, qr!^X-Ngx-Rtmp-Hops: 1\r$!m, 'hops');
	like($request, qr!^Accept: \*/\*\r$!m, 'Accept');

	# the end of the body is the end of the source, and another attempt
	print $socket "0\r\n\r\n";
	$server->timeout(3);
	ok($server->accept(), 'asked again when the body ended');
}

# redirects, with a path, then with an url, and no more than three

my ($redirected, $socket) = asked('r');
print $socket "HTTP/1.1 302 Found\r\nLocation: /elsewhere?q\r\nContent-Length: 0\r\n\r\n";
($socket, my $request) = accepted();
like($request, qr!^GET /elsewhere\?q !, 'redirected to a path');
print $socket "HTTP/1.1 307 Temporary Redirect\r\n"
	. "Location: http://localhost:${\port(8081)}/third\r\nContent-Length: 0\r\n\r\n";
($socket, $request) = accepted();
like($request, qr!^GET /third !, 'redirected to an url');
like($request, qr!^Host: localhost:${\port(8081)}\r$!m, 'with its host');
print $socket "HTTP/1.1 200 OK\r\n\r\n$flv";
ok($redirected->read_video(), 'played');
close $socket;
$redirected->close();

($redirected) = asked('loop', sub { "HTTP/1.1 301 Moved\r\nLocation: /loop\r\n\r\n" }, 4);
ok(wait_lines($t, qr/more than 3 redirects/), 'a loop of redirects');
$redirected->close();

# answers that are failed attempts

my %failed = (
	'answered 500' => "HTTP/1.1 500 Oops\r\n\r\n",
	'404 Not Found' => "HTTP/1.1 404 Not Found\r\n\r\n",
	'not an FLV' => "HTTP/1.1 200 OK\r\n\r\n<html>no</html>",
	'redirected to "https://h/x": neither' => "HTTP/1.1 302 Found\r\nLocation: https://h/x\r\n\r\n",
	'is encoded' => "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n",
);
for my $why (sort keys %failed) {
	my ($v) = asked('f', sub { $failed{$why} });
	ok(wait_lines($t, qr/\Q$why\E/), $why);
	$v->close();
}

###############################################################################

# Plays a stream that is pulled from the script, and gives the player, the
# connection of the pull and its request; the answers are given as often as asked.
sub asked {
	my ($name, $answer, $times) = @_;
	my $v = near('scripted');
	$v->play("$name?t=1");
	return ($v, accepted()) if !$answer;
	for (1 .. $times // 1) {
		my ($socket) = accepted();
		print $socket $answer->();
		close $socket;
	}
	return $v;
}

sub accepted {
	$server->timeout(5 * ($ENV{TEST_NGINX_SLOW} || 1));
	my $socket = $server->accept() or return;
	$socket->autoflush(1);
	my $request = '';
	sysread $socket, $request, 4096, length $request
		until $request =~ /\r\n\r\n/ || !defined fileno $socket;
	return ($socket, $request);
}

###############################################################################
