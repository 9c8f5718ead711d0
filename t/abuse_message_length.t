#!/usr/bin/perl

# Messages that declare more than they bring, or than is allowed.

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

my $t = Test::Nginx->new()->plan(5);

abuse_run($t, server => 'max_message 1m;');

###############################################################################

my @open;
for (1 .. 100) {
	my $s = publisher("s$_");
	$s->send_raw(rtmp_chunk(0, 4, 'x' x 128, length => 1 << 20, type => RTMP_VIDEO,
		stream => 1));
	push @open, $s;
}
my $transaction = $open[-1]->command('createStream', undef);
ok($open[-1]->result($transaction), 'a declared megabyte is waited for');
cmp_ok(grown_kb(), '<', 4096, 'a hundred of them take no hundred megabytes');

my $s = publisher('s');
$s->send_raw(rtmp_chunk(0, 4, 'x' x 100, length => (1 << 20) + 1, type => RTMP_VIDEO,
	stream => 1));
ok(refused($s), 'one byte above max_message');

$s = rtmp_connect(port(1935), 'live');
$s->send_raw(rtmp_chunk(0, 4, 'x' x 128, length => 100_000, type => RTMP_COMMAND,
	stream => 0));
ok(refused($s), 'who does not publish has no need of large messages');

ok(bystanders_unharmed(), 'others go on');

###############################################################################
