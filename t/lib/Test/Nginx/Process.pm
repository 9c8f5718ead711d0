package Test::Nginx::Process;

# Programs that a test runs beside nginx, and what can be seen of a process.
#
#	my $player = spawn($t, 'ffmpeg', '-i', $url, ...);
#	is($player->wait(), 0, 'player ends');
#
# A program that is still running when its object goes is killed.

use warnings;
use strict;

use base qw/ Exporter /;

our @EXPORT = qw/
	spawn spawn_sub wait_for wait_until worker_pids rss_kb fd_count cpu_seconds patient
/;

use IO::Handle;
use POSIX qw/ WNOHANG _exit sysconf _SC_CLK_TCK /;
use Time::HiRes qw/ sleep time /;

my $SLOW = $ENV{TEST_NGINX_SLOW} || 1;
# seconds: for a condition, and for a program to end by itself; far more than any takes, since a
# machine that is busy with something else must not decide what is true
my $WAIT_TIMEOUT = 60 * $SLOW;
my $END_TIMEOUT = 90 * $SLOW;
# seconds between two signals that are to end a program
my $STOP_TIMEOUT = 5 * $SLOW;
my $POLL = 0.02;

my $spawned = 0;

# Asks until the answer is true or time is up; the answer, or the last false one. A shorter time
# than usual is waited for only by wait_until.
sub wait_for(&;$) {
	my ($condition, $timeout) = @_;
	$timeout = $WAIT_TIMEOUT if !$timeout || $timeout < $WAIT_TIMEOUT;
	return wait_until($timeout, $condition);
}

sub wait_until {
	my ($timeout, $condition) = @_;

	my $deadline = time() + $timeout;
	while (1) {
		my $answer = $condition->();
		return $answer if $answer || time() > $deadline;
		sleep($POLL);
	}
}

# Directives for the rtmp block: limits of time that a test is not about, and its clients reach where
# the machine is busy. Without those that the block has already.
sub patient {
	my ($block) = @_;
	return join "\n    ", grep { my ($name) = /^(\w+)/; ($block // '') !~ /\b$name\b/ }
		'first_command_timeout 0;', 'ping 0;';
}

###############################################################################
# programs

# Runs a program with its output in a file of the test's directory.
sub spawn {
	my ($t, @command) = @_;

	my ($name) = $command[0] =~ m{([^/]+)$};
	my $self = bless {
		owner => $$,
		log => $t->testdir() . "/$name-" . ++$spawned . '.log',
	}, __PACKAGE__;

	Test::Nginx::log_core('||', join ' ', @command);
	my $pid = fork() // die "cannot fork: $!\n";
	if ($pid == 0) {
		# ignored in what a shell runs in the background
		$SIG{$_} = 'DEFAULT' for qw/ INT QUIT /;
		open STDIN, '<', '/dev/null';
		open STDOUT, '>', $self->{log};
		open STDERR, '>&', \*STDOUT;
		exec(@command) or warn "cannot run $command[0]: $!\n";
		_exit(127);
	}
	$self->{pid} = $pid;
	return $self;
}

# Runs code of the test's own in a process beside it; what it prints is its output. It ends with
# the code, and none of the test's objects ends with it.
sub spawn_sub {
	my ($t, $code) = @_;

	my $self = bless { owner => $$, log => $t->testdir() . '/process-' . ++$spawned . '.log' }, __PACKAGE__;
	my $pid = fork() // die "cannot fork: $!\n";
	if ($pid == 0) {
		open STDOUT, '>', $self->{log};
		STDOUT->autoflush(1);
		my $done = eval { $code->(); 1 } or print "died: $@";
		_exit($done ? 0 : 1);
	}
	$self->{pid} = $pid;
	return $self;
}

sub pid { $_[0]{pid} }

# What it has printed.
sub output {
	my ($self) = @_;
	open my $file, '<', $self->{log} or return '';
	local $/;
	return <$file> // '';
}

# Waits for its end; the exit code (128 + signal), or undef if it still runs.
sub wait {
	my ($self, $timeout) = @_;
	wait_until($timeout // $END_TIMEOUT, sub { $self->ended() });
	return $self->{status};
}

sub ended {
	my ($self) = @_;
	return 1 if defined $self->{status};
	return 0 if waitpid($self->{pid}, WNOHANG) == 0;
	$self->{status} = $? & 127 ? 128 + ($? & 127) : $? >> 8;
	return 1;
}

# Asks it to end, and makes it end; the exit code.
sub stop {
	my ($self, $signal) = @_;

	for my $signal ($signal // 'TERM', 'KILL') {
		last if $self->ended();
		kill $signal, $self->{pid};
		# a stopped one cannot end
		kill 'CONT', $self->{pid};
		$self->wait($STOP_TIMEOUT);
	}
	return $self->{status};
}

sub DESTROY {
	my ($self) = @_;
	local ($?, $@, $!);
	$self->stop('KILL') if $self->{pid} && $self->{owner} == $$;
}

###############################################################################
# processes

# The workers of the running nginx, oldest first (those that shut down included).
sub worker_pids {
	my ($t) = @_;

	my ($master) = $t->read_file('nginx.pid') =~ /(\d+)/ or return;
	open my $file, '<', "/proc/$master/task/$master/children" or return;
	return sort { $a <=> $b } split ' ', <$file> // '';
}

# Memory in use, in KiB; 0 with TEST_NGINX_SANITIZE, as valgrind and sanitizers keep
# what was freed, and it would be theirs that is measured.
sub rss_kb {
	my ($pid) = @_;
	return 0 if $ENV{TEST_NGINX_SANITIZE};
	my ($kb) = _proc($pid, 'status') =~ /^VmRSS:\s+(\d+)/m;
	return $kb // 0;
}

# Open files.
sub fd_count {
	my ($pid) = @_;
	opendir my $dir, "/proc/$pid/fd" or return 0;
	return scalar grep { /^\d/ } readdir $dir;
}

# Processor time used so far, user and system.
sub cpu_seconds {
	my ($pid) = @_;
	my $stat = _proc($pid, 'stat');
	# the name, in brackets, may hold spaces
	$stat =~ s/^.*\) //s;
	my @fields = split ' ', $stat;
	return (($fields[11] // 0) + ($fields[12] // 0)) / sysconf(_SC_CLK_TCK);
}

sub _proc {
	my ($pid, $name) = @_;
	open my $file, '<', "/proc/$pid/$name" or return '';
	local $/;
	return <$file> // '';
}

###############################################################################

1;

###############################################################################
