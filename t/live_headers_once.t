#!/usr/bin/perl

# A player that waits for its first key frame gets each sequence header once, and one that comes
# meanwhile once more, instead of all of them.

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

my $t = Test::Nginx->new()->plan(1);

live_run($t);

###############################################################################

my $p = publisher('s');
$p->send_video(0, video_header());
$p->send_audio(0, audio_header(1));
$p->send_video(40, inter_frame(1));
$p->result($p->command('createStream', undef));

my $v = player('s');
$v->result($v->command('createStream', undef));
# audio comes before the key frame, and its new header with it
my @got;
for my $new ([audio_frame(1)], [audio_header(2), audio_frame(2)]) {
	$p->send_audio(50, $_) for @$new;
	take_up_to($new->[-1]);
}
$p->send_video(80, key_frame(2));
take_up_to(key_frame(2));
is_deeply(\@got, [video_header(), audio_header(1), audio_frame(1), audio_header(2), audio_frame(2),
	key_frame(2)], 'each header once');

###############################################################################

# Takes what comes, up to this.
sub take_up_to {
	my ($last) = @_;
	my $message;
	do {
		$message = $v->read_until(sub { $_[0]{type} == RTMP_VIDEO || $_[0]{type} == RTMP_AUDIO })
			or return;
		push @got, $message->{payload};
	} until $message->{payload} eq $last;
}

###############################################################################
