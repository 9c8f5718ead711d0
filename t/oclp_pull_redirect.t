#!/usr/bin/perl

# Where a Location and a Domain lead a pull: what the origin is asked for, as its own
# callback tells.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Time::HiRes qw/ sleep time /;
use Test::Nginx::OCLP;
use Test::Nginx::Process;
use Test::Nginx::RTMP;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new();
my ($rtmp, $http) = map { '127.0.0.1:' . port($_) } 8083, 8084;

# the client plays rtmp://client.example/edge/NAME?token=x&y=%20z
my $own = 'token=x&y=%20z';
my @cases = (
	# Location, Domain, and what the origin sees: scheme domain app name args
	["rtmp://$rtmp/core/other", undef, "rtmp client.example core other $own"],
	["rtmp://$rtmp/core/other?a=b&c=%2f%00?d=#frag", undef,
		'rtmp client.example core other a=b&c=%2f%00?d='],
	["rtmp://$rtmp/core/a/b/c", undef, "rtmp client.example core a/b/c $own"],
	["rtmp://$rtmp/core", undef, "rtmp client.example core NAME $own"],
	["rtmp://$rtmp/core/", undef, "rtmp client.example core NAME $own"],
	["rtmp://$rtmp/core/a%20b%25", undef, "rtmp client.example core a b% $own"],
	["rtmp://$rtmp/core/a b", undef, "rtmp client.example core a b $own"],
	["rtmp://$rtmp//core/other", undef, "rtmp client.example core other $own"],
	["rtmp://$rtmp/core/?k=v", undef, 'rtmp client.example core NAME k=v'],
	["rtmp://$rtmp/core?k=v/other", undef, "rtmp client.example core other $own"],
	["rtmp://$rtmp", undef, "rtmp client.example edge NAME $own"],
	["rtmp://$rtmp/", undef, "rtmp client.example edge NAME $own"],
	["rtmp://$rtmp/?k=v", undef, 'rtmp client.example edge NAME k=v'],
	["RTMP://$rtmp/core/other", undef, "rtmp client.example core other $own"],
	["rtmp://$rtmp/core/other", 'origin.example', "rtmp origin.example core other $own"],
	["rtmp://$rtmp/core/other", 'origin.example:1936', "rtmp origin.example core other $own"],
	["rtmp://$rtmp/core/other", '', "rtmp client.example core other $own"],
	["http://$http/core/other", undef, "http client.example core other $own"],
	["http://$http/core/other?a=b&c=%2f", 'origin.example',
		'http origin.example core other a=b&c=%2f'],
	["http://$http/core", undef, "http client.example core NAME $own"],
	["http://$http", undef, "http client.example edge NAME $own"],
);
my @bad = (
	[undef, undef], ['', undef], ['/core/name', undef], ['//host/core/name', undef],
	['name', undef], ['rtmp:', undef], ['rtmp://', undef], ['rtmp:///core/name', undef],
	['file:///etc/passwd', undef], ['unix:/tmp/socket', undef], ["https://$http/core/name", undef],
	["rtmps://$rtmp/core/name", undef], ['gopher://127.0.0.1:1/x', undef],
	["rtmp://127.0.0.1:99999/core/name", undef], ["rtmp://127.0.0.1:0/core/name", undef],
	["rtmp://127.0.0.1:x/core/name", undef], ["rtmp://user\@$rtmp/core/name", undef],
	["rtmp://$rtmp/core/a%0d%0ab%00", undef], ["rtmp://$rtmp/core/na\tme", undef],
	["rtmp://$rtmp/core/name\x01", undef], ["rtmp://$rtmp/core/name\x0dX: y", undef],
	["rtmp://$rtmp/core/name", "a b"],
	["rtmp://$rtmp/core/name", "a\x0db"], ["rtmp://$rtmp/core/name", "a/b"],
);

$t->plan(@cases + 3 * @bad + 8);

$t->write_file_expand('nginx.conf', <<'EOC');

%%TEST_GLOBALS%%

daemon off;
worker_shutdown_timeout 1s;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    server {
        listen 127.0.0.1:8084;

        location / {
            flv_live 127.0.0.1:8083;
        }
    }
}

rtmp {
    rtmp_auto_pull_port unix:%%TESTDIR%%/rtmp;

    server {
        listen 127.0.0.1:8080;
        live on;
        # one attempt is enough to see
        failed_reconnect 10s;
        relay_reconnect 10s;

        application edge {
            oclp_pull http://127.0.0.1:8081/pull stage=done;
        }
    }

    server {
        listen 127.0.0.1:8083;
        live on;

        application * {
            oclp_play http://127.0.0.1:8082/play args=$scheme&$args;
        }
    }
}

EOC

my $oclp = oclp_server($t, port(8081));
my $origin = oclp_server($t, port(8082));
$t->run();

###############################################################################

my $n = 0;
for my $case (@cases) {
	my ($location, $domain, $expected) = @$case;
	my $name = 'name' . $n++;
	answer($location, $domain);
	my $p = player($name);
	my $request = ($origin->wait_requests('play start', $n))[$n - 1];
	my ($scheme, $args) = split /&/, $request->{args} // '', 2;
	is(join(' ', map { $_ // '?' } $scheme, @$request{qw/ domain app name /}, $args),
		$expected =~ s/NAME/$name/r, $location . ($domain ? ", $domain" : ''));
	$p->close();
}
is(scalar($oclp->wait_requests('pull done', $n)), $n, 'done of each');

# what leads nowhere is an error, and counts as no answer

my $asked = $oclp->requests('pull start');
for my $case (@bad) {
	my ($location, $domain) = @$case;
	my $what = join ', ', map { $_ // 'none' } @$case;
	$what =~ s/([^\x20-\x7e])/sprintf '\\x%02x', ord $1/ge;
	answer($location, $domain);
	my $lines = errors();
	my $p = player("bad" . $n++);
	is(scalar($oclp->wait_requests('pull start', ++$asked)), $asked, "$what: asked");
	wait_for { errors() > $lines };
	is(errors(), $lines + 1, "$what: logged");
	ok(!$p->closed(0.02), "$what: the player waits");
	$p->close();
}
is(scalar($origin->requests('play start')), scalar(@cases), 'the origin is left alone');
is(scalar($oclp->requests('pull done')), scalar(@cases), 'no done without a relay');

# a redirect to the very stream that is asked about

answer('rtmp://127.0.0.1:' . port(8080) . '/edge/self', 'client.example');
my $lines = errors();
my $p = player('self');
wait_for { errors() > $lines };
is(errors(), $lines + 1, 'a redirect to itself is an error');
$p->close();

# one to the server that redirects, which redirects there again, and again

my $loop = 'http://127.0.0.1:' . port(8081) . '/loop';
$oclp->answer('*', status => 302, headers => [ Location => "$loop/self" ]);
$lines = errors();
$p = player('loop');
wait_for { errors() > $lines };
is(errors(), $lines + 1, 'a redirect for ever is an error');
my @followed = grep { $_->{path} =~ m{^/loop/} } $oclp->requests();
cmp_ok(scalar(@followed), '>', 0, 'it is followed');
cmp_ok(scalar(@followed), '<=', 4, 'but not for ever');
ok(!$p->closed(0.02), 'and the player waits');

###############################################################################

sub answer {
	my ($location, $domain) = @_;
	$oclp->answer('pull start', raw => "HTTP/1.1 302 Found\x0d\x0a"
		. (defined $location ? "Location: $location\x0d\x0a" : '')
		. (defined $domain ? "Domain: $domain\x0d\x0a" : '')
		. "Content-Length: 0\x0d\x0a\x0d\x0a");
}

sub errors {
	return scalar grep { /\[error\].*pull of "edge\// }
		split /\n/, $t->read_file('error.log');
}

sub player {
	my ($name) = @_;
	my $p = rtmp_connect(port(8080), 'edge', tc_url => 'rtmp://client.example:1935/edge');
	$p->play("$name?$own");
	return $p;
}

# the subs hold it, and it must end before the tests are counted
undef $t;

###############################################################################
