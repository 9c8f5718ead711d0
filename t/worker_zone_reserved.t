#!/usr/bin/perl

# Names that players make up never fill the zone for those who publish: half of it is theirs.

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

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $NAMES = 300;

my $t = Test::Nginx->new()->plan(4);

workers_run($t, 2, rtmp => 'rtmp_zone 32k;');

###############################################################################

my @waiting = map { player('y' x 200 . $_) } 1 .. $NAMES;
is(scalar(grep { $_->status() eq 'NetStream.Play.Start' } @waiting), $NAMES, 'all wait');

my @late = map { publisher("late$_") } 1 .. 20;
$late[$_ - 1]->send_video(0, key_frame($_)) for 1 .. 20;
my %seen;
for my $n (1 .. 20) {
	for my $worker (worker_pids($t)) {
		my $v = client_at($t, sub { $_[0] == $worker });
		$v->play("late$n");
		$seen{$n}++ if $v->read_until(sub { $_[0]{payload} eq key_frame($n) });
		$v->close();
	}
}
is(scalar(grep { $seen{$_} == 2 } keys %seen), 20, 'later streams are seen from every worker');

my @second = map { publisher("late$_") } 1 .. 20;
is(scalar(grep { $_->status() eq 'NetStream.Publish.BadName' } @second), 20,
	'and their names are taken in every worker');

my @lines = grep { /"rtmp_zone" is full/ } split /\n/, $t->read_file('error.log');
my %by;
$by{$_}++ for map { / (\d+)#/ } @lines;
is(scalar(grep { $_ > 1 } values %by), 0, 'a worker says once a minute that it is full');

###############################################################################
