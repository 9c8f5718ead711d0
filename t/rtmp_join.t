#!/usr/bin/perl

# What a player gets when it joins a stream with a cache: everything at once, soon
# and in few writes, and small answers without the delay that TCP would add.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Time::HiRes qw/ time /;
use Test::Nginx;
use Test::Nginx::FLV;
use Test::Nginx::Process;
use Test::Nginx::RTMP;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

# a second of 25 frames with one key frame, as at 1 Mbit/s
use constant { KEY => 20_000, INTER => 4_000, FPS => 25 };

my $t = Test::Nginx->new()->plan(9);

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
            cache_time 3s;
        }
    }
}

EOF

$t->run();

###############################################################################

my $publisher = rtmp_connect(port(1935), 'live', chunk_size => 65536);
is($publisher->publish('stream'), 'NetStream.Publish.Start', 'publish');

my @tags = (
	{ type => FLV_VIDEO, timestamp => 0, payload => "\x17\0\0\0\0" . 'v' x 40 },
	{ type => FLV_AUDIO, timestamp => 0, payload => "\xaf\0" . 'aa' },
);
for my $n (0 .. 5 * FPS - 1) {
	my $key = $n % FPS == 0;
	push @tags, { type => FLV_VIDEO, timestamp => $n * 1000 / FPS,
		payload => ($key ? "\x17" : "\x27") . "\1\0\0\0"
			. pack('N', $n) x (($key ? KEY : INTER) / 4) };
}
$publisher->send_tag($_) for @tags;

# the last frame has passed: the stream is all there

my $probe = rtmp_connect(port(1935), 'live');
$probe->play('stream');
my $last = $probe->read_until(sub {
	$_[0]{type} == RTMP_VIDEO && $_[0]{timestamp} == $tags[-1]{timestamp}
});
ok($last, 'the whole stream came');
$probe->close();

# what comes, in which order

my $player = rtmp_connect(port(1935), 'live');
is($player->play('stream'), 'NetStream.Play.Start', 'play');
my @got;
$player->read_until(sub {
	push @got, $_[0];
	$_[0]{type} == RTMP_VIDEO && $_[0]{timestamp} == $tags[-1]{timestamp}
});
@got = grep { $_->{type} == RTMP_VIDEO || $_->{type} == RTMP_AUDIO } @got;
my $kinds = join ' ', map { flv_kind($_) } @got;
like($kinds, qr/^header header key (?:frame )+key /, 'headers and a key frame first');

my ($first) = grep { flv_kind($_) eq 'key' } @got;
my $cached = $tags[-1]{timestamp} - $first->{timestamp};
cmp_ok($cached, '>=', 2000, 'the cache covers most of its time');
cmp_ok($cached, '<=', 4000, 'the cache covers no more than a GOP beyond its time');
$player->close();

# how long the first key frame takes: the best of many, as others use the machine

SKIP: {
	skip 'not at full speed', 1 if $ENV{TEST_NGINX_SLOW};

	my @took;
	for (1 .. 50) {
		my $player = rtmp_connect(port(1935), 'live');
		$player->create_stream();
		my $start = time();
		$player->send_command($player->{stream}, 'play', 9, undef, 'stream', -2000);
		$player->read_until(sub {
			$_[0]{type} == RTMP_VIDEO && flv_kind($_[0]) eq 'key'
		});
		push @took, time() - $start;
		$player->close();
	}
	my ($best, $median) = (sort { $a <=> $b } @took)[0, 25];
	note(sprintf('first key frame after %.2f ms, median %.2f ms', $best * 1e3,
		$median * 1e3));
	cmp_ok($best, '<=', 0.001, 'first key frame at once');
}

# in how many writes it goes out, if we may look

SKIP: {
	my ($worker) = worker_pids($t);
	my $log = $t->testdir() . '/strace';
	my $strace = spawn($t, qw/ strace -ttt -e /,
		'trace=accept4,accept,setsockopt,write,writev,sendto,sendmsg', '-o', $log,
		'-p', $worker);
	wait_for { $strace->output() =~ /attached/ || $strace->ended() };
	skip 'no strace', 2 if $strace->ended();

	# large enough for the whole cache
	my $player = rtmp_connect(port(1935), 'live', rcvbuf => 4_000_000);
	$player->play('stream');
	$player->read_until(sub {
		$_[0]{type} == RTMP_VIDEO && $_[0]{timestamp} == $tags[-1]{timestamp}
	});
	$player->close();
	$strace->stop('INT');

	my $trace = $t->read_file('strace');
	my ($fd) = $trace =~ /accept4?\(.*= (\d+)$/m;
	my @writes = $trace =~ /^\S+ (?:writev?|send\w+)\($fd,.*= (\d+)$/mg;
	# handshake, connect, createStream; then all of the join, in pieces only as far as
	# the peer's buffer asks for them
	cmp_ok(scalar @writes, '<=', 6, 'few writes') or diag("writes: @writes");
	like($trace, qr/accept4?\([^\n]*= $fd\n(?:(?!\Q($fd,\E)[^\n]*\n)*?[^\n]*setsockopt\($fd, \S+ TCP_NODELAY, \[1\]/,
		'TCP_NODELAY before anything else');
}

###############################################################################
