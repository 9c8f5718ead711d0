#!/usr/bin/perl

# The lines oclp_push and oclp_meta of an application wait for no other line, whatever
# they have in common: one that is never answered holds up none of the others.

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

my $PUBLISHERS = 150;

my $t = Test::Nginx->new()->plan(6);

$t->write_file_expand('nginx.conf', <<'EOC');

%%TEST_GLOBALS%%

daemon off;

events {
    worker_connections 4096;
}

rtmp {
    rtmp_auto_pull_port unix:%%TESTDIR%%/rtmp;
    relay_reconnect 60s;

    server {
        listen 127.0.0.1:8080;
        live on;

        application push {
            oclp_push http://127.0.0.1:8081/p groupid=g args=a=b timeout=60s;
            oclp_push http://127.0.0.1:8081/p groupid=g args=a=b timeout=60s;
            oclp_push http://127.0.0.1:8081/p groupid=g args=a=b timeout=60s;
            oclp_push http://127.0.0.1:8081/p groupid=g args=a=b timeout=60s;
            oclp_push http://127.0.0.1:8081/p groupid=g args=a=b timeout=60s;
            oclp_push http://127.0.0.1:8081/p groupid=g args=a=b timeout=60s;
            oclp_push http://127.0.0.1:8081/p groupid=g args=a=b timeout=60s;
            oclp_push http://127.0.0.1:8081/p groupid=g args=a=b timeout=60s;
        }

        application meta {
            oclp_meta http://127.0.0.1:8081/p timeout=60s;
            oclp_meta http://127.0.0.1:8081/p timeout=60s;
            oclp_meta http://127.0.0.1:8081/p timeout=60s;
            oclp_meta http://127.0.0.1:8081/p timeout=60s;
            oclp_meta http://127.0.0.1:8081/p timeout=60s;
            oclp_meta http://127.0.0.1:8081/p timeout=60s;
            oclp_meta http://127.0.0.1:8081/p timeout=60s;
            oclp_meta http://127.0.0.1:8081/p timeout=60s;
        }

        application many {
            oclp_push http://127.0.0.1:8081/hangs timeout=60s;
            oclp_push http://127.0.0.1:8081/answers timeout=60s;
        }
    }
}

EOC

my $oclp = oclp_server($t, port(8081));
$t->run();

###############################################################################

# eight lines that are the same in every word, of which the first is never answered

for my $call (qw/ push meta /) {
	$oclp->answer("$call start", { hang => 1 }, { status => 200 });
	my $p = publisher($call, 'name');
	my @starts = $oclp->wait_requests("$call start", 8);
	is(scalar(@starts), 8, "$call: each line asks");
	is(scalar(grep { !$_->{answer} } @starts), 1, "$call: one is never answered");
	$p->close();
}

# one that hangs for many streams, for more than it may have under way

$oclp->answer('/hangs push start', hang => 1);
$oclp->answer('/answers push start', status => 200);
my @publishers = map { publisher('many', "name$_") } 1 .. $PUBLISHERS;
my @answered = $oclp->wait_requests('/answers push start', $PUBLISHERS);
is(scalar(@answered), $PUBLISHERS, 'the other line asks about each stream');
my @hanging = $oclp->requests('/hangs push start');
cmp_ok(scalar(@hanging), '<', $PUBLISHERS, 'when the first has no more requests to spare');
$_->close() for @publishers;

# what hangs does not hold up the end
$oclp->stop();

###############################################################################

sub publisher {
	my ($app, $name) = @_;
	my $p = rtmp_connect(port(8080), $app);
	$p->publish($name);
	$p->send_video(0, "\x17\x00\0\0\0header");
	return $p;
}

###############################################################################
