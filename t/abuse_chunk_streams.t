#!/usr/bin/perl

# Chunk streams without end, and unfinished messages on all of them.

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

my $t = Test::Nginx->new()->plan(6);

abuse_run($t, server => 'max_message 64k; max_streams 16;');

###############################################################################

my $s = rtmp_connect(port(1935), 'live');
$s->send_raw(rtmp_chunk(0, 16, 'x', length => 100, type => RTMP_DATA, stream => 0));
ok(refused($s), 'a chunk stream id of max_streams');

$s = rtmp_connect(port(1935), 'live');
$s->send_raw(rtmp_chunk(0, 65599, 'x', length => 100, type => RTMP_DATA, stream => 0));
ok(refused($s), 'the largest chunk stream id');

# each message stays one byte short of its end
$s = rtmp_connect(port(1935), 'live', chunk_size => 60000);
for my $csid (4 .. 6) {
	$s->send_raw(rtmp_chunk(0, $csid, 'x' x 60000, length => 65536,
		type => RTMP_DATA, stream => 0));
}
my $transaction = $s->command('createStream', undef);
ok($s->result($transaction), 'three unfinished messages are allowed');
for my $csid (7 .. 15) {
	$s->send_raw(rtmp_chunk(0, $csid, 'x' x 60000, length => 65536,
		type => RTMP_DATA, stream => 0)) or last;
}
ok(refused($s), 'four messages in sum are the limit');
cmp_ok(grown_kb(), '<', 2048, 'the memory is bounded');

ok(bystanders_unharmed(), 'others go on');

###############################################################################
