#!/usr/bin/perl

# meta counts for every source: a publisher, a pull over RTMP or HTTP, and in another worker as well.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Live;
use Test::Nginx::Process;
use Test::Nginx::Relay;
use Test::Nginx::RTMP;
use Test::Nginx::Workers;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->plan(18);

# an application for each way a stream comes in, and each value
my $apps = '';
for my $meta (qw/ on off copy /) {
	my $app = sub { "        application $_[0]_$meta { live on; cache_time 1s; meta $meta; $_[1] }\n" };
	$apps .= $app->('publish', '') . $app->('rtmp', 'pull rtmp://127.0.0.1:%%PORT_1936%%/live;')
		. $app->('http', 'pull http://127.0.0.1:%%PORT_8080%%/live;');
}
relay_run($t, workers => 2, http => <<'EOC', rtmp => <<"EOC2");
    server {
        listen 127.0.0.1:8080;
        location / {
            flv_live 127.0.0.1:%%PORT_1936%%;
        }
    }
EOC
    server {
        listen 127.0.0.1:%%PORT_1937%% reuseport;
$apps
    }
EOC2

###############################################################################

my $sent = amf0('onMetaData', ecma_array(width => 640, secret => 'x'));
my $known = amf0('onMetaData', ecma_array(width => 640));
my %WANTED = (on => $known, off => undef, copy => $sent);

my $origin = far();
$origin->publish('s');
fill($origin);
for my $meta (sort keys %WANTED) {
	my $p = client("publish_$meta");
	$p->publish('s');
	fill($p);
	for my $way (qw/ publish rtmp http /) {
		# players in both workers, of which one takes it from the other
		my %players;
		for (1 .. 100) {
			my $player = client("${way}_$meta");
			$players{worker_of($t, $player)} //= $player;
			last if keys %players == 2;
		}
		my @got = map { metadata($_) } values %players;
		is_deeply(\@got, [$WANTED{$meta}, $WANTED{$meta}], "meta $meta, source: $way");
	}
}

# what can't be read to its end, and what is in an envelope of AMF3

my $cut = substr($sent, 0, -3);
my %ODD = (
	'without an end' => [18, $cut, $known, $cut],
	'cut off' => [18, substr($sent, 0, -6), amf0('onMetaData', ecma_array()), substr($sent, 0, -6)],
	'an AMF3 message' => [15, "\0$sent", $known, $sent],
	'an AMF3 message without a format' => [15, $sent, $known, $sent],
	'an object of AMF3' => [18, amf0('onMetaData') . "\x11\x0a\x0b\x01", undef, amf0('onMetaData') . "\x11\x0a\x0b\x01"],
);
for my $odd (sort keys %ODD) {
	my ($type, $payload, %wanted) = (@{$ODD{$odd}}[0, 1], on => $ODD{$odd}[2], off => undef, copy => $ODD{$odd}[3]);
	my %got;
	for my $meta (sort keys %WANTED) {
		my $p = client("publish_$meta");
		$p->publish('odd');
		fill($p, $type, $payload);
		my $player = client("publish_$meta");
		$got{$meta} = metadata($player, 'odd');
		$p->close();
		wait_for { my $q = client("publish_$meta"); $q->publish('odd') =~ /Start/ };
	}
	is_deeply(\%got, \%wanted, "metadata $odd");
}

# other data is not touched

for my $meta (sort keys %WANTED) {
	my $p = client("publish_$meta");
	$p->publish('text');
	my $v = client("publish_$meta");
	$v->play('text');
	fill($p);
	# it may be in another worker: now it has the stream
	$v->read_until(sub { $_[0]{payload} eq key_frame(0) });
	$p->send_data(0, 'onTextData', { text => 'hello' });
	$p->send_data(0, '@setDataFrame', 'onCuePoint', { name => 'x' });
	my @got = map { ($v->read_until(sub { ref $_[0]{values} && $_[0]{values}[0] =~ /^on[TC]/ })
		// {})->{payload} } 1, 2;
	is_deeply(\@got, [amf0('onTextData', { text => 'hello' }), amf0('onCuePoint', { name => 'x' })],
		"meta $meta, other data");
}

# a relay that copies passes what is filtered before it only

is(metadata(client('rtmp_copy')), $sent, 'byte for byte, over a relay');

###############################################################################

sub client { rtmp_connect(port(1937), $_[0]) }

sub fill {
	my ($publisher, $type, $payload) = @_;
	$publisher->send_message($type // 18, 0, $publisher->{stream}, $payload // amf0('@setDataFrame') . $sent);
	$publisher->send_video(0, video_header());
	$publisher->send_video(0, key_frame(0));
	$publisher->result($publisher->command('createStream', undef));
}

# The metadata that a player gets in front of its first frame.
sub metadata {
	my ($player, $name) = @_;
	$player->play($name // 's');
	my $metadata;
	while (my $message = $player->read_message()) {
		$metadata = $message->{payload} if $message->{payload} =~ /^\x02\0\x0aonMetaData/;
		return $metadata if $message->{payload} eq key_frame(0);
	}
	return 'nothing came';
}

###############################################################################
