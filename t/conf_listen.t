#!/usr/bin/perl

# Tests for listen: addresses, and which server stands behind each. Each server
# is told by the size of its chunks.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use IO::Socket::UNIX;
use Socket qw/ unpack_sockaddr_in /;
use Test::Nginx;
use Test::Nginx::Conf;
use Test::Nginx::Process;
use Test::Nginx::RTMP;

my $t = Test::Nginx->new()->has(qw/unix/)->plan(40);

my $conf = <<'EOT';

%%TEST_GLOBALS%%

daemon off;
worker_shutdown_timeout 1s;
worker_processes 2;

events {
}

rtmp {
    # all addresses of a port, and one of them
    server {
        listen %%PORT_25020%%;
        chunk_size 1001;
        application live { live on; }
    }

    server {
        listen 127.0.0.2:%%PORT_25020%%;
        chunk_size 1002;
        application live { live on; }
    }

    server {
        listen 127.0.0.1:%%PORT_25021%% reuseport backlog=64 so_keepalive=30s::5
               rcvbuf=32k sndbuf=64k;
        listen unix:%%TESTDIR%%/rtmp.sock;
        chunk_size 1003;
        application live { live on; }
    }

    server {
        listen 127.0.0.1:%%PORT_25025%%;
        listen 127.0.0.1:%%PORT_25026%% so_keepalive=off;
        so_keepalive on;
        application live { live on; }
    }

    # changed at reload
    server {
        listen 127.0.0.1:%%PORT_25022%%;
        chunk_size 1004;
        application live { live on; }
    }
}

EOT

$t->write_file_expand('nginx.conf', $conf)->run();

sub server_of {
	my ($port, %options) = @_;
	my $client = rtmp_connect(port($port), 'live', %options) or return;
	return $client->{in_chunk};
}

is(server_of(25020), 1001, 'all addresses');
is(server_of(25020, host => '127.0.0.2'), 1002, 'one address beside all');
is(server_of(25020, host => '127.0.0.3'), 1001, 'another address');
is(server_of(25021), 1003, 'options');

# a connection of one worker tells nothing of the other: ask a few times
is(join(' ', map { server_of(25021) } 1 .. 16), join(' ', (1003) x 16),
	'reuseport');

my $unix = IO::Socket::UNIX->new(
	Peer => $t->testdir() . '/rtmp.sock', Timeout => 5);
ok($unix, 'unix socket');

# TCP keepalive, as the kernel tells it

sub keepalive_of {
	my ($port) = @_;
	my $client = rtmp_connect(port($port), 'live');
	my $peer = client_port($client);
	my $line;
	# there is one timer to see, and that of what is not acknowledged comes first
	wait_for {
		($line) = grep { /:$peer\b/ }
			`ss -tnoH state established sport = :@{[port($port)]}`;
		$line && $line !~ /timer:\(on/;
	};
	return $line =~ /keepalive,(\w+)/ ? "after $1" : 'off';
}

sub client_port {
	my ($client) = @_;
	return (unpack_sockaddr_in(getsockname($client->{socket})))[0];
}

SKIP: {
	skip 'no ss', 3 unless grep { -x "$_/ss" } split /:/, $ENV{PATH};
	like(keepalive_of(25021), qr/^after (?:29|30)sec/, 'so_keepalive of listen');
	like(keepalive_of(25025), qr/^after \d+/, 'so_keepalive of the server');
	is(keepalive_of(25026), 'off', 'so_keepalive=off of listen');
}

# reload: an address stays open, one goes, one comes

my $stays = rtmp_connect(port(25021), 'live');
$conf =~ s/PORT_25022/PORT_25023/;
$conf =~ s/chunk_size 1003/chunk_size 1033/;
$t->write_file_expand('nginx.conf', $conf)->reload();

ok(wait_for { (server_of(25023) // 0) == 1004 }, 'new address after reload');
ok(wait_for { !defined server_of(25022) }, 'old address after reload');
ok(wait_for { server_of(25021) == 1033 }, 'new configuration after reload');
is($stays->publish('name'), 'NetStream.Publish.Start', 'session lives on');

# messages

sub check {
	my ($conf, $message, $name) = @_;
	my $said = conf_check($t, "rtmp { $conf }");
	my $port = port(25024);
	$said =~ s/:$port\b/:PORT/g;
	is($said, $message, $name);
}

my $p = '%%PORT_25024%%';

check("server { listen 127.0.0.1:$p; listen 127.0.0.1:$p; }",
	'a duplicate listen 127.0.0.1:PORT', 'the same address twice');
check("server { listen $p; listen *:$p; }",
	'a duplicate listen 0.0.0.0:PORT', 'the same address in other words');
check("server { listen $p backlog=5; } server { server_name a; listen $p backlog=5; }",
	'duplicate listen options for 0.0.0.0:PORT', 'options twice');
check("server { listen $p; } server { server_name a; listen $p backlog=5; }",
	'', 'options once');
check("server { listen $p default_server; } "
	. "server { server_name a; listen $p default_server; }",
	'a duplicate default server for 0.0.0.0:PORT', 'two default servers');
check("server { listen 127.0.0.1:$p; } server { listen 127.0.0.1:$p; }",
	"conflicting server name \"\" on 127.0.0.1:PORT, ignored\nand starts",
	'two servers without a name');
check('server { listen 1.2.3.4.5; }',
	'host not found in "1.2.3.4.5" of the "listen" directive', 'no such host');
check('server { listen 127.0.0.1:70000; }',
	'invalid port in "127.0.0.1:70000" of the "listen" directive', 'port');
check('server { listen 127.0.0.1:0; }',
	'invalid port in "127.0.0.1:0" of the "listen" directive', 'port 0');
check('server { listen unix:; }',
	'no path in the unix domain socket in "unix:" of the "listen" directive',
	'no path');
check('server { listen; }',
	'invalid number of arguments in "listen" directive', 'no address');

my $parameters = '"default_server", "bind", "backlog=number", "rcvbuf=size", '
	. '"sndbuf=size", "ipv6only=on|off", "reuseport", '
	. '"so_keepalive=on|off|[keepidle]:[keepintvl]:[keepcnt]" or "proxy_protocol"';
for my $bad (qw/ bogus bogus=1 1936 backlog reuseport=on /) {
	check("server { listen $p $bad; }", "invalid value \"$bad\" in \"listen\" "
		. "directive, it must be $parameters", "parameter $bad");
}
check("server { listen $p backlog=0; }", 'invalid value "backlog=0" in "listen" '
	. 'directive, it must be followed by a number from 1 to 2147483647', 'backlog');
check("server { listen $p sndbuf=x; }", 'invalid value "sndbuf=x" in "listen" '
	. 'directive, it must be followed by a size from 1 to 2147483647', 'sndbuf');
check("server { listen $p ipv6only=on; }",
	'ipv6only is not supported on addr "0.0.0.0:PORT", only on an IPv6 address',
	'ipv6only');
check("server { listen [::]:$p ipv6only=maybe; }", 'invalid value "ipv6only=maybe" '
	. 'in "listen" directive, it must be followed by "on" or "off"',
	'ipv6only value');
for my $bad (qw/ so_keepalive=maybe so_keepalive=:: so_keepalive=1:2
	so_keepalive=x:: so_keepalive=0:: /)
{
	check("server { listen $p $bad; }", "invalid value \"$bad\" in \"listen\" "
		. 'directive, it must be "so_keepalive=" with "on", "off" or '
		. '[keepidle]:[keepintvl]:[keepcnt]', $bad);
}
like(conf_check($t, "rtmp { server { listen $p ssl; } }"),
	qr/^the "ssl" parameter of the "listen" directive is not supported/, 'ssl');
check("proxy_protocol_from 10.0.0.0/8 unix:; server { listen 127.0.0.1:$p so_keepalive=1m::5 proxy_protocol reuseport; "
	. "listen [::1]:$p ipv6only=on; }", '', 'good parameters');

# the subs hold it, and it must end before the tests are counted
undef $t;
