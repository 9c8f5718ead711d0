#!/usr/bin/perl

# $finalize_reason tells how a session ended; an end that the client wanted is
# no failure of the connection.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Socket;
use Test::Nginx::Live;
use Test::Nginx::Process;
use Test::Nginx::RTMP;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->plan(9);

live_run($t, server => 'first_command_timeout 300ms; log_format end \'$command $name $finalize_reason\';'
	. ' access_log %%TESTDIR%%/end.log end;', app => 'deny publish 127.0.0.2;');

###############################################################################

my $seen = 0;

# The line of the session that ends now.
sub ended {
	my @lines;
	wait_for { @lines = split /\n/, -e $t->testdir() . '/end.log' ? $t->read_file('end.log') : ''; @lines > $seen };
	return $lines[$seen++] // '';
}

# Closes so that the other side sees a reset, as with unread input.
sub reset_by_peer {
	my ($client) = @_;
	setsockopt($client->{socket}, SOL_SOCKET, SO_LINGER, pack('ii', 1, 0));
	$client->close();
}

my $p = publisher('a');
$p->close();
is(ended(), 'PUBLISH a closed by the client', 'a publisher that closes');

$p = publisher('b');
$p->send_command(0, 'FCUnpublish', 0, undef, 'b');
$p->send_command(0, 'deleteStream', 0, undef, 1);
$p->read_status();
$p->close();
is(ended(), 'PUBLISH b unpublished', 'one that unpublishes before');

$p = publisher('c');
$p->send_command(0, 'deleteStream', 0, undef, 1);
$p->read_status();
reset_by_peer($p);
is(ended(), 'PUBLISH c unpublished', 'and resets the connection then');

$p = publisher('d');
reset_by_peer($p);
like(ended(), qr/^PUBLISH d connection failed: /, 'one that is cut off');

my $v = player('e');
reset_by_peer($v);
is(ended(), 'PLAY e closed by the client', 'a player that leaves what it was sent');

$v = player('f');
$v->send_command(1, 'closeStream', 0, undef);
$v->read_status();
$v->close();
is(ended(), 'PLAY f stopped', 'a player that stops');

my $q = publisher('g', from => '127.0.0.2');
$q->close();
is(ended(), 'PUBLISH g refused: access is denied', 'a refusal');

rtmp_connect(port(1935), 'live')->closed();
is(ended(), 'NONE - timed out: neither publish nor play', 'time is over');

unlike($t->read_file('error.log'), qr/connection failed.*name: "[a-ce-g]"/, 'nor does the error log say otherwise');

# the subs hold it, and it must end before the tests are counted
undef $t;

###############################################################################
