#!/usr/bin/perl

# A stream whose start was refused has no updates, whatever workers its clients are connected to;
# one whose start was answered has them once for all.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::OCLP;
use Test::Nginx::Process;
use Test::Nginx::RTMP;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $PLAYERS = 16;

my $t = Test::Nginx->new()->plan(5);

$t->write_file_expand('nginx.conf', <<'EOC');

%%TEST_GLOBALS%%

daemon off;
worker_processes 4;
worker_shutdown_timeout 1s;

events {
}

rtmp {
    rtmp_auto_pull_port unix:%%TESTDIR%%/rtmp;

    server {
        listen 127.0.0.1:8080 reuseport;
        live on;

        application app {
            oclp_stream http://127.0.0.1:8081/s stage=start,update,done update=50ms;
        }
    }
}

EOC

my $oclp = oclp_server($t, port(8081));
$t->run();

###############################################################################

# both at once, so that the updates of the one tell that those of the other would have come
$oclp->answer('stream start', { status => 403 }, { status => 200 });
my @clients = players('refused');
ok($oclp->wait_requests('stream start', 1), 'the first is told of');
push @clients, players('answered');

wait_for { 10 <= (() = updates('answered')) };
cmp_ok(scalar(updates('answered')), '>=', 10, 'the one has updates');
is(scalar(updates('refused')), 0, 'the other has none');

# those who told of it leave first
$_->close() for splice @clients, 0, $PLAYERS - 1;
my $before = updates('answered');
wait_for { $before + 5 <= (() = updates('answered')) };
is(scalar(updates('refused')), 0, 'nor when only one player is left');

$_->close() for @clients;
is(scalar($oclp->wait_requests('stream done', 2)), 2, 'both end');

###############################################################################

sub players {
	my ($name) = @_;
	return map {
		my $p = rtmp_connect(port(8080), 'app');
		$p->play($name);
		$p;
	} 1 .. $PLAYERS;
}

sub updates {
	my ($name) = @_;
	return grep { $_->{name} eq $name } $oclp->requests('stream update');
}

###############################################################################
