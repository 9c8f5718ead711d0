#!/usr/bin/perl

# Tests for other servers that mean harm: only the relay to them suffers, and memory
# stays bounded.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::FLV;
use Test::Nginx::Live qw/ video_header key_frame /;
use Test::Nginx::Process;
use Test::Nginx::RTMP;
use Test::Nginx::Relay;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new();
my $slow = $ENV{TEST_NGINX_SLOW} || 1;

my %rtmp = (
	'a wrong version' => sub { raw("\x06" . 'x' x 3072) },
	'half a handshake, then the end' => sub { raw("\3" . 'x' x 2000)->close() },
	'silence' => sub { raw('') },
	'a handshake of one byte a time' => sub {
		my $s = raw('');
		$s->send_raw('x', 1) || last for 1 .. 50;
	},
	'endless results' => sub {
		my $s = accepted('connect');
		$s->send_command(0, '_result', 99, undef) || last for 1 .. 20000;
	},
	'an error' => sub {
		accepted('connect')->send_command(0, '_error', 1, undef,
			{ code => "NetConnection\n\x1b[31m" . 'x' x 5000, description => 'y' x 60000 });
	},
	'a redirect in a loop' => sub {
		accepted('connect')->send_command(0, '_error', 1, undef, { level => 'error',
			code => 'NetConnection.Connect.Rejected',
			ex => { code => 302, redirect => "rtmp://127.0.0.1:${\port(8081)}/live" } });
	},
	'a stream without a number' => sub {
		accepted('createStream')->send_command(0, '_result', 2, undef, 'one');
	},
	'a stream that is no integer' => sub {
		accepted('createStream')->send_command(0, '_result', 2, undef, -1e300);
	},
	'AMF that is nested deep' => sub {
		my $s = accepted('connect');
		$s->set_chunk_size(65536);
		$s->send_message(RTMP_COMMAND, 0, 0, amf0('_result', 1) . "\3\0\1a" x 15000);
	},
	'a message of 16 MiB that never comes' => sub {
		accepted('play')->send_raw(rtmp_chunk(0, 6, 'x' x 128, length => 0xFFFFFF,
			type => 9, stream => 7));
	},
	'a chunk size of 0' => sub { accepted('play')->set_chunk_size(0) },
	'a chunk stream too many' => sub {
		accepted('play')->send_raw(rtmp_chunk(0, 60000, 'x', length => 1, type => 9,
			stream => 7));
	},
	'a broken aggregate' => sub {
		accepted('')->send_message(22, 0, 7, "\x09\xff\xff\xff" . "\0" x 7 . 'x' x 50);
	},
	'an aggregate in an aggregate' => sub {
		accepted('')->send_message(22, 0, 7, "\x16\0\0\1" . "\0" x 7 . 'x' . pack('N', 12));
	},
	'pings without end' => sub {
		my $s = accepted('');
		my $pings = $s->message(4, 0, 0, pack('n N', 6, 1)) x 1000;
		$s->send_raw($pings, 1) || last for 1 .. 400;
		$s->close();
	},
	'a window of one byte' => sub {
		my $s = accepted('');
		$s->send_message(5, 0, 0, pack('N', 1));
		$s->send_video($_, 'x' x 100) || last for 1 .. 2000;
		$s->close();
	},
);

my $ok = "HTTP/1.1 200 OK\r\n";
my $flv = flv_header(5);
my %http = (
	'endless headers' => "${ok}" . "X-Header: y\r\n" x 20000,
	'a header without end' => $ok . 'X: ' . 'y' x 200000,
	'no HTTP' => "SSH-2.0-OpenSSH\r\n",
	'a chunk length that overflows' => "${ok}Transfer-Encoding: chunked\r\n\r\n"
		. "fffffffffffffffff\r\n$flv",
	'a chunk length that is none' => "${ok}Transfer-Encoding: chunked\r\n\r\nzz\r\n$flv",
	'endless chunk extensions' => "${ok}Transfer-Encoding: chunked\r\n\r\n1;" . 'x' x 200000,
	'a length that is too short' => "${ok}Content-Length: 5\r\n\r\n$flv",
	'two lengths' => "${ok}Content-Length: 5\r\nContent-Length: 6\r\n\r\n$flv",
	'a tag of 16 MiB that never comes' => "$ok\r\n$flv\x09\xff\xff\xff\0\0\0\0\0\0\0" . 'x' x 9,
	'a data offset beyond all' => "$ok\r\nFLV\1\5\xff\xff\xff\xff",
	'tags of unknown types' => "$ok\r\n$flv" . flv_tag(77, 0, 'x' x 100) x 100,
	'an encrypted tag' => "$ok\r\n$flv" . flv_tag(0x29, 0, 'x' x 100),
	'a wrong previous size' => "$ok\r\n$flv" . flv_tag(9, 0, key_frame(1)) . "\xff" x 4,
);

$t->plan(2 * keys(%rtmp) + 2 * keys(%http) + 3);

relay_run($t, near => <<"EOC", rtmp => "max_message 1m; relay_timeout ${slow}s; ping ${slow}s; ping_timeout ${slow}s;");
            pull rtmp://127.0.0.1:%%PORT_8081%%;
            failed_reconnect 100ms; relay_reconnect ${slow}s; relay_timeout ${slow}s;
        }

        application http {
            live on;
            pull http://127.0.0.1:%%PORT_8082%%;
            failed_reconnect 100ms; relay_reconnect ${slow}s; relay_timeout ${slow}s;
EOC

###############################################################################

my $rtmp = rtmp_server(port(8081));
my $http = tcp_server(port(8082));

# a stream that must not suffer

my $p = far();
$p->publish('good');
my $v = far();
$v->play('good');
$p->send_video(0, video_header());
$p->send_video(0, key_frame(0));
$v->read_until(sub { $_[0]{payload} eq key_frame(0) });
my ($worker) = worker_pids($t);
my ($rss, $sent) = (rss_kb($worker), 0);

my @kept;
for my $what (sort keys %rtmp) {
	my $victim = near();
	$victim->play("rtmp-$sent");
	push @kept, $rtmp{$what}->();
	fails("rtmp-$sent", $what);
	$victim->close();
	@kept = ();
	drain($rtmp);
}
for my $what (sort keys %http) {
	my $victim = near('http');
	$victim->play("http-$sent");
	$http->timeout(5 * $slow);
	my $socket = $http->accept();
	local $SIG{PIPE} = 'IGNORE';
	print $socket $http{$what};
	$socket->flush();
	shutdown $socket, 1;
	fails("http-$sent", $what);
	$victim->close();
	drain($http);
}

is(scalar(() = log_lines($t, qr/panic/)), 0, 'no panic');
is((worker_pids($t))[0], $worker, 'the worker lives');
cmp_ok(rss_kb($worker) - $rss, '<', 16 * 1024, 'memory is bounded');

###############################################################################

# The attempt fails, and others play on.
sub fails {
	my ($name, $what) = @_;
	my ($app) = $name =~ /^http/ ? 'http' : 'live';
	ok(wait_lines($t, qr!pull of "$app/$name" .*(?:again in|the player is refused)!), "$what: fails");
	$sent++;
	$p->send_video($sent * 40, key_frame($sent));
	ok($v->read_until(sub { $_[0]{payload} eq key_frame($sent) }, $slow), "$what: others");
}

# A connection that gets these bytes, and nothing else.
sub raw {
	my $s = rtmp_accept($rtmp, until => 'handshake');
	$s->send_raw($_[0]);
	return $s;
}

sub accepted { rtmp_accept($rtmp, until => $_[0]) }

# Whoever was accepted by the kernel meanwhile is not for the next case.
sub drain {
	my ($server) = @_;
	$server->timeout(0.05);
	while (my $socket = $server->accept()) { close $socket }
}

# the subs hold it, and it must end before the tests are counted
undef $t;

###############################################################################
