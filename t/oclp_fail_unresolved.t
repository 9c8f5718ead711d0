#!/usr/bin/perl

# The callback server's name has no address: if name servers say so, or are silent, that is as a
# server that does not answer, and oclp_fail decides. Without anybody to ask, nobody is let in.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Resolver;
use Test::Nginx::RTMP;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

plan(skip_all => 'no mount namespaces here') if system('unshare -m true 2>/dev/null');

my $t = Test::Nginx->new()->plan(14);

# this nginx's own machine has no name servers
my $dir = $t->testdir();
$t->write_file('empty', '');
$t->write_file('nginx', <<"EOC");
#!/bin/sh
exec unshare -m sh -c 'mount --bind $dir/empty /etc/resolv.conf && exec $Test::Nginx::NGINX "\$\@"' sh "\$\@"
EOC
chmod 0755, "$dir/nginx";
$Test::Nginx::NGINX = "$dir/nginx";
dns_run($t, port(8053, udp => 1));

my $application = sub {
	my ($name, $host, $fail) = @_;
	return <<"EOC";
        application $name {
            oclp_publish http://$host/p timeout=1s;
            oclp_play http://$host/p timeout=1s;
            oclp_fail $fail;
        }
EOC
};
my $all = join '', map { my $fail = $_;
	map { $application->("$_-$fail", "$_.example", $fail) } qw/ unknown silent / } qw/ open closed /;
my $none = $application->('none', 'server.example', 'open');

$t->write_file_expand('nginx.conf', <<"EOC");

%%TEST_GLOBALS%%

daemon off;
worker_shutdown_timeout 1s;

events {
}

rtmp {
    rtmp_auto_pull off;
    live on;

    server {
        listen 127.0.0.1:%%PORT_1935%%;
        resolver 127.0.0.1:%%PORT_8053_UDP%% ipv6=off;
$all
    }

    server {
        listen 127.0.0.1:%%PORT_1936%%;
$none
    }
}

EOC
$t->run();

###############################################################################

is(tried('unknown-open', 'publish'), 'NetStream.Publish.Start', 'no such host, oclp_fail open: publish');
is(tried('unknown-open', 'play'), 'NetStream.Play.Start', 'and play');
is(tried('unknown-closed', 'publish'), 'NetStream.Publish.Forbidden', 'oclp_fail closed: publish');
is(tried('unknown-closed', 'play'), 'NetStream.Play.Forbidden', 'and play');

dns_zone($t, '* silent');
is(tried('silent-open', 'publish'), 'NetStream.Publish.Start', 'no answer, oclp_fail open: publish');
is(tried('silent-open', 'play'), 'NetStream.Play.Start', 'and play');
is(tried('silent-closed', 'publish'), 'NetStream.Publish.Forbidden', 'oclp_fail closed: publish');
is(tried('silent-closed', 'play'), 'NetStream.Play.Forbidden', 'and play');

is(tried('none', 'publish', 1936), 'NetStream.Publish.Forbidden', 'nobody to ask, oclp_fail open: publish');
is(tried('none', 'play', 1936), 'NetStream.Play.Forbidden', 'and play');

my $log = $t->read_file('error.log');
is(scalar(() = $log =~ /is let in unchecked/g), 4, 'the log says who was let in');
is(scalar(() = $log =~ /not asked: the host is not resolved: no name server is configured/g), 2,
	'and who was not asked about');
like($log, qr/no answer: the host is not resolved: Host not found/, 'no such host');
like($log, qr/no answer: (?:timed out|the host is not resolved: .*timed out)/, 'no answer');

###############################################################################

# What a client is told.
sub tried {
	my ($app, $role, $listen) = @_;
	my $client = rtmp_connect(port($listen // 1935), $app);
	$client->$role("name-$role");
	return $client->status();
}

# the subs hold it, and it must end before the tests are counted
undef $t;

###############################################################################
