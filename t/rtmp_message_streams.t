#!/usr/bin/perl

# Several message streams on one connection: each publishes and plays by its
# own id, and what is refused on one leaves the others alone.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Live;
use Test::Nginx::Process;
use Test::Nginx::RTMP;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->plan(37);

live_run($t, server => 'max_publishes 3;');

###############################################################################

# Asks on a message stream; the status that comes there.
sub ask {
	my ($client, $id, $command, @arguments) = @_;
	$client->send_command($id, $command, 0, undef, @arguments);
	my $status = $client->read_until(sub {
		($_[0]{name} // '') eq 'onStatus' && $_[0]{stream} == $id
	}, 5);
	return $status ? $status->{values}[3]{code} : '';
}

sub create { $_[0]->result($_[0]->command('createStream', undef))->{values}[3] }

sub send_frame {
	my ($client, $id, $number) = @_;
	$client->send_message(RTMP_VIDEO, 40 * $number, $id, key_frame($number));
}

# The numbers of the next video frames by message stream.
sub frames {
	my ($client, %want) = @_;
	my %got = map { $_ => [] } keys %want;
	while (grep { @{$got{$_}} < $want{$_} } keys %want) {
		my $frame = $client->read_video() or last;
		push @{$got{$frame->{stream}}}, unpack('x5 N', $frame->{payload});
	}
	return \%got;
}

my $c = rtmp_connect(port(1935), 'live');
is_deeply([map { create($c) } 1 .. 4], [1 .. 4], 'createStream gives 1, 2, 3, 4');

is(ask($c, $_, 'publish', "s$_", 'live'), 'NetStream.Publish.Start', "publish on $_") for 1 .. 3;
is(ask($c, 4, 'publish', 's4', 'live'), 'NetStream.Publish.Forbidden', 'no more than max_publishes');

# a client that plays them all
my $v = rtmp_connect(port(1935), 'live');
create($v) for 1 .. 3;
is(ask($v, $_, 'play', "s$_"), 'NetStream.Play.Start', "play on $_") for 1 .. 3;
send_frame($c, 1, 1); send_frame($c, 3, 3); send_frame($c, 2, 2);
is_deeply(frames($v, 1 => 1, 2 => 1, 3 => 1), {1 => [1], 2 => [2], 3 => [3]},
	'each stream goes to its own players, with their ids');
my @statuses = grep { $_->{type} == 4 && $_->{event} == 0 } @{$v->{skipped}};

# media where nothing is published
send_frame($c, $_, 99) for 4, 7;
send_frame($c, 1, 4);
is_deeply(frames($v, 1 => 1), {1 => [4]}, 'media on an id that does not publish is nobody\'s');

# a name that is taken
my $d = rtmp_connect(port(1935), 'live');
create($d) for 1 .. 2;
is(ask($d, 1, 'publish', 'own', 'live'), 'NetStream.Publish.Start', 'another client');
is(ask($d, 2, 'publish', 's1', 'live'), 'NetStream.Publish.BadName', 'is refused on one id');
is(ask($d, 2, 'publish', 'free', 'live'), 'NetStream.Publish.Start', 'and may publish another name there');
my $w = player('own');
send_frame($d, 1, 5);
is_deeply(frames($w, 1 => 1), {1 => [5]}, 'its other stream goes on');
is(ask($d, 1, 'publish', 'twice', 'live'), 'NetStream.Publish.BadName', 'an id that is in use');
send_frame($d, 1, 6);
is_deeply(frames($w, 1 => 1), {1 => [6]}, 'goes on as it is');

# closed and deleted
is(ask($c, 2, 'closeStream'), 'NetStream.Unpublish.Success', 'closeStream ends its own');
send_frame($c, 2, 7); send_frame($c, 1, 8); send_frame($c, 3, 9);
is_deeply(frames($v, 1 => 1, 3 => 1), {1 => [8], 3 => [9]}, 'and no other');
is(ask($c, 2, 'publish', 's2', 'live'), 'NetStream.Publish.Start', 'the same id publishes again');
send_frame($c, 2, 10);
is_deeply(frames($v, 2 => 1), {2 => [10]}, 'for those who stayed');

$c->command('FCUnpublish', undef, 's2');
ok($c->read_until(sub { ($_[0]{name} // '') eq 'onStatus' && $_[0]{stream} == 2
	&& $_[0]{values}[3]{code} eq 'NetStream.Unpublish.Success' }), 'FCUnpublish ends what has that name');
is(ask($c, 2, 'publish', 's2?again', 'live'), 'NetStream.Publish.Start', 'which may be published again');

$c->send_command(0, 'deleteStream', 0, undef, 2);
$c->read_until(sub { ($_[0]{name} // '') eq 'onStatus' && $_[0]{stream} == 2 });
is(create($c), 2, 'a deleted id is given again');

# a connection that publishes and plays
is(ask($c, 2, 'play', 'own'), 'NetStream.Play.Start', 'a publisher plays as well');
send_frame($d, 1, 11);
is_deeply(frames($c, 2 => 1), {2 => [11]}, 'on its own id');
send_frame($c, 1, 12);
is_deeply(frames($v, 1 => 1), {1 => [12]}, 'and publishes on');
is(ask($c, 2, 'play', 'free'), 'NetStream.Play.Start', 'a player moves over by another play');
send_frame($d, 1, 13); send_frame($d, 2, 14);
is_deeply(frames($c, 2 => 1), {2 => [14]}, 'and gets that alone');
is(ask($v, 3, 'pause', JSON::PP::true(), 0), 'NetStream.Pause.Notify', 'pause holds its own');
send_frame($c, 3, 15); send_frame($c, 1, 16);
is_deeply(frames($v, 1 => 1), {1 => [16]}, 'and no other');

# as old clients do: the connection's id, or one that was not created
for my $id (0, 5) {
	my $p = rtmp_connect(port(1935), 'live');
	create($p) if $id == 0;
	$p->send_command($id, 'publish', 0, undef, "old$id", 'live');
	is($p->read_status(), 'NetStream.Publish.Start', "publish on $id");
	my $q = player("old$id");
	send_frame($p, $id, 17);
	is_deeply(frames($q, 1 => 1), {1 => [17]}, "and its media on $id");
}

# how many there may be
my $many = rtmp_connect(port(1935), 'live');
my @created = map { $many->command('createStream', undef) } 1 .. 65;
my @answers = map { $many->result($_) } @created;
is($answers[63]{values}[3], 64, '64 message streams');
is($answers[64]{name}, '_error', 'and no more');
$many->send_command(0, 'deleteStream', 0, undef, 40);
is(create($many), 40, 'unless one is deleted');

###############################################################################
