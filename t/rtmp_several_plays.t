#!/usr/bin/perl

# A client that plays several streams and reads slowly: every message is
# whole, in the order of its stream, whatever the socket takes at a time.

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

my $t = Test::Nginx->new()->plan(10);

live_run($t, server => 'chunk_size 1000; ping 1s;', app => 'out_queue 60s;');

###############################################################################

# so large that a write is cut short in most frames
sub frame { "\x17\x01\x00\x00\x00" . pack('N N', $_[0], $_[1]) . chr(65 + $_[0]) x (30000 + 7000 * $_[0]) }

my @streams = (1 .. 4);
my %publisher = map { $_ => publisher("s$_", chunk_size => 65536) } @streams;

my $v = rtmp_connect(port(1935), 'live', rcvbuf => 8192);
$v->command('createStream', undef) for @streams;
$v->send_command($_, 'play', 0, undef, "s$_") for @streams;
my %started;
$v->read_until(sub {
	my $info = $_[0]{values} && $_[0]{values}[3];
	$started{$_[0]{stream}} = 1 if ref $info eq 'HASH' && ($info->{code} // '') eq 'NetStream.Play.Start';
	return keys %started == @streams;
});
is_deeply([sort keys %started], \@streams, 'four streams play');

# all of it waits in the server, with answers in between
my $frames = 40;
for my $n (1 .. $frames) {
	$publisher{$_}->send_video($n * 40, frame($_, $n)) for @streams;
	$v->send_command(0, 'getStreamLength', 1000 + $n, undef, 's1') if $n % 4 == 0;
}
is($publisher{4}->result($publisher{4}->command('getStreamLength', undef, 'x'))->{name}, '_result',
	'the publishers have sent all');

my (%next, %wrong, $answers);
$_ = 1 for @next{@streams};
my $whole = eval {
	$v->read_until(sub {
		my ($message) = @_;
		my $id = $message->{stream};
		$answers++ if ($message->{name} // '') eq '_result' && $message->{values}[1] > 1000;
		if ($message->{type} == RTMP_VIDEO) {
			$wrong{$id}++ if $message->{payload} ne frame($id, $next{$id});
			$next{$id}++;
		}
		return $answers && $answers == $frames / 4 && !grep { $next{$_} <= $frames } @streams;
	}, 60);
};
ok($whole, 'every message comes');
is_deeply(\%wrong, {}, 'whole, in order, on its own id');
is($answers, $frames / 4, 'and every answer');

# one of them leaves in the middle of a message
for my $n (1 .. $frames) {
	$publisher{$_}->send_video(10000 + $n * 40, frame($_, $frames + $n)) for @streams;
}
$v->send_command(0, 'deleteStream', 0, undef, $_) for 2, 3;
%wrong = ();
my %stopped;
$whole = $v->read_until(sub {
	my ($message) = @_;
	my $id = $message->{stream};
	if ($message->{type} == RTMP_VIDEO) {
		$wrong{$id}++ if $message->{payload} ne frame($id, $next{$id}) || $stopped{$id};
		$next{$id}++;
	}
	$stopped{$id} = 1 if ($message->{name} // '') eq 'onStatus';
	return keys %stopped == 2 && !grep { $next{$_} <= 2 * $frames } 1, 4;
}, 60);
ok($whole, 'the others go on when two are deleted');
is_deeply(\%wrong, {}, 'with whole messages, and none of those that have left');
is_deeply([sort keys %stopped], [2, 3], 'which were told');

# the last one that is left has the socket to itself again
$v->send_command(0, 'deleteStream', 0, undef, 4);
ok($v->read_until(sub { ($_[0]{name} // '') eq 'onStatus' && $_[0]{stream} == 4 }), 'one is left');
$publisher{1}->send_video(20000 + $_ * 40, frame(1, 2 * $frames + $_)) for 1 .. 10;
ok($v->read_until(sub { $_[0]{type} == RTMP_VIDEO && $_[0]{payload} eq frame(1, 2 * $frames + 10) }, 30),
	'it goes on');

###############################################################################
