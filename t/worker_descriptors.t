#!/usr/bin/perl

# A worker that has no descriptor left waits for one without a stir: also where another worker wants
# to pull from it. What runs goes on, and what waited is served in the end.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use IO::Socket::INET;
use Time::HiRes qw/ sleep time /;

use Test::Nginx;
use Test::Nginx::Process;
use Test::Nginx::RTMP;
use Test::Nginx::Workers;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $SECONDS = 3;

my $t = Test::Nginx->new()->plan(6);

workers_run($t, 2,
	main => 'worker_rlimit_nofile 50; worker_shutdown_timeout 1s;',
	server => 'handshake_timeout 10m; ping 0; timeout 10m;');

###############################################################################

my ($full, $edge) = worker_pids($t);
my $p = client_at($t, sub { $_[0] == $full });
$p->publish('s');
my $own = client_at($t, sub { $_[0] == $full });
$own->play('s');
my $waiting = client_at($t, sub { $_[0] == $edge });

# connections that fill one worker, and wait for it
my @fill;
my $before = length $t->read_file('error.log');
ok((wait_for {
	push @fill, map { IO::Socket::INET->new(PeerAddr => '127.0.0.1:' . port(1935)) // () } 1 .. 5;
	# what has come to the other one goes
	@fill = grep { (worker_of($t, { socket => $_ }) // 0) != $edge } @fill;
	substr($t->read_file('error.log'), $before) =~ / $full#\d+: (?:\*\d+ )?accept4\(\) failed/;
} 60), 'one worker has no descriptor left');
ok(fd_count($edge) < 40, 'the other one has');

$waiting->play('s');
my ($cpu, $lines) = (cpu_seconds($full), logged($full));
my ($start, $frames) = (time(), 0);
for my $n (1 .. $SECONDS * 10) {
	sleep(0.1);
	$p->send_video($n * 100, key_frame($n));
	$frames++ if $own->read_until(sub { $_[0]{payload} eq key_frame($n) });
}
is($frames, $SECONDS * 10, 'what runs goes on');
my $took = time() - $start;
cmp_ok(cpu_seconds($full) - $cpu, '<=', 0.3 * $took, 'it does not spin');
cmp_ok(logged($full) - $lines, '<=', $took + 2, 'a line a second');

splice @fill;
$p->send_video(60_000, key_frame(999));
ok($waiting->read_until(sub { $_[0]{payload} eq key_frame(999) }),
	'who waited for the stream gets it when there are descriptors again');
$_->close() for $p, $own, $waiting;

###############################################################################

sub logged {
	my ($worker) = @_;
	return scalar grep { /\[(?:alert|crit|error)\] $worker#/ } split /\n/, $t->read_file('error.log');
}

undef $t;

###############################################################################
