#!/usr/bin/perl

# The directory of the workers' sockets: refused where it can't be made, gone with its nginx, and
# removed by the next one if that was killed.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Conf;
use Test::Nginx::Process;
use Test::Nginx::Workers;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->plan(7);
my $dir = $t->testdir();

like(conf_check($t, "rtmp { rtmp_auto_pull_port unix:$dir/missing/inner; server { listen 127.0.0.1:8081; } }"),
	qr/^no directory can be made for "rtmp_auto_pull_port" unix:\Q$dir\E\/missing\/inner: No such file/,
	'a path where none can be made');
is(conf_check($t, "rtmp { rtmp_auto_pull_port unix:$dir/inner; server { listen 127.0.0.1:8081; } }"),
	'', 'one where it can');
is(join(' ', glob("$dir/inner.*")), '', 'a test leaves nothing');

# what is left of one that was killed, what belongs to nobody, and what is something else

workers_run($t, 2);
ok((wait_for { 4 == (() = inner_sockets($t)) } 10), 'it runs');
my ($killed) = glob("$dir/inner.*");
my @workers = worker_pids($t);
my ($master) = $t->read_file('nginx.pid') =~ /(\d+)/;
mkdir "$dir/inner.other" and mkdir "$dir/inner.abcdefgh" and mkdir "$dir/inner.abcdefgh/kept" or die "$!\n";
kill 'KILL', $master, @workers;
wait_for { !grep { kill 0, $_ } @workers };
$t->stop();

workers_run($t, 2);
ok((wait_for { 4 == (() = glob("$dir/inner.*/*.*")) && !-e $killed } 10), 'the next one removes it');
$t->stop();
is(join(' ', glob("$dir/inner.*")), "$dir/inner.abcdefgh $dir/inner.other",
	'and its own at its end, and nothing else');
is(join(' ', glob("$dir/inner.*/*")), "$dir/inner.abcdefgh/kept", 'nor what is in others');

###############################################################################
