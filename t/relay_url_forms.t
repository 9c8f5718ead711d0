#!/usr/bin/perl

# How the url of a push, a pull or a Location is taken apart: the application and the name that
# the other server hears, in every form in which platforms and operators write them.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::OCLP;
use Test::Nginx::Process;
use Test::Nginx::Relay;
use Test::Nginx::RTMP;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

# behind the authority, and what is heard by RTMP: application and name; a client of
# application "own" publishes or plays NAME
my @forms = (
	['', 'own NAME'],
	['/', 'own NAME'],
	['/?k=a/b', 'own NAME?k=a/b'],
	['?k=a/b', 'own NAME?k=a/b'],
	['/live', 'live NAME'],
	['/live?k=v', 'live NAME?k=v'],
	['/live/?k=v', 'live NAME?k=v'],
	['/live/key', 'live key'],
	['//live/key', 'live key'],
	['/live/key?k=a/b?c', 'live key?k=a/b?c'],
	['/live2?backup=1/KEY', 'live2?backup=1 KEY'],
	['/live2?backup=1/KEY?k=v', 'live2?backup=1 KEY?k=v'],
	['/live/a/b/c', 'live a/b/c'],
	['/a%20b/c%3D%2Bd?%20', 'a b c=+d?%20'],
	['/a b/c d', 'a b c d'],
	['/live/100%', 'live 100%'],
	['/live/a+b', 'live a+b'],
);
# the same by HTTP
my @http = (
	['/live/a/b.flv?k=v', '/live/a/b.flv?k=v'],
	['/live/a%20b|c', '/live/a%20b%7Cc'],
	['//live/key', '/live/key'],
	['/live/?k=v', '/live/NAME?k=v'],
	['/live', '/live/NAME'],
	['', '/own/NAME'],
);
# values of variables are no part of the syntax, and not decoded
my @values = (
	['/live/$name', 'live NAME', 'a%41b'],
	['/live/$name', 'live NAME', 'a%2fb#c'],
	['/live/$name?k=$name', 'live NAME?k=a%2541', 'a%41'],
	['/$app/$name?$args', 'own NAME?x=%41', 'n1', 'x=%41'],
	['/live/$parg_n', 'live a b', 'n2', 'n=a%20b'],
);
# a form that can't stand in a configuration, since a space ends a word, is quoted
my $n = 0;
my $lines = join '', map {
	my ($port, $line) = (8100 + $n++, $_);
	"server { listen 127.0.0.1:$port; application own { live on; $line } }\n"
} (map { qq{push "rtmp://127.0.0.1:8081$_->[0]";} } @forms, @values),
	(map { qq{pull "rtmp://127.0.0.1:8081$_->[0]";} } @forms),
	(map { qq{pull "http://127.0.0.1:8082$_->[0]";} } @http);

my $t = Test::Nginx->new()->plan(3 * @forms + 2 * @http + @values);

$t->write_file_expand('nginx.conf', <<"EOC");

%%TEST_GLOBALS%%

daemon off;
worker_shutdown_timeout 1s;

events {
}

rtmp {
    rtmp_auto_pull_port unix:%%TESTDIR%%/inner;
    # one attempt is enough to see
    failed_reconnect 60s;
    relay_reconnect 60s;

    server {
        listen 127.0.0.1:8080;

        application own {
            live on;
            oclp_pull http://127.0.0.1:8083/pull;
        }
    }
    $lines
}

EOC

my ($rtmp, $http) = (port(8081), port(8082));
my $origin = rtmp_server($rtmp);
my $web = tcp_server($http);
my $oclp = oclp_server($t, port(8083));
$t->run();

###############################################################################

my @clients;
for my $i (0 .. $#forms) {
	my ($form, $expected) = @{$forms[$i]};
	for my $case (['push', 8100 + $i], ['pull', 8100 + @forms + @values + $i], ['Location', 8080]) {
		my ($what, $port) = @$case;
		my $name = lc($what) . $i;
		$oclp->answer('pull start', status => 302,
			headers => [Location => "rtmp://127.0.0.1:$rtmp$form"]) if $what eq 'Location';
		my $c = rtmp_connect(port($port), 'own');
		$what eq 'push' ? $c->publish($name) : $c->play($name);
		push @clients, $c;
		my $peer = rtmp_accept($origin);
		is(heard($peer), $expected =~ s/NAME/$name/r, "$what $form");
		push @clients, $peer if $peer;
	}
}
for my $i (0 .. $#values) {
	my ($form, $expected, $name, $args) = @{$values[$i]};
	my $c = rtmp_connect(port(8100 + @forms + $i), 'own');
	$c->publish($name . ($args ? "?$args" : ''));
	my $peer = rtmp_accept($origin);
	is(heard($peer), $expected =~ s/NAME/$name/r, "$form of $name");
	push @clients, $c, $peer;
}
for my $i (0 .. $#http) {
	my ($form, $expected) = @{$http[$i]};
	for my $case (['pull', 8100 + 2 * @forms + @values + $i], ['Location', 8080]) {
		my ($what, $port) = @$case;
		my $name = lc($what) . "-http$i";
		$oclp->answer('pull start', status => 302,
			headers => [Location => "http://127.0.0.1:$http$form"]) if $what eq 'Location';
		my $c = rtmp_connect(port($port), 'own');
		$c->play($name);
		push @clients, $c;
		is(asked(), $expected =~ s/NAME/$name/r, "$what http $form");
	}
}

###############################################################################

sub heard {
	my ($peer) = @_;
	return 'nothing' if !$peer;
	return join ' ', $peer->{connect}{app} // '?', $peer->{name} // '?';
}

# The target of the next request over HTTP, which is kept waiting.
sub asked {
	$web->timeout(5 * ($ENV{TEST_NGINX_SLOW} || 1));
	my $socket = $web->accept() or return 'nothing';
	push @clients, $socket;
	my $request = '';
	1 while $request !~ /\r\n\r\n/ && sysread $socket, $request, 4096, length $request;
	return ($request =~ /^GET (\S+) HTTP/)[0] // $request;
}

###############################################################################
