#!/usr/bin/perl

# Tests for the end of a pull: with the last player, or a while later.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Process;
use Test::Nginx::RTMP;
use Test::Nginx::Relay;
use Time::HiRes qw/ time sleep /;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

# seconds that anything may take
my $SLACK = 0.3 * ($ENV{TEST_NGINX_SLOW} || 1);

my $t = Test::Nginx->new()->plan(11);

relay_run($t, near => 'pull rtmp://127.0.0.1:%%PORT_8081%%;',
	far => 'pull rtmp://127.0.0.1:%%PORT_8081%%; pull_linger 1s;');

###############################################################################

my $server = rtmp_server(port(8081));

# at once

my $first = near();
$first->play('s');
my $second = near();
$second->play('s');
my $origin = rtmp_accept($server);
is($origin->{name}, 's', 'a pull');
$first->close();
$origin->send_command($origin->{stream}, 'onStatus', 0, undef, { code => 'x' });
ok(!$origin->closed(0.5), 'goes on with one player left');
my $began = time();
$second->close();
ok($origin->closed(), 'ends with the last one');
cmp_ok(time() - $began, '<', $SLACK, 'at once');
$server->timeout(0.3);
ok(!$server->accept(), 'and is not tried again');

# neither is one that is not established

$server->close();
$first = near();
$first->play('s');
wait_lines($t, qr/pull of "live\/s" .*again in/, 2);
$first->close();
sleep(0.2);
my $attempts = () = log_lines($t, qr/pull of/);
sleep(0.5);
is(scalar(() = log_lines($t, qr/pull of/)), $attempts, 'no attempts without a player');

# after pull_linger

$server = rtmp_server(port(8081));
my $third = far();
$third->play('s');
$origin = rtmp_accept($server);
$third->close();
sleep(0.6);
my $fourth = far();
is($fourth->play('s'), 'NetStream.Play.Start', 'a player within the time');
ok(!$origin->closed(1), 'finds the pull');
$began = time();
$fourth->close();
ok($origin->closed(), 'which ends');
cmp_ok(time() - $began, '>', 0.9, 'when the time is over');
cmp_ok(time() - $began, '<', 1 + $SLACK, 'and no later');

###############################################################################
