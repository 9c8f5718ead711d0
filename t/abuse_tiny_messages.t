#!/usr/bin/perl

# Floods of messages of a few bytes: others are served between them, however many come with
# one read.

###############################################################################

use warnings;
use strict;

use Time::HiRes;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Abuse;
use Test::Nginx::FLV;
use Test::Nginx::Process;
use Test::Nginx::RTMP;
use Test::Nginx::Relay qw/ rtmp_accept rtmp_server tcp_server /;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

# as many as a socket takes before anybody reads from it
my $MANY = 20_000;
my $MANY_TAGS = 3_000;

my $t = Test::Nginx->new()->plan(11);

abuse_run($t, app => <<"EOC");
        }

        application rtmp {
            live on;
            pull rtmp://127.0.0.1:%%PORT_8081%%/live;
        }

        application http {
            live on;
            pull http://127.0.0.1:%%PORT_8082%%/live;
EOC

my ($worker) = worker_pids($t);

###############################################################################

# those who play the bystanding stream get its frame in front of the answer to their last command

# a header of one byte repeats the one before
flood_and_play('messages of no known type',
	rtmp_chunk(0, 4, '', length => 0, type => 99, stream => 0) . "\xc4" x $MANY);
my $length = pack('n N N', 3, 1, 1000);
flood_and_play('buffer lengths',
	rtmp_chunk(0, 4, $length, length => 10, type => 4, stream => 0) . "\xc4$length" x ($MANY / 10));
my $ping = pack('n N', 6, 1);
flood_and_play('pings', rtmp_chunk(0, 4, $ping, length => 6, type => 4, stream => 0) . "\xc4$ping" x 1000);

# publishers

my $audio = rtmp_chunk(0, 4, '', length => 0, type => RTMP_AUDIO, stream => 1);
my $p = publisher('flood');
flood('empty audio messages', $p, $audio . "\xc4" x $MANY . ask($p), sub { answered($p) });

my $a = publisher('aggregates', chunk_size => 65536);
my $aggregate = pack('C x3 x4 x3 N', RTMP_AUDIO, 11) x 2000;
flood('messages of an aggregate', $a,
	$a->message(22, 0, 1, $aggregate) . $audio . "\xc4" x $MANY . ask($a), sub { answered($a) });

# more of them in one aggregate than any server sends
my $m = publisher('aggregate', chunk_size => 65536);
$m->send_message(22, 0, 1, pack('C x3 x4 x3 N', RTMP_AUDIO, 11) x 5000);
ok(refused($m), 'an aggregate of 5000 messages ends its sender');

# pulls: the last message is seen by who plays

my $origin = rtmp_server(port(8081));
my $http_origin = tcp_server(port(8082));
my $v = rtmp_connect(port(1935), 'rtmp');
$v->play('s');
my $o = rtmp_accept($origin);
is($o->{role}, 'play', 'pulled by RTMP');
flood('empty messages of an RTMP origin', $o,
	rtmp_chunk(0, 4, '', length => 0, type => RTMP_AUDIO, stream => 7) . "\xc4" x ($MANY_TAGS * 3)
	. $o->message(RTMP_VIDEO, 1, 7, key_frame(7)), sub { has($v, 7) });
$o->close();

my $w = rtmp_connect(port(1935), 'http');
$w->play('s');
my $h = http_accept($http_origin);
flood('empty tags of an HTTP-FLV origin', $h,
	"HTTP/1.1 200 OK\r\n\r\n" . flv_header(5) . flv_tag(8, 0, '') x $MANY_TAGS
	. flv_tag(9, 1, key_frame(8)), sub { has($w, 8) });

# an origin that has been left and goes on sending

$w->close();
$_->close() for $h;
ok(bystanders_unharmed(), 'others go on');

is(scalar(grep { /\[(?:alert|crit|emerg)\]/ } split /\n/, $t->read_file('error.log')), 0, 'no alert');

###############################################################################

# A worker that stands still finds so many bytes of the client first, and then a frame of
# somebody else's: the frame is out before the end of the flood is reached.
sub flood {
	my ($name, $client, $bytes, $reached) = @_;

	kill 'STOP', $worker;
	wait_for { stopped() };
	$client->send_raw($bytes, 0.5);
	my $frame = another_frame();
	kill 'CONT', $worker;
	return fail("$name: the end is reached") if !$reached->();
	ok(frame_is_there($frame), $name);
}

# The same with a client that plays the other stream: the order is that of its own bytes.
sub flood_and_play {
	my ($name, $bytes) = @_;

	my $client = player('bystander');
	kill 'STOP', $worker;
	wait_for { stopped() };
	$client->send_raw($bytes . ask($client), 0.5);
	my $frame = another_frame();
	kill 'CONT', $worker;
	return fail("$name: the end is reached") if !answered($client);
	ok(scalar(grep { $_->{payload} eq key_frame($frame) } @{$client->{skipped}}), $name);
	frame_is_there($frame);
	$client->close();
}

sub stopped {
	open my $stat, '<', "/proc/$worker/stat" or return;
	return <$stat> =~ /\) T /;
}

# A command that is answered, in bytes.
sub ask {
	my ($client) = @_;
	return $client->message(RTMP_COMMAND, 0, 0,
		amf0('createStream', ++$client->{transaction}, undef));
}

sub answered { $_[0]->result($_[0]{transaction}, 30) }

sub has {
	my ($player, $n) = @_;
	# looked for in the bytes, as to read all messages takes longer than the module needs
	while (index($player->{in}, key_frame($n)) < 0) {
		$player->receive(Time::HiRes::time() + 30) or return;
	}
	return 1;
}

# A connection of the module's, whose request was read.
sub http_accept {
	my ($server) = @_;
	$server->timeout(5);
	my $socket = $server->accept() or die "nobody pulls\n";
	sysread($socket, my $request, 65536);
	$socket->blocking(0);
	return bless { socket => $socket, select => IO::Select->new($socket), timeout => 5 },
		'Test::Nginx::Peer';
}

###############################################################################
