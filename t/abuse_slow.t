#!/usr/bin/perl

# Clients that never get to the point.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Abuse;
use Test::Nginx::Process;
use Test::Nginx::RTMP;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->plan(7);

abuse_run($t, server => 'handshake_timeout 1s; first_command_timeout 1m; ping 1s; ping_timeout 3s;');

###############################################################################

my $s = rtmp_open(port(1935));
$s->send_raw("\x03");
ok(refused($s, 4), 'one byte of a handshake');

$s = rtmp_open(port(1935));
ok(refused($s, 4), 'no byte at all');

$s = rtmp_open(port(1935));
$s->handshake();
$s->send_raw("\x03\x00");
ok(refused($s, 4), 'half a chunk header instead of connect');

$s = rtmp_connect(port(1935), 'live', auto_pong => 0);
my $polite = rtmp_connect(port(1935), 'live');
my $pings = 0;
for (1 .. 20) {
	# all of them are pinged; these answer
	bystanders_unharmed();
	$pings++ if $polite->read_until(sub { ($_[0]{event} // -1) == 6 }, 0.2);
	last if $s->closed(0.2);
}
ok($s->{eof}, 'connected, but no answer to a ping');
cmp_ok($pings, '>', 0, 'a ping comes');
my $transaction = $polite->command('createStream', undef);
ok($polite->result($transaction), 'who answers stays');

ok(bystanders_unharmed(), 'others go on');

###############################################################################
