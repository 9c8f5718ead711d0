#!/usr/bin/perl

# Aggregate messages: they are unpacked as far as they are whole.

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

my $t = Test::Nginx->new()->plan(10);

abuse_run($t);

###############################################################################

sub part {
	my ($type, $timestamp, $payload, $pointer) = @_;
	return chr($type) . substr(pack('N', length $payload), 1)
		. substr(pack('N', $timestamp), 1) . "\x00" . "\x00\x00\x00" . $payload
		. pack('N', $pointer // 11 + length $payload);
}

my $p = rtmp_connect(port(1935), 'live', chunk_size => 65536);
$p->publish('aggregate');
my $v = rtmp_connect(port(1935), 'live');
$v->play('aggregate');

$p->send_message(22, 1000, 1, part(9, 500, key_frame(0)) . part(9, 540, inter_frame(1)));
my @got = map { $v->read_video() } 1 .. 2;
is($got[0]{payload}, key_frame(0), 'the first part');
is($got[1]{payload}, inter_frame(1), 'the second part');
is($got[0]{timestamp}, 1000, 'starts at the time of the message');
is($got[1]{timestamp}, 1040, 'goes on in its own time');

my $whole = part(9, 0, key_frame(2));
$p->send_message(22, 2000, 1, substr($whole, 0, -20));
$p->send_message(22, 2000, 1, part(22, 0, $whole));
$p->send_message(22, 2000, 1, "\x09\xff\xff\xff");
$p->send_video(3000, key_frame(4));
is($v->read_video()->{payload}, key_frame(4), 'too long, nested, cut: nothing of it');

$p->send_message(22, 4000, 1, part(9, 0, key_frame(5)) . substr($whole, 0, -20));
$p->send_message(22, 5000, 1, part(9, 0, key_frame(6)) . part(22, 0, $whole));
$p->send_video(6000, key_frame(7));
is_deeply([map { $v->read_video()->{payload} } 1 .. 3], [map { key_frame($_) } 5 .. 7],
	'what stands before the broken part is used');

for my $pointer (0, 7, 0xffffffff) {
	$p->send_message(22, 7000, 1, part(9, 0, key_frame(8), $pointer) . part(9, 40, inter_frame(9), $pointer));
	is_deeply([map { $v->read_video()->{payload} } 1 .. 2], [key_frame(8), inter_frame(9)],
		"back pointers of $pointer are not looked at");
}

ok(bystanders_unharmed(), 'others go on');

###############################################################################
