#!/usr/bin/perl

# /etc/hosts and /etc/resolv.conf are read again when they have changed, as they are while a
# machine starts, without a reload.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::RTMP;
use Test::Nginx::Relay;
use Test::Nginx::Resolver;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

plan(skip_all => 'no mount namespaces here') if system('unshare -m true 2>/dev/null');
# where name servers answer at their usual port
my $server_address = '127.0.53.' . (2 + $$ % 250);
my $dns = IO::Socket::INET->new(Proto => 'udp', LocalAddr => $server_address, LocalPort => 53)
	or plan(skip_all => 'the port of name servers is not to be had');
close $dns;

my $t = Test::Nginx->new()->plan(4);

# the files are others for this nginx
my $dir = $t->testdir();
$t->write_file('hosts', "127.0.0.1 localhost\n");
$t->write_file('resolv.conf', '');
$t->write_file('nginx', <<"EOC");
#!/bin/sh
exec unshare -m sh -c 'mount --bind $dir/hosts /etc/hosts && mount --bind $dir/resolv.conf /etc/resolv.conf \\
	&& exec $Test::Nginx::NGINX "\$\@"' sh "\$\@"
EOC
chmod 0755, "$dir/nginx";
$Test::Nginx::NGINX = "$dir/nginx";
dns_run($t, 53, $server_address);
dns_zone($t, 'asked.example A 60 127.0.0.1');

relay_run($t, near => <<'EOC');
            push rtmp://written.example:%%PORT_8081%%;
        }

        application asked {
            live on;
            relay_reconnect 1s;
            push rtmp://asked.example:%%PORT_8081%%;
EOC

###############################################################################

my $server = rtmp_server(port(8081));
my $p = near();
$p->publish('written');
ok(wait_lines($t, qr/push of "live\/written" .*not resolved/), 'nobody knows the host');
$t->write_file('hosts', "127.0.0.1 localhost\n127.0.0.1 written.example\n");
is((rtmp_accept($server) // {})->{name}, 'written', 'until it stands in /etc/hosts');
$p->close();

$p = near('asked');
$p->publish('asked');
ok(wait_lines($t, qr/push of "asked\/asked" .*not resolved/), 'nobody is to be asked for the host');
$t->write_file('resolv.conf', "nameserver $server_address\n");
is((rtmp_accept($server) // {})->{name}, 'asked', 'until a name server stands in /etc/resolv.conf');
$p->close();

###############################################################################
