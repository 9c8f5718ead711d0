#!/usr/bin/perl

# A publisher that leaves its messages unfinished: a long one, with others beside it, is held, and
# no second long one.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Live qw/ live_run publisher player key_frame /;
use Test::Nginx::Process;
use Test::Nginx::RTMP;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $MIB = 1 << 20;
my $CHUNK = 65536;

my $t = Test::Nginx->new()->plan(5);
live_run($t);
my ($worker) = worker_pids($t);

###############################################################################

# what encoders may do: audio and data between the parts of a picture

my $p = publisher('s', chunk_size => $CHUNK);
my $v = player('s');
my $picture = key_frame(1) . 'x' x (15 * $MIB);
my ($first, @rest) = rtmp_parts(6, RTMP_VIDEO, $picture);
$p->send_raw($first);
my ($beside) = rtmp_parts(4, RTMP_AUDIO, "\xaf\x01" . 'a' x 200_000);
$p->send_raw(join '', splice(@rest, 0, 100), $beside);
$p->send_raw(join '', @rest);
ok($v->read_until(sub { $_[0]{type} == RTMP_VIDEO && length($_[0]{payload}) == length($picture) }, 60),
	'a long message with others beside it');

# a second long one

my $before = rss_kb($worker);
my $q = publisher('q', chunk_size => $CHUNK);
for my $csid (6, 7) {
	my @parts = rtmp_parts($csid, RTMP_VIDEO, $picture);
	pop @parts;
	$q->send_raw(join '', @parts) or last;
}
1 while $q->receive(time() + 60);
ok($q->{eof}, 'two long ones: the session ends');
cmp_ok(rss_kb($worker) - $before, '<', 20 * 1024, 'in KiB, less is held than two');
like($t->read_file('error.log'), qr/PUBLISH unfinished messages hold \d+ bytes, more than 17825792/, 'why');

$p->send_video(40, key_frame(2));
ok($v->read_until(sub { $_[0]{payload} eq key_frame(2) }, 60), 'others go on');

###############################################################################

# A message in its chunks.
sub rtmp_parts {
	my ($csid, $type, $payload) = @_;
	my @parts = unpack("(a$CHUNK)*", $payload);
	return map {
		rtmp_chunk($_ ? 3 : 0, $csid, $parts[$_], length => length($payload), type => $type, stream => 1)
	} 0 .. $#parts;
}

###############################################################################
