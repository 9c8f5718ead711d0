#!/usr/bin/perl

# Tests for the names of hosts: nginx starts when they do not resolve, relays come up
# when they do, and a name is looked up again when its time is over.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use IO::Select;
use IO::Socket::INET;
use IO::Socket::IP;
use Socket qw/ AF_INET AF_INET6 inet_pton /;
use Test::Nginx;
use Test::Nginx::Live qw/ video_header key_frame /;
use Test::Nginx::Process;
use Test::Nginx::RTMP;
use Test::Nginx::Relay;
use Test::Nginx::Resolver;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->plan(16);

dns_run($t, port(8053, udp => 1));

relay_run($t, rtmp => 'resolver 127.0.0.1:%%PORT_8053_UDP%%; resolver_timeout 2s;',
	near => <<'EOC');
            push rtmp://there.example:%%PORT_8081%%;
        }

        application pulled {
            live on;
            pull rtmp://there.example:%%PORT_8081%%;
        }

        application mixed {
            live on;
            push rtmp://two.example:%%PORT_8081%%;
        }

        application half {
            live on;
            push rtmp://half.example:%%PORT_8081%%;
        }

        application six {
            live on;
            push rtmp://six.example:%%PORT_8082%%;
EOC

###############################################################################

my $server = rtmp_server(port(8081));

# the name does not exist: there are attempts, and media goes on meanwhile

my $p = near();
is($p->publish('s'), 'NetStream.Publish.Start', 'nginx has started');
my ($line) = wait_lines($t, qr/push of "live\/s"/, 2);
like($line, qr/"there\.example" is not resolved: Host not found/, 'no such name');
my $v = near();
$v->play('s');
$p->send_video(0, video_header());
$p->send_video(0, key_frame(1));
ok($v->read_video(), 'media flows');

# now it does

dns_zone($t, 'there.example A 1 127.0.0.1');
my $peer = rtmp_accept($server);
is($peer->{name}, 's', 'the relay comes up');
is($peer->{connect}{tcUrl}, "rtmp://there.example:${\port(8081)}/live", 'by its name');

# and it moves: a new attempt goes to the new address when the old one's time is over

dns_zone($t, 'there.example A 1 127.0.0.2');
my $moved = IO::Socket::INET->new(LocalAddr => '127.0.0.2', LocalPort => port(8081),
	Listen => 5, Reuse => 1) or die "cannot listen: $!\n";
select undef, undef, undef, 2.1;
$peer->close();
is((rtmp_accept($moved) // {})->{name}, 's', 'it has moved');
$p->close();

# a pull that waits for the name

dns_zone($t, '');
select undef, undef, undef, 2.1;
$v = near('pulled');
$v->play('p');
ok(wait_lines($t, qr/pull of "pulled\/p" .*not resolved/), 'a pull');
dns_zone($t, 'there.example A 1 127.0.0.1');
is((rtmp_accept($server) // {})->{name}, 'p', 'comes up too');
$v->close();

# of two addresses one answers

dns_zone($t, "two.example AAAA 60 ::1\ntwo.example A 60 127.0.0.9\ntwo.example A 60 127.0.0.1");
$p = near('mixed');
$p->publish('m');
is((rtmp_accept($server) // {})->{name}, 'm', 'every address is tried');
ok(grep({ /AAAA/ } split /\n/, $t->read_file('dns')), 'AAAA is asked for');
$p->close();

# of two addresses one is silent: its queue is full, so that nobody answers there

dns_zone($t, "half.example A 60 127.0.0.8\nhalf.example A 60 127.0.0.1");
my $silent = silent_address('127.0.0.8', port(8081));
my @publishers = map { my $p = near('half'); $p->publish("h$_"); $p } 1 .. 6;
# the order is by chance
my @peers = map { rtmp_accept($server, timeout => 2 * ($ENV{TEST_NGINX_SLOW} || 1)) // () } @publishers;
is(join(' ', sort map { $_->{name} } @peers), 'h1 h2 h3 h4 h5 h6', 'a silent address is not waited for');
$_->close() for @publishers, @peers;

# an address of IPv6 alone, and one that keeps for its time, however many attempts there are

SKIP: {
	dns_zone($t, 'six.example AAAA 60 ::1');
	my $six = IO::Socket::IP->new(LocalHost => '::1', LocalPort => port(8082), Listen => 5,
		ReuseAddr => 1) or skip('no IPv6 here', 3);
	$p = near('six');
	$p->publish('v6');
	is((rtmp_accept($six) // {})->{name}, 'v6', 'an address of IPv6');
	$six->close();
	ok(wait_lines($t, qr/"six\/v6" .*connect to \[::1\].* failed/, 3), 'attempts while it is down');
	is(scalar(grep { $_ eq 'six.example AAAA' } split /\n/, $t->read_file('dns')), 1,
		'with one question');
	$p->close();
}

# a name server that is silent does not stop anything

dns_zone($t, '* silent');
$p = near('mixed');
$p->publish('silent');
$v = near('mixed');
$v->play('silent');
$p->send_video(0, video_header());
$p->send_video(0, key_frame(1));
ok($v->read_video(1), 'no wait for a silent name server');

# names are lost with their sessions, while they are looked up

$_->close() for $p, $v;
is(scalar(@{[worker_pids($t)]}), 1, 'the worker lives');

###############################################################################

# the subs hold it, and it must end before the tests are counted
undef $t;

###############################################################################
