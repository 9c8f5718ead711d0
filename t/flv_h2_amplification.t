#!/usr/bin/perl

# What one HTTP/2 connection can cause: with default limits, requests for streams that do not exist
# are refused before they make us ask a scheduler and try an origin, whatever lines there are.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::FLV;
use Test::Nginx::FlvLive;
use Test::Nginx::Live qw/ publisher video_header audio_header key_frame inter_frame audio_frame /;
use Test::Nginx::OCLP;
use Test::Nginx::Peer;
use Test::Nginx::Process;
use Test::Nginx::RTMP;

use IO::Socket::INET;
use Time::HiRes qw/ time /;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http http_v2/)->plan(12);

# streams of one connection, as nginx allows by default, and how often that is done anew
my $STREAMS = 128;
my $ROUNDS = 3;
# what rtmp_limit_attempts allows at once, and in a minute
my $ATTEMPTS = 30;
# what it may cause in so many seconds, of callbacks and of connections to an origin
my ($SECONDS, $MOST) = (30, 300);

my $oclp = oclp_server($t, port(8081));
my $http2 = $t->has_version('1.25.1')
	? 'listen 127.0.0.1:%%PORT_8082%%; http2 on;' : 'listen 127.0.0.1:%%PORT_8082%% http2;';
flv_run($t, workers => 2, app => 'cache_time 1s;',
	rtmp => 'application edge {
			live on;
			oclp_play http://127.0.0.1:%%PORT_8081%%/play stage=start,done;
			oclp_pull http://127.0.0.1:%%PORT_8081%%/pull stage=start,done;
			oclp_stream http://127.0.0.1:%%PORT_8081%%/stream stage=start,done;
		}
		application lax {
			live on;
			rtmp_limit_attempts off;
			oclp_play http://127.0.0.1:%%PORT_8081%%/lax stage=start,done;
		}',
	http => "server { $http2 location / { flv_live %%PORT_1935%%; } }");

# an origin that takes and drops everybody; its port is chosen here, not in its process
my ($dropped, $origin) = ($t->testdir() . '/dropped', port(8083));
$t->run_daemon(sub {
	my $listener = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $origin,
		Listen => 512, ReuseAddr => 1) or die "no origin: $!\n";
	open my $out, '>>', $dropped or die;
	$out->autoflush(1);
	while (my $client = $listener->accept()) {
		print $out '.';
		close $client;
	}
});
$t->waitforsocket("127.0.0.1:$origin") or die;
$oclp->answer('pull start', status => 302,
	headers => [ Location => "rtmp://127.0.0.1:$origin/x" ]);

###############################################################################

my $started = time();
my $h2 = h2_connect();
my %status;
for my $round (1 .. $ROUNDS) {
	# all at once, and given up when they are answered
	my @ids = map { h2_get($h2, "/edge/r$round-$_") } 1 .. $STREAMS;
	h2_statuses($h2, \%status, @ids);
	h2_reset($h2, grep { $status{$_} == 200 } @ids);
}
my %count;
$count{$_}++ for values %status;
my $answered = $STREAMS * $ROUNDS;
is($count{200} + $count{429}, $answered, 'each request is answered');
my $allowed = sub { $ATTEMPTS + $ATTEMPTS * (time() - $started) / 60 + 1 };
cmp_ok($count{200}, '<=', $allowed->(), 'no more are let in');
cmp_ok($count{200}, '>=', $ATTEMPTS, 'and no less');
wait_for { $oclp->requests('play done') >= $count{200} } 10;
cmp_ok(scalar($oclp->requests('pull start')), '<=', $allowed->(), 'pulls that are asked for');
cmp_ok(scalar($oclp->requests()), '<=', 6 * $allowed->(), 'requests in all');
cmp_ok(-s $dropped, '<=', $allowed->(), 'connections to the origin');

# as slowly as it has to be to be let in as often as possible, also for streams that are there

my $live = rtmp_connect(port(1935), 'edge');
$live->publish('live');
published($live);
my ($before, $sent, $asked) = (-s $dropped, 0, scalar $oclp->requests());
my ($slow, @waits) = h2_connect();
$started = time();
while (time() < $started + $SECONDS) {
	my @ids = map { h2_get($slow, '/edge/' . (++$sent % 5 ? "slow-$sent" : 'live')) } 1 .. 2;
	# late enough for the origin to be tried
	push @waits, \@ids;
	h2_reset($slow, @{shift @waits}) if @waits > 10;
	my $next = time() + 0.2;
	1 while $slow->receive($next);
	$slow->{in} = '';
}
my $per = (time() - $started) / $SECONDS;
my ($callbacks, $connections) = (scalar($oclp->requests()) - $asked, (-s $dropped) - $before);
note("$sent requests in ", time() - $started, " s: $callbacks callbacks, $connections connections");
cmp_ok($callbacks, '<=', $MOST * $per, "callbacks in $SECONDS seconds");
cmp_ok($connections, '<=', $MOST * $per, "and connections to the origin");
cmp_ok($connections, '>', 0, 'some are made');

# another connection is not concerned, and another stream is seen from every worker

my $p = publisher('later');
published($p);
my @players = map { flv_play('later') } 1 .. 8;
is(scalar(grep { defined $_->read_tag() } @players), 8, 'a later stream is seen');

# without the limit

my $free = h2_connect();
my @ids = map { h2_get($free, "/lax/f$_") } 1 .. $STREAMS;
my %free;
h2_statuses($free, \%free, @ids);
is(scalar(grep { $free{$_} == 200 } @ids), $STREAMS, 'rtmp_limit_attempts off');
is(scalar(grep { $_->{path} =~ /^.lax/ } $oclp->requests('play start')), $STREAMS,
	'each is asked for');

###############################################################################

sub h2_frame {
	my ($type, $flags, $id, $payload) = @_;
	return substr(pack('N', length($payload)), 1) . pack('C C N', $type, $flags, $id) . $payload;
}

sub h2_connect {
	my $self = Test::Nginx::Peer->open(port(8082)) or die "no connection\n";
	$self->send_raw("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" . h2_frame(4, 0, 0, ''));
	$self->{next} = 1;
	return $self;
}

# Asks for a path; the stream's id.  Each field is literal and not indexed (RFC 7541, 6.2.2).
sub h2_get {
	my ($self, $path) = @_;
	my $id = $self->{next};
	$self->{next} += 2;
	my $fields = join '', map { "\0" . chr(length($_->[0])) . $_->[0] . chr(length($_->[1])) . $_->[1] }
		[':method', 'GET'], [':scheme', 'http'], [':path', $path], [':authority', 'localhost'];
	$self->send_raw(h2_frame(1, 5, $id, $fields));
	return $id;
}

# Waits for the heads of the answers to these streams.
sub h2_statuses {
	my ($self, $status, @ids) = @_;
	my $deadline = time() + $self->{timeout} * 4;
	while (grep { !$status->{$_} } @ids) {
		my $frame = h2_read($self, $deadline) or last;
		my ($type, $id, $payload) = @$frame;
		$status->{$id} //= h2_status($payload) if $type == 1;
	}
}

sub h2_read {
	my ($self, $deadline) = @_;
	while (length($self->{in}) < 9
		|| length($self->{in}) < 9 + (unpack('N', "\0" . substr($self->{in}, 0, 3)))[0])
	{
		$self->receive($deadline) or return;
	}
	my $length = unpack('N', "\0" . substr($self->{in}, 0, 3));
	my ($type, $flags, $id) = unpack('x3 C C N', $self->{in});
	my $payload = substr($self->{in}, 9, $length);
	substr($self->{in}, 0, 9 + $length, '');
	return [$type, $id, $payload];
}

# nginx writes 200 as indexed, and others as a value behind the name's index, maybe by Huffman's code
# (RFC 7541, 6.1, 6.2 and appendix B).
sub h2_status {
	my ($fields) = @_;
	# an update of the table's size may come first
	$fields =~ s/^[\x20-\x3f]//;
	return 200 if $fields =~ /^\x88/;
	my ($length, $value) = unpack('x C a*', $fields);
	$value = substr($value, 0, $length & 127);
	return $value if $length < 128;
	my $bits = unpack('B*', $value);
	my %code = ('00000' => 0, '00001' => 1, '00010' => 2, map({ sprintf('%06b', 22 + $_) => $_ } 3 .. 9));
	my $digits = '';
	while (length($digits) < 3) {
		my ($short) = substr($bits, 0, 5);
		my $take = exists $code{$short} ? 5 : 6;
		$digits .= $code{substr($bits, 0, $take, '')} // '?';
	}
	return $digits;
}

sub h2_reset {
	my ($self, @ids) = @_;
	$self->send_raw(join '', map { h2_frame(3, 0, $_, pack('N', 8)) } @ids);
}
