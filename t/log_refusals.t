#!/usr/bin/perl

# What the error log says of refusals: at "error", with the client's number,
# naming the application or stream that was asked for, and no secrets.

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

my $t = Test::Nginx->new()->plan(11);

live_run($t, server => 'application closed { live on; deny all; } application off { }'
	. ' application empty { live on; idle_streams off; }');

###############################################################################

my ($n, $lines) = (0, 0);

# The lines of the log that the client's session adds, when it has ended.
sub logged {
	my ($pattern) = @_;
	my @lines;
	wait_for { @lines = grep { /$pattern/ } split /\n/, $t->read_file('error.log'); @lines };
	return $lines[-1] // '';
}

rtmp_connect(port(1935), 'nosuchapp?token=secret')->closed();
like(logged('nosuchapp'), qr/\[error\] \d+#\d+: \*\d+ rtmp: NONE refused: no such application, app: "nosuchapp", name: "", client: 127\.0\.0\.1, server: /,
	'an application that does not exist');

my %refused = (
	closed => 'access is denied',
	off => 'live is off in this application',
);
for my $app (sort keys %refused) {
	my $s = rtmp_connect(port(1935), $app);
	$s->publish("in-$app?token=secret");
	like(logged("in-$app"), qr/\[error\].*\*\d+ rtmp: PUBLISH refused: $refused{$app}, app: "$app", name: "in-$app", client: 127/,
		"publish: $refused{$app}");
}
my $s = rtmp_connect(port(1935), 'closed');
$s->play('film?token=secret');
like(logged('film'), qr/\[error\].*\*\d+ rtmp: PLAY refused: access is denied, app: "closed", name: "film"/, 'play');
$s = rtmp_connect(port(1935), 'empty');
$s->play('nobody');
like(logged('nobody'), qr/\[error\].* rtmp: PLAY refused: nobody publishes the stream, app: "empty", name: "nobody"/,
	'a stream that is not there');
$s = rtmp_connect(port(1935), 'live');
$s->publish("bad\1name");
like(logged('bad'), qr/\[error\].* rtmp: PUBLISH refused: the name holds control bytes, app: "live", name: "bad\?name"/,
	'a name that is none');

my $p = publisher('taken');
like(logged('started'), qr/\[notice\].*\*\d+ rtmp: PUBLISH started, app: "live", name: "taken", client: 127/, 'a start is a notice');
publisher('taken')->closed();
like(logged('already published'), qr/\[error\].*\*\d+ rtmp: PUBLISH refused: the stream is already published, app: "live", name: "taken"/,
	'a name that is taken');

# on one of several message streams
$s = rtmp_connect(port(1935), 'live');
$s->create_stream() for 1 .. 2;
$s->send_command(2, 'publish', 0, undef, 'taken', 'live');
$s->read_status();
$s->send_command(1, 'publish', 0, undef, 'fine', 'live');
$s->read_status();
my @taken = grep { /refused: the stream is already published/ } split /\n/, $t->read_file('error.log');
is(@taken, 2, 'a refusal that does not end the session');

undef $p;
like(logged('name: "taken".*server|closed by the client, app: "live", name: "taken"'), qr/taken/, 'the end');
unlike($t->read_file('error.log'), qr/secret/, 'no query');

###############################################################################
