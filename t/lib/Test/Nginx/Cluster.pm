package Test::Nginx::Cluster;

# A cluster as in nginx-conf/cluster: nodes with addresses of their own, and real
# scheduling servers.
#
#	use Test::Nginx::Cluster;	# before anything listens
#	my $t = Test::Nginx->new()->plan(3);
#	my $cluster = cluster($t, nodes => 2);
#	my $p = $cluster->publisher(1, 'name');
#	my $v = $cluster->player(2, 'name');
#
# The test runs itself again in a network namespace of its own, where a bridge
# leads to the namespaces of the nodes, one each.  Namespaces without a name end
# with their last process: whatever happens to a test, nothing is left of it.
# This needs root and iproute2; without them all tests are skipped.

use warnings;
use strict;

use base qw/ Exporter /;
our @EXPORT = qw/ cluster /;

use Cwd qw/ abs_path /;
use File::Spec;
use FindBin;
use IO::Socket::INET;
use JSON::PP;
use POSIX qw/ _exit /;
use Test::More ();
use Time::HiRes qw/ sleep time /;

use Test::Nginx qw//;
use Test::Nginx::FLV;
use Test::Nginx::Process;
use Test::Nginx::RTMP;
use Test::Nginx::Upgrade;

# the test's own address, and the nodes' (node 1 is .11)
my $NETWORK = '10.77.0';
my $SCHEDULER = 6200;
my $RTMP = 1935;
my $HTTP = 8080;
my $REDIS = 6379;
# seconds that one part may take to start
my $START_TIMEOUT = 60 * ($ENV{TEST_NGINX_SLOW} || 1);

###############################################################################
# the network

sub import {
	my ($class) = @_;
	_enter_namespace() unless $ENV{TEST_NGINX_NAMESPACE};
	$class->export_to_level(1, @_);
}

# The test again, where nothing but itself is on the network.
sub _enter_namespace {
	_skip('root is needed for network namespaces') if $> != 0;
	for my $program (qw/ ip unshare nsenter /) {
		_skip("no program \"$program\"") unless grep { -x "$_/$program" } File::Spec->path();
	}
	_skip('no network namespaces here') if system('unshare --net true 2>/dev/null') != 0;

	$ENV{TEST_NGINX_NAMESPACE} = 1;
	exec('unshare', '--net', $^X, (map { '-I' . File::Spec->rel2abs($_) } grep { !ref } @INC),
		"$FindBin::RealBin/$FindBin::RealScript", @ARGV) or die "cannot run unshare: $!\n";
}

sub _skip { Test::More::plan(skip_all => $_[0]) }

sub _run {
	my (@command) = @_;
	system(@command) == 0 or die "@command: failed\n";
}

###############################################################################
# the cluster

# A running cluster.  Options: nodes, their number (2); update, lease, learn: times
# as the configurations write them; ping: how long a peer may be silent; conf: the
# names of the nodes' configurations, in order (node.conf for all); own: a function that
# gives the whole configuration of a node (the cluster, its number) instead; policy_file: that
# of the scheduling server's (scheduler.toml); policy: more lines of it; instead: a
# hash of what is written in it for what; schedulers: 0 starts none; workers of each node (1);
# daemon: 1 starts the nodes so that they can be upgraded, see Test::Nginx::Upgrade.
sub cluster {
	my ($t, %options) = @_;

	my $self = bless {
		t => $t,
		owner => $$,
		update => '1s', lease => '3s', learn => '1500ms', conf => [],
		workers => 1, daemon => 0,
		policy => '', policy_file => 'scheduler.toml', instead => {},
		%options,
		nodes => [],
	}, __PACKAGE__;

	_run(qw/ ip link set lo up /);
	_run(qw/ ip link add cluster type bridge /);
	_run(qw/ ip addr add /, "$NETWORK.1/24", qw/ dev cluster /);
	_run(qw/ ip link set cluster up /);

	$self->start_scheduler() if $options{schedulers} // 1;
	$self->add_nodes($options{nodes} // 2);
	return $self;
}

# The shipped policy with the times of this test.
sub _policy {
	my ($self) = @_;

	my $policy = _shipped($self->{policy_file});
	while (my ($from, $to) = each %{$self->{instead}}) {
		$policy =~ s/\Q$from\E/$to/g or die "no $from in the policy\n";
	}
	for my $key (qw/ lease learn /) {
		$policy =~ s/^$key = ".*"/$key = "$self->{$key}"/m or die "no $key in the policy\n";
	}
	$self->{t}->write_file('scheduler.toml', $policy . $self->{policy});
	return $self->{t}->testdir() . '/scheduler.toml';
}

sub _shipped {
	my ($name) = @_;
	my $path = "$FindBin::RealBin/../nginx-conf/cluster/$name";
	open my $file, '<', $path or die "cannot read $path: $!\n";
	local $/;
	return <$file>;
}

# The program: TEST_OCLP_SCHEDULER, or what cargo has built.
sub _program {
	my $target = $ENV{CARGO_TARGET_DIR} // "$FindBin::RealBin/../target";
	for my $path ($ENV{TEST_OCLP_SCHEDULER} // (), map { "$target/$_/oclp-scheduler" } qw/ release debug /) {
		return $path if -x $path;
	}
	die "no oclp-scheduler: cargo build -p oclp-scheduler, or set TEST_OCLP_SCHEDULER\n";
}

###############################################################################
# scheduling servers

# Starts a scheduling server and returns when it answers.  Options: port; store.
sub start_scheduler {
	my ($self, %options) = @_;

	my $port = $options{port} // $SCHEDULER;
	my @store = $options{store} ? ('--store', $options{store}) : ();
	$self->{scheduler}{$port} = spawn($self->{t}, _program(), '--listen', "$NETWORK.1:$port",
		'--config', $self->_policy(), @store);
	wait_for { _connect("$NETWORK.1", $port) } $START_TIMEOUT
		or die "no scheduling server: ", $self->{scheduler}{$port}->output(), "\n";
	return $self->{scheduler}{$port};
}

sub stop_scheduler {
	my ($self, $signal, $port) = @_;
	return delete($self->{scheduler}{$port // $SCHEDULER})->stop($signal);
}

# Starts the shipped proxy, at the address that nodes ask, in front of scheduling
# servers at these ports.
sub start_proxy {
	my ($self, @ports) = @_;

	my $t = $self->{t};
	my $dir = $t->testdir();
	mkdir "$dir/proxy";
	my $conf = _shipped('scheduler-proxy.conf');
	$conf =~ s/^worker_processes/daemon off;\nworker_processes/m;
	$conf =~ s/^error_log .*$/error_log $dir\/error.log info;/m;
	$conf =~ s/^pid .*$/pid $dir\/proxy\/nginx.pid;/m;
	my $servers = 0;
	$conf =~ s/server 127\.0\.0\.1:\d+/"server $NETWORK.1:$ports[$servers++]"/ge;
	$conf =~ s/^\s+access_log off;$/@{[$t->test_globals_http()]}/m;
	$t->write_file('proxy/nginx.conf', $conf);
	$self->{proxy} = spawn($t, split(/ /, $Test::Nginx::NGINX),
		'-p', "$dir/proxy/", '-c', 'nginx.conf', '-e', "$dir/error.log");
	wait_for { _connect("$NETWORK.1", $SCHEDULER) } $START_TIMEOUT
		or die 'no proxy: ', $self->{proxy}->output(), "\n";
}

# Starts a Redis that keeps nothing; its url.
sub start_redis {
	my ($self) = @_;

	$self->{redis} = spawn($self->{t}, 'redis-server', '--port', $REDIS, '--bind', '127.0.0.1',
		'--save', '', '--appendonly', 'no', '--dir', $self->{t}->testdir());
	wait_for { _connect('127.0.0.1', $REDIS) } $START_TIMEOUT
		or die 'no Redis: ', $self->{redis}->output(), "\n";
	return "redis://127.0.0.1:$REDIS";
}

sub stop_redis { delete($_[0]{redis})->stop('KILL') }

# What it answers to a GET; the body.
sub ask {
	my ($self, $path, $port) = @_;

	my $socket = _connect("$NETWORK.1", $port // $SCHEDULER) or return '';
	print $socket "GET $path HTTP/1.1\x0d\x0aHost: localhost\x0d\x0aConnection: close\x0d\x0a\x0d\x0a";
	local $/;
	my $answer = <$socket> // '';
	$answer =~ s/^.*?\x0d\x0a\x0d\x0a//s;
	return $answer;
}

# Its record: for each name the addresses of the nodes that have it.
sub streams {
	my ($self, $port) = @_;
	my $answer = eval { decode_json($self->ask('/api/streams?limit=1000', $port)) } // {};
	return { map { $_->{name} => [map { $_->{node} } @{$_->{nodes}}] } @{$answer->{streams} // []} };
}

# The sum of a counter's values whose labels match.
sub counter {
	my ($self, $name, $labels, $port) = @_;
	my $sum = 0;
	for my $line (split /\n/, $self->ask('/metrics', $port)) {
		my ($has, $value) = $line =~ /^\Q$name\E(?:\{(.*)\})? (\d+)/ or next;
		$sum += $value if ($has // '') =~ $labels;
	}
	return $sum;
}

# How many pulls have been sent to another node.
sub redirects {
	my ($self, $port) = @_;
	return $self->counter('oclp_scheduler_requests_total',
		qr/^(?=.*call="pull")(?=.*act="start")(?=.*code="302")/, $port);
}

###############################################################################
# nodes

sub node { $_[0]{nodes}[$_[1]] }

# The address of a node, as others know it.
sub address {
	my ($self, $number) = @_;
	return "$NETWORK." . (10 + $number);
}

# More nodes, all running; with "loopback", on the test's own machine.
sub add_nodes {
	my ($self, $count, %options) = @_;

	my $first = @{$self->{nodes}} || 1;
	my @added = $first .. $first + $count - 1;
	for my $number (@added) {
		$options{loopback} ? $self->_add_local_node($number) : $self->_add_node($number);
	}
	$self->start_node($_) for @added;
}

# An address of the loopback device.
sub _add_local_node {
	my ($self, $number) = @_;
	$self->{nodes}[$number] = { link => "node$number", enter => [] };
	_run(qw/ ip addr add /, $self->address($number) . '/32', qw/ dev lo /);
}

# A namespace with an address on the bridge; it is there as long as the test is.
sub _add_node {
	my ($self, $number) = @_;

	pipe(my $end, my $held) or die "no pipe: $!\n";
	my $pid = fork() // die "cannot fork: $!\n";
	if ($pid == 0) {
		close $held;
		open STDIN, '<&', $end or _exit(1);
		# ends at the end of its input: when the test is gone
		exec(qw/ unshare --net cat /) or _exit(1);
	}
	my $node = $self->{nodes}[$number] = {
		holder => $pid,
		held => $held,
		link => "node$number",
		enter => ['nsenter', "--net=/proc/$pid/ns/net"],
	};
	my $here = readlink('/proc/self/ns/net');
	wait_for { (readlink("/proc/$pid/ns/net") // $here) ne $here } $START_TIMEOUT
		or die "no namespace for node $number\n";

	_run(qw/ ip link add /, $node->{link}, qw/ type veth peer name eth0 netns /, $pid);
	_run(qw/ ip link set /, $node->{link}, qw/ master cluster up /);
	_run(@{$node->{enter}}, @$_) for
		[qw/ ip link set lo up /],
		[qw/ ip addr add /, $self->address($number) . '/24', qw/ dev eth0 /],
		[qw/ ip link set eth0 up /];
}

# Starts the nginx of a node with the shipped configuration.
sub start_node {
	my ($self, $number) = @_;

	my $t = $self->{t};
	my $node = $self->node($number);
	my $dir = $t->testdir();
	mkdir "$dir/$node->{link}";

	my $conf = $self->{own} ? $self->{own}->($self, $number) : _shipped($self->{conf}[$number - 1] // 'node.conf');
	# the harness says which module, and looks at one log for all
	my $daemon = $self->{daemon} ? 'on' : 'off';
	$conf =~ s/^load_module .*$/daemon $daemon;\n@{[$ENV{TEST_NGINX_GLOBALS} \/\/ '']}/m;
	$conf =~ s/^worker_processes .*$/worker_processes $self->{workers};/m;
	# more than a test may have
	$conf =~ s/^worker_rlimit_nofile .*$//m;
	$conf =~ s/^error_log .*$/error_log $dir\/error.log info;/m;
	$conf =~ s/^pid .*$/pid $dir\/$node->{link}\/nginx.pid;/m;
	$conf =~ s/unix:\S+?;/unix:$dir\/$node->{link}\/inner;/;
	$conf =~ s/127\.0\.0\.1:$SCHEDULER/$NETWORK.1:$SCHEDULER/g;
	$conf =~ s/update=\w+/update=$self->{update}/g;
	$conf =~ s/^(\s+ping(?:_timeout)?) \w+;$/$1 $self->{ping};/mg if $self->{ping};
	$conf =~ s/^http \{$/http {\n@{[$t->test_globals_http()]}/m;
	$t->write_file("$node->{link}/nginx.conf", $conf);

	my @command = (@{$node->{enter}}, split(/ /, $Test::Nginx::NGINX),
		'-p', "$dir/$node->{link}/", '-c', 'nginx.conf', '-e', "$dir/error.log");
	$node->{nginx} = $self->{daemon}
		? upgrade_start("$dir/$node->{link}/nginx.pid", $self->{workers}, @command) : spawn($t, @command);
	wait_for { _connect($self->address($number), $RTMP) } $START_TIMEOUT
		or die "node $number does not start\n";
}

sub stop_node {
	my ($self, $number) = @_;
	return delete($self->node($number)->{nginx})->stop('QUIT');
}

# New workers; the old ones serve on until their clients have left.
sub reload_node {
	my ($self, $number) = @_;
	kill 'HUP', $self->node($number)->{nginx}->pid();
}

# Ends all processes of a node at once.
sub kill_node {
	my ($self, $number) = @_;

	my $nginx = delete $self->node($number)->{nginx};
	my $master = $nginx->pid();
	open my $children, '<', "/proc/$master/task/$master/children" or die "no children of $master: $!\n";
	my @workers = split ' ', <$children> // '';
	# without its master no worker is started again
	kill 'KILL', $master, @workers;
	$nginx->wait();
}

# Takes a node off the network: nothing more comes to it or from it, not even
# that its connections end.
sub cut { _run(qw/ ip link set /, $_[0]->node($_[1])->{link}, 'down') }
sub mend { _run(qw/ ip link set /, $_[0]->node($_[1])->{link}, 'up') }

# How many streams a node takes from other nodes now.
sub pulls { scalar $_[0]->relays($_[1]) }

# The addresses of the nodes to which a node has made RTMP connections, one for each.
sub relays {
	my ($self, $number) = @_;

	my $remote = sprintf ':%04X', $RTMP;
	open my $tcp, '<', "/proc/$self->{nodes}[$number]{holder}/net/tcp" or die "no /proc/net/tcp: $!\n";
	# state 01 is ESTABLISHED; an address is one number of the machine
	my @addresses = map { /^\s*\d+: \S+ (\S+)$remote 01 / ? join('.', unpack('C4', pack('L', hex $1))) : () } <$tcp>;
	return @addresses;
}

###############################################################################
# clients

# A client that has published to a node.
sub publisher {
	my ($self, $number, $name) = @_;
	my $client = $self->_client($number);
	$client->publish($name);
	return $client;
}

# A client that plays from a node, by RTMP.
sub player {
	my ($self, $number, $name) = @_;
	my $client = $self->_client($number);
	$client->play($name);
	return $client;
}

# A client that plays from a node by HTTP; the answer comes with the stream.
sub flv_player {
	my ($self, $number, $name) = @_;
	return http_flv($HTTP, "/live/$name.flv", host => $self->address($number), wait => 0);
}

sub _client {
	my ($self, $number) = @_;
	my $address = $self->address($number);
	my $client = rtmp_connect($RTMP, 'live', host => $address, tc_url => "rtmp://$address/live");
	return $client // die "no connection to node $number\n";
}

sub _connect {
	my ($address, $port) = @_;
	return IO::Socket::INET->new(PeerAddr => $address, PeerPort => $port, Timeout => 1);
}

# Processes end before the namespaces that they are in.
sub DESTROY {
	my ($self) = @_;

	return if $self->{owner} != $$;
	local ($?, $@, $!);
	for my $node (grep { $_ } @{$self->{nodes}}) {
		$node->{nginx}->stop('QUIT') if $node->{nginx};
		next if !$node->{holder};
		close delete $node->{held};
		waitpid($node->{holder}, 0);
	}
	$self->{proxy}->stop('QUIT') if $self->{proxy};
	delete @$self{qw/ scheduler redis /};
}

###############################################################################

1;

###############################################################################
