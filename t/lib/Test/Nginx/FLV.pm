package Test::Nginx::FLV;

# FLV files and streams: built, taken apart, and read over HTTP while they come.

use warnings;
use strict;

use base qw/ Exporter Test::Nginx::Peer /;

our @EXPORT = qw/
	flv_header flv_tag flv_file flv_parse flv_payloads flv_kind http_flv
	FLV_AUDIO FLV_VIDEO FLV_DATA
/;

use Time::HiRes qw/ time /;

use constant {
	FLV_AUDIO => 8,
	FLV_VIDEO => 9,
	FLV_DATA => 18,
	# the header and the first, empty previous tag's size
	HEADER => 13,
	TAG_HEADER => 11,
	PREVIOUS => 4,
};

###############################################################################
# files

# Flags: 1 video, 4 audio.
sub flv_header {
	my ($flags) = @_;
	return 'FLV' . pack('C C N N', 1, $flags // 5, 9, 0);
}

sub flv_tag {
	my ($type, $timestamp, $payload) = @_;

	return chr($type) . substr(pack('N', length($payload)), 1)
		. substr(pack('N', $timestamp & 0xFFFFFF), 1)
		. chr($timestamp >> 24 & 0xFF) . "\0\0\0" . $payload
		. pack('N', TAG_HEADER + length($payload));
}

# A file of tags as flv_parse() gives them.
sub flv_file {
	my ($flags, @tags) = @_;
	return flv_header($flags)
		. join '', map { flv_tag(@$_{qw/ type timestamp payload /}) } @tags;
}

# Everything in a file: { flags, tags, rest }, where a tag is { type, timestamp,
# payload } and rest what is left of an incomplete last one.  Dies if it is wrong.
sub flv_parse {
	my ($bytes) = @_;

	my ($flags) = _read_header(\$bytes) or die "no FLV header\n";
	my @tags;
	while (my $tag = _read_tag(\$bytes)) {
		push @tags, $tag;
	}
	return { flags => $flags, tags => \@tags, rest => $bytes };
}

# The payloads of one type, in order.
sub flv_payloads {
	my ($type, @tags) = @_;
	return map { $_->{payload} } grep { $_->{type} == $type } @tags;
}

# What a tag is: "data", "header" (of a codec: sequence start, colours), "end" (of a
# sequence), "key" (a key frame), "frame" (any other).  Multitrack is looked into;
# ModEx, which no encoder here sends, is not.
sub flv_kind {
	my ($tag) = @_;

	return 'data' if $tag->{type} == FLV_DATA;
	my ($first, $second) = unpack('C C', "$tag->{payload}\0\0");
	my $video = $tag->{type} == FLV_VIDEO;
	my $enhanced = $video ? $first & 128 : $first >> 4 == 9;
	my ($packet, $multitrack) = ($first & 15, $video ? 6 : 5);
	my $key = !$video || ($first >> 4 & 7) == 1;

	if ($enhanced) {
		$packet = $second & 15 if $packet == $multitrack;
		return 'header' if $packet == 0 || $packet == 4;
		return 'end' if $packet == 2;
	} elsif ($video && $packet =~ /^(?:7|1[2-4])$/) {
		return 'header' if $second == 0;
		return 'end' if $second == 2;
	} elsif (!$video && ($first >> 4 == 10 || $first >> 4 == 13)) {
		return 'header' if $second == 0;
	}
	return $video && $key ? 'key' : 'frame';
}

# Takes the header off; its flags, or nothing if it is not complete.
sub _read_header {
	my ($bytes) = @_;

	return if length($$bytes) < HEADER;
	my ($mark, $version, $flags, $size, $zero)
		= unpack('a3 C C N N', substr($$bytes, 0, HEADER, ''));
	die "not an FLV header\n"
		if $mark ne 'FLV' || $version != 1 || $size != 9 || $zero != 0;
	return $flags;
}

# Takes the next tag off, or nothing if it is not complete.
sub _read_tag {
	my ($bytes) = @_;

	return if length($$bytes) < TAG_HEADER;
	my ($type, $l1, $l2, $low1, $low2, $high)
		= unpack('C C n C n C', $$bytes);
	my $length = $l1 << 16 | $l2;
	my $whole = TAG_HEADER + $length;
	return if length($$bytes) < $whole + PREVIOUS;

	my $tag = substr($$bytes, 0, $whole + PREVIOUS, '');
	my $previous = unpack('N', substr($tag, $whole));
	die "previous tag size $previous after a tag of $whole bytes\n"
		if $previous != $whole;
	return {
		type => $type,
		timestamp => $high << 24 | $low1 << 16 | $low2,
		payload => substr($tag, TAG_HEADER, $length),
	};
}

###############################################################################
# HTTP-FLV

# Asks for a stream; the object that reads it, once the response's head is in, or
# undef.  Options: Peer's; method; version, 1.1 (the default) or 1.0; headers, a
# hash; request, the whole request as bytes; wait, 0 to leave the head to be read
# by answered(): an answer begins with the first media.
sub http_flv {
	my ($port, $uri, %options) = @_;

	my $self = __PACKAGE__->open($port, %options) or return;
	$self->{body} = '';
	my %headers = (Host => 'localhost', %{$options{headers} // {}});
	my $line = join ' ', $options{method} // 'GET', $uri,
		'HTTP/' . ($options{version} // '1.1');
	$self->send_raw($options{request} // join "\r\n",
		$line, (map { "$_: $headers{$_}" } sort keys %headers), '', '');
	return $self if !($options{wait} // 1);
	return $self->answered() ? $self : undef;
}

sub status { $_[0]{status} }

# A field of the response's head, or undef.
sub header {
	my ($self, $name) = @_;
	return $self->{head}{lc $name};
}

# The FLV header's flags, once it has come.
sub flags {
	my ($self, $timeout) = @_;

	my $deadline = time() + ($timeout // $self->{timeout});
	while (!defined $self->{flags}) {
		my ($flags) = _read_header(\$self->{body});
		if (defined $flags) {
			$self->{flags} = $flags;
			last;
		}
		$self->_fill($deadline) or return;
	}
	return $self->{flags};
}

# The next tag, or undef.
sub read_tag {
	my ($self, $timeout) = @_;

	my $deadline = time() + ($timeout // $self->{timeout});
	$self->flags($timeout) // return;
	while (1) {
		my $tag = _read_tag(\$self->{body});
		return $tag if $tag;
		$self->_fill($deadline) or return;
	}
}

# So many tags, or as many as come in time.
sub read_tags {
	my ($self, $count, $timeout) = @_;

	my $deadline = time() + ($timeout // $self->{timeout});
	my @tags;
	while (@tags < $count) {
		my $left = $deadline - time();
		my $tag = $self->read_tag($left > 0 ? $left : 0) or last;
		push @tags, $tag;
	}
	return @tags;
}

# True if the response ends (or has ended) in time: "complete" by its last chunk
# or its length, "closed" by the connection's end.
sub closed {
	my ($self, $timeout) = @_;

	my $deadline = time() + ($timeout // $self->{timeout});
	while ($self->_fill($deadline)) {
		return if time() > $deadline;
	}
	return $self->{end};
}

# What of the body is in and not yet read as tags.
sub body {
	my ($self, $timeout) = @_;
	$self->closed($timeout);
	return $self->{body};
}

# Receives more of the body; false at its end or if time is up.
sub more {
	my ($self, $timeout) = @_;
	return $self->_fill(time() + ($timeout // $self->{timeout}));
}

# Reads the response's head; true if it is in.
sub answered {
	my ($self) = @_;

	return 1 if $self->{head};
	my $deadline = time() + $self->{timeout};
	my $end;
	while (($end = index($self->{in}, "\r\n\r\n")) < 0) {
		$self->receive($deadline) or return;
	}
	my ($line, @fields) = split /\r\n/, substr($self->{in}, 0, $end + 4, '');
	($self->{status}) = $line =~ m{^HTTP/1\.[01] (\d+)} or return;
	$self->{head} = { map { /^([^:]+):\s*(.*)/ ? (lc $1, $2) : () } @fields };
	$self->{chunked} = ($self->header('Transfer-Encoding') // '') eq 'chunked';
	$self->{left} = $self->header('Content-Length') unless $self->{chunked};
	return 1;
}

# Gets more of the body; false at its end or if time is up.
sub _fill {
	my ($self, $deadline) = @_;

	while (1) {
		return 1 if $self->_take_body();
		return if $self->{end};
		if (!$self->receive($deadline)) {
			$self->{end} = $self->{eof};
			return;
		}
	}
}

# Moves what is in to the body, without the chunks' marks; how much.
sub _take_body {
	my ($self) = @_;

	my $before = length($self->{body});
	if ($self->{chunked}) {
		while ($self->{in} =~ /^([[:xdigit:]]+)(?:;[^\r]*)?\r\n/) {
			my ($head, $size) = ($+[0], hex($1));
			last if length($self->{in}) < $head + $size + 2;
			$self->{end} //= 'complete' if $size == 0;
			$self->{body} .= substr($self->{in}, $head, $size);
			substr($self->{in}, 0, $head + $size + 2, '');
		}
	} else {
		$self->{body} .= $self->{in};
		$self->{in} = '';
	}
	my $taken = length($self->{body}) - $before;
	if (defined $self->{left}) {
		$self->{left} -= $taken;
		$self->{end} //= 'complete' if $self->{left} <= 0;
	}
	return $taken;
}

###############################################################################

1;

###############################################################################
