#!/usr/bin/perl

# The orders of commands that encoders and players keep: each gets its stream,
# and an answer to each transaction.

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

# What is sent, in order.  Without a "wait" it goes out at once, whatever is
# unanswered.  [command, transaction, message stream, arguments, options];
# "wait" N: for the answer to transaction N; "start": for Publish.Start or
# Play.Start; "meta": metadata; "bytes": as they are.
my $flash = {
	type => 'nonprivate', flashVer => 'FMLE/3.0 (compatible; FMSc/1.0)', swfUrl => 'rtmp://h/live', fpad => JSON::PP::false(),
	capabilities => 239, audioCodecs => 3191, videoCodecs => 252, videoFunction => 1, objectEncoding => 0,
};
my $amf3 = {%$flash, objectEncoding => 3};
my $enhanced = {%$flash, fourCcList => ['av01', 'hvc1', 'Opus'], capsEx => 15};
my $window = pack('C a3 a3 C V N', 2, "\0\0\0", "\0\0\4", 5, 0, 2500000);

my @publishers = (
	['FMLE: waits for each, _checkbw' => 1,
		[connect => 1, 0, [], $flash], [wait => 1], [releaseStream => 2, 0, ['NAME']], [FCPublish => 3, 0, ['NAME']], [wait => 3],
		[createStream => 4, 0, []], [wait => 4], [_checkbw => 5, 0, []], [publish => 6, 1, ['NAME', 'live']], ['start'], ['meta']],
	['librtmp, OBS: three at once, a transaction on publish' => 1,
		[connect => 1, 0, [], $flash], [wait => 1], [releaseStream => 2, 0, ['NAME']], [FCPublish => 3, 0, ['NAME']],
		[createStream => 4, 0, []], [wait => 4], [publish => 5, 1, ['NAME', 'live']], ['start'], ['meta']],
	['ffmpeg: window first, publish without a transaction' => 1,
		[connect => 1, 0, [], $flash], [wait => 1], [bytes => $window], [releaseStream => 2, 0, ['NAME']], [FCPublish => 3, 0, ['NAME']],
		[createStream => 4, 0, []], [wait => 4], [publish => 0, 1, ['NAME', 'live']], ['start'], ['meta']],
	['Larix: enhanced connect, metadata before the answer' => 1,
		[connect => 1, 0, [], $enhanced], [wait => 1], [releaseStream => 2, 0, ['NAME']], [FCPublish => 3, 0, ['NAME']],
		[createStream => 4, 0, []], [wait => 4], [publish => 5, 1, ['NAME', 'live']], ['meta'], ['start']],
	['HaishinKit: createStream first, publish on chunk stream 8' => 1,
		[connect => 1, 0, [], $flash], [wait => 1], [createStream => 2, 0, []], [wait => 2], [releaseStream => 3, 0, ['NAME']],
		[FCPublish => 4, 0, ['NAME']], [publish => 5, 1, ['NAME', 'live'], undef, csid => 8], ['start'], ['meta']],
	['RootEncoder: three at once, publish with the next transaction on chunk stream 3' => 1,
		[connect => 1, 0, [], $flash], [wait => 1], [releaseStream => 2, 0, ['NAME']], [FCPublish => 3, 0, ['NAME']],
		[createStream => 4, 0, []], [wait => 4], [publish => 5, 1, ['NAME', 'live'], undef, csid => 3], ['start'], ['meta']],
	['drones: FCPublish alone, metadata behind publish' => 1,
		[connect => 1, 0, [], $flash], [wait => 1], [FCPublish => 2, 0, ['NAME']], [createStream => 3, 0, []], [wait => 3],
		[publish => 4, 1, ['NAME', 'live']], ['meta'], ['start']],
	['cameras: neither releaseStream nor FCPublish' => 1,
		[connect => 1, 0, [], {}], [wait => 1], [createStream => 2, 0, []], [wait => 2], [publish => 3, 1, ['NAME', 'live']], ['start'], ['meta']],
	['publish without a type' => 1,
		[connect => 1, 0, [], $flash], [wait => 1], [createStream => 2, 0, []], [wait => 2], [publish => 3, 1, ['NAME']], ['start'], ['meta']],
	(map { ["publish to $_" => 1,
		[connect => 1, 0, [], $flash], [wait => 1], [createStream => 2, 0, []], [wait => 2], [publish => 3, 1, ['NAME', $_]], ['start'], ['meta']]
	} 'record', 'append', 'appendWithGap', ''),
	['createStream behind connect, unanswered' => 1,
		[connect => 1, 0, [], $flash], [createStream => 2, 0, []], [wait => 2], [publish => 3, 1, ['NAME', 'live']], ['start'], ['meta']],
	['publish behind createStream, unanswered' => 1,
		[connect => 1, 0, [], $flash], [wait => 1], [createStream => 2, 0, []], [publish => 3, 1, ['NAME', 'live']], ['start'], ['meta']],
	['everything at once' => 1,
		[connect => 1, 0, [], $flash], [releaseStream => 2, 0, ['NAME']], [FCPublish => 3, 0, ['NAME']], [createStream => 4, 0, []],
		[publish => 5, 1, ['NAME', 'live']], ['meta'], ['start']],
	['all transactions the same' => 1,
		[connect => 1, 0, [], $flash], [wait => 1], [createStream => 1, 0, []], [wait => 1], [publish => 1, 1, ['NAME', 'live']], ['start'], ['meta']],
	['several createStream, the second one publishes' => 2,
		[connect => 1, 0, [], $flash], [wait => 1], [createStream => 2, 0, []], [createStream => 3, 0, []], [wait => 3],
		[publish => 4, 2, ['NAME', 'live']], ['start'], ['meta']],
	['a stream deleted before' => 1,
		[connect => 1, 0, [], $flash], [wait => 1], [createStream => 2, 0, []], [wait => 2], [deleteStream => 0, 0, [1]],
		[createStream => 3, 0, []], [wait => 3], [publish => 4, 1, ['NAME', 'live']], ['start'], ['meta']],
	['FCUnpublish of what is not published' => 1,
		[connect => 1, 0, [], $flash], [wait => 1], [FCUnpublish => 2, 0, ['NAME']], [releaseStream => 3, 0, ['NAME']],
		[createStream => 4, 0, []], [wait => 4], [publish => 5, 1, ['NAME', 'live']], ['start'], ['meta']],
	['publish on the connection itself' => 1,
		[connect => 1, 0, [], $flash], [wait => 1], [createStream => 2, 0, []], [wait => 2], [publish => 3, 0, ['NAME', 'live']], ['start'], ['meta']],
	['no createStream' => 1,
		[connect => 1, 0, [], $flash], [wait => 1], [publish => 2, 1, ['NAME', 'live']], ['start'], ['meta']],
	['AMF3: envelopes behind connect' => 1,
		[connect => 1, 0, [], $amf3], [wait => 1], [FCPublish => 2, 0, ['NAME'], undef, type => 17], [createStream => 3, 0, [], undef, type => 17], [wait => 3],
		[publish => 4, 1, ['NAME', 'live'], undef, type => 17], ['start'], ['meta']],
	['the name with a query' => 1,
		[connect => 1, 0, [], $flash], [wait => 1], [releaseStream => 2, 0, ['NAME?key=1']], [FCPublish => 3, 0, ['NAME?key=1']],
		[createStream => 4, 0, []], [wait => 4], [publish => 5, 1, ['NAME?key=1', 'live']], ['start'], ['meta']],
);

my @ends = (
	['librtmp' => [FCUnpublish => 90, 0, ['NAME']], [deleteStream => 0, 0, ['ID']]],
	['HaishinKit' => [closeStream => 0, 'ID', []], [FCUnpublish => 91, 0, ['NAME']], [deleteStream => 0, 'ID', ['ID']]],
	['RootEncoder' => [closeStream => 0, 'ID', []]],
	['ffmpeg' => [FCUnpublish => 92, 0, ['NAME']], [deleteStream => 93, 0, ['ID']]],
	['a bare deleteStream' => [deleteStream => 0, 'ID', []]],
);

my $buffer = pack('C a3 a3 C V n N N', 2, "\0\0\0", "\0\0\x0a", 4, 0, 3, 1, 3000);
my @players = (
	['ffmpeg, mpv: getStreamLength, play, buffer' => 1,
		[connect => 1, 0, [], {}], [wait => 1], [bytes => $window], [createStream => 2, 0, []], [wait => 2],
		[getStreamLength => 3, 0, ['NAME']], [play => 4, 1, ['NAME', -2000]], [bytes => $buffer], ['start']],
	['librtmp, VLC: buffer, FCSubscribe' => 1,
		[connect => 1, 0, [], {}], [wait => 1], [bytes => $window . $buffer], [createStream => 2, 0, []], [FCSubscribe => 3, 0, ['NAME']], [wait => 2],
		[play => 4, 1, ['NAME', -1000, -1]], [bytes => $buffer], ['start']],
	['Flash: receiveAudio and receiveVideo before play, reset' => 1,
		[connect => 1, 0, [], $amf3], [wait => 1], [createStream => 2, 0, [], undef, type => 17], [wait => 2],
		[receiveAudio => 0, 1, [JSON::PP::true()], undef, type => 17], [receiveVideo => 0, 1, [JSON::PP::true()], undef, type => 17],
		[play => 0, 1, ['NAME', -2, -1, JSON::PP::true()], undef, type => 17], ['start']],
	['GStreamer: play without a start' => 1,
		[connect => 1, 0, [], {}], [wait => 1], [createStream => 2, 0, []], [wait => 2], [play => 3, 1, ['NAME']], ['start']],
	['everything at once' => 1,
		[connect => 1, 0, [], {}], [createStream => 2, 0, []], [play => 3, 1, ['NAME']], ['start']],
);

my $t = Test::Nginx->new()->plan(4 * @publishers + 3 * @players);

live_run($t);

###############################################################################

# Sends the steps; true if each that is waited for came.  What was received is
# in {heard} of the client.
sub run_steps {
	my ($s, $name, $id, @steps) = @_;
	my $said = sub { map { ref $_ ? $_ : s/^NAME/$name/r =~ s/^ID$/$id/r } @_ };
	for my $step (@steps) {
		my ($what, $transaction, $stream, $arguments, $object, %options) = @$step;
		if ($what eq 'wait') {
			heard($s, sub { ($_[0]{name} // '') =~ /^_/ && $_[0]{values}[1] == $transaction }) or return;
		} elsif ($what eq 'start') {
			heard($s, sub { code($_[0]) =~ /^NetStream\.(?:Publish|Play)\.Start$/ }) or return;
		} elsif ($what eq 'meta') {
			$s->send_message(RTMP_DATA, 0, $id, amf0('@setDataFrame', 'onMetaData', ecma_array(title => $name)));
		} elsif ($what eq 'bytes') {
			$s->send_raw($transaction);
		} else {
			$stream = $id if $stream eq 'ID';
			$object = {%$object, app => 'live', tcUrl => 'rtmp://localhost/live'} if $object;
			my @arguments = map { $_ eq 'ID' ? $id + 0 : $said->($_) } @$arguments;
			my $bytes = amf0($what, $transaction, $object, @arguments);
			my $type = $options{type} // RTMP_COMMAND;
			$s->send_message($type, 0, $stream, ($type == 17 ? "\0" : '') . $bytes, csid => $options{csid} // 3);
			$s->{asked}{$transaction}++ if $transaction && $what !~ /^(?:publish|play|deleteStream)$/;
		}
	}
	return 1;
}

sub heard {
	my ($s, $code) = @_;
	return $s->read_until(sub {
		my ($message) = @_;
		$s->{answered}{$message->{values}[1]}++ if ($message->{name} // '') =~ /^_(?:result|error)$/;
		return $code->($message);
	});
}

sub code {
	my ($message) = @_;
	my $info = ($message->{name} // '') eq 'onStatus' && $message->{values}[3];
	return ref $info eq 'HASH' ? $info->{code} // '' : '';
}

# One answer for each question: those that are on their way come before a pong.
sub all_answered {
	my ($s) = @_;
	$s->send_message(4, 0, 0, pack('n N', 6, 77));
	heard($s, sub { $_[0]{type} == 4 && $_[0]{event} == 7 && $_[0]{value} == 77 });
	return is_deeply($s->{answered}, $s->{asked}, $_[1]);
}

my $n = 0;
for my $row (@publishers) {
	my ($what, $id, @steps) = @$row;
	my $name = 's' . ++$n;
	my $v = player($name);
	my $s = rtmp_open(port(1935));
	$s->handshake();
	ok(run_steps($s, $name, $id, @steps), "$what: starts");
	all_answered($s, "$what: each transaction has its answer");
	$s->send_message(RTMP_VIDEO, 0, $id, video_header());
	$s->send_message(RTMP_VIDEO, 0, $id, key_frame($n));
	my @got;
	$v->read_until(sub {
		push @got, $_[0]{values}[1]{title} if $_[0]{type} == RTMP_DATA && ($_[0]{values}[0] // '') eq 'onMetaData';
		return $_[0]{payload} eq key_frame($n) && push @got, 'frame';
	});
	is_deeply(\@got, [$name, 'frame'], "$what: metadata and media come through");

	my ($end, @last) = @{$ends[$n % @ends]};
	run_steps($s, $name, $id, @last);
	heard($s, sub { code($_[0]) eq 'NetStream.Unpublish.Success' });
	is(publisher($name)->status(), 'NetStream.Publish.Start', "$what: and ends as $end does");
}

my $p = publisher('film');
$p->send_video(0, video_header());
for my $row (@players) {
	my ($what, $id, @steps) = @$row;
	my $s = rtmp_open(port(1935));
	$s->handshake();
	ok(run_steps($s, 'film', $id, @steps), "$what: starts");
	all_answered($s, "$what: each transaction has its answer");
	$p->send_video(++$n * 40, key_frame($n));
	ok($s->read_until(sub { $_[0]{payload} eq key_frame($n) }), "$what: and plays");
}

###############################################################################
