#!/usr/bin/perl

# Players of other workers have their turn when the origin refuses those of the one that asked.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Process;
use Test::Nginx::Relay qw/ rtmp_server rtmp_accept /;
use Test::Nginx::RTMP;
use Test::Nginx::Workers;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

# what the origin says to one with a wrong query, and what becomes of that player
my @cases = (
	['NetStream.Play.Forbidden', 'ends'],
	['NetStream.Play.StreamNotFound', 'waits'],
	['closed', 'waits'],
	['silent', 'waits'],
);

my $t = Test::Nginx->new()->plan(4 * @cases);

workers_run($t, 2, rtmp => 'relay_timeout 1s;', app => 'pull rtmp://127.0.0.1:%%PORT_8081%%/there;');

my $server = rtmp_server(port(8081));

###############################################################################

for my $case (@cases) {
	my ($answer, $then) = @$case;
	my $name = $answer =~ s/.*\.//r;
	my $bad = client_at($t, sub { 1 });
	$bad->play("$name?t=bad");
	my $home = worker_of($t, $bad);
	my $asked = rtmp_accept($server, until => 'play');
	is($asked->{name}, "$name?t=bad", "$name: asked for the first");
	my $good = client_at($t, sub { $_[0] != $home });
	$good->play("$name?t=good");

	my @kept;
	for (1 .. 20) {
		refuse($asked, $answer);
		push @kept, $asked;
		$asked = rtmp_accept($server, until => 'play') or last;
		last if $asked->{name} =~ /good/;
	}
	is(($asked // {})->{name}, "$name?t=good", "$name: then for the one of another worker");
	$asked->send_command($asked->{stream}, 'onStatus', 0, undef,
		{ level => 'status', code => 'NetStream.Play.Start' });
	$asked->send_video(0, $_) for video_header(), key_frame(1);
	ok($good->read_until(sub { $_[0]{payload} eq key_frame(1) }), "$name: which plays");
	if ($then eq 'ends') {
		is($bad->read_status(), 'NetStream.Play.StreamNotFound', "$name: the first is refused");
	} else {
		ok($bad->read_video(), "$name: the first plays as well");
	}
	$_->close() for $bad, $good;
}

###############################################################################

sub refuse {
	my ($asked, $how) = @_;
	return $asked->close() if $how eq 'closed';
	my ($level, $code) = $how eq 'silent' ? ('status', 'NetStream.Play.Start') : ('error', $how);
	$asked->send_command($asked->{stream}, 'onStatus', 0, undef, { level => $level, code => $code });
}

# the subs hold it, and it must end before the tests are counted
undef $t;

###############################################################################
