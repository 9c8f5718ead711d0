#!/usr/bin/perl

# A module that is loaded and not used changes nothing: nginx serves HTTP, reloads
# and stops as without it.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Process;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http/)->plan(4)
	->write_file_expand('nginx.conf', <<'EOF');

%%TEST_GLOBALS%%

daemon off;
worker_processes 2;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;
    }
}

EOF

$t->write_file('index.html', 'here');
$t->run();

###############################################################################

like(http_get('/'), qr/200 OK.*here/s, 'http');

my @before = worker_pids($t);
$t->reload();
ok(wait_for {
	my %now = map { $_ => 1 } worker_pids($t);
	!grep { $now{$_} } @before;
}, 'old workers are gone after a reload');
like(http_get('/'), qr/200 OK.*here/s, 'http after a reload');

$t->stop();
unlike($t->read_file('error.log'), qr/\[(?:error|crit|alert|emerg)\]/,
	'nothing to complain about');

###############################################################################
