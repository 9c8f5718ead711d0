package Test::Nginx::FlvLive;

# A server that plays over HTTP what its RTMP side is given, and a client of
# WebSocket: for tests of HTTP-FLV.

use warnings;
use strict;

use base qw/ Exporter /;
our @EXPORT = qw/ flv_run flv_play published tags_of websocket /;

use Digest::SHA qw/ sha1_base64 /;
use Time::HiRes qw/ time /;

use Test::Nginx;
use Test::Nginx::Process;
use Test::Nginx::FLV;
use Test::Nginx::Live qw/ video_header audio_header key_frame inter_frame audio_frame /;
use Test::Nginx::RTMP;

# Starts nginx with the applications "live", and the HTTP server at port 8080 with
# flv_live in "/".  The options are more lines: http, server (of http), location,
# rtmp, app, events; and workers (1), shutdown (worker_shutdown_timeout, 1s).
sub flv_run {
	my ($t, %options) = @_;
	my ($http, $server, $location, $rtmp, $app, $events)
		= map { $_ // '' } @options{qw/ http server location rtmp app events /};
	my $workers = $options{workers} // 1;
	my $shutdown = $options{shutdown} // '1s';

	$t->write_file_expand('nginx.conf', <<"EOC");

%%TEST_GLOBALS%%

daemon off;
worker_processes $workers;
worker_shutdown_timeout $shutdown;

events {
    $events
}

http {
    %%TEST_GLOBALS_HTTP%%
    access_log %%TESTDIR%%/access.log;
    $http

    server {
        listen 127.0.0.1:8080;
        server_name localhost;
        $server

        location / {
            flv_live %%PORT_1935%%;
            $location
        }
    }
}

rtmp {
    rtmp_auto_pull_port unix:%%TESTDIR%%/inner;
    ${\patient()}

    server {
        listen 127.0.0.1:%%PORT_1935%%;
        $rtmp

        application live {
            live on;
            $app
        }
    }
}

EOC
	$t->run();
}

# A player by HTTP; options as for http_flv().
sub flv_play {
	my ($name, %options) = @_;
	return http_flv(port(8080), "/live/$name", %options);
}

# Sends a few messages of each kind, or of those that are named; what was sent, as
# tags.
sub published {
	my ($publisher, @kinds) = @_;

	my %wanted = map { $_ => 1 } @kinds ? @kinds : qw/ data video audio /;
	my @tags = grep { $wanted{$_->{type}} } (
		tag(data => 0, amf0('onMetaData', ecma_array(width => 160))),
		tag(video => 0, video_header()),
		tag(audio => 0, audio_header()),
		map {
			my $n = $_;
			(
				tag(video => 1000 + 40 * $n, $n % 5 ? inter_frame($n) : key_frame($n)),
				tag(audio => 1005 + 40 * $n, audio_frame($n)),
			)
		} 0 .. 9
	);
	my %type = (data => FLV_DATA, video => FLV_VIDEO, audio => FLV_AUDIO);
	$_->{type} = $type{$_->{type}} for @tags;
	$publisher->send_tag($_) for @tags;
	return @tags;
}

sub tag {
	my ($type, $timestamp, $payload) = @_;
	return { type => $type, timestamp => $timestamp, payload => $payload };
}

# So many tags of a player, without headers and metadata that it has: a player that
# waits for a key frame gets them again in front of it.
sub tags_of {
	my ($player, $count) = @_;

	my (@tags, %had);
	while (@tags < $count) {
		my $tag = $player->read_tag() or last;
		push @tags, $tag
			if flv_kind($tag) !~ /^(?:data|header)$/ || !$had{$tag->{payload}}++;
	}
	return \@tags;
}

###############################################################################
# WebSocket (RFC 6455)

# Asks for a stream; an object whose frames() and payload() read what comes, or
# undef.  {status} is that of the answer.
sub websocket {
	my ($port, $uri, %options) = @_;

	my $self = Test::Nginx::FlvLive::WebSocket->open($port, %options) or return;
	my $key = 'dGhlIHNhbXBsZSBub25jZQ==';
	my %headers = (
		Host => 'localhost',
		Connection => 'Upgrade',
		Upgrade => 'websocket',
		'Sec-WebSocket-Version' => 13,
		'Sec-WebSocket-Key' => $key,
		%{$options{headers} // {}},
	);
	$self->send_raw(join "\r\n", "GET $uri HTTP/1.1",
		(map { "$_: $headers{$_}" } sort keys %headers), '', '');
	$self->{body} = '';
	$self->{control} = [];
	$self->{accept} = sha1_base64("${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11") . '=';

	my $deadline = time() + $self->{timeout};
	my $end;
	while (($end = index($self->{in}, "\r\n\r\n")) < 0) {
		$self->receive($deadline) or return;
	}
	$self->{head} = substr($self->{in}, 0, $end + 4, '');
	($self->{status}) = $self->{head} =~ m{^HTTP/1\.1 (\d+)};
	return $self;
}

package Test::Nginx::FlvLive::WebSocket;

use base qw/ Test::Nginx::Peer /;
use Time::HiRes qw/ time /;

# Sends a frame, masked as a client must.
sub send_frame {
	my ($self, $opcode, $payload, %options) = @_;

	my $mask = $options{mask} // "\x12\x34\x56\x78";
	my $length = length($payload);
	my $masked = length($mask) ? 0x80 : 0;
	my $head = pack('C', ($options{final} // 1) << 7 | $opcode)
		. ($length < 126 ? pack('C', $masked | $length)
			: pack('C n', $masked | 126, $length));
	my $bytes = $payload;
	$bytes ^= substr($mask x ($length / 4 + 1), 0, $length) if $masked;
	return $self->send_raw($head . $mask . $bytes);
}

# The next frame: { opcode, payload, final }, or undef.
sub frame {
	my ($self, $timeout) = @_;

	my $deadline = time() + ($timeout // $self->{timeout});
	while (1) {
		my $in = $self->{in};
		if (length($in) >= 2) {
			my ($first, $second) = unpack('C C', $in);
			my ($head, $length) = (2, $second & 127);
			($head, $length) = (4, length($in) < 4 ? 65536 : unpack('x2 n', $in))
				if $length == 126;
			($head, $length) = (10, length($in) < 10 ? 1e9 : unpack('x2 Q>', $in))
				if ($second & 127) == 127;
			if (length($in) >= $head + $length) {
				substr($self->{in}, 0, $head + $length, '');
				return {
					opcode => $first & 15,
					final => $first >> 7,
					payload => substr($in, $head, $length),
				};
			}
		}
		$self->receive($deadline) or return;
	}
}

# So many bytes of the stream; control frames go to {control}.
sub stream {
	my ($self, $length, $timeout) = @_;

	my $deadline = time() + ($timeout // $self->{timeout});
	while (length($self->{body}) < $length) {
		my $frame = $self->frame($deadline - time()) or last;
		if ($frame->{opcode} == 2) {
			$self->{body} .= $frame->{payload};
		} else {
			push @{$self->{control}}, $frame;
		}
	}
	return $self->{body};
}

# The next control frame; what comes of the stream is kept.
sub control {
	my ($self, $timeout) = @_;

	my $deadline = time() + ($timeout // $self->{timeout});
	until (@{$self->{control}}) {
		my $frame = $self->frame($deadline - time()) or return;
		if ($frame->{opcode} == 2) {
			$self->{body} .= $frame->{payload};
		} else {
			push @{$self->{control}}, $frame;
		}
	}
	return shift @{$self->{control}};
}

1;
