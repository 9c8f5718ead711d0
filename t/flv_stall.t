#!/usr/bin/perl

# HTTP-FLV, WebSocket, TLS and HTTP/2 where somebody stands still: a worker that could not write for
# send_timeout does not take that for the clients' fault, and who stood still has the picture again.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::FLV;
use Test::Nginx::FlvLive;
use Test::Nginx::Live qw/ publisher player key_frame inter_frame /;
use Test::Nginx::Process;
use Test::Nginx::RTMP;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

# seconds: the patience of nginx with a client, and how long the worker stands still
my ($PATIENCE, $STILL) = (10, 13);
# more than the sockets between nginx and a client hold
my ($FRAMES, $BYTES) = (100, 100_000);

my $t = Test::Nginx->new()->has(qw/http http_ssl http_v2/)->has_daemon('openssl')
	->has_daemon('curl')->plan(20);
my $d = $t->testdir();
system("openssl req -x509 -new -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost "
	. "-keyout $d/localhost.key -out $d/localhost.crt >/dev/null 2>&1") == 0
	or die "no certificate\n";

# with one event a turn of its loop, the worker comes to its timers before it comes to the clients
my $locations = "location / { send_timeout ${PATIENCE}s; flv_live %%PORT_1935%%; }";
my $http2 = $t->has_version('1.25.1')
	? 'listen 127.0.0.1:%%PORT_8444%% ssl sndbuf=16k; http2 on;'
	: 'listen 127.0.0.1:%%PORT_8444%% ssl http2 sndbuf=16k;';
flv_run($t, events => 'epoll_events 1;', app => 'cache_time 1s; out_queue 10s size=256m;',
	http => "ssl_certificate localhost.crt; ssl_certificate_key localhost.key;
		server { listen 127.0.0.1:%%PORT_8443%% ssl sndbuf=16k; $locations }
		server { $http2 $locations }",
	location => "send_timeout ${PATIENCE}s;");

###############################################################################

my ($worker) = worker_pids($t);
my $p = publisher('s', chunk_size => 65536);
my ($sent, $key) = (0, 0);
publish();

# one that reads, two that leave what comes where it is, and two that are stopped

my $v = player('s');
my $flv = flv_play('s', rcvbuf => 4096);
my $ws = websocket(port(8080), '/live/s', rcvbuf => 4096);
my %curl = map { $_->[0] => curl(@$_) }
	['TLS', 8443, '--http1.1'], ['HTTP/2', 8444, '--http2'];
my %has = (
	'HTTP-FLV' => sub { $flv->{body} },
	'WebSocket' => sub { $ws->{body} },
	map({ my $name = $_; $name => sub { output($name) } } keys %curl),
);
my @names = sort keys %has;
ok(reaches($_, 1), "$_ plays") for @names;
stop_curls('STOP');
publish() for 1 .. $FRAMES;
ok(plays($v), 'one that reads is up to date');

kill 'STOP', $worker;
wait_for { state_of($worker) eq 'T' };
# now they take what is there
stop_curls('CONT');
publish();
my $until = time() + $STILL;
do { $flv->more(0.5); $ws->stream(1 << 30, 0.5) } while time() < $until;
kill 'CONT', $worker;

ok(plays($v), 'a worker that stood still: RTMP');
for my $name (@names) {
	ok(reaches($name, $sent), "$name has its picture again");
	is_deeply([numbers_of($has{$name}->())], [1 .. $sent], "and all of it, $name");
}
unlike($t->read_file('error.log'), qr/timed out|too slow/, 'nobody is said to be late');

# clients that stand still for longer than what is kept for them, by the stream's clock

stop_curls('STOP');
publish($_ % 25 == 0, 1000) for 1 .. 20 * 25;
ok(plays($v), 'one that reads goes on');
stop_curls('CONT');
for my $name (@names) {
	ok(reaches($name, $sent), "clients that stood still: $name");
}

###############################################################################

# Sends a frame with the next number, at 25 a second.
sub publish {
	my ($is_key, $bytes) = @_;
	$sent++;
	$is_key //= $sent == 1;
	my $frame = $is_key ? key_frame($sent) : inter_frame($sent);
	$p->send_video($sent * 40, $frame . 'x' x ($bytes // $BYTES));
}

# The numbers of the frames in a stream so far.
sub numbers_of {
	my ($bytes) = @_;
	return if length($bytes) < 13;
	return map { unpack('x5 N', $_) } flv_payloads(FLV_VIDEO, @{flv_parse($bytes)->{tags}});
}

sub plays {
	my ($player) = @_;
	my $last = pack('N', $sent);
	return $player->read_until(sub { $_[0]{type} == RTMP_VIDEO && substr($_[0]{payload}, 5, 4) eq $last }, 60);
}

# Whether the client gets to the frame of this number.
sub reaches {
	my ($name, $number) = @_;
	return wait_for {
		$flv->more(0.01) if $name eq 'HTTP-FLV';
		$ws->stream(length($ws->{body}) + 1, 0.01) if $name eq 'WebSocket';
		my $bytes = $has{$name}->();
		# its begin, and only then all of it, since that takes longer
		substr($bytes, -2 * $BYTES) =~ /[\x17\x27]\x01\0\0\0\Q${\pack('N', $number)}\E/
			&& ((numbers_of($bytes))[-1] // 0) == $number;
	};
}

sub curl {
	my ($name, $port, $version) = @_;
	$name =~ s/\W//;
	return spawn($t, 'curl', '-k', '-s', '-N', $version, '-o', "$d/$name.flv",
		'https://127.0.0.1:' . port($port) . '/live/s');
}

sub output {
	my ($name) = @_;
	$name =~ s/\W//;
	return -f "$d/$name.flv" ? $t->read_file("$name.flv") : '';
}

sub stop_curls {
	my ($signal) = @_;
	for my $curl (values %curl) {
		kill $signal, $curl->pid();
		wait_for { state_of($curl->pid()) eq 'T' } if $signal eq 'STOP';
	}
}

sub state_of {
	my ($pid) = @_;
	open my $stat, '<', "/proc/$pid/stat" or return '';
	return <$stat> =~ /\) (\S)/ ? $1 : '';
}

# the subs hold it, and it must end before the tests are counted
undef $t;

###############################################################################
