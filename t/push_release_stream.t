#!/usr/bin/perl

# Tests for push to servers that do not know releaseStream and FCPublish, that number
# streams as they like, and that say so in pieces.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Live qw/ video_header key_frame /;
use Test::Nginx::RTMP;
use Test::Nginx::Relay;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->plan(9);

relay_run($t, near => 'push rtmp://127.0.0.1:%%PORT_8081%%;');

###############################################################################

my $server = rtmp_server(port(8081));
my $p = near();
$p->publish('s');
my $peer = rtmp_accept($server, until => 'connect');

# the answer to connect, byte by byte
my $answer = $peer->message(RTMP_COMMAND, 0, 0, amf0('_result', 1, {},
	{ level => 'status', code => 'NetConnection.Connect.Success' }));
$peer->send_raw($_) for split //, $answer;

my %called;
for (1 .. 3) {
	my $message = $peer->read_until(sub { $_[0]{name} }) or last;
	my ($name, $transaction, undef, $stream) = @{$message->{values}};
	$called{$name} = $stream;
	if ($name eq 'createStream') {
		$peer->send_command(0, '_result', $transaction, undef, 123456789);
	} else {
		$peer->send_command(0, '_error', $transaction, undef,
			{ level => 'error', code => 'NetConnection.Call.Failed' });
	}
}
is($called{releaseStream}, 's', 'releaseStream');
is($called{FCPublish}, 's', 'FCPublish');
ok(exists $called{createStream}, 'createStream');

my $publish = $peer->read_until(sub { ($_[0]{name} // '') eq 'publish' });
is($publish->{stream}, 123456789, 'the stream that was made is published to');
is_deeply([@{$publish->{values}}[3, 4]], ['s', 'live'], 'publish');
$peer->send_command(123456789, 'onStatus', 0, undef,
	{ level => 'status', code => 'NetStream.Publish.Start' });
is(scalar(() = wait_lines($t, qr/established/)), 1, 'established');

$p->send_video(0, video_header());
$p->send_video(0, key_frame(1));
my $video = $peer->read_video();
is($video->{stream}, 123456789, 'media on that stream');

# the end is told

$p->close();
my $unpublish = $peer->read_until(sub { ($_[0]{name} // '') eq 'FCUnpublish' });
is($unpublish->{values}[3], 's', 'FCUnpublish');
my $delete = $peer->read_until(sub { ($_[0]{name} // '') eq 'deleteStream' });
is($delete->{values}[3], 123456789, 'deleteStream');

###############################################################################
