#!/usr/bin/perl

# Names are identities: none is cut, none is read in two ways.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Abuse;
use Test::Nginx::Process;
use Test::Nginx::RTMP;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->plan(17);

abuse_run($t);

###############################################################################

sub publish {
	my ($app, $name) = @_;
	my $p = rtmp_connect(port(1935), $app);
	return ($p, $p->closed(0.2) ? 'closed' : 'open') if !$p->{connected};
	$p->publish($name);
	return ($p, $p->status());
}

my ($p, $status) = publish('live', 'x' x 255);
is($status, 'NetStream.Publish.Start', 'a name of 255 bytes');
my ($q, $other) = publish('live', 'x' x 256);
is($other, 'NetStream.Publish.BadName', 'one more is refused, not cut');
ok(refused($q), 'and the session ends');

for my $name ("a\x00b", "a\r\nb", "a\x7f", '', '?token=1') {
	(undef, $status) = publish('live', $name);
	is($status, 'NetStream.Publish.BadName', 'refused: ' . unpack('H*', $name));
}

# four streams, not one
my @kept = map { [publish('live', $_)] } 'Name', 'name', 'name/', "n\xe4me";
is_deeply([map { $_->[1] } @kept], [('NetStream.Publish.Start') x 4],
	'case, slashes and other bytes make other names');
(undef, $status) = publish('live', 'name?token=2');
is($status, 'NetStream.Publish.BadName', 'arguments do not');

# every spelling of the application
for my $app ('live/', 'live/_definst_', 'live?x=1') {
	(undef, $status) = publish($app, 'name');
	is($status, 'NetStream.Publish.BadName', "$app is live");
}
my $s = rtmp_connect(port(1935), 'nosuch');
ok(refused($s), 'an application that is not there');
$s = rtmp_connect(port(1935), "li\x00ve");
ok(refused($s), 'an application with control bytes');
$s = rtmp_connect(port(1935), 'x' x 5000);
ok(refused($s), 'an application of 5000 bytes');

ok(bystanders_unharmed(), 'others go on');

###############################################################################
