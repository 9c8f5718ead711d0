#!/usr/bin/perl

# AMF that nests, counts and measures beyond all bounds.

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

my $t = Test::Nginx->new()->plan(11);

abuse_run($t);

###############################################################################

my $connect = amf0('connect', 1);
my %bad = (
	'70000 objects in each other' => $connect . ("\x03\x00\x01a" x 70000),
	'70000 arrays in each other' => $connect . ("\x0a\x00\x00\x00\x01" x 70000),
	'2^32-1 members declared' => $connect . "\x08\xff\xff\xff\xff\x00\x01a",
	'2^32-1 elements declared' => $connect . "\x0a\xff\xff\xff\xff",
	'a million nulls' => $connect . "\x0a\x00\x0f\x42\x40" . "\x05" x 1000000,
	'a string beyond the message' => "\x02\xff\xffconnect",
	'a long string beyond the message' => $connect . "\x0c\xff\xff\xff\xffx",
	'a reference' => $connect . "\x07\x00\x00",
	'nothing' => '',
);
for my $what (sort keys %bad) {
	my $s = rtmp_connect(port(1935), 'live', chunk_size => 65536);
	$s->send_message(RTMP_COMMAND, 0, 0, $bad{$what});
	my $transaction = $s->command('createStream', undef);
	ok($s->result($transaction) || $s->closed(1), $what);
}
cmp_ok(grown_kb(), '<', 8192, 'the memory is bounded');

ok(bystanders_unharmed(), 'others go on');

###############################################################################
