#!/usr/bin/perl

# A client that the server could not be asked about is refused, whatever oclp_fail says: only
# the silence of a server that could be asked lets anybody in.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::OCLP;
use Test::Nginx::Process;
use Test::Nginx::RTMP;
use Test::Nginx::Resolver;
use Time::HiRes qw/ sleep /;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

# of each try under exhaustion, and clients at a time
my $ROUNDS = $ENV{TEST_NGINX_LONG} ? 150 : 3;
my $CLIENTS = 40;
# more than a worker asks about at a time
my $MANY = 1200;

my $t = Test::Nginx->new()->plan(16);
dns_run($t, port(8053, udp => 1));
dns_zone($t, 'server.example A 60 127.0.0.1');
my $oclp = oclp_server($t, port(8081));
$oclp->answer('*', status => 403);

###############################################################################

# a request that is longer than servers take

start('');
for my $role (qw/ publish play /) {
	my $p = client('long', connect => { pageUrl => '%' x 22000 });
	$p->$role('name');
	is($p->status(), "NetStream.\u$role.Forbidden", "$role, a request that is too long: refused");
	$p->close();
}
is(scalar($oclp->requests()), 0, 'nobody was asked');

# one that the server closes the connection at, as some do
$oclp->answer('*', raw => '');
my $p = client('long', connect => { pageUrl => '%' x 3000 });
is($p->publish('name'), 'NetStream.Publish.Forbidden', 'closed at a long request: refused');
$p->close();
$p = client('long');
is($p->publish('name'), 'NetStream.Publish.Start', 'closed at a short one: let in');
$p->close();
my $log = $t->read_file('error.log');
is(scalar(() = $log =~ /publish of "long\/name" is let in unchecked/g), 1, 'which the log says, of this one');

# a worker that stands still when the answer comes

my ($worker) = worker_pids($t);
for my $role (qw/ publish play /) {
	$oclp->answer('*', status => 403, delay => 0.3);
	my $seen = $oclp->requests();
	my @clients = map { ask($role, "still$_") } 1 .. 10;
	$oclp->wait_requests('*', $seen + @clients);
	kill 'STOP', $worker;
	sleep(1.5);
	kill 'CONT', $worker;
	is(let_in(@clients), 0, "$role, a worker that stands still for longer than the timeout: nobody is let in");
	$_->close() for @clients;
}

# as many requests under way as there may be, to a server that does not answer

$oclp->answer('*', hang => 1);
my $before = $oclp->requests();
my @clients = map { ask('play', "many$_") } 1 .. $MANY;
my @in = grep { $_->read_status(20 * ($ENV{TEST_NGINX_SLOW} || 1)) eq 'NetStream.Play.Start' } @clients;
my %asked = map { $_->{name} => 1 } $oclp->requests();
cmp_ok(scalar(@in), '>=', 1000, 'a server that is silent: those that it was asked about are let in');
is(scalar(grep { !$asked{$_->{told}} } @in), 0, 'and nobody else');
$_->abort() for @clients;
$t->stop();

# no connection, or no descriptor, for the request

$oclp->stop();
for my $case ([ 'connections', '', 'worker_connections 64;' ],
	[ 'descriptors', 'worker_rlimit_nofile 64;', 'worker_connections 512;' ],
	[ 'connections for the resolver', '', 'worker_connections 45;', 'server.example' ])
{
	my ($what, $main, $events, $host) = @$case;
	$oclp->answer('*', status => 403);
	$oclp->start();
	start($main, $events, $host);
	my ($in, $refused, $asked) = (0, 0, scalar $oclp->requests());
	for my $round (1 .. $ROUNDS) {
		for my $role (qw/ publish play /) {
			# each of them takes one, and there are not two for each
			my @clients = grep { $_->{connected} } map { client('own') } 1 .. $CLIENTS;
			$_->create_stream() for @clients;
			command($_, $role, "name$round") for @clients;
			$in += let_in(@clients);
			$refused += @clients;
			$_->abort() for @clients;
		}
	}
	is($in, 0, "no $what: nobody is let in");
	$asked = $oclp->requests() - $asked;
	note("$what: $refused clients, $asked requests");
	cmp_ok($refused - $asked, '>', 0, "no $what: some could not be asked about");
	$t->stop();
	unlink $t->testdir() . '/error.log';
	$oclp->stop();
}

###############################################################################

sub start {
	my ($main, $events, $host) = @_;
	$host //= '127.0.0.1';
	$events //= 'worker_connections 4096;';
	$t->write_file_expand('nginx.conf', <<"EOC");

%%TEST_GLOBALS%%

daemon off;
$main
worker_shutdown_timeout 1s;

events {
    $events
}

rtmp {
    rtmp_auto_pull off;
    resolver 127.0.0.1:%%PORT_8053_UDP%% ipv6=off;

    server {
        listen 127.0.0.1:%%PORT_8080%% backlog=2048;
        live on;

        application own {
            oclp_publish http://$host:%%PORT_8081%%/p timeout=1s;
            oclp_play http://$host:%%PORT_8081%%/p timeout=1s;
        }

        application long {
            oclp_publish http://127.0.0.1:%%PORT_8081%%/p args=p=\$page_url;
            oclp_play http://127.0.0.1:%%PORT_8081%%/p args=p=\$page_url;
        }
    }
}

EOC
	$t->run();
}

sub client {
	my ($app, @options) = @_;
	return rtmp_connect(port(8080), $app, @options);
}

# Asks, and does not wait for the answer.
sub ask {
	my ($role, $name) = @_;
	my $p = client('own');
	$p->create_stream();
	return command($p, $role, $name);
}

sub command {
	my ($p, $role, $name) = @_;
	$p->{told} = $name;
	$p->send_command($p->{stream}, $role, 5, undef, $name, $role eq 'publish' ? 'live' : ()) if $p->{stream};
	return $p;
}

sub let_in {
	my $in = 0;
	for (@_) {
		my $code = $_->{stream} ? $_->read_status() : '';
		# a second publisher of a name may be refused as such
		$in++ if $code =~ /Start/;
	}
	return $in;
}

# the subs hold it, and it must end before the tests are counted
undef $t;

###############################################################################
