#!/usr/bin/perl

# What a worker has gathered is not gathered once more by the workers that it feeds.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Process;
use Test::Nginx::RTMP;
use Test::Nginx::Workers;
use Time::HiRes qw/ time /;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

# seconds that the other worker's player may be behind: less than another window
my $SOON = 0.25;

my $t = Test::Nginx->new()->plan(3);

workers_run($t, 2, app => 'merge_window 500ms;');

###############################################################################

my $p = publisher('s');
my $near = player_at(sub { $_[0] == worker_of($t, $p) });
my $far = player_at(sub { $_[0] != worker_of($t, $p) });
$p->send_video(0, key_frame(0));
is(scalar(grep { $_->read_video()->{payload} eq key_frame(0) } $near, $far), 2, 'both play');

my ($gathered, $soon) = (0, 0);
for my $n (1 .. 5) {
	my $begin = time();
	$p->send_video(40 * $n, inter_frame($n));
	$near->read_until(sub { $_[0]{payload} eq inter_frame($n) });
	my $there = time();
	$gathered++ if $there - $begin > 0.4;
	$far->read_until(sub { $_[0]{payload} eq inter_frame($n) }) or last;
	my $behind = time() - $there;
	note("the far player gets message $n $behind s later");
	$soon++ if $behind < $SOON;
}
cmp_ok($gathered, '>=', 4, 'the worker of the publisher gathers');
is($soon, 5, 'the other one does not gather the same again');

###############################################################################

# A player at a worker that suits.
sub player_at {
	my $client = client_at($t, @_);
	$client->play('s');
	return $client;
}

# the subs hold it, and it must end before the tests are counted
undef $t;

###############################################################################
