#!/usr/bin/perl

# Tests for push: what is published here is published there, frame by frame.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Media;
use Test::Nginx::RTMP;
use Test::Nginx::Relay;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has_daemon('ffmpeg')->plan(9);

relay_run($t, near => 'push rtmp://127.0.0.1:%%PORT_1936%%;');

###############################################################################

# a client that was refused causes no push

my $holder = far();
is($holder->publish('taken'), 'NetStream.Publish.Start', 'a publisher there');

# what ffmpeg publishes here is what ffmpeg plays there

my $file = make_flv($t, 'source.flv', duration => 2);
my @source = frames($t, $file);
my $player = ffmpeg_play($t, 'rtmp://127.0.0.1:' . port(1936) . '/live/s',
	frames => 60);
my $publisher = ffmpeg_publish($t, $file,
	'rtmp://127.0.0.1:' . port(1935) . '/live/s', loop => -1);
my @got = frames($t, $player);
is_run_of([hashes(0, @got)], [hashes(0, @source)], 'video');
is_run_of([hashes(1, @got)], [hashes(1, @source)], 'audio');
$publisher->stop();

# metadata, headers and frames are the same bytes with the same timestamps, to
# the last one that was sent before the publisher left

my $v = far();
$v->play('bytes');
my $p = near();
$p->publish('bytes');
wait_lines($t, qr/push of "live\/bytes" .*: established/);
my @sent = (
	[18, 0, amf0('onMetaData', { width => 160, encoder => 'x' })],
	[9, 0, "\x17\0\0\0\0avcC"],
	[8, 0, "\xaf\0asc"],
	map { ([9, $_ * 40, ($_ % 25 ? "\x27" : "\x17") . "\1\0\0\0" . 'v' x 5000 . $_],
		[8, $_ * 40 + 5, "\xaf\1" . 'a' x 100 . $_]) } 0 .. 49
);
$p->send_message($_->[0], $_->[1], $p->{stream}, $_->[0] == 18
	? amf0('@setDataFrame') . $_->[2] : $_->[2]) for @sent;
$p->send_command(0, 'deleteStream', 0, undef, $p->{stream});

# headers may be repeated for those who wait for a key frame
my (@came, %seen);
while (@came < @sent) {
	my $message = $v->read_media() or last;
	my $payload = $message->{payload};
	next if $payload =~ /RtmpSampleAccess/;
	next if $seen{$payload}++ && $payload =~ /^(?:\x02|\x17\0|\xaf\0)/;
	push @came, [@$message{qw/ type timestamp payload /}];
}
is_deeply([map { join ' ', @$_[0, 1] } @came], [map { join ' ', @$_[0, 1] } @sent],
	'types and timestamps');
is_deeply(\@came, \@sent, 'payloads');

# the publisher has left: so has its push

$p = far();
is($p->publish('bytes'), 'NetStream.Publish.Start', 'the name is free there');

# the other server's refusal is not the publisher's

$p = near();
is($p->publish('taken'), 'NetStream.Publish.Start', 'published here');
$p->send_video(0, "\x17\0\0\0\0avcC");
ok(wait_lines($t, qr/push of "live\/taken" .*refused: NetStream.Publish.BadName/),
	'refused there');
is($p->command('_checkbw') && $p->{eof}, undef, 'the publisher stays');

###############################################################################

