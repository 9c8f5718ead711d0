#!/usr/bin/perl

# A reload that changes the size of "rtmp_zone", or the path of the workers' sockets, hides no stream
# and gives no name away.

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

my $t = Test::Nginx->new()->plan(16);

workers_run($t, 2, main => 'worker_shutdown_timeout 60s;', rtmp => 'rtmp_zone 1m;');

###############################################################################

my $conf = $t->read_file('nginx.conf');
my ($frame, @publishers, @players) = (0);
for my $change (
	[larger => sub { s/rtmp_zone 1m/rtmp_zone 64m/ }],
	[smaller => sub { s/rtmp_zone 64m/rtmp_zone 32k/ }],
	['another path' => sub { s/rtmp_zone 32k/rtmp_zone 2m/; s{/inner;}{/other;} }],
	['the first path' => sub { s{/other;}{/inner;} }],
) {
	my ($what, $edit) = @$change;
	push @publishers, publisher('s' . @publishers);
	$edit->() for $conf;
	my %before = map { $_ => 1 } worker_pids($t);
	$t->write_file('nginx.conf', $conf)->reload();
	my @new;
	wait_for { 2 == (@new = grep { !$before{$_} } worker_pids($t)) };

	$frame++;
	$_->send_video($frame * 40, key_frame($frame)) for @publishers;
	for my $worker (@new) {
		for my $n (0 .. $#publishers) {
			push @players, client_at($t, sub { $_[0] == $worker });
			$players[-1]->play("s$n");
		}
	}
	is(seen(@players), @players, "$what: all streams are played, from whatever worker");
	is(scalar(grep { publisher("s$_")->status() eq 'NetStream.Publish.BadName' } 0 .. $#publishers),
		@publishers, "$what: names stay taken");
	$frame++;
	$_->send_video($frame * 40, key_frame($frame)) for @publishers;
	is(seen(@players), @players, "$what: everybody goes on");
}

# a zone that is larger takes more

my @more = map { publisher('x' x 200 . $_) } 1 .. 400;
my $late = $more[-1];
$late->send_video(0, key_frame(999));
my %seen;
for my $worker ((worker_pids($t))[-2, -1]) {
	my $v = client_at($t, sub { $_[0] == $worker });
	$v->play('x' x 200 . 400);
	$seen{$worker}++ if $v->read_until(sub { $_[0]{payload} eq key_frame(999) });
	$v->close();
}
is(scalar(keys %seen), 2, 'a larger zone has more room');
$_->close() for @players, @publishers, @more;

ok((wait_for { 2 == (() = worker_pids($t)) } 20), 'the old workers leave');
ok((wait_for { 4 == (() = inner_sockets($t)) } 10), 'and so do their sockets');
$t->reload();
is(scalar(() = glob($t->testdir() . '/other.*')), 0, 'and their directory');

undef $_ for @players;

###############################################################################

sub seen {
	return scalar grep { $_->read_until(sub { $_[0]{payload} eq key_frame($frame) }) } @_;
}

undef $t;

###############################################################################
