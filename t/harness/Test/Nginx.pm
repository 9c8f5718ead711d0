package Test::Nginx;

# A small stand-in for the library of nginx's own test suite, which no package
# registry carries: the same interface, as far as the tests here and most of
# nginx's own use it.  With the original at hand, the tests run under it as
# they are: prove -I /path/to/nginx-tests/lib t
#
# The environment is the original's: TEST_NGINX_BINARY, TEST_NGINX_GLOBALS,
# TEST_NGINX_GLOBALS_HTTP, TEST_NGINX_GLOBALS_STREAM, TEST_NGINX_VERBOSE,
# TEST_NGINX_LEAVE, TEST_NGINX_CATLOG, TEST_NGINX_UNSAFE.
# TEST_NGINX_SLOW, our own, is a factor for every deadline (valgrind needs one).

use warnings;
use strict;

use base qw/ Exporter /;

our @EXPORT = qw/
	log_in log_out port
	http http_get http_head http_start http_end http_content
/;
our @EXPORT_OK = qw/ http_gzip_request http_gzip_like /;
our %EXPORT_TAGS = (gzip => \@EXPORT_OK);

use Cwd qw/ getcwd /;
use File::Path qw/ rmtree /;
use File::Spec;
use File::Temp qw/ tempdir /;
use IO::Socket::INET;
use POSIX qw/ WNOHANG _exit /;
use Scalar::Util qw/ weaken /;
use Test::More ();
use Time::HiRes qw/ sleep time /;

our $NGINX = $ENV{TEST_NGINX_BINARY} || 'nginx';

# Seconds, each a bound and never a wait: how long nginx may take to start or
# to stop, a daemon to open its port or to write its file, and one HTTP exchange.
my $SLOW = $ENV{TEST_NGINX_SLOW} || 1;
my $START_TIMEOUT = 60 * $SLOW;
my $STOP_TIMEOUT = 60 * $SLOW;
my $DAEMON_TIMEOUT = 30 * $SLOW;
my $HTTP_TIMEOUT = 20 * $SLOW;
my $POLL = 0.02;

# the tests that still have to be finished when the script ends
my %unfinished;

###############################################################################

sub new {
	my ($class) = @_;

	my $self = bless {
		pid => $$,
		daemons => [],
		todo_alerts => 0,
		testdir => tempdir(
			'nginx-test-XXXXXXXXXX', TMPDIR => 1, CLEANUP => 0
		),
	}, $class;

	# what a worker with other rights has to read
	chmod 0755, $self->{testdir};

	weaken($unfinished{$self} = $self);
	return $self;
}

sub DESTROY {
	my ($self) = @_;
	$self->_finish();
}

# Before Test::More's own END, which counts the tests.  An object that is still there
# is held by a named sub, and the original harness would finish too late.
END {
	my $code = $?;
	for my $self (grep { $_ && $_->{pid} == $$ } values %unfinished) {
		Test::More::diag('a sub holds the Test::Nginx object: undef it at the end')
			if !$code && Test::More->builder()->expected_tests();
		$self->_finish();
	}
	$? ||= $code;
}

# Stops everything and makes the two tests that plan() added (once more for every
# further nginx, so that a plan has to count those).
sub _finish {
	my ($self) = @_;

	return if $self->{pid} != $$ || $self->{finished}++;
	delete $unfinished{$self};
	local ($?, $@, $!);

	$self->stop();
	$self->stop_daemons();

	if (Test::More->builder()->expected_tests()) {
		my $builder = Test::More->builder();
		my @lines = split /\n/, $self->_read('error.log') // '';
		$builder->todo_start('alerts') if $self->{todo_alerts};
		$builder->is_eq(join("\n", grep { /\[alert\]/ } @lines), '',
			'no alerts');
		$builder->todo_end() if $self->{todo_alerts};
		$builder->is_eq(join("\n", grep { /Sanitizer|runtime error:/ } @lines),
			'', 'no sanitizer errors');
	}

	if ($ENV{TEST_NGINX_CATLOG}) {
		Test::More::diag($self->_read('error.log') // '');
	}

	if ($ENV{TEST_NGINX_LEAVE}) {
		Test::More::diag("files of this test: $self->{testdir}");
	} else {
		rmtree($self->{testdir});
	}
}

###############################################################################
# what a test needs, and its plan

sub has {
	my ($self, @features) = @_;
	for my $feature (@features) {
		$self->has_feature($feature) || _skip("no $feature available");
	}
	return $self;
}

sub has_daemon {
	my ($self, $name) = @_;
	my $found = grep { -x "$_/$name" && -f _ }
		$name =~ m{/} ? '' : File::Spec->path();
	return $self if $found || $name =~ m{/} && -x $name;
	_skip("$name not found");
}

sub has_version {
	my ($self, $wanted) = @_;
	my ($version) = $self->_options() =~ m{nginx version: \S+?/([\d.]+)};
	return _compare_versions($version, $wanted) >= 0;
}

sub has_feature {
	my ($self, $feature) = @_;

	return $^O ne 'MSWin32' if $feature eq 'unix' || $feature eq 'symlink';
	return 1 if $feature eq 'udp';

	if ($feature =~ /^(openssl|libressl|boringssl|aws-lc):?([\d.]*)/i) {
		my ($library, $wanted) = ($1, $2);
		my ($version) = $self->_options()
			=~ /(?:built|running) with $library ([\d.]+)/i;
		return defined $version
			&& (!$wanted || _compare_versions($version, $wanted) >= 0);
	}

	if ($feature =~ /^socket_ssl(?:_(\w+))?$/) {
		my $detail = $1 // '';
		return 0 unless eval { require IO::Socket::SSL; 1 };
		return 1 if $detail eq '';
		my $can = IO::Socket::SSL->can("can_client_$detail")
			|| IO::Socket::SSL->can("can_$detail");
		return $can ? $can->() : $detail eq 'sslversion';
	}

	return eval { require Crypt::Misc; 1 } if $feature eq 'cryptx';
	return $self->has_module($feature);
}

# The names are nginx's own: what a module is called in nginx's configure, with
# "http_" left out where the older tests do.
my $BUILT_IN_HTTP = join '|', qw/
	charset gzip ssi userid access auth_basic mirror autoindex geo map
	split_clients referer rewrite proxy fastcgi uwsgi scgi grpc memcached
	limit_conn limit_req empty_gif browser upstream_hash upstream_ip_hash
	upstream_least_conn upstream_random upstream_keepalive upstream_zone
/;
my $BUILT_IN_STREAM = join '|', qw/
	limit_conn access geo map split_clients return pass set upstream_hash
	upstream_least_conn upstream_random upstream_zone
/;

sub has_module {
	my ($self, $name) = @_;
	my $options = $self->_options();

	my $with = sub { $options =~ /(?<!\S)--with-$_[0](?!\S)/ };
	my $without = sub { $options =~ /(?<!\S)--without-$_[0](?!\S)/ };

	return $options =~ /\Q$name\E/ if $name =~ /^--/;
	return $options =~ /TLS SNI support enabled/ if $name eq 'sni';
	return !$without->('http') if $name eq 'http';
	return !$without->('http') && !$without->('http-cache')
		if $name eq 'cache';
	return $with->('mail') && !$without->("mail_${name}_module")
		if $name =~ /^(?:pop3|imap|smtp)$/;
	return $with->($name) if $name eq 'mail' || $name eq 'stream';
	return $with->('stream') && !$without->("stream_$1_module")
		if $name =~ /^stream_($BUILT_IN_STREAM)$/;
	return !$without->('http') && !$without->("http_$1_module")
		if $name =~ /^(?:http_)?($BUILT_IN_HTTP)$/;
	return $with->("${name}_module") || $with->("http_${name}_module");
}

sub plan {
	my ($self, $plan) = @_;
	Test::More::plan(tests => $plan + 2);
	return $self;
}

sub todo_alerts {
	my ($self) = @_;
	$self->{todo_alerts} = 1;
	return $self;
}

sub _skip {
	my ($reason) = @_;
	Test::More::plan(skip_all => $reason);
}

sub _options {
	my ($self) = @_;
	return $self->{options} //= `$NGINX -V 2>&1`;
}

sub _compare_versions {
	my ($left, $right) = map { [split /\./, $_] } @_;
	while (@$left || @$right) {
		my $order = (shift @$left // 0) <=> (shift @$right // 0);
		return $order if $order;
	}
	return 0;
}

###############################################################################
# nginx

sub run {
	my ($self, $conf) = @_;

	if (defined $conf) {
		$self->write_file_expand('nginx.conf', $conf);
	}

	my $pid = fork() // die "cannot fork: $!\n";
	if ($pid == 0) {
		exec(split(/ /, $NGINX), '-p', "$self->{testdir}/",
			'-c', 'nginx.conf', '-e', 'error.log')
			or warn "cannot run $NGINX: $!\n";
		_exit(1);
	}
	$self->{nginx} = $pid;

	return $self if _wait($START_TIMEOUT, sub {
		(-s "$self->{testdir}/nginx.pid") || $self->_nginx_ended();
	}) && $self->{nginx};

	my @why = grep { /\[(?:emerg|alert|crit)\]/ }
		split /\n/, $self->_read('error.log') // '';
	die join("\n", "cannot start nginx", @why) . "\n";
}

# Runs nginx, or skips all tests if it does not start.
sub try_run {
	my ($self, $message) = @_;

	# nginx tells on stderr what it does not like; the log has it, too
	open my $stderr, '>&', \*STDERR or die "cannot keep stderr: $!\n";
	close STDERR;
	my $started = eval { $self->run(); 1 };
	my $error = $@;
	open STDERR, '>&', $stderr or die "cannot restore stderr: $!\n";

	return $self if $started;
	if ($ENV{TEST_NGINX_VERBOSE}) {
		Test::More::diag($error);
	}
	_skip($message);
}

sub stop {
	my ($self) = @_;

	return $self unless $self->{nginx};

	for my $signal (qw/ QUIT TERM KILL /) {
		Test::More::diag("nginx did not stop in time, sending $signal")
			if $signal ne 'QUIT';
		kill $signal, $self->{nginx};
		last if _wait($STOP_TIMEOUT, sub { $self->_nginx_ended() });
	}
	return $self;
}

# Sends HUP and returns when the workers of the new configuration run (or, if
# it was refused, when the master has said so).
sub reload {
	my ($self) = @_;

	my $log = "$self->{testdir}/error.log";
	my $seen = -s $log;
	my %before = map { $_ => 1 } _children($self->{nginx});
	kill 'HUP', $self->{nginx};

	_wait($START_TIMEOUT, sub {
		return 1 if grep { !$before{$_} } _children($self->{nginx});
		my $added = substr($self->_read('error.log'), $seen);
		return $added =~ /\[emerg\]/;
	});
	return $self;
}

sub dump_config {
	my ($self) = @_;
	return `$NGINX -T -p $self->{testdir}/ -c nginx.conf -e error.log 2>/dev/null`;
}

sub _nginx_ended {
	my ($self) = @_;
	return 1 unless $self->{nginx};
	return 0 if waitpid($self->{nginx}, WNOHANG) == 0;
	$self->{status} = $?;
	unlink "$self->{testdir}/nginx.pid";
	delete $self->{nginx};
	return 1;
}

sub _children {
	my ($pid) = @_;
	open my $file, '<', "/proc/$pid/task/$pid/children" or return;
	return split ' ', <$file> // '';
}

###############################################################################
# other processes

sub run_daemon {
	my ($self, $code, @args) = @_;

	my $pid = fork() // die "cannot fork: $!\n";
	if ($pid == 0) {
		if (ref $code eq 'CODE') {
			eval { $code->(@args); 1 } or warn $@;
			STDOUT->flush();
			_exit(0);
		}
		exec($code, @args) or warn "cannot run $code: $!\n";
		_exit(1);
	}
	push @{$self->{daemons}}, $pid;
	return $self;
}

sub stop_daemons {
	my ($self) = @_;

	while (my $pid = shift @{$self->{daemons}}) {
		for my $signal (qw/ TERM KILL /) {
			kill $signal, $pid;
			last if _wait($DAEMON_TIMEOUT, sub {
				waitpid($pid, WNOHANG) != 0
			});
		}
	}
	return $self;
}

sub waitforfile {
	my ($self, $name, $pid) = @_;

	return _wait($DAEMON_TIMEOUT, sub {
		return 1 if -e $name;
		die "process ended\n"
			if defined $pid && waitpid($pid, WNOHANG) != 0;
		return 0;
	});
}

sub waitforsocket {
	my ($self, $peer) = @_;
	return _wait($DAEMON_TIMEOUT, sub {
		IO::Socket::INET->new(Proto => 'tcp', PeerAddr => $peer);
	});
}

# Asks until the answer is true or time is up; the answer, or undef.
sub _wait {
	my ($timeout, $condition) = @_;

	my $deadline = time() + $timeout;
	while (1) {
		my $answer = eval { $condition->() };
		return $answer if $answer;
		return if $@ || time() > $deadline;
		sleep($POLL);
	}
}

###############################################################################
# files

sub testdir {
	my ($self) = @_;
	return $self->{testdir};
}

sub write_file {
	my ($self, $name, $content) = @_;

	my $path = "$self->{testdir}/$name";
	open my $file, '>', $path or die "cannot create $path: $!\n";
	binmode $file;
	print $file $content;
	close $file or die "cannot write $path: $!\n";
	return $self;
}

sub write_file_expand {
	my ($self, $name, $content) = @_;

	$content =~ s/%%TEST_GLOBALS%%/$self->test_globals()/ge;
	$content =~ s/%%TEST_GLOBALS_HTTP%%/$self->test_globals_http()/ge;
	$content =~ s/%%TEST_GLOBALS_STREAM%%/$self->test_globals_stream()/ge;
	$content =~ s/%%TESTDIR%%/$self->{testdir}/g;
	$content =~ s/127\.0\.0\.1:(8\d\d\d)\b/'127.0.0.1:' . port($1)/ge;
	$content =~ s/%%PORT_(\d+)_UDP%%/port($1, udp => 1)/ge;
	$content =~ s/%%PORT_(\d+)%%/port($1)/ge;
	return $self->write_file($name, $content);
}

sub read_file {
	my ($self, $name) = @_;
	return $self->_read($name) // die "cannot read $name: $!\n";
}

sub _read {
	my ($self, $name) = @_;

	open my $file, '<', "$self->{testdir}/$name" or return;
	binmode $file;
	local $/;
	return <$file> // '';
}

sub test_globals {
	my ($self) = @_;
	return <<"END" . ($ENV{TEST_NGINX_GLOBALS} // '');
pid $self->{testdir}/nginx.pid;
error_log $self->{testdir}/error.log debug;
END
}

sub test_globals_http {
	my ($self) = @_;

	my $dir = $self->{testdir};
	my @temp = map { "${_}_temp_path $dir/${_}_temp;" }
		grep { $_ eq 'client_body' || $self->has_module($_) }
		qw/ client_body proxy fastcgi uwsgi scgi /;
	return join "\n", "root $dir;", "access_log $dir/access.log;", @temp,
		$ENV{TEST_NGINX_GLOBALS_HTTP} // '';
}

sub test_globals_stream {
	return $ENV{TEST_NGINX_GLOBALS_STREAM} // '';
}

###############################################################################
# ports

# A port for the number that a test is written with, and the same one each time
# (the first call says whether it is udp): that number itself if nobody has it.  It is held by a socket of the other
# protocol (udp for tcp), which another test in parallel sees; "socket" asks for it.
my %ports;

sub port {
	my ($number, %options) = @_;

	my $held = $ports{$number}
		//= _hold_port($number, $options{udp} ? 'udp' : 'tcp');
	return $options{socket} ? $held->{socket} : $held->{port};
}

sub _hold_port {
	my ($number, $kind) = @_;

	my $other = $kind eq 'udp' ? 'tcp' : 'udp';
	for my $port ($number, map { 8000 + int(rand(1000)) } 1 .. 1000) {
		my $lock = _bind($port, $other) or next;
		# and now the port itself: some program may listen on it
		_bind($port, $kind) or next;
		return { port => $port, socket => $lock };
	}
	die "no free port for $number\n";
}

sub _bind {
	my ($port, $kind) = @_;
	return IO::Socket::INET->new(
		Proto => $kind,
		LocalAddr => '127.0.0.1',
		LocalPort => $port,
		# a port in TIME_WAIT may be listened on, as nginx itself does
		$kind eq 'tcp' ? (ReuseAddr => 1, Listen => 1) : (),
	);
}

###############################################################################
# logging

sub log_core {
	my ($prefix, $message) = @_;

	return unless $ENV{TEST_NGINX_VERBOSE};
	my $builder = Test::More->builder();
	for my $line (split /\n/, $message) {
		$line =~ s/([^\x20-\x7e])/sprintf('\\x%02x', ord($1))/ge;
		$builder->note("$prefix $line");
	}
}

sub log_out { log_core('>>', @_) }
sub log_in { log_core('<<', @_) }

###############################################################################
# HTTP

sub http_get {
	my ($uri, %extra) = @_;
	return http("GET $uri HTTP/1.0\nHost: localhost\n\n", %extra);
}

sub http_head {
	my ($uri, %extra) = @_;
	return http("HEAD $uri HTTP/1.0\nHost: localhost\n\n", %extra);
}

sub http {
	my ($request, %extra) = @_;

	my $socket = http_start($request, %extra);
	return $socket if $extra{start} || !defined $socket;
	return http_end($socket);
}

# Sends a request, and perhaps its body a little later; the socket.
sub http_start {
	my ($request, %extra) = @_;

	return _in_time(sub {
		my $socket = $extra{socket} // _http_connect(%extra);
		log_out($request);
		$socket->print($request);
		sleep($extra{sleep}) if $extra{sleep};
		if (defined $extra{body}) {
			log_out($extra{body});
			$socket->print($extra{body});
		}
		return $socket;
	});
}

sub _http_connect {
	my (%extra) = @_;

	my $socket = IO::Socket::INET->new(
		Proto => 'tcp',
		PeerAddr => $extra{PeerAddr} // '127.0.0.1:' . port(8080),
	) or die "cannot connect to nginx: $!\n";

	if ($extra{SSL}) {
		require IO::Socket::SSL;
		IO::Socket::SSL->start_SSL($socket,
			SSL_verify_mode => IO::Socket::SSL::SSL_VERIFY_NONE(),
			map { $_ => $extra{$_} } grep { /^SSL_/ } keys %extra,
		) or die "no TLS: " . IO::Socket::SSL::errstr() . "\n";
	}
	$socket->autoflush(1);
	return $socket;
}

# Reads until the server closes; the whole response.
sub http_end {
	my ($socket) = @_;

	my $response = _in_time(sub {
		local $/;
		return $socket->getline() // '';
	});
	log_in($response) if defined $response;
	return $response;
}

sub _in_time {
	my ($code) = @_;

	local $SIG{PIPE} = 'IGNORE';
	local $SIG{ALRM} = sub { die "timeout\n" };
	my $result = eval {
		alarm($HTTP_TIMEOUT);
		my $result = $code->();
		alarm(0);
		$result;
	};
	alarm(0);
	log_in("died: $@") if $@;
	return $result;
}

# The body of a response, out of its chunks if it came in chunks.
sub http_content {
	my ($response) = @_;

	return unless defined $response;
	my ($head, $body) = $response =~ /^(.*?\x0d\x0a)\x0d\x0a(.*)/s or return;
	return $body unless $head =~ /^Transfer-Encoding: chunked\x0d$/mi;

	my $content = '';
	while ($body =~ /\G([[:xdigit:]]+)[^\x0a]*\x0a/gc) {
		my $length = hex($1) or last;
		$content .= substr($body, pos($body), $length);
		pos($body) += $length + 2;
	}
	return $content;
}

sub http_gzip_request {
	my ($uri) = @_;
	return http("GET $uri HTTP/1.1\nHost: localhost\nConnection: close\n"
		. "Accept-Encoding: gzip\n\n");
}

sub http_gzip_like {
	my ($response, $pattern, $name) = @_;

	SKIP: {
		eval { require IO::Uncompress::Gunzip; 1 }
			or Test::More::skip('no IO::Uncompress::Gunzip', 1);
		my $packed = http_content($response);
		IO::Uncompress::Gunzip::gunzip(\$packed => \my $plain);
		Test::More::like($plain, $pattern, $name);
	}
}

###############################################################################

1;

###############################################################################
