#!/usr/bin/perl

# Clients that connect and ask for no stream: they may not stay, however many
# pings they answer.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Abuse;
use Test::Nginx::Process;
use Test::Nginx::RTMP;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->plan(8);

abuse_run($t, server => 'handshake_timeout 30s; first_command_timeout 800ms; ping 100ms;'
	. ' ping_timeout 10m; timeout 900ms;');

###############################################################################

# True if the server closes a client that it has pinged meanwhile.
sub closed_after_pings {
	my ($client) = @_;
	my $pings = 0;
	$client->read_until(sub { $pings++ if $_[0]{type} == 4 && $_[0]{event} == 6; 0 }, 20);
	return $client->{eof} && $pings;
}

my $p = publisher('own');
my $v = player('own');
my $waiting = player('later');

# each of these outlasts the limit
my $s = rtmp_connect(port(1935), 'live');
ok(closed_after_pings($s), 'a client that only connects is closed');

$s = rtmp_connect(port(1935), 'live');
$s->create_stream();
$s->command('getStreamLength', undef, 'x');
ok(closed_after_pings($s), 'so is one that sends other commands');

$p->send_video(0, key_frame(1));
ok($v->read_until(sub { $_[0]{payload} eq key_frame(1) }), 'those that publish and play stay');
my $late = publisher('later');
$late->send_video(0, key_frame(2));
ok($waiting->read_until(sub { $_[0]{payload} eq key_frame(2) }), 'and one that waits for a publisher');

$p->send_command(1, 'closeStream', 0, undef);
is($p->read_status(), 'NetStream.Unpublish.Success', 'a publisher that has left its stream');
is($p->publish('own'), 'NetStream.Publish.Start', 'may publish again');
$p->send_command(1, 'closeStream', 0, undef);
ok(closed_after_pings($p), 'and is closed if it does not');

ok(bystanders_unharmed(), 'others go on');

###############################################################################
