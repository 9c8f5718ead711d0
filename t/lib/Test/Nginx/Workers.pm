package Test::Nginx::Workers;

# A server of several workers, and what can be seen of what they do for each
# other.

use warnings;
use strict;

use base qw/ Exporter /;
our @EXPORT = (qw/ workers_run worker_of client_at inner_pulls inner_takers inner_sockets /);

use Socket qw/ unpack_sockaddr_in /;

use Test::Nginx;
use Test::Nginx::Live;
use Test::Nginx::Process;
use Test::Nginx::RTMP;

push @EXPORT, @Test::Nginx::Live::EXPORT;

# Starts nginx with so many workers, each with its own listening socket; the
# options are more lines for the main, rtmp, server and application blocks; with
# daemon => 1 it is for others to start it.
sub workers_run {
	my ($t, $workers, %options) = @_;
	my ($main, $rtmp, $server, $app) = @options{qw/ main rtmp server app /};
	$main //= 'worker_shutdown_timeout 1s;';
	$_ //= '' for $rtmp, $server, $app;
	my $daemon = $options{daemon} ? 'on' : 'off';

	$t->write_file_expand('nginx.conf', <<"EOC");

%%TEST_GLOBALS%%

daemon $daemon;
worker_processes $workers;
$main

events {
}

rtmp {
    rtmp_auto_pull_port unix:%%TESTDIR%%/inner;
    ${\patient($rtmp)}
    $rtmp

    server {
        listen 127.0.0.1:%%PORT_1935%% reuseport;
        $server

        application live {
            live on;
            cache_time 1s;
            $app
        }
    }
}

EOC
	return if $options{daemon};
	$t->run();
	# nginx writes its pid before it has workers
	wait_for { $workers == (() = worker_pids($t)) } or die "no $workers workers\n";
}

# The process id of the worker at the other end of a client's (or a scripted server's)
# connection.
sub worker_of {
	my ($t, $client) = @_;
	my $socket = $client->{socket};
	my ($own, $peer) = map { (unpack_sockaddr_in($_))[0] } getsockname($socket), getpeername($socket);
	my $ends = sprintf '[0-9A-F]+:%04X [0-9A-F]+:%04X', $peer, $own;
	open my $tcp, '<', '/proc/net/tcp' or die "no /proc/net/tcp: $!\n";
	my ($inode) = map { /^\s*\d+: $ends (?:\S+ +){6}(\d+)/ } <$tcp>;
	return if !defined $inode;
	for my $pid (worker_pids($t)) {
		return $pid if grep { (readlink($_) // '') eq "socket:[$inode]" } glob("/proc/$pid/fd/*");
	}
	return;
}

# A client of a worker that suits, by its process id.
sub client_at {
	my ($t, $suits) = @_;
	for (1 .. 100) {
		my $client = rtmp_connect(port(1935), 'live');
		return $client if $suits->(worker_of($t, $client));
	}
	die "no client came to the worker\n";
}

# The sockets of workers, in the directories that workers_run() names.
sub inner_sockets {
	my ($t) = @_;
	return glob($t->testdir() . '/inner.*/*');
}

# What the path of a worker's socket begins with.
sub _prefix {
	my ($t) = @_;
	return quotemeta($t->testdir() . '/inner.') . '\w+/';
}

# How many streams workers take from each other now: by process id, those that
# the worker gives.
sub inner_pulls {
	my ($t) = @_;
	my $prefix = _prefix($t);
	my %pulls;
	open my $unix, '<', '/proc/net/unix' or die "no /proc/net/unix: $!\n";
	while (<$unix>) {
		# type stream, state connected
		$pulls{$1}++ if /^\S+ \S+ \S+ \S+ 0001 03 +\d+ $prefix(\d+)\.\w+$/;
	}
	return \%pulls;
}

# The same by process id of those who take; needs "ss".
sub inner_takers {
	my ($t) = @_;
	my $prefix = _prefix($t);
	my (%taker, @peers, %pulls);
	for (split /\n/, `ss -xpn state connected`) {
		# type, state, queues; address and inode of both ends; the process
		my ($own, $inode, $peer, $pid) = /^u_str +ESTAB +\d+ +\d+ +(\S+) (\d+) +\S+ (\d+).*\bpid=(\d+)/
			or next;
		$taker{$inode} = $pid;
		push @peers, $peer if $own =~ /^$prefix\d+\.\w+$/;
	}
	$pulls{$taker{$_} // 'nobody'}++ for @peers;
	return \%pulls;
}

1;
