#!/usr/bin/perl

# Tests for push with several urls: the others are tried at once when the first
# fails, and a relay that is established anew begins with the first one.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Relay;
use Time::HiRes qw/ time /;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->plan(6);

relay_run($t, near => 'push rtmp://127.0.0.1:%%PORT_8081%% '
	. 'rtmp://127.0.0.1:%%PORT_8082%% rtmp://127.0.0.1:%%PORT_1936%%; '
	. 'failed_reconnect 60s; relay_reconnect 60s;');

###############################################################################

# nobody listens at the first two, so that it is the third

my $began = time();
my $p = near();
$p->publish('s');
my ($established) = wait_lines($t, qr/: established/);
like($established, qr!to rtmp://127\.0\.0\.1:${\port(1936)}/live/s: est!, 'third url');
cmp_ok(time() - $began, '<', 2 * ($ENV{TEST_NGINX_SLOW} || 1), 'without a delay');
is(scalar log_lines($t, qr/; trying the next url/), 2, 'two lines for two failures');

# the first one comes up: it is where the next push goes

my $server = rtmp_server(port(8081));
my $other = near();
$other->publish('first');
my $first = rtmp_accept($server);
is($first->{name}, 'first', 'first url');

# it breaks after a while: the first url is where it begins again, the others
# follow when that does not answer

select undef, undef, undef, 1.1;
$first->close();
$first = rtmp_accept($server, code => 'NetStream.Publish.BadName');
is($first->{name}, 'first', 'first url again');
ok(wait_lines($t, qr!"live/first" to rtmp://127.0.0.1:${\port(1936)}.*: established!),
	'and then the others');

###############################################################################
