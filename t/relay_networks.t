#!/usr/bin/perl

# relay_allow and relay_deny: the networks to which relays go that a scheduler, an origin or a client
# has named. What the configuration itself names is not held to them.

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

my $t = Test::Nginx->new()->plan(34);

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
        relay_deny 127.0.0.1;

        application none {
            # the inner block's rules come first
            relay_allow 127.0.0.1;
            oclp_pull http://127.0.0.1:8081/pull;
        }
        application denied {
            oclp_pull http://127.0.0.1:8081/pull;
            oclp_push http://127.0.0.1:8081/push;
        }
        application order {
            relay_allow 127.0.0.0/8;
            relay_deny all;
            oclp_pull http://127.0.0.1:8081/pull;
        }
        application all {
            relay_deny all;
            oclp_pull http://127.0.0.1:8081/pull;
        }
        application configured {
            pull rtmp://127.0.0.1:8082/$app/$name;
        }
        application spare {
            pull rtmp://$parg_host:8082/live rtmp://127.0.0.1:8082/spare;
        }
        application chosen {
            pull rtmp://$parg_host:8082/live;
        }
        application redirected {
            relay_redirects any;
            pull http://127.0.0.1:8083/live;
        }
        application elsewhere {
            relay_redirects any;
            relay_allow 127.0.0.1;
            pull http://127.0.0.1:8083/live;
        }
    }
    server {
        listen 127.0.0.1:8084;

        application open {
            oclp_pull http://127.0.0.1:8081/pull;
        }
    }
}

EOC

my ($rtmp, $http) = (port(8082), port(8083));
my $target = rtmp_server($rtmp);
my $web = tcp_server($http);
my $oclp = oclp_server($t, port(8081));
$t->run();

###############################################################################

my $n = 0;
my @clients;

# Locations, by every way to write the address

for my $case (
	['denied', "rtmp://127.0.0.1:$rtmp/live/s", 0],
	['denied', "http://127.0.0.1:$http/live/s", 0],
	['denied', "rtmp://localhost:$rtmp/live/s", 0],
	['denied', "rtmp://[::ffff:127.0.0.1]:$rtmp/live/s", 0],
	['denied', "rtmp://0.0.0.0:$rtmp/live/s", 0],
	['denied', "rtmp://[::ffff:0.0.0.0]:$rtmp/live/s", 0],
	['all', "rtmp://127.0.0.1:$rtmp/live/s", 0],
	['none', "rtmp://127.0.0.1:$rtmp/live/s", 1],
	['order', "rtmp://127.0.0.1:$rtmp/live/s", 1],
	['order', "rtmp://localhost:$rtmp/live/s", 1],
) {
	my ($app, $location, $allowed) = @$case;
	answer('pull', $location);
	my ($v, $name) = player(8080, $app);
	decided($app, $name, $allowed, $location =~ /^http/ ? $web : $target, $location);
}
answer('pull', "rtmp://127.0.0.1:$rtmp/live/s");
my ($v, $name) = player(8084, 'open');
decided('open', $name, 1, $target, 'without rules');

answer('push', "rtmp://127.0.0.1:$rtmp/live/s");
my $p = rtmp_connect(port(8080), 'denied');
$p->publish('pushed');
decided('denied', 'pushed', 0, $target, 'a push', 'push');
push @clients, $p;

# the configuration

($v, $name) = player(8080, 'configured');
decided('configured', $name, 1, $target, 'an url of the configuration, with variables in its path');
($v, $name) = player(8080, 'chosen', '?host=127.0.0.1');
decided('chosen', $name, 0, $target, 'a host that a client chooses');
($v, $name) = player(8080, 'spare', '?host=127.0.0.1');
ok(wait_for { logged(qr/pull of "spare\/$name" .*relay_deny let no relay go; trying the next/) },
	'a host that a client chooses, with a spare');
my $peer = rtmp_accept($target);
is($peer && $peer->{connect}{app}, 'spare', 'the spare is used');

# redirects

for my $case (['redirected', 0], ['elsewhere', 1]) {
	my ($app, $allowed) = @$case;
	my ($v, $name) = player(8080, $app);
	my $socket = accepted();
	print $socket "HTTP/1.1 302 Found\r\nLocation: http://localhost:$http/other\r\nContent-Length: 0\r\n\r\n";
	close $socket;
	decided($app, $name, $allowed, $web, 'a redirect');
}

###############################################################################

sub answer {
	my ($call, $location) = @_;
	$oclp->answer("$call start", status => 302, headers => [Location => $location]);
}

sub player {
	my ($port, $app, $args) = @_;
	my $name = 's' . ++$n . 'x';
	my $v = rtmp_connect(port($port), $app);
	$v->play($name . ($args // ''));
	push @clients, $v;
	return ($v, $name);
}

# Two tests: the target is connected to, or it is left alone and the log says why.
sub decided {
	my ($app, $name, $allowed, $server, $what, $relay) = @_;
	$relay //= 'pull';
	if ($allowed) {
		my $socket = accepted($server);
		ok($socket, "$app: connected to: $what");
		ok(!logged(qr/$relay of "$app\/$name" .*relay_deny/), 'nothing is said');
		push @clients, $socket;
		return;
	}
	ok(wait_for { logged(qr/\[error\].*$relay of "$app\/$name" .*"\S+" is at 127\.0\.0\.1, where relay_allow and relay_deny let no relay go/) },
		"$app: refused: $what");
	ok(!IO::Select->new($server)->can_read(0), 'nobody came');
}

sub accepted {
	my ($server) = @_;
	$server //= $web;
	$server->timeout(5 * ($ENV{TEST_NGINX_SLOW} || 1));
	my $socket = $server->accept() or return;
	$socket->autoflush(1);
	return $socket;
}

sub logged {
	my ($like) = @_;
	return scalar grep { $_ =~ $like } split /\n/, $t->read_file('error.log');
}

# the subs hold it, and it must end before the tests are counted
undef $t;

###############################################################################
