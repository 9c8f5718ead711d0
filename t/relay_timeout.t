#!/usr/bin/perl

# Times of a relay: a callback has that of its own line, an attempt has "relay_timeout", and
# "relay_reconnect" is only the longest delay between attempts.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Live qw/ video_header key_frame /;
use Test::Nginx::OCLP;
use Test::Nginx::Process;
use Test::Nginx::Relay;
use Time::HiRes qw/ sleep /;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->plan(5);

relay_run($t, far => <<'EOC');
        }

        application patient {
            live on;
            relay_reconnect 3s;
            oclp_pull http://127.0.0.1:%%PORT_8081%%/patient timeout=10s;
        }

        application default {
            live on;
            relay_reconnect 3s;
            oclp_pull http://127.0.0.1:%%PORT_8081%%/default;
        }

        application quick {
            live on;
            relay_reconnect 100ms;
            pull rtmp://127.0.0.1:%%PORT_8083%%;
        }

        application short {
            live on;
            relay_reconnect 60s;
            relay_timeout 500ms;
            push rtmp://127.0.0.1:%%PORT_8084%%;
EOC

my $oclp = oclp_server($t, port(8081));
my $origin = rtmp_server(port(8082));

###############################################################################

my $location = 'rtmp://127.0.0.1:' . port(8082) . '/origin/';
$oclp->answer("/$_->[0] pull start", status => 302, delay => $_->[1],
	headers => [ Location => $location . $_->[0] ]) for ['patient', 4], ['default', 2];
my %players = map { $_ => far($_) } qw/ patient default /;
$_->play('s') for values %players;

# meanwhile

my $server = rtmp_server(port(8083));
my $v = far('quick');
$v->play('s');
my $slow = rtmp_accept($server, until => 'play');
sleep 0.5;
$slow->send_command($slow->{stream}, 'onStatus', 0, undef,
	{ level => 'status', code => 'NetStream.Play.Start' });
$slow->send_video(0, $_) for video_header(), key_frame(1);
ok($v->read_video(), 'relay_reconnect does not bound an attempt');

my $target = rtmp_server(port(8084));
my $p = far('short');
$p->publish('s');
my $silent = rtmp_accept($target, until => 'publish');
ok($silent->closed(), 'relay_timeout does');
is((rtmp_accept($target) // {})->{name}, 's', 'and the next one follows after a short delay');

# the callbacks are answered

for my $case (['default', 'an answer at 2 s and an origin that takes 1.5 s'], ['patient', 'an answer at 4 s']) {
	my ($name, $what) = @$case;
	my $pull = rtmp_accept($origin, until => 'play', timeout => 20) or next;
	sleep 1.5 if $name eq 'default';
	$pull->send_command($pull->{stream}, 'onStatus', 0, undef,
		{ level => 'status', code => 'NetStream.Play.Start' });
	$pull->send_video(0, $_) for video_header(), key_frame(1);
	ok($players{$name}->read_until(sub { $_[0]{payload} eq key_frame(1) }), $what);
}

###############################################################################
