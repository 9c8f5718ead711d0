#!/usr/bin/perl

# A worker that has no connection left lets clients wait, with a line a second, and what runs goes on.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use IO::Socket::INET;
use Time::HiRes qw/ sleep time /;

use Test::Nginx;
use Test::Nginx::Live;
use Test::Nginx::Process;
use Test::Nginx::RTMP;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $SECONDS = 3;

my $t = Test::Nginx->new()->plan(6);

$t->write_file_expand('nginx.conf', <<'EOC');

%%TEST_GLOBALS%%

daemon off;
worker_processes 1;
worker_shutdown_timeout 1s;

events {
    worker_connections 40;
}

rtmp {
    rtmp_auto_pull_port unix:%%TESTDIR%%/inner;

    server {
        listen 127.0.0.1:%%PORT_1935%%;
        handshake_timeout 10m;
        timeout 10m;
        ping 0;

        application live {
            live on;
            push rtmp://127.0.0.1:%%PORT_8081%%/live;
            relay_reconnect 100ms;
        }
    }
}

EOC
$t->run();
ok(wait_for { 1 == (() = worker_pids($t)) }, 'a worker');

###############################################################################

my $p = publisher('s');
my $v = player('s');
my @fill;
ok((wait_for {
	push @fill, IO::Socket::INET->new(PeerAddr => '127.0.0.1:' . port(1935)) // ();
	$t->read_file('error.log') =~ /no connection is free/;
} 20), 'it has no connection left');
push @fill, map { IO::Socket::INET->new(PeerAddr => '127.0.0.1:' . port(1935)) // () } 1 .. 50;

my ($worker) = worker_pids($t);
my ($cpu, $lines) = (cpu_seconds($worker), logged());
my ($start, $frames) = (time(), 0);
for my $n (1 .. $SECONDS * 10) {
	sleep(0.1);
	$p->send_video($n * 100, key_frame($n));
	$frames++ if $v->read_until(sub { $_[0]{payload} eq key_frame($n) });
}
is($frames, $SECONDS * 10, 'what runs goes on');
my $took = time() - $start;
cmp_ok(cpu_seconds($worker) - $cpu, '<=', 0.3 * $took, 'it does not spin');
cmp_ok(logged() - $lines, '<=', $took + 2, 'a line a second');

splice @fill;
my $late = player('s');
is($late->status(), 'NetStream.Play.Start', 'who waited is served when there are connections again');
$_->close() for $p, $v, $late;

###############################################################################

sub logged {
	return scalar grep { / $worker#.*(?:connection is free|connections are not enough)/ }
		split /\n/, $t->read_file('error.log');
}

undef $t;

###############################################################################
