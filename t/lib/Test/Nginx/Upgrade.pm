package Test::Nginx::Upgrade;

# Another binary takes over from the one that runs, as nginx's documentation says and as Debian's
# package does it: USR2 starts it, WINCH lets the old workers go, QUIT ends the old master.  nginx
# does this as a daemon only, so the harness does not start it.
#
#	my $nginx = upgrade_run($t, 2, app => '...');
#	my ($old, $new) = $nginx->upgrade();
#
# All of them end with the object.

use warnings;
use strict;

use base qw/ Exporter /;
our @EXPORT = qw/ upgrade_run upgrade_start workers_under ended /;

use Test::Nginx;
use Test::Nginx::Process;
use Test::Nginx::Workers;

my $TIMEOUT = 20 * ($ENV{TEST_NGINX_SLOW} || 1);

# The options are those of workers_run().
sub upgrade_run {
	my ($t, $workers, %options) = @_;
	workers_run($t, $workers, %options, daemon => 1);
	return upgrade_start($t->testdir() . '/nginx.pid', $workers, split(/ /, $Test::Nginx::NGINX),
		'-p', $t->testdir() . '/', '-c', 'nginx.conf', '-e', 'error.log');
}

# Starts an nginx by a command; its configuration says "daemon on", how many workers it has, and in
# which file its process id is.
sub upgrade_start {
	my ($pid_file, $workers, @command) = @_;
	system(@command) == 0 or die "cannot start nginx\n";
	my $self = bless { pid_file => $pid_file, owner => $$, workers => $workers, masters => [] }, __PACKAGE__;
	$self->_started(0);
	return $self;
}

# The process id of the newest master.
sub pid { $_[0]{masters}[-1] }

# The process ids of the old master and of the new one, once that has its workers.
sub upgrade {
	my ($self) = @_;
	my $old = $self->pid();
	kill 'USR2', $old;
	return ($old, $self->_started($old));
}

sub _started {
	my ($self, $old) = @_;
	my $new;
	wait_for {
		open my $file, '<', $self->{pid_file} or return;
		($new) = (<$file> // '') =~ /(\d+)/;
		$new && $new != $old && $self->{workers} == (() = workers_under($new));
	} $TIMEOUT or die "no new nginx\n";
	push @{$self->{masters}}, $new;
	return $new;
}

# Ends all of them.
sub stop {
	my ($self, @signals) = @_;
	for my $signal (@signals, 'KILL') {
		my @left = grep { readlink("/proc/$_/exe") } @{$self->{masters}} or last;
		my @workers = map { workers_under($_) } @left;
		kill $signal, @left, $signal eq 'KILL' ? @workers : ();
		ended($_) for @left;
	}
}

# The workers of a master, oldest first; a new master is a child of the old one, too.
sub workers_under {
	my ($master) = @_;
	open my $file, '<', "/proc/$master/task/$master/children" or return;
	return sort { $a <=> $b } grep {
		open my $name, '<', "/proc/$_/cmdline";
		$name && (<$name> // '') =~ /worker/;
	} split ' ', <$file> // '';
}

# Whether a master has ended, once it has been told to.
sub ended {
	my ($master) = @_;
	return wait_for { !readlink("/proc/$master/exe") } $TIMEOUT;
}

sub DESTROY {
	my ($self) = @_;
	return if $self->{owner} != $$;
	local ($?, $@, $!);
	$self->stop('TERM');
}

1;
