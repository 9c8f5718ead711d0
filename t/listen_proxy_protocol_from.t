#!/usr/bin/perl

# PROXY protocol headers count only from the addresses that
# "proxy_protocol_from" names.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Conf;
use Test::Nginx::Process;
use Test::Nginx::RTMP;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->plan(7);

$t->write_file_expand('nginx.conf', <<'EOC');

%%TEST_GLOBALS%%

daemon off;

events {
}

rtmp {
    rtmp_auto_pull_port unix:%%TESTDIR%%/inner;
    log_format who '$remote_addr $remote_port';
    access_log %%TESTDIR%%/who.log who;

    server {
        listen 127.0.0.1:%%PORT_1935%% proxy_protocol;
        proxy_protocol_from 127.0.0.2 10.0.0.0/8;
        proxy_protocol_from 192.0.2.1;

        application live {
            live on;
            allow publish 203.0.113.7;
            deny publish all;
        }
    }

    server {
        listen 127.0.0.1:%%PORT_1936%% proxy_protocol;

        application live {
            live on;
        }
    }
}

EOC

$t->run();

###############################################################################

my $header = "PROXY TCP4 203.0.113.7 127.0.0.1 5555 1935\r\n";

# A client behind a balancer of that address.
sub behind {
	my ($port, $from) = @_;
	my $s = rtmp_open($port, from => $from);
	$s->send_raw($header);
	$s->handshake() or return $s;
	$s->result($s->command('connect', {app => 'live', tcUrl => 'rtmp://localhost/live'}));
	return $s;
}

my $s = behind(port(1935), '127.0.0.2');
is($s->publish('s'), 'NetStream.Publish.Start', 'a client that a trusted balancer speaks for');
undef $s;
wait_for { -s $t->testdir() . '/who.log' };
is($t->read_file('who.log'), "203.0.113.7 5555\n", 'is known by its own address');

for my $from ('127.0.0.1', '127.0.0.3') {
	$s = behind(port(1935), $from);
	ok($s->closed() && !$s->status(), "nobody speaks for others from $from");
}
wait_for { 2 == (() = $t->read_file('error.log') =~ /PROXY protocol header is not taken/g) };
like($t->read_file('error.log'), qr/\[error\].*\*\d+ rtmp: a PROXY protocol header is not taken from here, client: 127\.0\.0\.3, server: 127/,
	'which is logged');

$s = behind(port(1936), '127.0.0.3');
is($s->publish('s'), 'NetStream.Publish.Start', 'without the directive, everybody does');
like(conf_check($t, "rtmp { server { listen 127.0.0.1:" . port(1935) . " proxy_protocol; } }"),
	qr/^"proxy_protocol" on 127\.0\.0\.1:\d+ takes the client's address from whoever connects.*\nand starts$/s,
	'and nginx -t warns of it');

###############################################################################
