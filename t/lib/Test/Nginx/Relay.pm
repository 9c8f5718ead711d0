package Test::Nginx::Relay;

# Two servers of one nginx, so that relays between them can be tested, and the
# other side of a relay as a script: what it says, byte by byte, is up to the test.

use warnings;
use strict;

use base qw/ Exporter /;
our @EXPORT = qw/ relay_run near far log_lines wait_lines rtmp_server rtmp_accept tcp_server /;

use IO::Select;
use IO::Socket::INET;
use Time::HiRes qw/ time /;

use Test::Nginx;
use Test::Nginx::Process;
use Test::Nginx::RTMP;

# seconds for any one answer of a client, and of us to a client
my $TIMEOUT = 5 * ($ENV{TEST_NGINX_SLOW} || 1);
# seconds in which somebody comes, or says what is due, on a machine that is busy as well
my $PATIENCE = 12 * $TIMEOUT;

# Starts nginx with one worker (or as many as "workers" says), and the application "live" in two servers: near,
# on port 1935, and far, on port 1936; the options are more lines for these
# applications, for the http block (http) and for the rtmp block (rtmp), and how
# long a worker that shuts down waits for its clients (shutdown); what they cache
# is cache.
sub relay_run {
	my ($t, %options) = @_;
	my ($near, $far, $rtmp, $http) = @options{qw/ near far rtmp http /};
	$_ //= '' for $near, $far, $rtmp;
	my $shutdown = $options{shutdown} // '1s';
	my $workers = $options{workers} // 1;
	my $cache = $options{cache} // '1s';
	my $reuseport = $workers > 1 ? ' reuseport' : '';
	$http = $http ? "http {\n%%TEST_GLOBALS_HTTP%%\n$http\n}" : '';

	$t->write_file_expand('nginx.conf', <<"EOC");

%%TEST_GLOBALS%%

daemon off;
worker_processes $workers;
worker_shutdown_timeout $shutdown;

events {
}

$http

rtmp {
    rtmp_auto_pull_port unix:%%TESTDIR%%/inner;
    ${\patient($rtmp)}
    relay_reconnect ${TIMEOUT}s;
    $rtmp

    server {
        listen 127.0.0.1:%%PORT_1935%%$reuseport;

        application live {
            live on;
            cache_time $cache;
            $near
        }
    }

    server {
        listen 127.0.0.1:%%PORT_1936%%$reuseport;

        application live {
            live on;
            cache_time $cache;
            $far
        }
    }
}

EOC
	$t->run();
}

# A client of one of the servers.
sub near { rtmp_connect(port(1935), $_[0] // 'live', @_[1 .. $#_]) }
sub far { rtmp_connect(port(1936), $_[0] // 'live', @_[1 .. $#_]) }

# The lines of the error log that match, without time and process.
sub log_lines {
	my ($t, $like) = @_;
	my @lines = grep { /\[(?:error|notice|info|warn|debug)\]/ && /rtmp: /  && $_ =~ $like }
		split /\n/, $t->read_file('error.log');
	return map { s/^.*?rtmp: //r } @lines;
}

# The same, once there are so many of them (1), or time is up.
sub wait_lines {
	my ($t, $like, $count) = @_;
	wait_for { log_lines($t, $like) >= ($count // 1) };
	return log_lines($t, $like);
}

###############################################################################
# servers as scripts

# A listening socket for connections to be accepted by the test itself.
sub tcp_server {
	my ($port) = @_;
	return IO::Socket::INET->new(
		Proto => 'tcp',
		LocalAddr => '127.0.0.1',
		LocalPort => $port,
		Listen => 64,
		Reuse => 1,
	) || die "cannot listen on $port: $!\n";
}

# The same, when it will be spoken to in RTMP.
sub rtmp_server { tcp_server(@_) }

# Accepts a connection and serves it up to its publish or play: an object as of
# rtmp_connect() whose {connect} and {name} are what the client said, or undef if
# nobody comes in time. Options: code, the status to answer with (the Start of what
# is asked for); until, the command at which the test takes over.
sub rtmp_accept {
	my ($server, %options) = @_;

	my $until = $options{until} // '';
	$server->timeout($options{timeout} // $PATIENCE);
	my $socket = $server->accept() or return;
	my $self = _adopt($socket);
	return $self if $until eq 'handshake';
	_answer_handshake($self) or return $self;
	while (my $message = $self->read_message()) {
		my $name = $message->{name} // next;
		my @values = @{$message->{values}};
		if ($name eq 'connect') {
			$self->{connect} = $values[2];
			return $self if $until eq $name;
			$self->send_command(0, '_result', $values[1], {},
				{ level => 'status', code => 'NetConnection.Connect.Success' });
		} elsif ($name eq 'createStream') {
			return $self if $until eq $name;
			$self->send_command(0, '_result', $values[1], undef, $options{id} // 7);
		} elsif ($name eq 'publish' || $name eq 'play') {
			@$self{qw/ role name stream /} = ($name, $values[3], $message->{stream});
			return $self if $until eq $name;
			my $code = $options{code} // 'NetStream.' . ucfirst($name) . '.Start';
			my $level = $code =~ /Start$/ ? 'status' : 'error';
			$self->send_command($self->{stream}, 'onStatus', 0, undef,
				{ level => $level, code => $code, description => 'by the test' });
			return $self;
		}
	}
	return $self;
}

# A connection that was accepted, as an RTMP client object.
sub _adopt {
	my ($socket) = @_;

	$socket->blocking(0);
	return bless {
		timeout => $PATIENCE, captured => '', in => '', received => 0,
		socket => $socket, select => IO::Select->new($socket),
		auto_ack => 1, auto_pong => 1, acked => 0, in_chunk => 128,
		out_chunk => 128, chunks => {}, skipped => [], transaction => 0,
		code => '',
	}, 'Test::Nginx::RTMP';
}

# The simple handshake, from the other side.
sub _answer_handshake {
	my ($self) = @_;

	my $hello = $self->read_raw(1 + 1536) // return;
	$self->send_raw("\3" . "\0" x 8 . 's' x 1528 . substr($hello, 1));
	return defined $self->read_raw(1536);
}

###############################################################################

1;

###############################################################################
