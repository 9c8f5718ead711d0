#!/usr/bin/perl

# What clients name reaches the server byte for byte, in one request each.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Socket qw/ unpack_sockaddr_in /;
use Test::Nginx;
use Test::Nginx::FLV;
use Test::Nginx::OCLP;
use Test::Nginx::Process;
use Test::Nginx::RTMP;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my %names = (
	plain => 'name',
	path => 'a/b.c-d_e~f',
	reserved => q{:@!$'()*,;},
	space => 'a b',
	ampersand => 'a&act=done',
	equals => 'a=b',
	hash => 'a#b',
	percent => 'a%00b',
	percents => '%',
	plus => 'a+b',
	quotes => qq{"<>\\^`{|}[]},
	utf8 => "\xe6\xb5\x81\xe5\xaa\x92\xe4\xbd\x93",
	not_utf8 => "\xff\xfe",
);
my %args = (
	plain => 'k=v&l=w',
	space => 'k=a b',
	hash => 'k=a#b',
	percent => 'k=%00%0d%0a',
	utf8 => "k=\xe6\xb5\x81",
	question => 'k=?/',
);
my @control = ("a\x0d\x0ab", "a\x00b", "\x7f", "a\x1fb", "\x0a");

my $t = Test::Nginx->new()->plan(5 * keys(%names) + 2 * keys(%args) + 5 * @control + 8);

$t->write_file_expand('nginx.conf', <<'EOC');

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    server {
        listen 127.0.0.1:8082;

        location / {
            flv_live 127.0.0.1:8080;
        }
    }
}

rtmp {
    server {
        listen 127.0.0.1:8080;
        live on;

        application * {
            oclp_publish http://127.0.0.1:8081/p args=$args;
            oclp_play http://127.0.0.1:8081/q "args=u=$tc_url&d=$domain&x=a b";
        }

        application who {
            oclp_play http://127.0.0.1:8081/q
                      args=$remote_addr:$remote_port&$server_addr:$server_port&$connection&$pid;
        }
    }
}

EOC

my $oclp = oclp_server($t, port(8081));
$t->run();

###############################################################################

# the server decodes what the client said

for my $kind (sort keys %names) {
	my $seen = $oclp->requests();
	my $name = $names{$kind};
	# behind a slash, the name begins
	my $app = 'app ' . $name =~ s{/}{:}gr;
	my $p = rtmp_connect(port(8080), $app);
	is($p->publish($name), 'NetStream.Publish.Start', "$kind: published");
	my @requests = $oclp->wait_requests('*', $seen + 1);
	is(scalar(@requests) - $seen, 1, "$kind: one request");
	is("$requests[-1]{app} $requests[-1]{name}", "$app $name",
		"$kind: the bytes of the client");
	# what is encoded, and what not, in the line as it came
	my ($in_app, $encoded) = map {
		s{([^A-Za-z0-9\-._~/:\@!\$'()*,;])}{sprintf '%%%02X', ord $1}ger
	} $app, $name;
	is($requests[-1]{line}, "GET /p?call=publish&act=start&domain=localhost&app=$in_app"
		. "&name=$encoded HTTP/1.1", "$kind: the request line");
	$p->close();
}

# over HTTP they are encoded by the client already, and mean the same

for my $kind (sort keys %names) {
	my $seen = $oclp->requests('play');
	my $name = join '', map { sprintf '%%%02x', ord } split //, $names{$kind};
	my $p = http_flv(port(8082), "/app/$name?k=%00%0d%0a", wait => 0);
	my $request = ($oclp->wait_requests('play', $seen + 1))[-1];
	is($request->{name}, $names{$kind}, "$kind: the bytes of an HTTP client");
	$p->close();
}

# ordinary names look as they are

my ($request) = grep { $_->{name} eq $names{path} } $oclp->requests();
like($request->{target}, qr/&name=\Q$names{path}\E$/, 'ordinary bytes are not encoded');
($request) = grep { $_->{name} eq $names{reserved} } $oclp->requests();
like($request->{target}, qr/&name=\Q$names{reserved}\E$/, 'some others neither');
($request) = grep { $_->{name} eq $names{percent} } $oclp->requests();
like($request->{target}, qr/&name=a%2500b$/, 'a percent sign is encoded');

# arguments are a query, and stay one

for my $kind (sort keys %args) {
	my $seen = $oclp->requests();
	my $p = rtmp_connect(port(8080), 'app');
	is($p->publish("args-$kind?$args{$kind}"), 'NetStream.Publish.Start',
		"args, $kind: published");
	my $got = (($oclp->wait_requests('*', $seen + 1))[-1]{args});
	my $encoded = join '', map { /[\x21\x24-\x3b\x3d\x3f-\x7e]/ ? $_ : sprintf '%%%02X', ord }
		split //, $args{$kind};
	is($got, $encoded, "args, $kind: as they are");
	$p->close();
}

# other values can't forge a parameter

my $seen = $oclp->requests();
my $p = rtmp_connect(port(8080), 'app', tc_url => 'rtmp://h/app&act=done #x');
is($p->play('name'), 'NetStream.Play.Start', 'tcUrl');
$request = ($oclp->wait_requests('*', $seen + 1))[-1];
is($request->{args}, 'u=rtmp://h/app%26act%3Ddone%20%23x&d=h&x=a%20b', 'tcUrl encoded');

# who it is

$seen = $oclp->requests();
$p = rtmp_connect(port(8080), 'who');
is($p->play('name'), 'NetStream.Play.Start', 'who');
$request = ($oclp->wait_requests('*', $seen + 1))[-1];
my ($client) = unpack_sockaddr_in(getsockname($p->{socket}));
my $server = port(8080);
like($request->{args}, qr/^127\.0\.0\.1:$client&127\.0\.0\.1:$server&\d+&\d+$/, 'addresses and numbers');

# control bytes are refused before anybody is asked

$seen = $oclp->requests();
for my $name (@control) {
	$p = rtmp_connect(port(8080), 'app');
	is($p->publish($name), 'NetStream.Publish.BadName', 'control bytes refused');
	$p = rtmp_connect(port(8080), 'app');
	is($p->play($name), 'NetStream.Play.StreamNotFound', 'for players, too');
	$p = rtmp_connect(port(8080), "app$name");
	ok($p->status() ne 'NetConnection.Connect.Success' && $p->closed(), 'in the application, too');
	my $path = join '', map { sprintf '%%%02x', ord } split //, $name;
	for my $uri ("/app/x$path", "/app$path/x") {
		$p = http_flv(port(8082), $uri);
		like($p ? $p->status() : 'closed', qr/^4\d\d$/, 'over HTTP');
		$p->close() if $p;
	}
}
is(scalar($oclp->requests()), $seen, 'nobody is asked');

###############################################################################
