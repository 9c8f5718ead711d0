#!/usr/bin/perl

# oclp_proc: every worker tells that it has started, until it is answered.

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

# workers are told from other processes by their titles
plan(skip_all => 'no titles of processes under valgrind')
	if ($ENV{TEST_NGINX_BINARY} // '') =~ /valgrind/;

my $t = Test::Nginx->new()->plan(8);

$t->write_file_expand('nginx.conf', <<'EOC');

%%TEST_GLOBALS%%

daemon off;
worker_processes 2;

events {
}

rtmp {
    rtmp_auto_pull_port unix:%%TESTDIR%%/rtmp;
    oclp_proc http://127.0.0.1:8081/oclp/v1/proc?node=n timeout=500ms stage=start groupid=east;

    server {
        listen 127.0.0.1:8080;
    }
}

http {
    %%TEST_GLOBALS_HTTP%%
    proxy_cache_path %%TESTDIR%%/cache keys_zone=z:1m;

    server {
        listen 127.0.0.1:8082;
    }
}

EOC

my $oclp = oclp_server($t, port(8081));
$oclp->answer('init_process', { hang => 1 }, { raw => '' }, { status => 500 });
$oclp->stop();
$t->run();
$oclp->start();

###############################################################################

# nobody listens; no answer; a broken answer; and at last any answer will do

my @requests = $oclp->wait_requests('init_process', 4, 10);
is(scalar(@requests), 4, 'asked until answered');
my @lines = map { $_->{line} } @requests;
is(scalar(grep { $_ =~ m{^GET /oclp/v1/proc\?node=n&call=init_process&worker_id=[01]&groupid=east HTTP/1.1$} }
	@lines), 4, 'the request line');
ok(grep({ $_->{worker_id} eq '0' } @requests), 'worker 0');
ok(grep({ $_->{worker_id} eq '1' } @requests), 'worker 1');

# new workers

my $before = $oclp->requests();
$t->reload();
is(scalar($oclp->wait_requests('init_process', $before + 2)), $before + 2,
	'once for each worker after a reload');

kill 'TERM', (workers())[-1];
is(scalar($oclp->wait_requests('init_process', $before + 3)), $before + 3,
	'once for the successor of a worker that has gone');

# it does not hold up a worker that is told to leave, nor ask too often

$oclp->stop();
$t->reload();
my $began = Time::HiRes::time();
$t->reload();
wait_for { 2 == workers() };
cmp_ok(Time::HiRes::time() - $began, '<', 4, 'workers leave though nobody answers');
my $log = $t->read_file('error.log');
like($log, qr/oclp_proc of worker \d, server: 127\.0\.0\.1:\d+: no answer: /, 'logged');

###############################################################################

# without the manager of the cache, which has nothing to tell
sub workers {
	my @workers = grep {
		open my $file, '<', "/proc/$_/cmdline";
		($file && <$file> // '') =~ /worker process/;
	} worker_pids($t);
	return @workers;
}

# the subs hold it, and it must end before the tests are counted
undef $t;

###############################################################################
