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

# connect and the chunk size took 2 and 3
my $s = rtmp_connect(port(1935), 'live', chunk_size => 4096);
my @ids = (4 .. 8, 63, 64, 65, 319, 320, 321, 1000, 65598, 65599);
my $message = sub { $s->message(RTMP_DATA, 0, 0, 'x', csid => $_[0]) };
$s->send_raw(join '', map { $message->($_) } @ids, @ids);
ok($s->result($s->command('createStream', undef)), 'as many chunk streams as max_streams, of any id');
$s->send_raw($message->(66));
ok(refused($s), 'one more');

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
