#!/usr/bin/perl

# A relay that breaks after it worked goes on at another address of its host, as one does that could not
# be made: a machine that takes streams and drops them is not asked again at once.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use IO::Select;
use IO::Socket::INET;
use Test::Nginx;
use Test::Nginx::Live qw/ video_header key_frame /;
use Test::Nginx::Process;
use Test::Nginx::Relay;
use Test::Nginx::Resolver;
use Test::Nginx::RTMP;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $BREAKS = 8;

my $t = Test::Nginx->new()->plan(2);

dns_run($t, port(8053, udp => 1));
relay_run($t, rtmp => 'resolver 127.0.0.1:%%PORT_8053_UDP%% ipv6=off; failed_reconnect 50ms;',
	near => <<'EOC');
            push rtmp://two.example:%%PORT_8081%%;
        }

        application edge {
            live on;
            pull rtmp://two.example:%%PORT_8082%%;
EOC
dns_zone($t, join "\n", map { "two.example A 60 127.0.0.$_" } 2, 3);

###############################################################################

my @servers = map { server($_, port(8081)) } 2, 3;
my $publisher = near();
$publisher->publish('s');
is(repeated(), 0, 'push: never at the address that has just broken');
$publisher->close();

@servers = map { server($_, port(8082)) } 2, 3;
my $player = near('edge');
$player->play('s');
is(repeated(), 0, 'pull: never at the address that has just broken');
$player->close();

###############################################################################

# Breaks the relay again and again, once it works; how often it came to the same address as before.
sub repeated {
	my ($last, $repeated) = (0, 0);
	for (1 .. $BREAKS) {
		my ($at) = IO::Select->new(@servers)->can_read(60) or return 'no relay came';
		my $peer = rtmp_accept($at) or return 'no relay came';
		if ($peer->{role} eq 'play') {
			$peer->send_video(0, video_header());
			$peer->send_video(0, key_frame(1));
			$player->read_until(sub { $_[0]{payload} eq key_frame(1) }) or return 'nothing played';
		} else {
			$publisher->send_video(0, key_frame(1));
			$peer->read_video() or return 'nothing pushed';
		}
		$repeated++ if $at->sockhost() eq $last;
		$last = $at->sockhost();
		$peer->close();
	}
	return $repeated;
}

sub server {
	my ($host, $port) = @_;
	return IO::Socket::INET->new(LocalAddr => "127.0.0.$host", LocalPort => $port, Listen => 64, Reuse => 1)
		|| die "cannot listen on 127.0.0.$host:$port: $!\n";
}

###############################################################################
