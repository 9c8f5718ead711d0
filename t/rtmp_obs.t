#!/usr/bin/perl

# A session of OBS Studio (29.0.2 of Debian, x264 and AAC, three seconds, stopped by its user), as it sent it: however
# its bytes are cut, players get every frame with its timestamp, and all hear that it has left.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use List::Util qw/ uniq /;
use Test::Nginx;
use Test::Nginx::FLV;
use Test::Nginx::Live qw/ player /;
use Test::Nginx::OCLP;
use Test::Nginx::RTMP;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

use constant HANDSHAKE => 1536;

# how many bytes are sent at once, up to which byte; the rest is sent in segments of Ethernet
my %cuts = (
	whole => [],
	'byte by byte' => [1 => 6000],
	'in sevens' => [7 => 20_000],
	'in odd pieces' => [1021 => 1e9],
	'in segments' => [1448 => 1e9],
);

open my $file, '<:raw', 'data/obs-29.0.2.rtmp' or die "no recording: $!\n";
my $recorded = do { local $/; <$file> };
# C0, C1 and C2 come first
my $sent = substr($recorded, 1 + 2 * HANDSHAKE);
my @sent = rtmp_messages($sent);
# the header of the chunk, the string's type and length come before it
my $end = index($sent, 'FCUnpublish') - 8 - 3;
my @media = grep { media($_) } @sent;
my $set = amf0('@setDataFrame');
my @commands = map { $_->{name} // () } @sent;

my $t = Test::Nginx->new()->plan(2 + 7 * keys %cuts);

$t->write_file_expand('nginx.conf', <<'EOC');

%%TEST_GLOBALS%%

daemon off;
worker_shutdown_timeout 1s;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    server {
        listen 127.0.0.1:8080;

        location / {
            flv_live %%PORT_1935%%;
        }
    }
}

rtmp {
    server {
        listen 127.0.0.1:%%PORT_1935%%;

        application live {
            live on;
            publish_notify on;
            idle_streams on;
            oclp_publish http://127.0.0.1:8081/p stage=start,done args=token=$parg_token;
        }
    }
}

EOC

my $oclp = oclp_server($t, port(8081));
$t->run();

###############################################################################

is("@commands", 'connect releaseStream FCPublish createStream publish FCUnpublish deleteStream', 'what OBS says');
is_deeply({ map { $_ => scalar @{seen(@media)->{$_}} } RTMP_AUDIO, RTMP_VIDEO, RTMP_DATA },
	{ RTMP_AUDIO, 118, RTMP_VIDEO, 30, RTMP_DATA, 1 }, 'and sends');

my $sessions = 0;
for my $cut (sort keys %cuts) {
	my $player = player('obs');
	my $flv = http_flv(port(8080), '/live/obs');

	my $obs = rtmp_open(port(1935));
	$obs->send_raw(substr($recorded, 0, 1 + HANDSHAKE));
	my $answer = $obs->read_raw(1 + 2 * HANDSHAKE) // die "no handshake\n";
	$obs->send_raw(substr($answer, 1, HANDSHAKE));
	send_cut($obs, substr($sent, 0, $end), @{$cuts{$cut}});

	my @got = up_to_last(sub { $player->read_media() });
	is_deeply(seen(@got), seen(@media), "$cut: a player gets what OBS has sent");
	is_deeply(spacing(@got), spacing(@media), "$cut: at the same distances");
	my @tags = up_to_last(sub { $flv->read_tag() });
	is_deeply(seen(@tags), seen(@media), "$cut: so does one over HTTP");

	send_cut($obs, substr($sent, $end), @{$cuts{$cut}});
	my $code = '';
	$code = $player->read_status() || last while $code ne 'NetStream.Play.UnpublishNotify';
	is($code, 'NetStream.Play.UnpublishNotify', "$cut: and hears that it has left");

	is($obs->read_status(), 'NetStream.Publish.Start', "$cut: OBS has published");
	is($obs->read_status(), 'NetStream.Unpublish.Success', "$cut: and hears that it has stopped");

	$sessions++;
	my @told = $oclp->wait_requests('publish done', $sessions);
	is_deeply([map { "$_->{name} $_->{args}" } @told], [('obs token=a%20b') x $sessions],
		"$cut: and so does the scheduler");
	$_->close() for $player, $flv, $obs;
}

###############################################################################

# Sends bytes, in pieces of $size up to byte $until.
sub send_cut {
	my ($obs, $bytes, $size, $until) = @_;

	$size //= length $bytes;
	for (my $at = 0; $at < length $bytes; $at += $size) {
		$size = 1448 if $at > ($until // 0) && $size < 1448;
		$obs->send_raw(substr($bytes, $at, $size));
	}
}

# What is read, up to the last of the frames.
sub up_to_last {
	my ($read) = @_;

	my ($frames, @got) = (scalar(grep { $_->{type} != RTMP_DATA } @media));
	while ($frames > 0 && (my $message = $read->())) {
		push @got, $message if media($message);
		$frames-- if $message->{type} != RTMP_DATA;
	}
	return @got;
}

# Whether it is media of OBS: a player hears of its rights as well.
sub media {
	my ($message) = @_;
	return $message->{type} == RTMP_AUDIO || $message->{type} == RTMP_VIDEO
		|| $message->{type} == RTMP_DATA && $message->{payload} =~ /onMetaData/;
}

# By track, what a player has to get: metadata without the command that sets it, however often.
sub seen {
	my (@messages) = @_;
	my %seen;
	push @{$seen{$_->{type}}}, $_->{payload} =~ s/\A\Q$set\E//r for @messages;
	$seen{+RTMP_DATA} = [uniq(@{$seen{+RTMP_DATA}})];
	return \%seen;
}

# By track, the time from frame to frame.
sub spacing {
	my (@messages) = @_;
	my (%last, %spacing);
	for my $message (grep { $_->{type} != RTMP_DATA } @messages) {
		my ($type, $at) = @$message{qw/ type timestamp /};
		push @{$spacing{$type}}, $at - $last{$type} if defined $last{$type};
		$last{$type} = $at;
	}
	return \%spacing;
}

###############################################################################
