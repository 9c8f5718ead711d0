#!/usr/bin/perl

# A reload hides no stream: workers of all generations play from each other.

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

my $t = Test::Nginx->new()->plan(10);

workers_run($t, 2, main => 'worker_shutdown_timeout 30s;');

###############################################################################

my $p = publisher('s');
$p->send_video(0, key_frame(0));
my $old = player('s');
$old->read_video();
my @before = worker_pids($t);

for my $round (1 .. 5) {
	my %old = map { $_ => 1 } worker_pids($t);
	$t->reload();
	ok(wait_for { 2 == grep { !$old{$_} } worker_pids($t) }, "reload $round");
}

my @new = map { player('s') } 1 .. 8;
$p->send_video(5000, key_frame(1));
my $got = grep { $_->read_until(sub { $_[0]{payload} eq key_frame(1) }) } @new, $old;
is($got, 9, 'players of the new workers and of the old');

is(publisher('s')->status(), 'NetStream.Publish.BadName', 'the name is still taken');

$p->close();
$old->close();
my $q;
ok(wait_for { $q = publisher('s'); $q->status() eq 'NetStream.Publish.Start' },
	'until its publisher leaves');
$q->send_video(0, key_frame(2));
$got = grep { $_->read_until(sub { $_[0]{payload} eq key_frame(2) }) } @new;
is($got, 8, 'players go on with the next one');
ok(wait_for { my %now = map { $_ => 1 } worker_pids($t); !grep { $now{$_} } @before },
	'the old workers leave when their sessions have ended');

# nobody is to be waited for
$_->close() for @new, $q;

###############################################################################
