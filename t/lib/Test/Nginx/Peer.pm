package Test::Nginx::Peer;

# A TCP connection whose every operation has a deadline: what the RTMP and the
# HTTP-FLV client are made of.

use warnings;
use strict;

use Errno qw/ EAGAIN EINTR EWOULDBLOCK /;
use IO::Handle;
use IO::Select;
use Socket qw/
	AF_INET IPPROTO_TCP SOCK_STREAM SOL_SOCKET SO_LINGER SO_RCVBUF SO_SNDBUF
	TCP_NODELAY inet_aton pack_sockaddr_in
/;
use Time::HiRes qw/ time /;

# seconds for any one answer
my $TIMEOUT = 20 * ($ENV{TEST_NGINX_SLOW} || 1);

# Options: host; from, an own address; rcvbuf, sndbuf in bytes (a small rcvbuf makes a slow reader);
# timeout, for each answer; capture: 1 keeps all received bytes in {captured}.
sub open {
	my ($class, $port, %options) = @_;

	# the buffers' sizes must be known before the connection is made
	socket(my $socket, AF_INET, SOCK_STREAM, 0) or die "no socket: $!\n";
	setsockopt($socket, SOL_SOCKET, SO_RCVBUF, $options{rcvbuf})
		if $options{rcvbuf};
	setsockopt($socket, SOL_SOCKET, SO_SNDBUF, $options{sndbuf})
		if $options{sndbuf};
	bind($socket, pack_sockaddr_in(0, inet_aton($options{from}))) or return
		if $options{from};
	connect($socket,
		pack_sockaddr_in($port, inet_aton($options{host} // '127.0.0.1')))
		or return;
	setsockopt($socket, IPPROTO_TCP, TCP_NODELAY, 1);
	$socket->blocking(0);

	return bless {
		timeout => $TIMEOUT,
		captured => '',
		%options,
		socket => $socket,
		select => IO::Select->new($socket),
		in => '',
		received => 0,
	}, $class;
}

# True if all was sent in time.
sub send_raw {
	my ($self, $bytes, $timeout) = @_;

	my $deadline = time() + ($timeout // $self->{timeout});
	local $SIG{PIPE} = 'IGNORE';
	my $sent = 0;
	while ($sent < length($bytes)) {
		return if !$self->{socket};
		my $n = syswrite($self->{socket}, $bytes, length($bytes) - $sent, $sent);
		if (defined $n) {
			$sent += $n;
		} elsif ($! == EAGAIN || $! == EWOULDBLOCK) {
			my $left = $deadline - time();
			return if $left <= 0;
			$self->{select}->can_write($left);
		} elsif ($! != EINTR) {
			$self->{eof} //= "$!";
			return;
		}
	}
	return 1;
}

# Receives once, up to $most bytes; how many, or nothing if time is up or the
# other side has closed (then {eof} says how).
sub receive {
	my ($self, $deadline, $most) = @_;

	while ($self->{socket} && !$self->{eof}) {
		my $left = $deadline - time();
		my $ready = $self->{select}->can_read($left > 0 ? $left : 0);
		return if !$ready && $left <= 0;
		next if !$ready;

		my $n = sysread($self->{socket}, my $bytes, $most // 65536);
		next if !defined $n && ($! == EINTR || $! == EAGAIN);
		if (!$n) {
			$self->{eof} = defined $n ? 'closed' : "$!";
			return;
		}
		$self->{in} .= $bytes;
		$self->{captured} .= $bytes if $self->{capture};
		$self->{received} += $n;
		return $n;
	}
	return;
}

# Exactly so many bytes, or undef.
sub read_raw {
	my ($self, $length, $timeout) = @_;

	my $deadline = time() + ($timeout // $self->{timeout});
	while (length($self->{in}) < $length) {
		$self->receive($deadline) or return;
	}
	return substr($self->{in}, 0, $length, '');
}

# Receives and keeps what comes, until so many bytes more are in or time is up;
# how many came.  For those who read slowly on purpose.
sub fill {
	my ($self, $bytes, $timeout) = @_;

	my $deadline = time() + ($timeout // $self->{timeout});
	my $wanted = $self->{received} + $bytes;
	while ($self->{received} < $wanted) {
		$self->receive($deadline, $wanted - $self->{received}) or last;
	}
	return $bytes - $wanted + $self->{received};
}

sub close {
	my ($self) = @_;
	delete($self->{socket})->close() if $self->{socket};
	$self->{eof} //= 'closed here';
}

# Closes with a reset instead of an orderly end.
sub abort {
	my ($self) = @_;
	setsockopt($self->{socket}, SOL_SOCKET, SO_LINGER, pack('i i', 1, 0));
	$self->close();
}

###############################################################################

1;

###############################################################################
