#!/usr/bin/perl

# What a target of a push is told when the push ends: FCUnpublish and deleteStream, behind the last
# message, whatever ends it.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Live qw/ video_header key_frame inter_frame /;
use Test::Nginx::Process;
use Test::Nginx::Relay;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->plan(9);

relay_run($t, near => 'push rtmp://127.0.0.1:%%PORT_8081%%/there;', far => <<'EOC');
            push rtmp://127.0.0.1:%%PORT_8081%%/static;
            pull rtmp://127.0.0.1:%%PORT_8082%%/origin static name=news;
EOC

my ($target, $server) = map { rtmp_server(port($_)) } 8081, 8082;

###############################################################################

my $origin = rtmp_accept($server);

# the publisher leaves, in each way

for my $how ('FCUnpublish', 'close', 'abort') {
	my $p = near();
	$p->publish("s-$how?secret");
	my $push = rtmp_accept($target);
	$p->send_video(0, $_) for video_header(), key_frame(1), inter_frame(2);
	$push->read_until(sub { $_[0]{payload} eq inter_frame(2) });
	if ($how eq 'FCUnpublish') {
		$p->command('FCUnpublish', undef, "s-$how");
		$p->command('deleteStream', undef, $p->{stream});
	} else {
		$p->$how();
	}
	is(farewell($push), "FCUnpublish s-$how, deleteStream $push->{stream}", "$how: told");
	ok($push->closed(), "$how: and closed");
	$p->close() if $how eq 'FCUnpublish';
}

# the origin of a static pull ends, and a publisher that was not pushed on yet leaves

$origin->send_video(0, $_) for video_header(), key_frame(1);
my $push = rtmp_accept($target);
$push->read_until(sub { $_[0]{payload} eq key_frame(1) });
$origin->close();
is(farewell($push), "FCUnpublish news, deleteStream $push->{stream}", 'the end of a static pull: told');

my $p = near();
$p->publish('early');
my $early = rtmp_accept($target, until => 'publish');
$early = rtmp_accept($target, until => 'publish') if $early->{name} ne 'early';
$p->close();
ok($early->closed(), 'a push that is not established is closed');
is(scalar(grep { /failed|ended/ } log_lines($t, qr/push of/)), 0, 'none of that is a failure');

###############################################################################

# What the other side is told at the end.
sub farewell {
	my ($push) = @_;
	my @said;
	while (my $message = $push->read_message()) {
		my $name = $message->{name} // next;
		push @said, "$name $message->{values}[3]" if $name =~ /^(?:FCUnpublish|deleteStream)$/;
		last if $name eq 'deleteStream';
	}
	return join ', ', @said;
}

###############################################################################
