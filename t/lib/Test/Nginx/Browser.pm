package Test::Nginx::Browser;

# A headless Chromium, told what to do by the DevTools protocol over two pipes.
#
#	my $page = browser($t)->page('http://127.0.0.1:8080/');
#	$page->until('document.title == "Ready"');

use warnings;
use strict;

use base qw/ Exporter /;
our @EXPORT = qw/ browser /;

use IO::Select;
use JSON::PP;
use MIME::Base64;
use POSIX qw/ dup2 _exit /;
use Time::HiRes qw/ sleep time /;

use Test::Nginx;

my $SLOW = $ENV{TEST_NGINX_SLOW} || 1;
# seconds: for an answer, and for something to become true in a page
my $TIMEOUT = 60 * $SLOW;
my $POLL = 0.1;

sub browser {
	my ($t) = @_;

	pipe(my $in, my $to) or die "no pipe: $!\n";
	pipe(my $from, my $out) or die "no pipe: $!\n";
	my $d = $t->testdir();
	my $pid = fork() // die "cannot fork: $!\n";
	if ($pid == 0) {
		# the descriptors by number are what the browser looks for; they may be
		# each other's now
		my ($read, $write) = (POSIX::dup(fileno($in)), POSIX::dup(fileno($out)));
		($read, $write) = map { my $fd = $_; $fd = POSIX::dup($fd) while $fd < 5; $fd }
			$read, $write;
		open STDIN, '<', '/dev/null';
		open STDOUT, '>', "$d/chromium.log";
		open STDERR, '>&', \*STDOUT;
		dup2($read, 3);
		dup2($write, 4);
		POSIX::setpgid(0, 0);
		my @options = (qw/ --headless=new --no-sandbox --disable-gpu --no-first-run
			--disable-dev-shm-usage --mute-audio --disable-extensions
			--autoplay-policy=no-user-gesture-required /,
			'--window-size=1100,1000', '--remote-debugging-pipe');
		{ exec('chromium', @options, "--user-data-dir=$d/chromium", 'about:blank') };
		_exit(127);
	}
	close $in;
	close $out;
	$to->autoflush(1);
	$from->blocking(0);
	return bless {
		owner => $$, pid => $pid, to => $to, from => $from, in => '', id => 0,
		select => IO::Select->new($from), console => [],
	}, __PACKAGE__;
}

# Opens a page; an object to look into it.
sub page {
	my ($self, $url) = @_;

	my $target = $self->call('Target.createTarget', { url => 'about:blank' })->{targetId};
	my $session = $self->call('Target.attachToTarget',
		{ targetId => $target, flatten => JSON::PP::true })->{sessionId};
	my $page = bless {
		browser => $self, session => $session, target => $target,
	}, 'Test::Nginx::Browser::Page';
	$page->call('Runtime.enable', {});
	$page->call('Page.navigate', { url => $url });
	return $page;
}

# Calls a method; its result.  Dies if there is none, or an error.
sub call {
	my ($self, $method, $params, $session) = @_;

	my $id = ++$self->{id};
	local $SIG{PIPE} = 'IGNORE';
	my $message = { id => $id, method => $method, params => $params };
	$message->{sessionId} = $session if $session;
	print {$self->{to}} encode_json($message), "\0";

	my $deadline = time() + $TIMEOUT;
	while (1) {
		while ($self->{in} =~ s/^([^\0]*)\0//) {
			my $answer = decode_json($1);
			push @{$self->{console}}, $1
				if ($answer->{method} // '') =~ /consoleAPICalled|exceptionThrown/;
			next if ($answer->{id} // 0) != $id;
			die "$method: $answer->{error}{message}\n" if $answer->{error};
			return $answer->{result};
		}
		my $left = $deadline - time();
		die "$method: no answer\n" if $left <= 0;
		next if !$self->{select}->can_read($left);
		my $n = sysread($self->{from}, $self->{in}, 65536, length($self->{in}));
		die "$method: the browser has ended\n" if defined $n && $n == 0;
	}
}

# What pages have said on the console.
sub console { @{$_[0]{console}} }

sub DESTROY {
	my ($self) = @_;
	return if $self->{owner} != $$;
	local ($?, $@, $!);
	eval { $self->call('Browser.close', {}) };
	# its children are in its group
	for my $signal (0 .. 20) {
		last if waitpid($self->{pid}, POSIX::WNOHANG());
		sleep($POLL);
		kill 'KILL', -$self->{pid} if $signal == 19;
	}
}

package Test::Nginx::Browser::Page;

use MIME::Base64;
use Time::HiRes qw/ sleep time /;

sub call {
	my ($self, $method, $params) = @_;
	return $self->{browser}->call($method, $params, $self->{session});
}

# The value of an expression; undef if it cannot be had.
sub value {
	my ($self, $expression) = @_;
	my $result = $self->call('Runtime.evaluate',
		{ expression => $expression, returnByValue => JSON::PP::true });
	return $result->{result}{value};
}

# Asks until the expression is true or time is up; its value.
sub until {
	my ($self, $expression, $timeout) = @_;

	my $deadline = time() + ($timeout // $TIMEOUT);
	while (1) {
		my $value = $self->value($expression);
		return $value if $value || time() > $deadline;
		sleep($POLL);
	}
}

# Keeps a picture of the page.
sub screenshot {
	my ($self, $file) = @_;
	my $picture = $self->call('Page.captureScreenshot', { format => 'png' });
	open my $png, '>:raw', $file or die "cannot write $file: $!\n";
	print $png decode_base64($picture->{data});
	close $png;
	return -s $file;
}

sub close {
	my ($self) = @_;
	$self->{browser}->call('Target.closeTarget', { targetId => $self->{target} });
}

1;
