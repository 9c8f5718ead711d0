#!/usr/bin/perl

# The log of relays that fail: the first failure, the recovery, and no flood in between.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Process;
use Test::Nginx::Relay;
use Time::HiRes qw/ sleep /;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $RELAYS = 100;

my $t = Test::Nginx->new()->plan(7);

relay_run($t, near => 'push rtmp://127.0.0.1:%%PORT_8081%%; relay_reconnect 100ms; '
	. 'failed_reconnect 10ms;', far => 'pull rtmp://127.0.0.1:%%PORT_8081%%; relay_reconnect 100ms;');

###############################################################################

my @publishers = map { my $p = near(); $p->publish("s$_"); $p } 1 .. $RELAYS;
ok(wait_for { log_lines($t, qr/push of .*again in/) > 10 * $RELAYS }, 'many attempts');
my @lines = said(qr/push of/);
cmp_ok(scalar @lines, '<=', 200, 'few lines');
my %first = map { /push of "(\S+)"/ ? ($1 => 1) : () } @lines;
is(scalar keys %first, $RELAYS, 'one at least for each relay');

# players that come again and again make no more lines

my $before = said(qr/pull of/);
for (1 .. 10) {
	my $v = far();
	$v->play('flap');
	sleep(0.02);
	$v->close();
}
cmp_ok(said(qr/pull of/) - $before, '<=', 2, 'nor do players that come and go');

# the recovery is said

pop(@publishers)->close() while @publishers > 1;
my $server = rtmp_server(port(8081));
my $peer = rtmp_accept($server);
is($peer->{name}, 's1', 'it comes back');
ok(wait_for { said(qr/"live\/s1".*established again, after \d+ more failures/) }, 'which is said');

# a publisher that leaves is no failure

$before = said(qr/"live\/s1"/);
$publishers[0]->close();
$peer->closed();
is(said(qr/"live\/s1"/), $before, 'its end is no failure');

###############################################################################

# Lines at any level but debug.
sub said {
	my ($like) = @_;
	my @said = grep { !/\[debug\]/ && /rtmp: / && $_ =~ $like } split /\n/, $t->read_file('error.log');
	return @said;
}

# the subs hold it, and it must end before the tests are counted
undef $t;

###############################################################################
