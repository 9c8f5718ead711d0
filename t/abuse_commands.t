#!/usr/bin/perl

# Floods of commands, pings and acknowledgements.

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

abuse_run($t);

###############################################################################

my $s = rtmp_connect(port(1935), 'live');
$s->send_message(5, 0, 0, pack('N', 1));
$s->publish('acks');
$s->send_video($_ * 40, key_frame($_)) for 0 .. 500;
my $transaction = $s->command('createStream', undef);
ok($s->result($transaction), 'an acknowledgement window of one byte');
my $acks = grep { $_->{type} == 3 } @{$s->{skipped}};
cmp_ok($acks, '<=', 510, 'is acknowledged at most once a read');

for my $name ('createStream', 'noSuchCommand') {
	$s = rtmp_connect(port(1935), 'live');
	my $flood = join '', map { $s->message(RTMP_COMMAND, 0, 0, amf0($name, $_, undef)) }
		1 .. 2000;
	$s->send_raw($flood);
	ok(refused($s), "a flood of $name");
}

# nobody reads the pongs
$s = rtmp_connect(port(1935), 'live', rcvbuf => 4096);
my $ping = $s->message(4, 0, 0, pack('n N', 6, 1)) x 1000;
my $sent = 0;
while ($sent < 20000 && $s->send_raw($ping)) { $sent++ }
cmp_ok($sent, '<', 20000, 'a flood of pings that is not read ends');
cmp_ok(grown_kb(), '<', 8192, 'the memory is bounded');

ok(bystanders_unharmed(), 'others go on');

###############################################################################
