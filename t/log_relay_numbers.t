#!/usr/bin/perl

# The lines that relays write carry the number of the connection that they are for, as nginx's own do: that of
# the publisher or of the player.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Live qw/ video_header key_frame /;
use Test::Nginx::Process;
use Test::Nginx::Relay;
use Test::Nginx::RTMP;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->plan(6);

relay_run($t, rtmp => 'log_format id \'$command $name $connection\'; access_log %%TESTDIR%%/id.log id;',
	near => <<'EOC');
            push rtmp://127.0.0.1:%%PORT_8081%%/live;
        }

        application edge {
            live on;
            pull rtmp://127.0.0.1:%%PORT_8082%%/live;
        }

        application nowhere {
            live on;
            push rtmp://127.0.0.1:%%PORT_8083%%/live;
            pull rtmp://127.0.0.1:%%PORT_8083%%/live;
EOC

###############################################################################

my ($to, $from) = map { rtmp_server(port($_)) } 8081, 8082;
my $publisher = near();
$publisher->publish('pushed');
my $target = rtmp_accept($to);
my $player = near('edge');
$player->play('pulled');
my $origin = rtmp_accept($from);
$origin->send_video(0, video_header());
$origin->send_video(0, key_frame(1));
$player->read_until(sub { $_[0]{payload} eq key_frame(1) });

my @failing = (near('nowhere'), near('nowhere'));
$failing[0]->publish('lost');
$failing[1]->play('found');
my %lines = (
	'PUBLISH pushed' => number(qr/push of \S*pushed\S* .*: established/),
	'PLAY pulled' => number(qr/pull of \S*pulled\S* .*: established/),
	'PUBLISH lost' => number(qr/push of \S*lost\S* .*refused/),
	'PLAY found' => number(qr/pull of \S*found\S* .*refused/),
);
$_->close() for $target;
my $broken = number(qr/push of \S*pushed\S* .*: .*closed by the server/);
is($broken, $lines{'PUBLISH pushed'}, 'one that breaks');

$_->close() for $publisher, $player, @failing, $origin;
my %connections;
wait_for {
	%connections = $t->read_file('id.log') =~ /^(.*) (\d+)$/mg;
	keys %connections >= 4;
};
is($lines{$_}, $connections{$_}, $_) for sort keys %lines;
is(scalar(keys %connections), 4, 'which are four');

###############################################################################

# The number that stands in front of the first line that matches.
sub number {
	my ($like) = @_;
	my $number;
	wait_for { ($number) = map { /\*(\d+) rtmp: / } grep { $_ =~ $like } split /\n/, $t->read_file('error.log') };
	return $number;
}

###############################################################################

# the subs hold it, and it must end before the tests are counted
undef $t;

###############################################################################
