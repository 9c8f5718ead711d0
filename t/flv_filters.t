#!/usr/bin/perl

# HTTP-FLV through nginx's own filters, to slow readers: what a player gets is what the filters make
# of what was published, to the byte.  Under a sanitizer this shows whether anything that a filter
# still points to has been freed.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::FLV;
use Test::Nginx::FlvLive;
use Test::Nginx::Live qw/ video_header key_frame inter_frame /;
use Test::Nginx::Process;
use Test::Nginx::RTMP;

use Compress::Raw::Zlib;
use Time::HiRes qw/ sleep time /;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http rewrite gzip sub addition http_v2/)
	->has_daemon('curl');

my $before = 'before ' x 20_000;
my $after = 'after ' x 10;
$t->write_file('before', $before);
$t->write_file('after', $after);

my $rate = 'limit_rate 200k;';
my $gzip = 'gzip on; gzip_types video/x-flv; gzip_min_length 0; gzip_buffers 4 4k;';
my $sub = 'sub_filter needle NEEDLE; sub_filter_types video/x-flv; sub_filter_once off;';
my $addition = 'add_before_body /before; add_after_body /after; addition_types video/x-flv;';
my %filters = (
	plain => '',
	rate => $rate,
	gzip => $gzip,
	sub => $sub,
	addition => $addition,
	all => "$rate $gzip $sub $addition",
);
my @cases = map { my $name = $_; map { [$name, $_] } qw/ 1.0 1.1 2 / } sort keys %filters;

$t->plan(2 * @cases);

# a small buffer in the kernel, so that nginx's filters hold something back at every write
my $http2 = $t->has_version('1.25.1')
	? 'listen 127.0.0.1:%%PORT_8081%% sndbuf=8k; http2 on;'
	: 'listen 127.0.0.1:%%PORT_8081%% sndbuf=8k http2;';
my $locations = join "\n", map { "location /$_/ {
	flv_live %%PORT_1935%% app=quiet; gzip_http_version 1.0; $filters{$_} }" } keys %filters;

flv_run($t,
	rtmp => 'application quiet { live on; idle_streams off; cache_time 1h; send_all on; }',
	server => 'location = /before { root %%TESTDIR%%; } location = /after { root %%TESTDIR%%; }'
		. $locations,
	http => "server { $http2 server_name localhost; root %%TESTDIR%%; $locations }
		server { listen 127.0.0.1:%%PORT_8082%% sndbuf=8k; root %%TESTDIR%%; $locations }");

###############################################################################

# some 100 kbyte/s, as a stream that is faster lies in larger blocks, and so in fewer parts

my $p = rtmp_connect(port(1935), 'quiet', chunk_size => 65536);
$p->publish('s');
$p->send_video(0, video_header());
my @sent = (video_header());
publish(120);

# everybody who will play, each in a way of its own

my @players = map { play(@$_) } @cases;
publish(40);
push @sent, key_frame(9999) . 'last';
$p->send_video(40 * @sent, $sent[-1]);

my $deadline = time() + 60 * ($ENV{TEST_NGINX_SLOW} || 1);
my @open = @players;
while (@open && time() < $deadline) {
	@open = grep { !$_->{got_last}->() } @open;
}
$p->close();

for my $player (@players) {
	my $name = "$player->{name}, HTTP/$player->{version}";
	my $body = $player->{body}->();
	my $replaced = $filters{$player->{name}} =~ /sub_filter/;
	if ($filters{$player->{name}} =~ /add_/) {
		$body =~ s/^\Q$before\E// or diag("$name: no text before");
		$body =~ s/\Q$after\E$// or diag("$name: no text after");
	}
	my @got = eval { map { $_->{payload} } @{flv_parse($body)->{tags}} };
	diag("$name: $@") if $@;
	my @wanted = map { $replaced ? s/needle/NEEDLE/gr : $_ } @sent;
	is(scalar(grep { $got[$_] ne $wanted[$_] } 0 .. ($#got < $#wanted ? $#got : $#wanted)), 0,
		"$name: each as it was sent");
	is(scalar(@got), scalar(@wanted), "$name: all of them");
}
undef $t;

###############################################################################

sub publish {
	my ($count) = @_;
	for (1 .. $count) {
		my $n = @sent;
		my $frame = $n % 20 == 1 ? key_frame($n) : inter_frame($n);
		$frame .= join '', map { chr(rand(256)) } 1 .. 2000;
		$frame .= 'needle' . 'x' x 2000;
		push @sent, $frame;
		$p->send_video(40 * $n, $frame);
		sleep(0.03);
	}
}

sub play {
	my ($name, $version) = @_;

	my $self = { name => $name, version => $version };
	my $zipped = $filters{$name} =~ /gzip/;
	my $decoded = '';
	my ($inflate) = Compress::Raw::Zlib::Inflate->new(-WindowBits => WANT_GZIP);
	my $decode = sub {
		my ($bytes) = @_;
		my $out = $bytes;
		$inflate->inflate($bytes, $out) if $zipped;
		$decoded .= $out;
	};
	$self->{got_last} = sub { index($decoded, pack('N', 9999)) >= 0 };

	if ($version eq '2') {
		my $file = $t->testdir() . "/$name.out";
		my $curl = spawn($t, 'curl', '-s', '-N', '--http2-prior-knowledge', '--limit-rate', '300k',
			'-o', $file, $zipped ? ('-H', 'Accept-Encoding: gzip') : (),
			'http://127.0.0.1:' . port(8081) . "/$name/s");
		my $at = 0;
		my $read = sub {
			open my $in, '<:raw', $file or return;
			seek $in, $at, 0;
			local $/;
			my $bytes = <$in> // '';
			$at += length $bytes;
			$decode->($bytes) if length $bytes;
		};
		my $got = $self->{got_last};
		$self->{got_last} = sub { $read->(); $got->() };
		$self->{body} = sub { $curl->wait(); $read->(); $decoded };
		return $self;
	}

	my $http = http_flv(port(8082), "/$name/s", version => $version, wait => 0, rcvbuf => 4096,
		headers => $zipped ? { 'Accept-Encoding' => 'gzip' } : {});
	my $read = sub {
		my ($timeout) = @_;
		my $more = $http->more($timeout);
		$decode->($http->{body}) if length $http->{body};
		$http->{body} = '';
		return $more;
	};
	my $got = $self->{got_last};
	$self->{got_last} = sub {
		$http->answered();
		$read->(0.001);
		$got->();
	};
	$self->{body} = sub { 1 while $read->(); $decoded };
	return $self;
}

###############################################################################
