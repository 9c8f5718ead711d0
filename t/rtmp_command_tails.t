#!/usr/bin/perl

# Commands with a tail that can't be read, or without their end: what stands
# before that is used.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Live;
use Test::Nginx::Process;
use Test::Nginx::RTMP;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my %tails = (
	'padding' => "\0\0\0",
	'an AMF3 object' => "\x11\x0a\x0b\x01\x01",
	'an AMF3 array' => "\x11\x09\x03\x01\x04\x01",
	'AMF3 null' => "\x11\x01",
	'an unknown marker' => "\xfe\xfe\xfe",
	'half a string' => "\x02\xff\xffab",
	'half an object' => "\x03\0\x01a",
	'a date' => "\x0b" . pack('d>', 1) . "\0\0",
	'XML' => "\x0f\0\0\0\x03<a>",
	'a typed object' => "\x10\0\x01C\0\x01a\x05\0\0\x09",
	'a reference' => "\x07\0\0",
);
my @cuts = (1, 3);
my @names = sort keys %tails;

my $t = Test::Nginx->new()->plan(3 * @names + @cuts + 5);

live_run($t);

###############################################################################

my $object = {app => 'live', tcUrl => 'rtmp://localhost/live'};

# A client whose connect is these bytes; the code that it is answered.
sub connect_as {
	my ($payload, $type) = @_;
	my $s = rtmp_open(port(1935));
	$s->handshake();
	$s->send_message($type // RTMP_COMMAND, 0, 0, $payload, csid => 3);
	$s->{transaction} = 1;
	$s->result(1);
	return $s;
}

my $n = 0;
for my $what (@names) {
	my $tail = $tails{$what};
	my $s = connect_as(amf0('connect', 1, $object) . $tail);
	is($s->status(), 'NetConnection.Connect.Success', "connect and $what");
	$s->send_message(RTMP_COMMAND, 0, 0, amf0('createStream', 2, undef) . $tail);
	$s->{stream} = $s->result(2)->{values}[3];
	$s->send_message(RTMP_COMMAND, 0, 1, amf0('publish', 3, undef, 'p' . ++$n, 'live') . $tail);
	is($s->read_status(), 'NetStream.Publish.Start', "publish and $what");
	$s->send_video(0, video_header());
	$s->send_video(0, key_frame(0));

	my $v = rtmp_connect(port(1935), 'live');
	$v->create_stream();
	$v->send_message(RTMP_COMMAND, 0, 1, amf0('play', 3, undef, "p$n") . $tail);
	$v->read_until(sub { $_[0]{type} == RTMP_VIDEO && $_[0]{payload} eq key_frame(1) }, 0.01);
	$s->send_video(40, key_frame(1));
	ok($v->read_until(sub { $_[0]{payload} eq key_frame(1) }), "play and $what");
}

for my $cut (@cuts) {
	my $s = connect_as(substr(amf0('connect', 1, $object), 0, -$cut));
	is($s->status(), 'NetConnection.Connect.Success', "the object's end lacks $cut bytes");
}

# as Flash with objectEncoding 3: AMF3 envelopes, and AMF3 values within
my $s = connect_as("\0" . amf0('connect', 1, {%$object, objectEncoding => 3}), 17);
is($s->status(), 'NetConnection.Connect.Success', 'connect in an AMF3 envelope');
$s->send_message(17, 0, 0, "\0" . amf0('createStream', 2) . "\x11\x01", csid => 3);
is($s->result(2)->{values}[3], 1, 'createStream with null in AMF3');
$s->send_message(17, 0, 1, "\0" . amf0('publish', 3) . "\x11\x01\x11\x06\x07cam" . amf0('live'), csid => 8);
is($s->read_status(), 'NetStream.Publish.Start', 'publish with a name in AMF3');
$s->{stream} = 1;

# and as those that forget the format byte
my $v = connect_as(amf0('connect', 1, $object), 17);
is($v->status(), 'NetConnection.Connect.Success', 'an AMF3 envelope without its format byte');
$v->play('cam');
$s->send_video(0, key_frame(9));
ok($v->read_until(sub { $_[0]{payload} eq key_frame(9) }), 'the stream is the one that was named');

###############################################################################
