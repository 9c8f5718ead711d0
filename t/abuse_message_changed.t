#!/usr/bin/perl

# The header of a message that changes before the message is complete.

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

my $t = Test::Nginx->new()->plan(5);

abuse_run($t);

###############################################################################

my %first = (timestamp => 1000, length => 1000, type => RTMP_VIDEO, stream => 1);
my %change = (
	length => { length => 2000 },
	shorter => { length => 10 },
	type => { type => RTMP_AUDIO },
	timestamp => { timestamp => 2000 },
);
for my $what (sort keys %change) {
	my $s = rtmp_connect(port(1935), 'live');
	$s->send_raw(rtmp_chunk(0, 4, 'x' x 128, %first));
	$s->send_raw(rtmp_chunk(0, 4, 'x' x 128, %first, %{$change{$what}}));
	ok(refused($s), "another $what");
}

ok(bystanders_unharmed(), 'others go on');

###############################################################################
