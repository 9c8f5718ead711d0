#!/usr/bin/perl

# A pull asks in the name of one player at a time: one whose query the origin refuses is turned
# away, or waits, and the next one has its turn.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::FLV;
use Test::Nginx::Live qw/ video_header key_frame /;
use Test::Nginx::Process;
use Test::Nginx::Relay;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my @ways = qw/ rtmp http /;
# what the origin does, and what the player is told then
my %refusals = (
	rtmp => [
		['NetStream.Play.Forbidden', 'NetStream.Play.StreamNotFound'],
		['NetStream.Play.StreamNotFound', ''],
		['closed', ''],
	],
	http => [[403, 'NetStream.Play.StreamNotFound'], [404, ''], [500, ''], ['closed', '']],
);

my $t = Test::Nginx->new()->plan(3 * (map { @{$refusals{$_}} } @ways) + 9);

relay_run($t, http => <<'EOH', near => <<'EOC');
    server {
        listen 127.0.0.1:%%PORT_8083%%;
        location / {
            flv_live %%PORT_1935%%;
        }
    }
EOH
        }

        application rtmp {
            live on;
            cache_time 1s;
            pull rtmp://127.0.0.1:%%PORT_8081%%/there;
        }

        application http {
            live on;
            cache_time 1s;
            pull http://127.0.0.1:%%PORT_8082%%/there;
        }

        application strict {
            live on;
            cache_time 1s;
            idle_streams off;
            pull rtmp://127.0.0.1:%%PORT_8081%%/there;
EOC

my %server = (rtmp => rtmp_server(port(8081)), http => tcp_server(port(8082)));

###############################################################################

my $stream = 0;
for my $way (@ways) {
	for my $case (@{$refusals{$way}}) {
		my ($answer, $told) = @$case;
		my $name = 's' . ++$stream;
		my $bad = near($way);
		$bad->play("$name?t=bad");
		# it is asked for at once, and refused when the other one waits
		my $asked = asked($way);
		my $good = near($way);
		$good->play("$name?t=good");
		is($asked->{said}, "$name?t=bad", "$way, $answer: asked for the first");
		refuse($way, $asked, $answer);
		# the answer to the first may be asked for once more
		for (1 .. 5) {
			$asked = asked($way);
			last if $asked->{said} =~ /good/;
			refuse($way, $asked, $answer);
		}
		give($way, $asked);
		ok($good->read_until(sub { $_[0]{payload} eq key_frame(1) }), "$way, $answer: the other plays");
		$told ? is($bad->read_status(), $told, "$way, $answer: the first is told")
			: ok(!$bad->closed(0.1), "$way, $answer: the first waits on");
		$_->close() for $bad, $good;
	}
}

# connect refused

my ($bad, $good) = map { near('rtmp') } 1 .. 2;
$bad->play('connect?t=bad');
my $peer = rtmp_accept($server{rtmp}, until => 'connect');
$good->play('connect?t=good');
$peer->send_command(0, '_error', 1, undef, { level => 'error', code => 'NetConnection.Connect.Rejected' });
is($bad->read_status(), 'NetStream.Play.StreamNotFound', 'connect rejected: told');
give('rtmp', asked('rtmp'));
ok($good->read_video(), 'connect rejected: the other plays');
$_->close() for $bad, $good;

# a player over HTTP

my $http = http_flv(port(8083), '/rtmp/flv?t=bad', wait => 0);
refuse('rtmp', asked('rtmp'), 'NetStream.Play.Forbidden');
ok($http->answered() && ($http->status() == 404 || $http->closed()), 'HTTP-FLV: it ends');

# many who say the same are told by one answer

my @same = map { near('strict') } 1 .. 10;
$_->play('same?t=bad') for @same;
my $first = asked('rtmp');
refuse('rtmp', $first, 'NetStream.Play.StreamNotFound');
is(scalar(grep { $_->read_status() eq 'NetStream.Play.StreamNotFound' } @same), 10, 'all are told');
$server{rtmp}->timeout(0.3);
ok(!$server{rtmp}->accept(), 'by one answer');

# others are not

my @two = map { near('strict') } 1 .. 2;
$two[0]->play('two?t=bad');
my $asked = asked('rtmp');
$two[1]->play('two?t=good');
refuse('rtmp', $asked, 'NetStream.Play.StreamNotFound');
is($two[0]->read_status(), 'NetStream.Play.StreamNotFound', 'idle_streams off: one is told');
$asked = asked('rtmp');
is($asked->{said}, 'two?t=good', 'idle_streams off: asked for the other');
give('rtmp', $asked);
ok($two[1]->read_video(), 'idle_streams off: which plays');

# who comes then shares it, whatever it says

my $late = near('strict');
$late->play('two?t=other');
ok($late->read_video(), 'a running pull is for all');

###############################################################################

# The next pull that comes, and what it asks for.
sub asked {
	my ($way) = @_;
	if ($way eq 'rtmp') {
		my $peer = rtmp_accept($server{rtmp}, until => 'play') // return { said => 'nothing' };
		return { peer => $peer, said => $peer->{name} };
	}
	$server{http}->timeout(5 * ($ENV{TEST_NGINX_SLOW} || 1));
	my $socket = $server{http}->accept() // return { said => 'nothing' };
	my $request = '';
	while ($request !~ /\r\n\r\n/) {
		sysread($socket, $request, 4096, length $request) or last;
	}
	my ($said) = $request =~ m!^GET /there/(\S+) !;
	return { socket => $socket, said => $said // 'nothing' };
}

sub refuse {
	my ($way, $asked, $how) = @_;
	if ($how eq 'closed') {
		($asked->{peer} // $asked->{socket} // return)->close();
	} elsif ($way eq 'http') {
		print {$asked->{socket}} "HTTP/1.1 $how No\r\nContent-Length: 0\r\n\r\n";
		$asked->{socket}->close();
	} else {
		$asked->{peer}->send_command($asked->{peer}{stream}, 'onStatus', 0, undef,
			{ level => 'error', code => $how });
	}
}

# Consents, and sends what there is; the connection is kept.
sub give {
	my ($way, $asked) = @_;
	our @given;
	push @given, $asked;
	if ($way eq 'http') {
		print {$asked->{socket}} "HTTP/1.1 200 OK\r\n\r\n" . flv_header(1)
			. flv_tag(9, 0, video_header()) . flv_tag(9, 0, key_frame(1));
		$asked->{socket}->flush();
	} else {
		my $peer = $asked->{peer} // return;
		$peer->send_command($peer->{stream}, 'onStatus', 0, undef,
			{ level => 'status', code => 'NetStream.Play.Start' });
		$peer->send_video(0, $_) for video_header(), key_frame(1);
	}
}

###############################################################################
