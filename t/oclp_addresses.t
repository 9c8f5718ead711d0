#!/usr/bin/perl

# A server with several addresses: one that is silent costs a quarter of a second, one that
# failed is tried last, for callbacks as for relays.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use IO::Socket::INET;
use Test::Nginx;
use Test::Nginx::OCLP;
use Test::Nginx::Process;
use Test::Nginx::RTMP;
use Test::Nginx::Relay;
use Test::Nginx::Resolver;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $CLIENTS = 8;
my $SLOW = $ENV{TEST_NGINX_SLOW} || 1;

my $t = Test::Nginx->new()->plan(7);

dns_run($t, port(8053, udp => 1));
relay_run($t, rtmp => <<'EOC', near => <<'EOC2');
    resolver 127.0.0.1:%%PORT_8053_UDP%% ipv6=off;
    oclp_fail closed;
EOC
            oclp_publish http://eight.example:%%PORT_8081%%/p timeout=30s;
        }

        application frozen {
            live on;
            oclp_publish http://frozen.example:%%PORT_8082%%/p timeout=1s;
        }

        application refused {
            live on;
            oclp_publish http://refused.example:%%PORT_8081%%/p;
        }

        application silent {
            live on;
            push rtmp://eight.example:%%PORT_8083%%;
        }

        application stuck {
            live on;
            relay_timeout 1s;
            push rtmp://frozen.example:%%PORT_8084%%;
EOC2

# as they stand here at first, and by chance later, as the resolver gives them
dns_zone($t, join "\n", map { my $host = $_;
	map { "$host.example A 60 127.0.0.$_" } $host eq 'eight' ? (2 .. 9, 1) : (2, 1)
} qw/ eight frozen refused /);

###############################################################################

# eight silent addresses and one that answers

my $oclp = oclp_server($t, port(8081));
my @silent = map { silent_address("127.0.0.$_", port(8081)) } 2 .. 9;
my $p = rtmp_connect(port(1935), 'live');
$p->{timeout} = 10 * $SLOW;
# one silent address would cost all of the timeout
my $began = Time::HiRes::time();
is($p->publish('name'), 'NetStream.Publish.Start', 'callback: eight silent addresses');
note(sprintf 'after %.2f s', Time::HiRes::time() - $began);
$p->close();
undef @silent;

# nobody listens at one of two: at once

my @codes = map { publish('refused', "name$_") } 1 .. $CLIENTS;
is(scalar(grep { $_ eq 'NetStream.Publish.Start' } @codes), $CLIENTS, 'callback: an address that refuses');

# one of two takes connections and says nothing: who asks there first finds it out for all

my $other = oclp_server($t, port(8082));
# each request needs a connection
$other->answer('*', raw => "HTTP/1.1 200 OK\x0d\x0aContent-Length: 0\x0d\x0a\x0d\x0a");
my $frozen = frozen(port(8082));
@codes = map { publish('frozen', "name$_") } 1 .. $CLIENTS;
cmp_ok(scalar(grep { $_ ne 'NetStream.Publish.Start' } @codes), '<=', 1, 'callback: an address that hangs');
cmp_ok(connections($frozen), '<=', 1, 'is tried once');

# relays

@silent = map { silent_address("127.0.0.$_", port(8083)) } 2 .. 9;
my $server = rtmp_server(port(8083));
my @publishers = map { publisher('silent', "name$_") } 1 .. 2;
my @peers = map { rtmp_accept($server, timeout => 10 * $SLOW) // () } @publishers;
is(scalar(@peers), 2, 'push: eight silent addresses');
$_->close() for @peers, @publishers;

$server = rtmp_server(port(8084));
$frozen = frozen(port(8084));
my $came = 0;
for (1 .. $CLIENTS) {
	$p = publisher('stuck', "name$_");
	my $peer = rtmp_accept($server, timeout => 10 * $SLOW);
	$came += defined $peer && $peer->{name} eq "name$_";
	$_->close() for grep { $_ } $peer, $p;
}
is($came, $CLIENTS, 'push: an address that hangs');
cmp_ok(connections($frozen), '<=', 1, 'is tried once');

###############################################################################

sub publisher {
	my ($app, $name) = @_;
	my $p = rtmp_connect(port(1935), $app);
	$p->publish($name);
	return $p;
}

# What a publisher is told.
sub publish {
	my $p = publisher(@_);
	$p->close();
	return $p->status();
}

# A server that stands still: the kernel takes the connections.
sub frozen {
	my ($port) = @_;
	return IO::Socket::INET->new(LocalAddr => '127.0.0.2', LocalPort => $port, Listen => 64, Reuse => 1)
		|| die "cannot listen on 127.0.0.2:$port: $!\n";
}

sub connections {
	my ($server) = @_;
	$server->blocking(0);
	my $count = 0;
	$count++ while $server->accept();
	return $count;
}

# the subs hold it, and it must end before the tests are counted
undef $t;

###############################################################################
