#!/usr/bin/perl

# Connections to a callback server are used again: 64 are enough as long as it answers
# at once, however many players come at the same moment.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Time::HiRes qw/ sleep /;
use Test::Nginx::Process;
use Test::Nginx::RTMP;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

# connections that are enough, and the players of each burst
my $ENOUGH = 64;
my $PLAYERS = ($ENV{TEST_NGINX_SLOW} || 1) > 1 ? 150 : 800;
my $BURSTS = 4;

my $t = Test::Nginx->new()->plan(3 + 2 * $BURSTS + 2);

$t->write_file_expand('nginx.conf', <<'EOC');

%%TEST_GLOBALS%%

daemon off;

events {
    worker_connections 4096;
}

rtmp {
    server {
        listen 127.0.0.1:8080;
        live on;

        application test {
            oclp_fail closed;
            oclp_play http://127.0.0.1:8081/play stage=done timeout=20s;
        }
    }
}

EOC

# the callback server: nginx itself, which tells of each request how many connections were open

my $server = Test::Nginx->new()->has(qw/ http stub_status /);
$server->write_file_expand('nginx.conf', <<'EOC');

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    log_format open "$connection $connections_active $arg_act";
    access_log %%TESTDIR%%/open.log open;
    keepalive_requests 1000000;

    server {
        listen 127.0.0.1:8081;
        return 200;
    }
}

EOC
$server->run();
$t->run();

###############################################################################

my $worker;
wait_for { ($worker) = worker_pids($t) };
my $answered = 0;
for my $burst (1 .. $BURSTS) {
	my @players = map {
		my $p = rtmp_connect(port(8080), 'test');
		$p->create_stream();
		$p;
	} 1 .. $PLAYERS;
	$_->send_command($_->{stream}, 'play', 5, undef, 'name') for @players;
	stall();
	my %codes;
	$codes{$_->read_status() || 'none'}++ for @players;
	is_deeply(\%codes, { 'NetStream.Play.Start' => $PLAYERS }, "burst $burst: every play");
	# and as many dones at once
	$_->abort() for @players;
	$answered += $PLAYERS;
	wait_for { $answered == grep { $_->[2] eq 'done' } seen() } 60;
	is(scalar(grep { $_->[2] eq 'done' } seen()), $answered, "burst $burst: every done");
}

my @seen = seen();
my ($open) = sort { $b <=> $a } map { $_->[1] } @seen;
my %connections = map { ($_->[0] => 1) } @seen;
# a request that is not answered within 50 ms lets another one go beside it, and on a busy
# machine some are not; without a limit there is one for each player
cmp_ok($open, '<=', $PLAYERS / 2, 'open connections');
# those that idled through a burst's setting up may be others in the next
cmp_ok(scalar(keys %connections), '<=', @seen / 4, 'connections are used again');
is(scalar(grep { /: no answer: / } split /\n/, $t->read_file('error.log')), 0,
	'every request is answered');
note("$open open at most (of $ENOUGH that are enough), ", scalar(keys %connections), ' in all, ', scalar(@seen), ' requests');

###############################################################################

# Takes the processor away from the worker again and again, as a busy machine does.
sub stall {
	for (1 .. 5) {
		sleep(0.005);
		kill 'STOP', $worker;
		sleep(0.08);
		kill 'CONT', $worker;
	}
}

# Of each request: connection, how many were open, act.
sub seen {
	return map { [ split ] } split /\n/, $server->read_file('open.log');
}

# the subs hold it, and it must end before the tests are counted
undef $_ for $t, $server;

###############################################################################
