#!/usr/bin/perl

# One answer that refuses a pull ends every player of the stream on this machine, whatever
# their workers and protocols: nobody asks again.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use IO::Select;
use IO::Socket::INET;
use Test::Nginx qw/ port /;
use Test::Nginx::OCLP;
use Test::Nginx::Process;
use Test::Nginx::RTMP;
use Test::Nginx::Workers;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $PLAYERS = 12;
my @ANSWERS = ([ 404, 'open' ], [ 403, 'open' ], [ 500, 'open' ], [ 404, 'closed' ]);

my $t = Test::Nginx->new()->has(qw/ http /)->plan(1 + 3 * @ANSWERS);

$t->write_file_expand('nginx.conf', <<'EOC');

%%TEST_GLOBALS%%

daemon off;
worker_processes 4;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    server {
        listen 127.0.0.1:8082 reuseport;
        location / {
            flv_live 127.0.0.1:%%PORT_1935%%;
        }
    }
}

rtmp {
    rtmp_auto_pull_port unix:%%TESTDIR%%/rtmp;

    server {
        listen 127.0.0.1:%%PORT_1935%% reuseport;
        live on;

        application open {
            oclp_pull http://127.0.0.1:8081/pull;
        }

        application closed {
            idle_streams off;
            oclp_pull http://127.0.0.1:8081/pull;
        }
    }
}

EOC

my $oclp = oclp_server($t, port(8081));
$t->run();

###############################################################################

my %workers;
for my $case (@ANSWERS) {
	my ($status, $app) = @$case;
	my $name = "$app-$status";
	# when all of them have come
	$oclp->answer('pull start', status => $status, delay => 1.5);
	my @players = map { my $p = rtmp_connect(port(1935), $app); $p->create_stream(); $p } 1 .. $PLAYERS;
	$workers{worker_of($t, $_)}++ for @players;
	my @flv = map { http_start("GET /$app/$name HTTP/1.0\x0d\x0aHost: h\x0d\x0a\x0d\x0a") } 1 .. $PLAYERS;
	$_->send_command($_->{stream}, 'play', 5, undef, $name) for @players;

	my %codes;
	$codes{ended($_)}++ for @players;
	is_deeply(\%codes, { 'NetStream.Play.StreamNotFound' => $PLAYERS }, "$name: RTMP players");
	is(scalar(grep { closed($_) } @flv), $PLAYERS, "$name: HTTP-FLV players");
	is(scalar(grep { $_->{name} eq $name } $oclp->requests('pull start')), 1, "$name: one question");
}
cmp_ok(scalar(keys %workers), '>', 1, 'players of several workers');

###############################################################################

sub http_start {
	my ($request) = @_;
	my $socket = IO::Socket::INET->new("127.0.0.1:${\port(8082)}") or return;
	$socket->print($request);
	return $socket;
}

# The last status before the end.
sub ended {
	my ($p) = @_;
	my $code = '';
	while (my $next = $p->read_status()) {
		$code = $next;
	}
	return $code;
}

# Whether the answer ends.
sub closed {
	my ($socket) = @_;
	my $select = IO::Select->new($socket);
	while ($select->can_read(10)) {
		return 1 if !sysread($socket, my $bytes, 65536);
	}
	return 0;
}

###############################################################################
