#!/usr/bin/perl

# A new binary takes over (USR2, WINCH, QUIT): those who publish stay, their streams are played and
# their names are taken in the new workers, callbacks and relays go on, and every start has its end.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::OCLP;
use Test::Nginx::Process;
use Test::Nginx::Relay;
use Test::Nginx::RTMP;
use Test::Nginx::Upgrade;
use Test::Nginx::Workers;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $STREAMS = 6;

my $t = Test::Nginx->new()->plan(15);

my $oclp = oclp_server($t, port(8081));
my $target = rtmp_server(port(8082));
my $nginx = upgrade_run($t, 2, main => 'worker_shutdown_timeout 60s;', app => <<'EOC');
oclp_publish http://127.0.0.1:%%PORT_8081%% stage=start,done;
oclp_stream http://127.0.0.1:%%PORT_8081%% stage=start,done;
push rtmp://127.0.0.1:%%PORT_8082%%/live;
EOC

###############################################################################

my $frame = 0;
my @publishers = map { publisher("s$_") } 1 .. $STREAMS;
my @pushes = map { rtmp_accept($target) } 1 .. $STREAMS;
my @players = map { player("s$_") } 1 .. $STREAMS;
is(seen(@players), $STREAMS, 'all play');

my ($old, $new) = $nginx->upgrade();
is(seen(@players), $STREAMS, 'players of the old binary go on while both run');
kill 'WINCH', $old;
# the old workers do not accept any more when they say so
ok((wait_for { 2 == (() = $t->read_file('error.log') =~ /gracefully shutting down/g) } 20), 'the old workers leave');

my @late = map { player("s$_") } 1 .. $STREAMS;
is(seen(@late), $STREAMS, 'who comes then plays from publishers of the old workers');
my @second = map { publisher("s$_") } 1 .. $STREAMS;
is(scalar(grep { $_->status() eq 'NetStream.Publish.BadName' } @second), $STREAMS, 'their names are taken');

kill 'QUIT', $old;
is(seen(@players, @late), 2 * $STREAMS, 'all go on');
my @fresh = map { publisher("t$_") } 1 .. $STREAMS;
push @pushes, map { rtmp_accept($target) } 1 .. $STREAMS;
is(scalar(grep { $_->status() eq 'NetStream.Publish.Start' } @fresh), $STREAMS, 'new ones publish');
ok((wait_for { 2 * $STREAMS == pushed() } 20), 'relays of both go on');

# a publisher comes back, to the new binary

$_->close() for @publishers, @second;
my @back = map { my $c = back("s$_"); $c } 1 .. $STREAMS;
is(scalar(grep { $_ } @back), $STREAMS, 'the names are free when their publishers have left');
$frame++;
$back[$_]->send_video($frame * 40, key_frame($frame)) for 0 .. $STREAMS - 1;
is(scalar(grep { got($_, $frame) } @late), $STREAMS, 'and players go on with the next ones');
$_->close() for @players;
ok(ended($old), 'the old binary ends with its last session');

$_->close() for @late, @back, @fresh;
my %count;
ok((wait_for {
	my @requests = $oclp->requests();
	%count = ();
	for my $request (@requests) {
		next if $request->{answer} != 200;
		my $id = join ' ', map { $request->{$_} // '' } qw/ call name /;
		$count{$id} += $request->{act} eq 'start' ? 1 : $request->{act} eq 'done' ? -1 : 0;
	}
	!grep { $_ } values %count;
} 20), 'every start has its end') or diag(explain(\%count));
is(scalar(grep { /^stream/ } keys %count), 2 * $STREAMS, 'and there was one for each stream');

my ($dir) = glob($t->testdir() . '/inner.*');
ok(-d $dir, 'the directory of the sockets went on');
kill 'QUIT', $new;
ok(ended($new) && !-e $dir, 'and goes with the new binary');

###############################################################################

# A frame of each stream, and how many of those who play them get it.
sub seen {
	my (@players) = @_;
	$frame++;
	$publishers[$_]->send_video($frame * 40, key_frame($frame)) for 0 .. $#publishers;
	return scalar grep { got($_, $frame) } @players;
}

sub got {
	my ($player, $n) = @_;
	return $player->read_until(sub { $_[0]{payload} eq key_frame($n) });
}

# How many of the pushes get a frame now.
sub pushed {
	$frame++;
	$_->send_video($frame * 40, key_frame($frame)) for @publishers, @fresh;
	return scalar grep { $_ && got($_, $frame) } @pushes;
}

sub back {
	my ($name) = @_;
	my $client;
	wait_for { $client = publisher($name); $client->status() eq 'NetStream.Publish.Start' } 20
		or return;
	return $client;
}

undef $_ for $nginx, $t;

###############################################################################
