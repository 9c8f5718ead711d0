#!/usr/bin/perl

# A new binary that is taken back (HUP to the old master, QUIT to the new one) hides no stream either,
# whichever of the two it was published to.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Process;
use Test::Nginx::RTMP;
use Test::Nginx::Upgrade;
use Test::Nginx::Workers;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->plan(9);

my $nginx = upgrade_run($t, 2, main => 'worker_shutdown_timeout 60s;');

###############################################################################

my $frame = 0;
my %publishers = (before => publisher('before'));
my ($old, $new) = $nginx->upgrade();
kill 'WINCH', $old;
ok((wait_for { 2 == leaving() } 20), 'the old workers leave');
$publishers{between} = publisher('between');
my @players = map { named($_) } keys %publishers;
is(seen(@players), 2, 'the new ones serve');

my %known = map { $_ => 1 } workers_under($old);
kill 'HUP', $old;
ok((wait_for { 2 == grep { !$known{$_} } workers_under($old) } 20), 'the old binary starts workers again');
kill 'QUIT', $new;
ok((wait_for { 4 == leaving() } 20), 'those of the new one leave');

$publishers{after} = publisher('after');
push @players, map { named($_) } map { ($_) x 4 } keys %publishers;
is(seen(@players), 14, 'streams of all three are played');
is(scalar(grep { publisher($_)->status() eq 'NetStream.Publish.BadName' } keys %publishers), 3,
	'and their names taken');
$_->close() for $publishers{between}, splice @players, 0, 2;
ok(ended($new), 'the new binary ends with its last session');
delete $publishers{between};
is(seen(grep { $_->{name} ne 'between' } @players), 8, 'the others go on');
my $again = named('before');
is(seen($again), 1, 'and are found by who comes then');
$_->close() for values %publishers, @players, $again;

###############################################################################

sub leaving { return scalar(() = $t->read_file('error.log') =~ /gracefully shutting down/g) }

sub named {
	my ($name) = @_;
	my $player = player($name);
	$player->{name} = $name;
	return $player;
}

# How many of those who are there get the next frame of their stream.
sub seen {
	my (@players) = @_;
	$frame++;
	$_->send_video($frame * 40, key_frame($frame)) for values %publishers;
	return scalar grep {
		!$_->{eof} && $_->read_until(sub { $_[0]{payload} eq key_frame($frame) })
	} @players;
}

undef $_ for $nginx, $t;

###############################################################################
