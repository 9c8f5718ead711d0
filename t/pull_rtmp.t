#!/usr/bin/perl

# Tests for pull over RTMP: what is played here is what is published there, frame by
# frame, and players share one pull.

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

my $t = Test::Nginx->new()->has_daemon('ffmpeg')->plan(14);

relay_run($t, near => 'pull rtmp://127.0.0.1:%%PORT_1936%%; relay_buffer 1234ms;');

###############################################################################

my $file = make_flv($t, 'source.flv', duration => 2);
my @source = frames($t, $file);
my ($here, $there) = map { 'rtmp://127.0.0.1:' . port($_) . '/live/s' } 1935, 1936;

my $publisher = ffmpeg_publish($t, $file, $there, loop => -1);
my @players = map { ffmpeg_play($t, $here, frames => 40) } 1 .. 3;
for my $i (0 .. $#players) {
	my @got = frames($t, $players[$i]);
	is_run_of([hashes(0, @got)], [hashes(0, @source)], "player $i, video");
	is_run_of([hashes(1, @got)], [hashes(1, @source)], "player $i, audio");
}
is(scalar log_lines($t, qr/pull .* established/), 1, 'one pull for all');
$publisher->stop();

# what an origin sends is what players get

my $player = near();
$player->play('t');
wait_lines($t, qr/pull of "live\/t" .* waits for media/);

my $origin = far();
$origin->publish('t');
$origin->send_data(0, '@setDataFrame', 'onMetaData', { width => 160, from => 'there' });
$origin->send_video(0, "\x17\0\0\0\0avcC");
$origin->send_video(1000 + $_ * 40, ($_ ? "\x27" : "\x17") . "\1\0\0\0v$_") for 0 .. 9;
my $data = $player->read_until(sub { $_[0]{type} == RTMP_DATA
	&& $_[0]{values}[0] eq 'onMetaData' });
is_deeply($data->{values}[1], { width => 160, from => 'there' }, 'metadata');
my @came;
while (@came < 10) {
	my $message = $player->read_video() or last;
	push @came, $message if $message->{payload} !~ /avcC/;
}
is_deeply([map { $_->{timestamp} } @came], [map { 1000 + $_ * 40 } 0 .. 9], 'timestamps');
is($came[9]{payload}, "\x27\1\0\0\0v9", 'payload');

# a publisher there that leaves is told to players here; one that comes goes on
# behind the timestamps that were seen

$origin->close();
ok($player->read_until(sub { $_[0]{type} == 4 && ($_[0]{event} // -1) == 1 }), 'end of stream');
wait_lines($t, qr/pull of "live\/t" .* waits for media/, 2);
$origin = far();
$origin->publish('t');
$origin->send_video(0, "\x17\0\0\0\0avcC");
$origin->send_video(0, "\x17\1\0\0\0again");
my $again = $player->read_until(sub { $_[0]{type} == RTMP_VIDEO && $_[0]{payload} =~ /again/ });
ok($again, 'played on');
cmp_ok($again->{timestamp}, '>', $came[9]{timestamp}, 'later than all before');
cmp_ok($again->{timestamp}, '<', 3000, 'but not by much');

###############################################################################
