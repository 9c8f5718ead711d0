#!/usr/bin/perl

# Codecs that CDNs number from 12 on (and sound format 13) have headers as AVC and AAC have.

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

my %VIDEO = (HEVC => 12, AV1 => 13, VVC => 14);
my $HEADER = "\xdf\0OpusHead";

my $t = Test::Nginx->new()->plan(4 * keys %VIDEO);

live_run($t);

###############################################################################

for my $codec (sort keys %VIDEO) {
	my $video = sub { pack('C C', $_[0] << 4 | $VIDEO{$codec}, $_[1]) . "\0\0\0$_[2]" };
	my $header = $video->(1, 0, 'config');

	my $p = publisher($codec);
	$p->send_video(0, $header);
	$p->send_audio(0, $HEADER);
	$p->send_video(0, $video->(1, 1, 'key'));
	$p->send_audio(0, "\xdf\1sound");
	$p->result($p->command('createStream', undef));

	my $late = player($codec);
	$late->result($late->command('createStream', undef));
	$p->send_video(40, $video->(2, 1, 'inter'));
	$p->send_video(80, $video->(1, 1, 'key'));
	$p->send_audio(80, "\xdf\1sound");
	my @got = map { $late->read_until(sub { $_[0]{type} =~ /^[89]$/ })->{payload} } 1 .. 4;
	is_deeply([sort @got[0, 1]], [sort $header, $HEADER], "$codec: a late player gets both headers");
	is($got[2], $video->(1, 1, 'key'), "$codec: and starts at a key frame");
	is($got[3], "\xdf\1sound", "$codec: and has sound");

	# what has ended needs no header
	$p->send_video(120, $video->(1, 2, ''));
	$p->result($p->command('createStream', undef));
	my $later = player($codec);
	$later->result($later->command('createStream', undef));
	$p->send_audio(120, "\xdf\1last");
	my $last = $later->read_until(sub { $_[0]{payload} eq $header || $_[0]{payload} eq "\xdf\1last" });
	is($last->{payload}, "\xdf\1last", "$codec: the header goes with the end of the sequence");
}

###############################################################################
