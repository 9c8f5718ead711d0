#!/usr/bin/perl

# The sockets through which workers pull from each other are nginx's alone: their directory, their
# modes, and a proof before anything is said. What is removed comes back.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use IO::Select;
use IO::Socket::UNIX;
use Socket qw/ SOCK_DGRAM SOCK_STREAM /;

use Test::Nginx;
use Test::Nginx::Process;
use Test::Nginx::RTMP;
use Test::Nginx::Workers;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

plan(skip_all => 'needs the rights of root') if $> != 0;

my $t = Test::Nginx->new()->plan(10);

my ($nobody, $group) = (getpwnam("nobody"))[2, 3];
$group = getgrgid($group);
$ENV{TEST_NGINX_GLOBALS} =~ s/user root;//;
chmod 01777, $t->testdir();
workers_run($t, 2, main => "user nobody $group; worker_shutdown_timeout 1s;");

###############################################################################

my @workers = worker_pids($t);
ok(wait_for { 4 == (() = inner_sockets($t)) }, 'two sockets a worker');
my ($dir) = glob($t->testdir() . '/inner.*');
is(sprintf('%o %d', (lstat $dir)[2] & 07777, (lstat _)[4]), "700 $nobody", 'the directory');
is(join(' ', map { sprintf '%o', (lstat $_)[2] & 07777 } inner_sockets($t)), '600 600 600 600',
	'the sockets');
my %parts = map { m{/\d+\.(\w{8,})} ? ($1 => 1) : () } inner_sockets($t);
is(scalar(keys %parts), 2, 'each worker has a name that nobody can guess');

# who gets there all the same, but does not share the zone

my $p = client_at($t, sub { $_[0] == $workers[0] });
$p->publish('s');
$p->send_video(0, key_frame(0));
my ($stream) = grep { m{/$workers[0]\.\w+$} } inner_sockets($t);
my $key = join '', map { pack 'N/a*', $_ } '127.0.0.1:' . port(1935), 'live', 's';
my %said = (
	'the key alone' => pack('N/a*', $key),
	'a proof of nothing' => 'n' x 16 . 'p' x 16 . pack('N/a*', $key),
	'nothing' => '',
);
for my $what (sort keys %said) {
	my $s = IO::Socket::UNIX->new(Type => SOCK_STREAM, Peer => $stream) or die "$stream: $!\n";
	$s->syswrite($said{$what}) if length $said{$what};
	my $heard = '';
	while (IO::Select->new($s)->can_read(20)) {
		$s->sysread($heard, 4096, length $heard) or last;
	}
	unlike($heard, qr/FLV|kkkk/, "$what is not answered with the stream");
}

# workers still hear of each other after any number of words that none of them has sent

my $v = client_at($t, sub { $_[0] == $workers[1] });
$v->play('next');
my @words = map { IO::Socket::UNIX->new(Type => SOCK_DGRAM, Peer => $_) }
	grep { /\.w$/ } inner_sockets($t);
for my $word ($key, 'x' x 16 . $key, '', 'y') {
	$_->send($word) for @words;
}
my $q = client_at($t, sub { $_[0] == $workers[0] });
$q->publish('next');
$q->send_video(0, key_frame(7));
ok($v->read_until(sub { $_[0]{payload} eq key_frame(7) }), 'a word of a worker is heard');

# somebody cleans up

unlink inner_sockets($t);
rmdir $dir;
ok((wait_for { 4 == (() = inner_sockets($t)) } 10), 'what was removed comes back');
my $w = client_at($t, sub { $_[0] == $workers[1] });
$w->play('s');
ok($w->read_until(sub { $_[0]{payload} eq key_frame(0) }), 'and serves');

$_->close() for $p, $q, $v, $w;

###############################################################################
