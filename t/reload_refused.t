#!/usr/bin/perl

# A configuration that is refused changes nothing: not for the workers that run,
# and not for those that take the place of one that dies.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Process;
use Test::Nginx::RTMP;
use Test::Nginx::Workers;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->plan(4);

workers_run($t, 2);

###############################################################################

my $p = publisher('s');
$p->send_video(0, key_frame(0));

# what is wrong stands behind the rtmp block
my $conf = $t->read_file('nginx.conf');
for my $wrong ('no_such_directive;', 'pid /nowhere/nginx.pid;', 'rtmp { }') {
	$t->write_file('nginx.conf', "$conf\n$wrong\n");
	$t->reload();
}
$t->write_file('nginx.conf', $conf);
is(scalar(() = worker_pids($t)), 2, 'the workers are still there');

# the master says so
$t->todo_alerts();
my @before = worker_pids($t);
for my $pid (@before) {
	kill 'KILL', $pid;
	wait_for { my @pids = worker_pids($t); @pids == 2 && !grep { $_ == $pid } @pids };
}
my @after = worker_pids($t);
is(scalar(grep { my $pid = $_; !grep { $_ == $pid } @before } @after), 2, 'two others come');

ok(wait_for { $p = publisher('s'); $p->status() eq 'NetStream.Publish.Start' }, 'publish');
$p->send_video(0, key_frame(1));
my @players = map { player('s') } 1 .. 8;
is(scalar(grep { $_->read_until(sub { $_[0]{payload} eq key_frame(1) }) } @players), 8,
	'players on both of them');

###############################################################################
