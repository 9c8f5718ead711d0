#!/usr/bin/perl

# Chunk sizes of nothing, of one byte and of two gigabytes.

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

my $t = Test::Nginx->new()->plan(8);

abuse_run($t);

###############################################################################

for my $size (0, 0x80000000, 0xFFFFFFFF) {
	my $s = rtmp_connect(port(1935), 'live');
	$s->send_message(1, 0, 0, pack('N', $size));
	ok(refused($s), "a chunk size of $size");
}

my $s = rtmp_connect(port(1935), 'live');
$s->set_chunk_size(0x7FFFFFFF);
my $transaction = $s->command('createStream', undef);
ok($s->result($transaction), 'a chunk size of two gigabytes is taken');
cmp_ok(grown_kb(), '<', 1024, 'and nothing is allocated for it');

my $p = rtmp_connect(port(1935), 'live');
$p->set_chunk_size(1);
$p->publish('tiny');
is($p->status(), 'NetStream.Publish.Start', 'chunks of one byte work');
my $v = rtmp_connect(port(1935), 'live');
$v->play('tiny');
$p->send_video(0, key_frame(1));
ok($v->read_until(sub { $_[0]{payload} eq key_frame(1) }), 'and carry media');

ok(bystanders_unharmed(), 'others go on');

###############################################################################
