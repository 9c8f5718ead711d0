package Test::Nginx::OCLP;

# A scheduling server for the tests: a real HTTP/1.1 server in a process of its
# own, which writes down every request as it came, and answers as it is told.
#
#	my $oclp = oclp_server($t, port(8081));
#	$oclp->answer('play start', status => 403);
#	...
#	my ($request) = $oclp->wait_requests('play start', 1);
#	is($request->{name}, 'name', 'name');
#
# An event is 'CALL ACT', or 'CALL', or '*', or one of these behind a path:
# '/path CALL ACT'; the answer given last that fits counts.  An answer has status (200), headers (a list of pairs), body, delay
# (seconds), or instead of all these raw: bytes, after which the connection is
# closed, unless keep is 1; fill: so many bytes after them, as fast as they go,
# fill_with: repeated; or hang: 1, nothing.  In headers, {app} and {name} are what
# the request says, as it stands there, and {=app} and {=name} the same decoded.

use warnings;
use strict;

use base qw/ Exporter /;

our @EXPORT = qw/ oclp_server /;

use Errno qw/ EAGAIN EINTR EWOULDBLOCK /;
use IO::Select;
use IO::Socket::INET;
use JSON::PP ();
use POSIX qw/ _exit /;
use Time::HiRes qw/ sleep stat time /;

use Test::Nginx qw//;
use Test::Nginx::Process;

# seconds that requests may take to come
my $TIMEOUT = 20 * ($ENV{TEST_NGINX_SLOW} || 1);
my $BLOCK = 65536;

my $servers = 0;

sub oclp_server {
	my ($t, $port) = @_;

	my $base = $t->testdir() . '/oclp-' . ++$servers;
	my $self = bless {
		owner => $$,
		port => $port,
		requests => "$base.requests",
		rules => "$base.rules",
		answers => [],
	}, __PACKAGE__;
	$self->_write_rules();
	open my $file, '>', $self->{requests} or die "$self->{requests}: $!\n";
	$self->start();
	return $self;
}

# The server is there again after stop().
sub start {
	my ($self) = @_;

	my $listener = IO::Socket::INET->new(
		LocalAddr => '127.0.0.1',
		LocalPort => $self->{port},
		Listen => 1024,
		ReuseAddr => 1,
	) or die "cannot listen on $self->{port}: $!\n";
	my $pid = fork() // die "cannot fork: $!\n";
	if ($pid == 0) {
		eval { $self->_serve($listener); 1 } or warn $@;
		_exit(0);
	}
	$self->{pid} = $pid;
	return $self;
}

# Nobody listens any more; connections are closed.
sub stop {
	my ($self) = @_;
	my $pid = delete $self->{pid} or return;
	kill 'KILL', $pid;
	waitpid($pid, 0);
}

sub DESTROY {
	my ($self) = @_;
	local ($?, $@, $!);
	$self->stop() if $self->{owner} == $$;
}

###############################################################################
# what the test says and asks

# From now on.  With several answers, each a hash, the first request gets the
# first, and so on; the last one stays.
sub answer {
	my ($self, $event, @answer) = @_;
	@answer = ({@answer}) if !ref $answer[0];
	push @{$self->{answers}}, { event => $event, answers => \@answer };
	$self->_write_rules();
	return $self;
}

# The same, but each request gets one of the answers by chance.
sub answer_by_chance {
	my ($self, $event, @answers) = @_;
	push @{$self->{answers}}, { event => $event, answers => \@answers, chance => 1 };
	$self->_write_rules();
	return $self;
}

# The requests so far, of an event or of all: hashes with what the parameters
# say, decoded; args, the text behind those of the event, as it came; line,
# target, headers; time; connection, a number; and answer, the status given.
sub requests {
	my ($self, $event) = @_;

	# what was read before is kept: there may be many, and they are asked for again and again
	my $seen = $self->{seen} //= [];
	open my $file, '<:raw', $self->{requests} or die "$self->{requests}: $!\n";
	seek $file, $self->{read} //= 0, 0;
	while (my $line = <$file>) {
		# the last one may be half written
		last if $line !~ /\n\z/;
		$self->{read} += length $line;
		push @$seen, _thaw($line);
	}
	return defined $event ? grep { _fits($event, $_) } @$seen : @$seen;
}

# The same, once there are so many.
sub wait_requests {
	my ($self, $event, $count, $timeout) = @_;

	my @requests;
	wait_for {
		@requests = $self->requests($event);
		@requests >= $count;
	} $timeout // $TIMEOUT;
	return @requests;
}

# What came, in order: 'play start', 'play done', ...
sub events {
	my ($self, $event) = @_;
	return map { "$_->{call} $_->{act}" } $self->requests($event);
}

sub _fits {
	my ($event, $request) = @_;
	return 0 if $event =~ s{^(/\S*) }{} && $1 ne $request->{path};
	return $event eq '*' || $event eq $request->{call}
		|| $event eq "$request->{call} $request->{act}";
}

# A request as a line, and back: names and values in turn, headers with a colon before the name.
sub _freeze {
	my ($request) = @_;
	my %flat = (%$request, map { (":$_" => $request->{headers}{$_}) } keys %{$request->{headers}});
	delete $flat{headers};
	return join("\t", map { (my $text = $_ // '') =~ s/([\t\n%])/sprintf '%%%02x', ord $1/ge; $text } %flat)
		. "\n";
}

sub _thaw {
	my ($line) = @_;
	chomp $line;
	my %request = map { s/%([[:xdigit:]]{2})/chr hex $1/ger } split /\t/, $line, -1;
	$request{headers}{substr $_, 1} = delete $request{$_} for grep { /^:/ } keys %request;
	return \%request;
}

sub _write_rules {
	my ($self) = @_;
	# the server must never see half a file
	open my $file, '>:raw', "$self->{rules}.new" or die "$self->{rules}: $!\n";
	print $file JSON::PP->new()->latin1()->encode($self->{answers});
	close $file;
	rename "$self->{rules}.new", $self->{rules};
}

###############################################################################
# the server

sub _serve {
	my ($self, $listener) = @_;

	local $SIG{PIPE} = 'IGNORE';
	$listener->blocking(0);
	open $self->{log}, '>>:raw', $self->{requests} or die "$!\n";
	$self->{log}->autoflush(1);
	$self->{given} = {};
	$self->{connections} = {};
	my $count = 0;

	while (1) {
		my @open = values %{$self->{connections}};
		my $now = time();
		my ($wait) = sort { $a <=> $b } 60,
			map { defined $_->{due} ? $_->{due} - $now : () } @open;
		my $readers = IO::Select->new($listener, map { $_->{socket} } @open);
		my $writers = IO::Select->new(map { $_->{socket} }
			grep { length $_->{out} || $_->{fill} } @open);
		my ($readable, $writable) = IO::Select::select($readers, $writers, undef,
			$wait < 0 ? 0 : $wait);

		for my $socket (@{$readable // []}) {
			if ($socket == $listener) {
				while (my $new = $listener->accept()) {
					$new->blocking(0);
					$self->{connections}{$new} = {
						socket => $new, number => ++$count, in => '', out => '',
					};
				}
			} else {
				$self->_read($self->{connections}{$socket});
			}
		}
		for my $socket (@{$writable // []}) {
			my $connection = $self->{connections}{$socket} or next;
			$self->_write($connection);
		}
		$now = time();
		for my $connection (values %{$self->{connections}}) {
			next if !defined $connection->{due} || $connection->{due} > $now;
			$connection->{out} .= $connection->{later};
			delete @$connection{qw/ due later /};
			$self->_next($connection);
			$self->_write($connection);
		}
	}
}

sub _close {
	my ($self, $connection) = @_;
	delete $self->{connections}{$connection->{socket}};
	close $connection->{socket};
}

sub _read {
	my ($self, $connection) = @_;

	my $n = sysread($connection->{socket}, $connection->{in}, $BLOCK,
		length $connection->{in});
	if (!$n) {
		return if !defined $n && ($! == EAGAIN || $! == EWOULDBLOCK || $! == EINTR);
		return $self->_close($connection);
	}
	$self->_next($connection);
	$self->_write($connection);
}

# Answers the next request, if it is whole and none is being answered.
sub _next {
	my ($self, $connection) = @_;

	while (!defined $connection->{due} && !$connection->{last}
		&& $connection->{in} =~ s/\A(.*?\x0d\x0a\x0d\x0a)//s)
	{
		my $request = _parse($1);
		$request->{connection} = $connection->{number};
		$request->{time} = time();
		my $answer = $self->_rule($request);
		$request->{answer} = $answer->{hang} || defined $answer->{raw} ? 0
			: $answer->{status} // 200;
		print {$self->{log}} _freeze($request);
		$self->_answer($connection, $answer, $request);
	}
}

sub _parse {
	my ($head) = @_;

	my ($line, @headers) = split /\x0d\x0a/, $head;
	my ($target) = $line =~ /^\S+ (.*) \S+$/;
	my ($path, $query) = split /\?/, $target // '', 2;
	my %request = (line => $line, target => $target, path => $path, call => '',
		act => '', headers => { map { /^([^:]+):\s*(.*)$/ ? (lc $1, $2) : () } @headers });
	my @pairs = split /&/, $query // '';
	while (@pairs && $pairs[0] !~ /^call=/) {
		shift @pairs;
	}
	while (@pairs && $pairs[0] =~ /^(call|act|domain|app|name|groupid|worker_id)=(.*)$/) {
		my ($key, $value) = ($1, $2);
		$request{"raw_$key"} = $value;
		$value =~ s/%([[:xdigit:]]{2})/chr hex $1/ge;
		$request{$key} = $value;
		shift @pairs;
	}
	$request{args} = join '&', @pairs;
	return \%request;
}

sub _rule {
	my ($self, $request) = @_;

	my $rules = $self->_rules();
	for my $i (reverse 0 .. $#$rules) {
		next unless _fits($rules->[$i]{event}, $request);
		my $answers = $rules->[$i]{answers};
		return $answers->[rand @$answers] if $rules->[$i]{chance};
		my $n = $self->{given}{$i}++;
		return $answers->[$n] // $answers->[-1];
	}
	return {};
}

# The rules of now; read again when they have changed.
sub _rules {
	my ($self) = @_;

	my $version = join ' ', (stat $self->{rules})[1, 7, 9];
	return $self->{known} if $version eq ($self->{version} // '');
	open my $file, '<:raw', $self->{rules} or return [];
	local $/;
	@$self{qw/ version known /} = ($version, JSON::PP->new()->latin1()->decode(<$file>));
	return $self->{known};
}

sub _answer {
	my ($self, $connection, $answer, $request) = @_;

	return $connection->{last} = 1 if $answer->{hang};
	my $bytes = $answer->{raw};
	if (defined $bytes) {
		@$connection{qw/ last end /} = (1, 1) if !$answer->{keep};
		$connection->{fill} = $answer->{fill} // 0;
		$connection->{with} = $answer->{fill_with} // 'x';
	} else {
		my $body = $answer->{body} // '';
		my @headers = @{$answer->{headers} // []};
		$bytes = 'HTTP/1.1 ' . ($answer->{status} // 200) . " Answer\x0d\x0a";
		while (my ($name, $value) = splice @headers, 0, 2) {
			$value =~ s/\{(=?)(app|name)\}/$request->{$1 ? $2 : "raw_$2"} \/\/ ''/ge;
			$bytes .= "$name: $value\x0d\x0a";
		}
		$bytes .= 'Content-Length: ' . length($body) . "\x0d\x0a\x0d\x0a$body";
	}
	if ($answer->{delay}) {
		$connection->{due} = time() + $answer->{delay};
		$connection->{later} = $bytes;
	} else {
		$connection->{out} .= $bytes;
	}
}

sub _write {
	my ($self, $connection) = @_;

	while (length $connection->{out} || $connection->{fill}) {
		if (!length $connection->{out}) {
			my $n = $connection->{fill} < $BLOCK ? $connection->{fill} : $BLOCK;
			my $with = $connection->{with};
			$connection->{out} = substr($with x ($n / length($with) + 1), 0, $n);
			$connection->{fill} -= $n;
		}
		my $n = syswrite($connection->{socket}, $connection->{out});
		if (!defined $n) {
			return if $! == EAGAIN || $! == EWOULDBLOCK || $! == EINTR;
			return $self->_close($connection);
		}
		substr($connection->{out}, 0, $n, '');
	}
	$self->_close($connection) if $connection->{end} && !defined $connection->{due};
}

###############################################################################

1;

###############################################################################
