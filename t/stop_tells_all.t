#!/usr/bin/perl

# nginx that is stopped at once (TERM, INT, or QUIT and then TERM as systemd does) tells everybody: the
# callbacks of what ends, the servers that it pushes to, and its players.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Time::HiRes qw/ time /;

use Test::Nginx;
use Test::Nginx::FLV;
use Test::Nginx::OCLP;
use Test::Nginx::Process;
use Test::Nginx::Relay;
use Test::Nginx::RTMP;
use Test::Nginx::Workers;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $STREAMS = 8;
my $SLOW = $ENV{TEST_NGINX_SLOW} || 1;

my $t = Test::Nginx->new()->plan(12);

my $oclp = oclp_server($t, port(8081));
my $target = rtmp_server(port(8082));
my $push = 'rtmp://127.0.0.1:' . port(8082) . '/live';
$oclp->answer('push start', status => 302, headers => [Location => $push]);

for my $signals (['TERM'], ['INT'], ['QUIT', 'TERM']) {
	my $seen = $oclp->requests();
	workers_run($t, 2, app => <<'EOC');
oclp_publish http://127.0.0.1:%%PORT_8081%% stage=start,done;
oclp_play http://127.0.0.1:%%PORT_8081%% stage=start,done;
oclp_stream http://127.0.0.1:%%PORT_8081%% stage=start,done;
oclp_push http://127.0.0.1:%%PORT_8081%% stage=start,done;
EOC
	my @publishers = map { publisher("s$_") } 1 .. $STREAMS;
	$_->send_video(0, key_frame(0)) for @publishers;
	my @pushes = map { rtmp_accept($target) } 1 .. $STREAMS;
	my @players = map { player("s$_") } 1 .. $STREAMS;
	is(scalar(grep { $_->read_until(sub { $_[0]{payload} eq key_frame(0) }) } @players, @pushes),
		2 * $STREAMS, "@$signals: all play");

	my ($master) = $t->read_file('nginx.pid') =~ /(\d+)/;
	my $began = time();
	kill $_, $master for @$signals;
	wait_for { $t->_nginx_ended() } 20 * $SLOW;
	my $took = time() - $began;
	cmp_ok($took, '<', 5 * $SLOW, "@$signals: it ends soon");
	diag("took $took s") if $ENV{TEST_NGINX_VERBOSE};

	my %count;
	my @requests = $oclp->requests();
	for my $request (@requests[$seen .. $#requests]) {
		$count{"$request->{call} $request->{act}"}++;
	}
	my @all = map { $count{"$_ start"} // 0, $count{"$_ done"} // 0 } qw/ publish play stream push /;
	is("@all", join(' ', ($STREAMS) x 8), "@$signals: every start has its end");
	is(scalar(grep { unpublished($_) } @pushes) . ' ' . scalar(grep { $_->closed() } @players),
		"$STREAMS $STREAMS", "@$signals: targets and players are told");
}

###############################################################################

# Whether the server that is pushed to hears of the end, and not only of that of the connection.
sub unpublished {
	my ($push) = @_;
	my %told;
	while (my $message = $push->read_message()) {
		next if $message->{type} != RTMP_COMMAND;
		my ($command) = amf0_decode($message->{payload});
		$told{$command}++;
	}
	return $told{FCUnpublish} && $told{deleteStream};
}

undef $t;

###############################################################################
