#!/usr/bin/perl

# Two nginx with the same prefix and the same process ids, as two containers that share a directory
# have, never see each other's streams, and never remove each other's sockets.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Live;
use Test::Nginx::Process;
use Test::Nginx::RTMP;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

plan(skip_all => 'needs the rights of root') if $> != 0;

my $t = Test::Nginx->new()->has_daemon('unshare')->plan(8);
my $dir = $t->testdir();

my @instances = map { instance($_) } 0, 1;
is(scalar(grep { wait_for { 2 == (() = workers($_)) } 20 } @instances), 2, 'both have started');
is(join(' ', map { wait_for { 2 == (() = own_sockets($_)) } } @instances), '1 1',
	'each has a socket a worker');

###############################################################################

my @publishers = map { my $c = rtmp_connect($_->{port}, 'live'); $c->publish('s'); $c } @instances;
$publishers[$_]->send_video(0, key_frame($_)) for 0, 1;
is(join(' ', map { own_pictures($_) } 0, 1), '10 10', 'each player gets the picture of its own');

# one reloads, loses a worker, and ends

my %before = map { $_ => 1 } workers($instances[1]);
kill 'HUP', master($instances[1]);
ok((wait_for { 2 == grep { !$before{$_} } workers($instances[1]) } 20), 'one reloads');
is(own_pictures(0), 10, 'the other plays on');
# the master says so
$t->todo_alerts();
my ($victim) = grep { !$before{$_} } workers($instances[1]);
kill 'KILL', $victim;
ok((wait_for { my @now = workers($instances[1]); @now > 1 && !grep { $_ == $victim } @now } 20),
	'one loses a worker');
$_->close() for $publishers[1];
kill 'TERM', master($instances[1]);
ok((wait_for { !own_sockets($instances[1]) } 20), 'one ends, and takes its sockets along');
is(own_pictures(0), 10, 'the other plays on');
$_->close() for @publishers;

###############################################################################

sub instance {
	my ($n) = @_;
	my $own = "$dir/$n";
	mkdir $own and mkdir "$own/logs" or die "$own: $!\n";
	my $port = port(8080 + $n);
	$t->write_file_expand("$n/nginx.conf", <<"EOC");

%%TEST_GLOBALS%%

daemon off;
worker_processes 2;
worker_shutdown_timeout 1s;

events {
}

rtmp {
    rtmp_auto_pull_port unix:%%TESTDIR%%/inner;

    server {
        listen 127.0.0.1:%%PORT_808$n%% reuseport;

        application live {
            live on;
            cache_time 1s;
        }
    }
}

EOC
	my $conf = $t->read_file("$n/nginx.conf") =~ s{^pid .*}{pid $own/nginx.pid;}mr;
	$t->write_file("$n/nginx.conf", $conf);
	my $process = spawn($t, qw/ unshare --pid --fork --kill-child /, split(/ /, $Test::Nginx::NGINX),
		'-p', "$own/", '-c', 'nginx.conf', '-e', 'error.log');
	return { process => $process, port => $port };
}

# Its process id, as it is seen from here.
sub master {
	my ($instance) = @_;
	return (children($instance->{process}->pid()))[0];
}

sub workers { return map { children($_) } master($_[0]) // () }

sub children {
	my ($pid) = @_;
	open my $file, '<', "/proc/$pid/task/$pid/children" or return;
	return split ' ', <$file> // '';
}

# The sockets for streams that the instance listens on, each once.
sub own_sockets {
	my ($instance) = @_;
	my %open = map { (readlink($_) // '') =~ /^socket:\[(\d+)\]$/ ? ($1 => 1) : () }
		map { glob("/proc/$_/fd/*") } workers($instance);
	open my $unix, '<', '/proc/net/unix' or die "no /proc/net/unix: $!\n";
	return grep { m{ 0001 01 +(\d+) \Q$dir\E/inner} && $open{$1} } <$unix>;
}

# How many of ten players see what the publisher of their instance sends.
sub own_pictures {
	my ($n) = @_;
	my $own = 0;
	for (1 .. 10) {
		my $v = rtmp_connect($instances[$n]{port}, 'live');
		$v->play('s');
		my $frame = $v->read_video();
		$own++ if $frame && $frame->{payload} eq key_frame($n);
		$v->close();
	}
	return $own;
}

# the subs hold it, and it must end before the tests are counted
undef $t;

###############################################################################
