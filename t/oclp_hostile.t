#!/usr/bin/perl

# A callback server that answers nonsense, without end, or more than it was asked:
# that is no answer, it is logged, and costs nothing.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::OCLP;
use Test::Nginx::Process;
use Test::Nginx::RTMP;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $crlf = "\x0d\x0a";
my $ok = "HTTP/1.1 200 OK$crlf";

# no answer, each: with oclp_fail closed the client is refused
my %broken = (
	'nothing' => { raw => '' },
	'garbage' => { raw => "garbage$crlf$crlf" },
	'bytes' => { raw => join('', map { chr } 0 .. 255) x 10 },
	'half a status line' => { raw => 'HTTP/1.1 20' },
	'half a header' => { raw => "${ok}Location: rtmp" },
	'http/0.9' => { raw => "<html>200</html>" },
	'rtmp' => { raw => "\x03" . "\0" x 1536 },
	'tls' => { raw => "\x15\x03\x01\x00\x02\x02\x46" },
	'no status' => { raw => "HTTP/1.1 OK$crlf$crlf" },
	'status 99' => { raw => "HTTP/1.1 99 OK$crlf$crlf" },
	'status 600' => { raw => "HTTP/1.1 600 OK${crlf}Content-Length: 0$crlf$crlf" },
	'status 999' => { raw => "HTTP/1.1 999 OK${crlf}Content-Length: 0$crlf$crlf" },
	'status 2000' => { raw => "HTTP/1.1 2000 OK$crlf$crlf" },
	'two lengths' => { raw => "${ok}Content-Length: 1${crlf}Content-Length: 2$crlf$crlf" },
	'bad length' => { raw => "${ok}Content-Length: -1$crlf$crlf" },
	'nul' => { raw => "${ok}X: a\0b$crlf$crlf" },
	'bare cr' => { raw => "${ok}X: a\x0db$crlf$crlf" },
	'no name' => { raw => "${ok}: a$crlf$crlf" },
	'endless status line' => { raw => 'HTTP/1.1 200 ', fill => 1e9 },
	'endless header' => { raw => "${ok}X: ", fill => 1e9 },
	'endless headers' => { raw => $ok, fill => 1e9, fill_with => "X: y$crlf" },
	'endless 100' => { raw => '', fill => 1e9, fill_with => "HTTP/1.1 100 Continue$crlf$crlf" },
	'slow' => { raw => "${ok}X: y$crlf", keep => 1 },
);

# an answer, whatever comes behind it
my %good = (
	'short body' => { raw => "${ok}Content-Length: 10$crlf${crlf}x" },
	'no length' => { raw => "${ok}${crlf}x" },
	'1 GiB' => { raw => "${ok}Content-Length: 1073741824$crlf$crlf", fill => 1 << 30 },
	'1 GiB, no length' => { raw => $ok . $crlf, fill => 1 << 30 },
	'endless chunks' => { raw => "${ok}Transfer-Encoding: chunked$crlf$crlf", fill => 1 << 30,
		fill_with => "4${crlf}abcd$crlf" },
	'bad chunk' => { raw => "${ok}Transfer-Encoding: chunked$crlf${crlf}zz$crlf" },
	'body that never comes' => { raw => "${ok}Content-Length: 10$crlf$crlf", keep => 1 },
	'http/1.0' => { raw => "HTTP/1.0 200 OK$crlf$crlf" },
	'no reason' => { raw => "HTTP/1.1 200${crlf}Content-Length: 0$crlf$crlf" },
	'another answer behind' => { raw => "${ok}Content-Length: 0$crlf$crlf"
		. "HTTP/1.1 403 Forbidden${crlf}Content-Length: 0$crlf$crlf", keep => 1 },
	'garbage behind' => { raw => "${ok}Content-Length: 0$crlf${crlf}garbage", keep => 1 },
	'8000 bytes of header' => { raw => "${ok}X: " . 'y' x 8000 . "${crlf}Content-Length: 0$crlf$crlf" },
);

my $t = Test::Nginx->new()->plan(2 * keys(%broken) + 2 * keys(%good) + 4);

$t->write_file_expand('nginx.conf', <<'EOC');

%%TEST_GLOBALS%%

daemon off;

events {
}

rtmp {
    server {
        listen 127.0.0.1:8080;
        live on;

        application test {
            oclp_fail closed;
            oclp_publish http://127.0.0.1:8081/p timeout=400ms;
        }

        application closes {
            oclp_fail closed;
            oclp_publish http://127.0.0.1:8081/p stage=done;
            oclp_stream http://127.0.0.1:8081/p stage=done;
        }
    }
}

EOC

my $oclp = oclp_server($t, port(8081));
$t->run();

###############################################################################

is(publish('warm'), 'NetStream.Publish.Start', 'an answer');
my ($worker) = worker_pids($t);
my $rss = rss_kb($worker);

for my $case (sort keys %broken) {
	my $seen = errors();
	$oclp->answer('publish start', %{$broken{$case}});
	is(publish('broken'), 'NetStream.Publish.Forbidden', "$case: no answer");
	is(errors(), $seen + 1, "$case: logged once");
}

for my $case (sort keys %good) {
	$oclp->answer('publish start', $good{$case}, { status => 200 });
	is(publish('good'), 'NetStream.Publish.Start', "$case: accepted");
	# what came behind the answer is not taken for one
	is(publish('next'), 'NetStream.Publish.Start', "$case: the next is not disturbed");
}

# one that closes each connection behind its answer, without saying so: nothing is lost

$oclp->answer('*', raw => "${ok}Content-Length: 0$crlf$crlf");
for my $n (1 .. 30) {
	my $p = rtmp_connect(port(8080), 'closes');
	$p->publish("closes$n");
	$p->close();
}
my %heard;
wait_for {
	%heard = ();
	$heard{"$_->{call} $_->{act}"}{$_->{name}} = 1
		for grep { $_->{name} =~ /^closes/ } $oclp->requests();
	30 == keys %{$heard{'stream done'}};
};
is(join(' ', map { scalar keys %{$heard{$_}} } 'publish start', 'stream start', 'publish done',
	'stream done'), '30 30 30 30', 'a server that closes its connections hears everything');

cmp_ok(rss_kb($worker) - $rss, '<', 4096, 'memory, KiB');
cmp_ok(fd_count($worker), '<', 40, 'open files');

###############################################################################

sub publish {
	my ($name) = @_;
	my $p = rtmp_connect(port(8080), 'test');
	my $status = $p->publish($name);
	$p->close();
	return $status;
}

sub errors {
	return scalar grep { /\[error\].*oclp_publish start of "test\/\w+".*: no answer: / }
		split /\n/, $t->read_file('error.log');
}

# the subs hold it, and it must end before the tests are counted
undef $t;

###############################################################################
