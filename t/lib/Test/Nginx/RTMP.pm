package Test::Nginx::RTMP;

# An RTMP client for exact bytes: what it sends is what the test says, and what
# it receives can be looked at message by message, chunk header by chunk header.
#
#	my $p = rtmp_connect(port(1935), 'live');
#	is($p->publish('name'), 'NetStream.Publish.Start', 'publish');
#	$p->send_video(0, $bytes);
#
# Everything has a deadline; nothing sleeps.  Whatever cannot be had in time, or
# because the server has closed, comes back as '' or undef.

use warnings;
use strict;

use base qw/ Exporter Test::Nginx::Peer /;

our @EXPORT = qw/
	rtmp_connect rtmp_open rtmp_chunk rtmp_messages amf0 amf0_decode ecma_array
	RTMP_AUDIO RTMP_VIDEO RTMP_DATA RTMP_COMMAND
/;

use B ();
use JSON::PP ();
use Time::HiRes qw/ time /;

use constant {
	RTMP_SET_CHUNK_SIZE => 1,
	RTMP_ABORT => 2,
	RTMP_ACK => 3,
	RTMP_USER_CONTROL => 4,
	RTMP_WINDOW_ACK => 5,
	RTMP_PEER_BANDWIDTH => 6,
	RTMP_AUDIO => 8,
	RTMP_VIDEO => 9,
	RTMP_AMF3_DATA => 15,
	RTMP_AMF3_COMMAND => 17,
	RTMP_DATA => 18,
	RTMP_COMMAND => 20,

	EVENT_PING => 6,
	EVENT_PONG => 7,

	HANDSHAKE => 1536,
	# larger timestamps and deltas go into the extended field
	EXTENDED => 0xFFFFFF,
};

# chunk stream ids as ffmpeg and librtmp choose them
my %CSID = (RTMP_AUDIO, 4, RTMP_VIDEO, 6, RTMP_DATA, 5, RTMP_COMMAND, 3);

###############################################################################
# connections

# A TCP connection and nothing sent.  The options are Peer's, and auto_ack,
# auto_pong: 0 keeps the client from answering by itself.
sub rtmp_open {
	my ($port, %options) = @_;

	my $self = __PACKAGE__->open($port, auto_ack => 1, auto_pong => 1, %options)
		or return;
	$self->{acked} = 0;
	$self->{in_chunk} = 128;
	$self->{out_chunk} = 128;
	$self->{chunks} = {};
	$self->{skipped} = [];
	$self->{transaction} = 0;
	$self->{code} = '';
	return $self;
}

# TCP, handshake and connect.  The object comes back whatever the server said;
# status() is the code of its answer.  More options: tc_url; connect: further
# members of the command object; chunk_size: of what is sent.
sub rtmp_connect {
	my ($port, $app, %options) = @_;

	my $self = rtmp_open($port, %options) or return;
	$self->handshake() or return $self;
	$self->set_chunk_size($options{chunk_size}) if $options{chunk_size};

	my $transaction = $self->command('connect', {
		app => $app,
		flashVer => 'FMLE/3.0 (compatible; Test-Nginx)',
		tcUrl => $options{tc_url} // "rtmp://localhost/$app",
		%{$options{connect} // {}},
	});
	$self->{connected} = $self->result($transaction);
	return $self;
}

# The simple handshake; true if the server echoed our bytes.
sub handshake {
	my ($self) = @_;

	my $random = join '', map { chr(int(rand(256))) } 1 .. HANDSHAKE - 8;
	$self->send_raw(pack('C N N', 3, 0, 0) . $random) or return;
	my $answer = $self->read_raw(1 + HANDSHAKE) // return;
	return if ord($answer) != 3;
	$self->{s1} = substr($answer, 1);
	$self->send_raw(substr($answer, 1)) or return;
	$self->{s2} = $self->read_raw(HANDSHAKE) // return;
	return substr($self->{s2}, 8) eq $random;
}

# True if the server closes (or has closed) in time; messages are read and lost.
sub closed {
	my ($self, $timeout) = @_;
	$self->read_until(sub { 0 }, $timeout);
	return $self->{eof};
}

###############################################################################
# commands

# Sends a command on stream 0 with the next transaction id, which is returned.
# The first argument is the command object.
sub command {
	my ($self, $name, @arguments) = @_;

	my $transaction = ++$self->{transaction};
	$self->send_command(0, $name, $transaction, @arguments);
	return $transaction;
}

sub send_command {
	my ($self, $stream, @values) = @_;
	return $self->send_message(RTMP_COMMAND, 0, $stream, amf0(@values));
}

# The _result or _error of a transaction.
sub result {
	my ($self, $transaction, $timeout) = @_;

	my $answer = $self->read_until(sub {
		my ($message) = @_;
		return ($message->{name} // '') =~ /^_(?:result|error)$/
			&& $message->{values}[1] == $transaction;
	}, $timeout) or return;
	$self->_keep_status($answer->{values}[3]);
	return $answer;
}

# A new message stream; its id, or undef.
sub create_stream {
	my ($self) = @_;
	my $answer = $self->result($self->command('createStream', undef)) or return;
	return if $answer->{name} ne '_result';
	return $self->{stream} = $answer->{values}[3];
}

# The code that the server answers.
sub publish {
	my ($self, $name, $kind) = @_;

	$self->command('releaseStream', undef, $name);
	$self->command('FCPublish', undef, $name);
	$self->{stream} // $self->create_stream() // return '';
	$self->send_command($self->{stream}, 'publish', ++$self->{transaction},
		undef, $name, $kind // 'live');
	return $self->read_status();
}

# The code that the server answers (Play.Reset, which may come before it, aside).
sub play {
	my ($self, $name, @more) = @_;

	$self->{stream} // $self->create_stream() // return '';
	$self->send_command($self->{stream}, 'play', ++$self->{transaction},
		undef, $name, @more ? @more : -2000);
	return $self->read_status();
}

# Waits for the next onStatus but Play.Reset; its code.
sub read_status {
	my ($self, $timeout) = @_;

	my $message = $self->read_until(sub {
		my ($message) = @_;
		my $info = $message->{values} && $message->{values}[3];
		return ($message->{name} // '') eq 'onStatus' && ref $info eq 'HASH'
			&& ($info->{code} // '') ne 'NetStream.Play.Reset';
	}, $timeout) or return '';
	$self->_keep_status($message->{values}[3]);
	return $self->{code};
}

# The last code that the server gave, and all it said with it.
sub status { $_[0]{code} }
sub info { $_[0]{info} }

sub _keep_status {
	my ($self, $info) = @_;
	return unless ref $info eq 'HASH';
	$self->{info} = $info;
	$self->{code} = $info->{code} // '';
}

###############################################################################
# sending

sub send_audio { $_[0]->_send_media(RTMP_AUDIO, @_[1 .. $#_]) }
sub send_video { $_[0]->_send_media(RTMP_VIDEO, @_[1 .. $#_]) }

# Values, as for metadata: send_data(0, '@setDataFrame', 'onMetaData', {...})
sub send_data {
	my ($self, $timestamp, @values) = @_;
	return $self->_send_media(RTMP_DATA, $timestamp, amf0(@values));
}

# A tag as flv_parse() gives it.
sub send_tag {
	my ($self, $tag) = @_;
	return $self->_send_media(@$tag{qw/ type timestamp payload /});
}

sub _send_media {
	my ($self, $type, $timestamp, $payload, %options) = @_;
	return $self->send_message($type, $timestamp, $self->{stream} // 0,
		$payload, %options);
}

sub set_chunk_size {
	my ($self, $size) = @_;
	my $sent = $self->send_message(RTMP_SET_CHUNK_SIZE, 0, 0, pack('N', $size));
	$self->{out_chunk} = $size;
	return $sent;
}

# Options: csid; fmt, the header of the first chunk (0; with 1 and 2 the
# timestamp is a delta, with 3 nothing is sent of it); bare: 1 leaves the
# extended timestamp out of continuation chunks, as some encoders do.
sub send_message {
	my ($self, $type, $timestamp, $stream, $payload, %options) = @_;
	return $self->send_raw($self->message($type, $timestamp, $stream, $payload,
		%options));
}

# The same bytes, not sent.
sub message {
	my ($self, $type, $timestamp, $stream, $payload, %options) = @_;

	my $csid = $options{csid} // $CSID{$type} // 2;
	my $extended = $timestamp >= EXTENDED && !$options{bare};
	my $size = $self->{out_chunk};
	my $bytes = rtmp_chunk($options{fmt} // 0, $csid, substr($payload, 0, $size),
		timestamp => $timestamp, length => length($payload), type => $type,
		stream => $stream);

	for (my $at = $size; $at < length($payload); $at += $size) {
		$bytes .= rtmp_chunk(3, $csid, substr($payload, $at, $size),
			$extended ? (timestamp => $timestamp) : ());
	}
	return $bytes;
}

# One chunk, with the header fields that its format has.  The extended timestamp
# follows if the timestamp needs it.
sub rtmp_chunk {
	my ($fmt, $csid, $payload, %header) = @_;

	my $bytes = $csid < 64 ? pack('C', $fmt << 6 | $csid)
		: $csid < 320 ? pack('C C', $fmt << 6, $csid - 64)
		: pack('C v', $fmt << 6 | 1, $csid - 64);

	my $timestamp = $header{timestamp} // 0;
	my $extended = $timestamp >= EXTENDED;
	my $short = $extended ? EXTENDED : $timestamp;
	$bytes .= substr(pack('N', $short), 1) if $fmt < 3;
	$bytes .= substr(pack('N', $header{length}), 1) . chr($header{type})
		if $fmt < 2;
	$bytes .= pack('V', $header{stream}) if $fmt < 1;
	$bytes .= pack('N', $timestamp & 0xFFFFFFFF) if $extended;
	return $bytes . $payload;
}

###############################################################################
# receiving

# The next message: a hash with fmt, csid (of its first chunk), timestamp
# (absolute), type, stream, payload; for commands also name, and for commands
# and data values; for user control event and value.
sub read_message {
	my ($self, $timeout) = @_;

	my $kept = shift @{$self->{kept} // []};
	return $kept if $kept;
	my $deadline = time() + ($timeout // $self->{timeout});
	while (1) {
		my $message = $self->_next_message();
		if ($message) {
			$self->_obey($message);
			return $message;
		}
		$self->receive($deadline) or return;
	}
}

# Answers what a client answers by itself, pings above all; what came is kept for those who read.
sub attend {
	my ($self) = @_;
	my @came;
	{
		local $self->{kept};
		while (my $message = $self->read_message(0)) { push @came, $message }
	}
	push @{$self->{kept}}, @came;
}

# The first message that the code likes; those before it are in {skipped}.
sub read_until {
	my ($self, $code, $timeout) = @_;

	my $deadline = time() + ($timeout // $self->{timeout});
	$self->{skipped} = [];
	my $left = $deadline - time();
	while (my $message = $self->read_message($left)) {
		return $message if $code->($message);
		push @{$self->{skipped}}, $message;
		# a live stream always has one more
		$left = $deadline - time();
		return if $left < 0;
	}
	return;
}

# The next video message.
sub read_video {
	my ($self, $timeout) = @_;
	return $self->read_until(sub { $_[0]{type} == RTMP_VIDEO }, $timeout);
}

# The next audio, video or data message.
sub read_media {
	my ($self, $timeout) = @_;
	return $self->read_until(sub {
		$_[0]{type} == RTMP_AUDIO || $_[0]{type} == RTMP_VIDEO
			|| $_[0]{type} == RTMP_DATA
	}, $timeout);
}

sub receive {
	my ($self, @arguments) = @_;
	my $n = $self->SUPER::receive(@arguments);
	$self->_acknowledge() if $n && $self->{auto_ack};
	return $n;
}

sub _acknowledge {
	my ($self) = @_;

	return unless $self->{window};
	return if $self->{received} - $self->{acked} < $self->{window};
	$self->{acked} = $self->{received};
	$self->send_message(RTMP_ACK, 0, 0, pack('N', $self->{received} & 0xFFFFFFFF));
}

# The next message of the bytes that are in, or undef if it is not complete.
sub _next_message {
	my ($self) = @_;

	while (my ($csid, $fmt, $at) = $self->_chunk_header()) {
		my $chunk = $self->{chunks}{$csid};
		my $rest = $chunk->{length} - length($chunk->{payload});
		my $size = $rest < $self->{in_chunk} ? $rest : $self->{in_chunk};
		return if length($self->{in}) < $at + $size;

		# nothing was changed before the whole chunk was in
		$self->_begin($chunk, $fmt) unless $chunk->{begun};
		$chunk->{payload} .= substr($self->{in}, $at, $size);
		substr($self->{in}, 0, $at + $size, '');
		next if $size < $rest;

		my %message = (csid => $csid, map { $_ => $chunk->{$_} }
			qw/ fmt timestamp type stream payload /);
		@$chunk{qw/ payload begun /} = ('', 0);
		_decode(\%message);
		return \%message;
	}
	return;
}

# Reads the header of the next chunk into its chunk stream's state; its id,
# format and length, or nothing if it is not complete.
sub _chunk_header {
	my ($self) = @_;

	my $in = \$self->{in};
	return if length($$in) < 1;
	my ($first, $second, $third) = unpack('C C C', $$in . "\0\0");
	my ($fmt, $csid, $at) = ($first >> 6, $first & 63, 1);
	($csid, $at) = (64 + $second, 2) if $csid == 0;
	($csid, $at) = (64 + $second + 256 * $third, 3) if $csid == 1 && $at == 1;

	my $size = (11, 7, 3, 0)[$fmt];
	return if length($$in) < $at + $size;
	my $chunk = $self->{chunks}{$csid} //= { payload => '', field => 0 };
	die "chunk of type $fmt begins chunk stream $csid\n"
		if $fmt && !defined $chunk->{type};

	my $field = $chunk->{field};
	if ($fmt < 3) {
		$field = unpack('N', "\0" . substr($$in, $at, 3));
	}
	my $extended = $field == EXTENDED ? 4 : 0;
	return if length($$in) < $at + $size + $extended;

	# the header is complete
	if ($fmt < 2) {
		$chunk->{length} = unpack('N', "\0" . substr($$in, $at + 3, 3));
		$chunk->{type} = ord(substr($$in, $at + 6, 1));
	}
	$chunk->{stream} = unpack('V', substr($$in, $at + 7, 4)) if $fmt == 0;
	$chunk->{field} = $field;
	$chunk->{value} = $extended
		? unpack('N', substr($$in, $at + $size, 4)) : $field;
	return ($csid, $fmt, $at + $size + $extended);
}

# The first chunk of a message: its timestamp.
sub _begin {
	my ($self, $chunk, $fmt) = @_;

	if ($fmt == 0) {
		$chunk->{timestamp} = $chunk->{value};
		$chunk->{delta} = 0;
	} else {
		$chunk->{delta} = $chunk->{value} if $fmt < 3;
		$chunk->{timestamp}
			= ($chunk->{timestamp} + $chunk->{delta}) & 0xFFFFFFFF;
	}
	@$chunk{qw/ begun fmt /} = (1, $fmt);
}

sub _decode {
	my ($message) = @_;

	my $type = $message->{type};
	if ($type == RTMP_COMMAND || $type == RTMP_DATA) {
		$message->{values} = eval { [amf0_decode($message->{payload})] } // [];
	} elsif ($type == RTMP_AMF3_COMMAND || $type == RTMP_AMF3_DATA) {
		$message->{values}
			= eval { [amf0_decode(substr($message->{payload}, 1))] } // [];
	} elsif ($type == RTMP_USER_CONTROL) {
		@$message{qw/ event value /} = unpack('n N', $message->{payload});
	}
	$message->{name} = $message->{values}[0]
		if $type == RTMP_COMMAND || $type == RTMP_AMF3_COMMAND;
}

# The messages of a recording of what one side has sent behind its handshake.
sub rtmp_messages {
	my ($bytes) = @_;

	my $self = bless { in => $bytes, in_chunk => 128, chunks => {}, auto_pong => 0 }, __PACKAGE__;
	my @messages;
	while (my $message = $self->_next_message()) {
		$self->_obey($message);
		push @messages, $message;
	}
	return @messages;
}

# What the protocol itself asks of a client.
sub _obey {
	my ($self, $message) = @_;

	my $type = $message->{type};
	my $value = $type < RTMP_AUDIO ? unpack('N', $message->{payload}) : 0;
	if ($type == RTMP_SET_CHUNK_SIZE) {
		$self->{in_chunk} = $value;
	} elsif ($type == RTMP_ABORT) {
		$self->{chunks}{$value}{payload} = '' if $self->{chunks}{$value};
	} elsif ($type == RTMP_WINDOW_ACK) {
		$self->{window} = $value;
	} elsif ($type == RTMP_USER_CONTROL && $self->{auto_pong}
		&& $message->{event} == EVENT_PING)
	{
		$self->send_message(RTMP_USER_CONTROL, 0, 0,
			pack('n N', EVENT_PONG, $message->{value}));
	}
}

###############################################################################
# AMF0

# Perl's own kinds: undef is null, a number (not a string of digits) a number,
# JSON::PP::true and ::false booleans, [] a strict array, {} an object (its
# members in alphabetical order), ecma_array() an ECMA array.
sub amf0 { join '', map { _amf0_value($_) } @_ }

sub ecma_array { bless {@_}, 'Test::Nginx::RTMP::ECMAArray' }

sub _amf0_value {
	my ($value) = @_;

	return "\x05" if !defined $value;
	my $kind = ref $value;
	return "\x01" . pack('C', $value ? 1 : 0) if $kind eq 'JSON::PP::Boolean';
	return "\x0a" . pack('N', scalar @$value) . amf0(@$value) if $kind eq 'ARRAY';
	return "\x03" . _amf0_members($value) if $kind eq 'HASH';
	return "\x08" . pack('N', scalar keys %$value) . _amf0_members($value)
		if $kind;

	my $flags = B::svref_2object(\$value)->FLAGS;
	return "\x00" . pack('d>', $value)
		if $flags & (B::SVp_IOK | B::SVp_NOK) && !($flags & B::SVp_POK);
	return "\x02" . pack('n/a*', $value) if length($value) < 65536;
	return "\x0c" . pack('N/a*', $value);
}

sub _amf0_members {
	my ($hash) = @_;
	return join('', map { pack('n/a*', $_) . _amf0_value($hash->{$_}) }
		sort keys %$hash) . "\0\0\x09";
}

# All the values in these bytes; dies if they are not AMF0.
sub amf0_decode {
	my ($bytes) = @_;

	my @values;
	my $at = 0;
	while ($at < length($bytes)) {
		push @values, _amf0_read(\$bytes, \$at);
	}
	return @values;
}

sub _amf0_read {
	my ($bytes, $at) = @_;

	my $kind = ord(_amf0_take($bytes, $at, 1));
	return unpack('d>', _amf0_take($bytes, $at, 8)) if $kind == 0;
	return ord(_amf0_take($bytes, $at, 1)) ? JSON::PP::true : JSON::PP::false
		if $kind == 1;
	return _amf0_take($bytes, $at, unpack('n', _amf0_take($bytes, $at, 2)))
		if $kind == 2;
	return undef if $kind == 5 || $kind == 6;
	return _amf0_take($bytes, $at, unpack('N', _amf0_take($bytes, $at, 4)))
		if $kind == 12;
	if ($kind == 11) {
		my $milliseconds = unpack('d>', _amf0_take($bytes, $at, 8));
		_amf0_take($bytes, $at, 2);
		return $milliseconds;
	}
	if ($kind == 10) {
		my $count = unpack('N', _amf0_take($bytes, $at, 4));
		return [map { _amf0_read($bytes, $at) } 1 .. $count];
	}
	if ($kind == 3 || $kind == 8) {
		_amf0_take($bytes, $at, 4) if $kind == 8;
		my %members;
		while (1) {
			my $name = _amf0_take($bytes, $at,
				unpack('n', _amf0_take($bytes, $at, 2)));
			if ($name eq '' && substr($$bytes, $$at, 1) eq "\x09") {
				$$at++;
				return \%members;
			}
			$members{$name} = _amf0_read($bytes, $at);
		}
	}
	die "AMF0 type $kind\n";
}

sub _amf0_take {
	my ($bytes, $at, $length) = @_;

	die "AMF0 ends early\n" if $$at + $length > length($$bytes);
	my $taken = substr($$bytes, $$at, $length);
	$$at += $length;
	return $taken;
}

###############################################################################

1;

###############################################################################
