package Test::Nginx::Resolver;

# A name server for the tests, as small as can be, and addresses at which nobody answers.
#
#	dns_run($t, port(8053, udp => 1));
#	dns_zone($t, "host.example A 60 127.0.0.2\nhost.example A 60 127.0.0.1");
#	my $silent = silent_address('127.0.0.2', port(8081));
#
# A record is name, type, time to live, address; "* silent" leaves all questions without
# an answer.  The questions are written to the file "dns": name and type.

use warnings;
use strict;

use base qw/ Exporter /;
our @EXPORT = qw/ dns_run dns_zone silent_address /;

use IO::Socket::INET;
use Socket qw/ AF_INET AF_INET6 inet_pton /;

# The address is 127.0.0.1 unless it is said.
sub dns_run {
	my ($t, $port, $address) = @_;
	dns_zone($t, '');
	$t->run_daemon(\&_serve, $t, $port, $address // '127.0.0.1');
	$t->waitforfile($t->testdir() . '/dns');
}

# What is known from now on.
sub dns_zone {
	my ($t, $records) = @_;
	$t->write_file('zone.new', "$records\n");
	rename $t->testdir() . '/zone.new', $t->testdir() . '/zone';
}

# A listening socket whose queue is full, so that nobody answers there as long as the result is
# kept.
sub silent_address {
	my ($address, $port) = @_;
	my $listener = IO::Socket::INET->new(LocalAddr => $address, LocalPort => $port, Listen => 1,
		Reuse => 1) or die "cannot listen on $address:$port: $!\n";
	my @fill = map { IO::Socket::INET->new(PeerAddr => $address, PeerPort => $port, Blocking => 0) }
		1 .. 4;
	return [$listener, @fill];
}

sub _serve {
	my ($t, $port, $address) = @_;

	my $socket = IO::Socket::INET->new(Proto => 'udp', LocalAddr => $address,
		LocalPort => $port) or die "cannot listen on $port: $!\n";
	open my $log, '>', $t->testdir() . '/dns' or die;
	$log->autoflush(1);
	my %types = (A => 1, AAAA => 28);

	while (my $from = $socket->recv(my $question, 512)) {
		my ($id, $flags) = unpack('n n', $question);
		my ($at, @labels) = (12);
		while (my $length = ord(substr($question, $at, 1))) {
			push @labels, substr($question, $at + 1, $length);
			$at += 1 + $length;
		}
		my $name = join '.', @labels;
		my $type = unpack('n', substr($question, $at + 1));
		my ($text) = grep { $types{$_} == $type } keys %types;
		print $log "$name ", $text // $type, "\n";

		my @records = map { [split ' '] } split /\n/, $t->read_file('zone');
		next if grep { ($_->[1] // '') eq 'silent' } @records;
		my @known = grep { ($_->[0] // '') eq $name } @records;
		my @answers = grep { $types{$_->[1]} == $type } @known;
		my $answer = join '', map {
			my $data = inet_pton($type == 1 ? AF_INET : AF_INET6, $_->[3]);
			pack('n n n N n/a', 0xC00C, $type, 1, $_->[2], $data);
		} @answers;
		$socket->send(pack('n n n n n n', $id, 0x8180 | (@known ? 0 : 3), 1,
			scalar @answers, 0, 0) . substr($question, 12, $at + 5 - 12) . $answer);
	}
}

1;
