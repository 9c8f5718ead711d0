#!/usr/bin/perl

# A done that is not answered holds up what comes next for a quarter of a second at most,
# not for the time that an answer may take.

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

my $t = Test::Nginx->new()->plan(10);

$t->write_file_expand('nginx.conf', <<'EOC');

%%TEST_GLOBALS%%

daemon off;
worker_shutdown_timeout 1s;

events {
}

rtmp {
    rtmp_auto_pull_port unix:%%TESTDIR%%/rtmp;
    relay_reconnect 60s;

    server {
        listen 127.0.0.1:8080;
        live on;

        application publish {
            oclp_publish http://127.0.0.1:8081/p stage=done timeout=60s;
        }

        application stream {
            oclp_stream http://127.0.0.1:8081/p stage=done timeout=60s;
        }

        application push {
            oclp_push http://127.0.0.1:8081/p stage=done timeout=60s;
        }

        application meta {
            oclp_meta http://127.0.0.1:8081/p stage=done timeout=60s;
        }

        application pull {
            oclp_pull http://127.0.0.1:8081/p stage=done timeout=60s;
        }

        application core {
        }
    }
}

EOC

my $oclp = oclp_server($t, port(8081));
my $core = 'rtmp://127.0.0.1:' . port(8080) . '/core/';
$t->run();

###############################################################################

my $steady = rtmp_connect(port(8080), 'core');
$steady->publish('steady');
$oclp->answer('*', hang => 1);

for my $call (qw/ publish stream push meta pull /) {
	my $location = $core . ($call eq 'pull' ? 'steady' : $call);
	$oclp->answer("$call start", $call =~ /publish|stream/ ? (status => 200)
		: (status => 302, headers => [ Location => $location ]));
	my $first = client($call);
	$oclp->wait_requests("$call start", 1);
	$first->close();
	my ($done) = $oclp->wait_requests("$call done", 1);
	ok($done && !$done->{answer}, "$call: a done that is not answered");
	my $second = client($call);
	is(scalar($oclp->wait_requests("$call start", 2)), 2, "$call: and the next start");
	$second->close();
}

# nor does it hold up the worker
$oclp->stop();

###############################################################################

sub client {
	my ($app) = @_;
	my $p = rtmp_connect(port(8080), $app);
	if ($app eq 'pull') {
		$p->play('name');
	} else {
		$p->publish('name');
		$p->send_video(0, "\x17\x00\0\0\0header");
	}
	return $p;
}

###############################################################################
