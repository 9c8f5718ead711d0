#!/usr/bin/perl

# Sockets of others in the place of a worker's hang nobody and feed nobody: one that says nothing,
# one with a full queue, one that sends a picture of its own, one that nobody reads.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use IO::Socket::UNIX;
use POSIX ();
use Socket qw/ SOCK_STREAM pack_sockaddr_un /;

use Test::Nginx;
use Test::Nginx::FLV;
use Test::Nginx::Process;
use Test::Nginx::RTMP;
use Test::Nginx::Workers;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->plan(14);

workers_run($t, 2);

###############################################################################

my ($source, $edge) = worker_pids($t);
my $p = client_at($t, sub { $_[0] == $source });
$p->publish('s');
$p->send_video(0, key_frame(0));
my $here = client_at($t, sub { $_[0] == $edge });
$here->publish('here');
$here->send_video(0, key_frame(1));

my $picture = flv_header() . flv_tag(9, 0, key_frame(666));
my %foreign = (
	'a silent socket' => sub { listener($_[0], 5) },
	'a full socket' => sub {
		my $l = listener($_[0], 1);
		my @queue;
		while (@queue < 100) {
			my $s = IO::Socket::UNIX->new(Type => SOCK_STREAM, Blocking => 0) or last;
			connect($s, pack_sockaddr_un($_[0])) or last;
			push @queue, $s;
		}
		return [$l, @queue];
	},
	'a socket with a picture' => sub {
		my $l = listener($_[0], 50);
		my $child = fork() // die "cannot fork: $!\n";
		if ($child == 0) {
			my @kept;
			$SIG{ALRM} = sub { POSIX::_exit(0) };
			alarm(60);
			while (my $s = $l->accept()) {
				syswrite($s, 'n' x 16 . 'p' x 16 . $picture);
				push @kept, $s;
			}
			POSIX::_exit(0);
		}
		return [$l, bless \$child, 'Killed'];
	},
	'a dead socket' => sub { listener($_[0], 1)->close() },
);

for my $what (sort keys %foreign) {
	my ($path) = grep { m{/$source\.\w+$} } inner_sockets($t);
	unlink $path;
	my $foreign = $foreign{$what}->($path);

	my $v = client_at($t, sub { $_[0] == $edge });
	$v->play('s');
	# the worker that meets it serves all others
	my $w = client_at($t, sub { $_[0] == $edge });
	$w->play('here');
	ok($w->read_until(sub { $_[0]{payload} eq key_frame(1) }), "$what hangs nobody");
	my @seen;
	ok($v->read_until(sub { push @seen, $_[0]{payload}; $_[0]{payload} eq key_frame(0) }),
		"and the stream comes when the worker has its socket again");
	is(scalar(grep { $_ eq key_frame(666) } @seen), 0, 'and no other');
	$_->close() for $v, $w;
}

# they are looked for by a name that was used before, and a new worker starts all the same

my ($dir) = glob($t->testdir() . '/inner.*');
my $full = $foreign{'a full socket'}->("$dir/4194000.00000000");
$full = [$full, $foreign{'a full socket'}->($t->testdir() . '/inner.4194000')];
my %old = map { $_ => 1 } worker_pids($t);
$t->reload();
my @new;
ok(wait_for { 2 == (@new = grep { !$old{$_} } worker_pids($t)) }, 'new workers');
my $v = client_at($t, sub { $_[0] == $new[0] });
$v->play('s');
ok($v->read_until(sub { $_[0]{payload} eq key_frame(0) }), 'serve at once');
$_->close() for $v, $p, $here;
undef $full;

###############################################################################

sub listener {
	my ($path, $queue) = @_;
	return IO::Socket::UNIX->new(Type => SOCK_STREAM, Local => $path, Listen => $queue)
		|| die "$path: $!\n";
}

package Killed;

sub DESTROY { local $?; kill 'KILL', ${$_[0]}; waitpid ${$_[0]}, 0 }

###############################################################################
