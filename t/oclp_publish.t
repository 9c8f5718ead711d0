#!/usr/bin/perl

# oclp_publish: what the server is asked, and what each of its answers does to a
# publisher.

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

my $t = Test::Nginx->new()->plan(40);

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
            oclp_publish http://127.0.0.1:8081/oclp/v1/publish
                         stage=start,update,done args=a=c&b=d
                         timeout=500ms update=200ms;
        }

        application closed {
            oclp_fail closed;
            oclp_publish http://127.0.0.1:8081/oclp/v1/publish?x=y stage=done
                         groupid=g1 timeout=500ms;
        }

        application start {
            oclp_publish http://127.0.0.1:8081/start;
        }

        application down {
            oclp_publish http://127.0.0.1:8082/ stage=done;
        }

        application down_closed {
            oclp_fail closed;
            oclp_publish http://127.0.0.1:8082/ stage=done;
        }
    }
}

EOC

my $oclp = oclp_server($t, port(8081));
$t->run();

###############################################################################

# the request, byte for byte

my $p = publisher('test', 'name?token=x');
is($p->status(), 'NetStream.Publish.Start', '200: accepted');

my ($start) = $oclp->requests('publish start');
is($start->{line}, 'GET /oclp/v1/publish?call=publish&act=start&domain=localhost'
	. '&app=test&name=name&a=c&b=d HTTP/1.1', 'start, the request line');
is($start->{headers}{host}, '127.0.0.1:' . port(8081), 'host');

my @updates = $oclp->wait_requests('publish update', 2);
is($updates[0]{line}, $start->{line} =~ s/act=start/act=update/r, 'update');
cmp_ok($updates[0]{time} - $start->{time}, '>=', 0.19, 'time to update');
cmp_ok($updates[1]{time} - $updates[0]{time}, '>=', 0.19, 'time between updates');

$p->close();
my ($done) = $oclp->wait_requests('publish done', 1);
is($done->{line}, $start->{line} =~ s/act=start/act=done/r, 'done');
my @connections = map { $_->{connection} } $oclp->requests();
is("@connections", join(' ', map { 1 } @connections), 'one connection for all');

# groupid comes before the arguments, and a query of the url before all

$p = publisher('closed', 'name');
($start) = $oclp->requests('publish start')
	and ($start) = reverse $oclp->requests('publish start');
is($start->{target}, '/oclp/v1/publish?x=y&call=publish&act=start'
	. '&domain=localhost&app=closed&name=name&groupid=g1', 'query in the url');
$p->close();
($done) = (wait_done(2))[1];
is($done->{target}, $start->{target} =~ s/act=start/act=done/r, 'done without update');

# only start

$p = publisher('start', 'name');
is($p->status(), 'NetStream.Publish.Start', 'only start');
$p->close();

# what is refused

for my $status (201, 204, 299, 301, 302, 304, 399, 400, 403, 404, 499, 500, 503) {
	$oclp->answer('publish start', status => $status,
		headers => [ Location => 'rtmp://127.0.0.1:1/x/y' ]);
	$p = publisher('test', "refused$status");
	is($p->status(), 'NetStream.Publish.Forbidden', "$status: refused")
		or diag(explain($p->info()));
}
is($p->info()->{level}, 'error', 'level of a refusal');
ok($p->closed(), 'closed');

# no answer

$oclp->answer('publish start', hang => 1);
my $began = Time::HiRes::time();
$p = publisher('test', 'hang');
is($p->status(), 'NetStream.Publish.Start', 'no answer: accepted');
my $took = Time::HiRes::time() - $began;
cmp_ok($took, '>=', 0.45, 'after the timeout');
cmp_ok($took, '<', 1.5, 'and not much later');
is(publisher('closed', 'hang')->status(), 'NetStream.Publish.Forbidden',
	'no answer, oclp_fail closed: refused');

$oclp->answer('publish start', raw => "garbage\x0d\x0a\x0d\x0a");
is(publisher('closed', 'garbage')->status(), 'NetStream.Publish.Forbidden',
	'garbage, oclp_fail closed: refused');
$oclp->answer('publish start', raw => '');
is(publisher('closed', 'cut')->status(), 'NetStream.Publish.Forbidden',
	'connection closed, oclp_fail closed: refused');
$oclp->answer('publish start', raw => '');
my $open = publisher('test', 'cut');
is($open->status(), 'NetStream.Publish.Start', 'connection closed: accepted');

is(publisher('down', 'name')->status(), 'NetStream.Publish.Start', 'refused: accepted');
is(publisher('down_closed', 'name')->status(), 'NetStream.Publish.Forbidden',
	'refused, oclp_fail closed: refused');

# accepted without an answer: done, but no update

my $updates = grep { $_->{name} =~ /hang|cut/ } $oclp->requests('publish update');
$_->close() for $p, $open;
wait_for { 2 == grep { $_->{name} =~ /hang|cut/ } $oclp->requests('publish done') };
is($updates, 0, 'no update without an answer');
is(join(' ', sort map { $_->{name} } grep { $_->{name} =~ /hang|cut/ }
	$oclp->requests('publish done')), 'cut hang', 'done without an answer');
is(scalar(grep { $_->{name} =~ /refused/ } $oclp->requests('publish done')), 0,
	'no done after a refusal');

# a name in use is asked about all the same, and told of as done

$oclp->answer('publish start', status => 200);
my $first = publisher('test', 'busy');
is(publisher('test', 'busy')->status(), 'NetStream.Publish.BadName', 'busy');
wait_for { grep { $_->{name} eq 'busy' } $oclp->requests('publish done') };
is(scalar(grep { $_->{name} eq 'busy' } $oclp->requests('publish done')), 1,
	'done of the one that came too late');

###############################################################################

sub publisher {
	my ($app, $name) = @_;
	my $p = rtmp_connect(port(8080), $app);
	$p->publish($name);
	return $p;
}

sub wait_done {
	my ($count) = @_;
	return $oclp->wait_requests('publish done', $count);
}

###############################################################################
