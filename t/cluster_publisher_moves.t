#!/usr/bin/perl

# A publisher goes to another node: players stay connected, wherever they are, and
# see its next picture within a second.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx::Cluster;
use Test::Nginx;
use Test::Nginx::Live qw/ video_header key_frame inter_frame /;
use Test::Nginx::Process;
use Test::Nginx::RTMP;
use Time::HiRes qw/ time /;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

# seconds that players may see nothing
my $GAP = 1 * ($ENV{TEST_NGINX_SLOW} || 1);

my $t = Test::Nginx->new()->plan(11);
my $cluster = cluster($t, nodes => 4);

###############################################################################

my $publisher = publish(1, 1);
# on each node, also on those where it is now and where it will be
my @players = map { $cluster->player($_, 's') } 1 .. 4, 2, 3;
my $web = $cluster->flv_player(4, 's');
is(scalar(grep { sees($_, 1) } @players), 6, 'all play');
is($web->answered() && $web->status(), 200, 'over HTTP, too');

# it ends in order, and is somewhere else at once
$publisher->close();
my $began = time();
$publisher = publish(2, 2);
is(scalar(grep { sees($_, 2) } @players), 6, 'all go on: publisher closed, then on another node');
cmp_ok(time() - $began, '<', $GAP, 'within a second');
ok(wait_for { $cluster->streams()->{s}[0] eq $cluster->address(2) . ':1935' },
	'the scheduling server knows the new node');

# it is on the new node before the old connection has ended
$began = time();
my $next = publish(3, 3);
$publisher->abort();
is(scalar(grep { sees($_, 3) } @players), 6, 'all go on: on another node, then reset');
cmp_ok(time() - $began, '<', $GAP, 'within a second');
$publisher = $next;

# the node with it dies, all its processes at once
@players = @players[0, 1, 3, 4];
$cluster->kill_node(3);
$began = time();
$publisher = publish(4, 4);
is(scalar(grep { sees($_, 4) } @players), 4, 'all go on: node killed');
cmp_ok(time() - $began, '<', $GAP, 'within a second');

my $tags = join ' ', map { number($_->{payload}) } frames_of($web, 4);
is($tags, '1 2 3 4', 'so does a player over HTTP');
my @times = map { $_->{timestamp} } @{$web->{seen}};
is_deeply(\@times, [sort { $a <=> $b } @times], 'timestamps go on');

###############################################################################

# Publishes the stream on a node, with one key frame of this number.
sub publish {
	my ($node, $number) = @_;
	my $client = $cluster->publisher($node, 's');
	$client->send_video(0, video_header($number));
	$client->send_video(0, key_frame($number));
	return $client;
}

sub sees {
	my ($player, $number) = @_;
	return $player->read_until(sub { $_[0]{payload} eq key_frame($number) });
}

# Key frames up to the one with this number.
sub frames_of {
	my ($player, $number) = @_;
	while (my $tag = $player->read_tag()) {
		next unless $tag->{payload} =~ /^\x17\x01/;
		push @{$player->{seen}}, $tag;
		last if number($tag->{payload}) == $number;
	}
	return @{$player->{seen}};
}

sub number { unpack('x5 N', $_[0]) }

# the subs hold it, and it must end before the tests are counted
undef $_ for $cluster, $t;

###############################################################################
