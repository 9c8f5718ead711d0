#!/usr/bin/perl

# Where an HTTP-FLV origin may send a pull: references of every form are resolved, the host that
# was asked is stayed at, and what leads elsewhere is followed only if relay_redirects says so.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::FLV;
use Test::Nginx::Live qw/ video_header key_frame /;
use Test::Nginx::OCLP;
use Test::Nginx::Process;
use Test::Nginx::Relay;
use Test::Nginx::RTMP;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my ($port, $other) = (port(8081), port(8082));
my $asked = "127.0.0.1:$port";

# what an origin answers to "GET /a/b/NAME.flv?k=v", and what it is asked for then
my @followed = (
	['/p', '/p'],
	['/p?q=1&r=%2f', '/p?q=1&r=%2f'],
	['p', '/a/b/p'],
	['y.flv', '/a/b/y.flv'],
	['./y.flv?z', '/a/b/y.flv?z'],
	['../y.flv', '/a/y.flv'],
	['../../../y.flv', '/y.flv'],
	['?q=1', '/a/b/NAME.flv?q=1'],
	["//$asked/p?q", '/p?q'],
	["http://$asked/p", '/p'],
	["HTTP://$asked", '/'],
	["/p#part", '/p'],
	["/cam 1/\xe4\xb8\xad", '/cam%201/%E4%B8%AD'],
);
# not by default, and whether "any" follows it
my @elsewhere = (
	["http://127.0.0.1:$other/p", '/p', "127.0.0.1:$other"],
	["//127.0.0.1:$other/p?q", '/p?q', "127.0.0.1:$other"],
	["http://localhost:$port/p", '/p', "localhost:$port"],
);
my @never = ('', "https://$asked/p", "rtmp://$asked/a/b", 'file:///etc/passwd', "http://user\@$asked/p",
	"http://127.0.0.1:0/p", 'http://', "/p\tq", 'http://[::1/p');

my $t = Test::Nginx->new()->plan(2 * @followed + 4 * @elsewhere + 2 * @never + 12);

$t->write_file_expand('nginx.conf', <<'EOC');

%%TEST_GLOBALS%%

daemon off;
worker_shutdown_timeout 1s;

events {
}

rtmp {
    rtmp_auto_pull_port unix:%%TESTDIR%%/inner;
    live on;
    # one attempt is enough to see
    failed_reconnect 60s;
    relay_reconnect 60s;

    server {
        listen 127.0.0.1:8080;

        application own {
            pull http://127.0.0.1:8081/a/b/$name.flv?k=v;
        }
        application named {
            pull http://127.0.0.1:8081/a/b/$name.flv domain=Origin.Example;
        }
        application any {
            relay_redirects any;
            pull http://127.0.0.1:8081/a/b/$name.flv?k=v;
        }
        application off {
            relay_redirects off;
            pull http://127.0.0.1:8081/a/b/$name.flv?k=v;
        }
        application scheduled {
            oclp_pull http://127.0.0.1:8083/pull;
        }
    }
}

EOC

my $origin = tcp_server($port);
my $elsewhere = tcp_server($other);
my $oclp = oclp_server($t, port(8083));
$t->run();

###############################################################################

my $n = 0;
my $flv = flv_file(1,
	{ type => FLV_VIDEO, timestamp => 0, payload => video_header() },
	{ type => FLV_VIDEO, timestamp => 0, payload => key_frame(1) });

for my $case (@followed) {
	my ($location, $target) = @$case;
	my ($v, $name) = redirected('own', $location);
	my ($socket, $request) = accepted($origin);
	is(line($request), $target =~ s/NAME/$name/r, "followed: $location");
	print $socket "HTTP/1.1 200 OK\r\n\r\n$flv" if $socket;
	ok($v->read_video(), 'played');
	$v->close();
}

for my $case (@elsewhere) {
	my ($location, $target, $host) = @$case;
	my ($v, $name) = redirected('own', $location);
	is(refused($name), 'another host, and relay_redirects is same_host', "not by default: $location");
	$v->close();
	($v) = redirected('any', $location);
	my ($socket, $request) = accepted($location =~ /$other/ ? $elsewhere : $origin);
	is(line($request), $target, 'with relay_redirects any');
	like($request, qr/^host: \Q$host\E\r$/im, 'its Host');
	print $socket "HTTP/1.1 200 OK\r\n\r\n$flv" if $socket;
	ok($v->read_video(), 'played');
	$v->close();
}

for my $location (@never) {
	my $what = $location =~ s/\t/\\t/r;
	my ($v, $name) = redirected('any', $location);
	isnt(refused($name), '', "never: '$what', logged");
	ok(!$v->closed(0.01), 'the player waits');
	$v->close();
}

my ($v, $name) = redirected('off', '/p');
is(refused($name), 'relay_redirects is off', 'relay_redirects off');
$v->close();

# the host that was asked is the one of domain=; it is still the same server

for my $location ('http://origin.example/p', "http://$asked/p", '/p') {
	($v) = redirected('named', $location);
	my ($socket, $request) = accepted($origin);
	is(line($request), '/p', "asked as Origin.Example: $location");
	print $socket "HTTP/1.1 200 OK\r\n\r\n$flv" if $socket;
	ok($v->read_video(), 'played');
	$v->close();
}

# an origin that a scheduler named is held to it, too

$oclp->answer('pull start', status => 302, headers => [Location => "http://$asked/live/s"]);
($v, $name) = redirected('scheduled', "http://127.0.0.1:$other/p");
is(refused($name), 'another host, and relay_redirects is same_host', 'an origin of a Location');
$v->close();

# one of several urls that redirects elsewhere: nobody went there
ok(!nobody($elsewhere), 'nobody went where it was not allowed');
ok(!nobody($origin), 'nor came again');

# a control byte, too, is shown as a question mark
my $lines = grep { /redirected to/ } split /\n/, $t->read_file('error.log');
is($lines, @elsewhere + @never + 2, 'one line each');
unlike($t->read_file('error.log'), qr/redirected to "\/\/[^"\n]*\?/, 'without the query');

###############################################################################

# Plays a stream whose origin answers with a redirect; the player, and the stream's name.
sub redirected {
	my ($app, $location) = @_;
	my $name = 'n' . ++$n . 'x';
	my $v = rtmp_connect(port(8080), $app);
	$v->play($name);
	my ($socket) = accepted($origin);
	if ($socket) {
		print $socket "HTTP/1.1 302 Found\r\nLocation: $location\r\nContent-Length: 0\r\n\r\n";
		close $socket;
	}
	return ($v, $name);
}

sub accepted {
	my ($server) = @_;
	$server->timeout(5 * ($ENV{TEST_NGINX_SLOW} || 1));
	my $socket = $server->accept() or return;
	$socket->autoflush(1);
	my $request = '';
	1 while $request !~ /\r\n\r\n/ && sysread $socket, $request, 4096, length $request;
	return ($socket, $request);
}

sub line {
	my ($request) = @_;
	return ($request // '') =~ /^GET (\S+) HTTP/ ? $1 : 'no request';
}

# Whether a connection waits.
sub nobody {
	my ($server) = @_;
	return IO::Select->new($server)->can_read(0);
}

# Why the redirect of this stream was refused, as the log says.
sub refused {
	my ($name) = @_;
	my $why = '';
	wait_for {
		($why) = map { /pull of "\w+\/$name" from .*: redirected to "[^"]*": (.*); again/ ? $1 : () }
			split /\n/, $t->read_file('error.log');
	};
	return $why // '';
}

# the subs hold it, and it must end before the tests are counted
undef $t;

###############################################################################
