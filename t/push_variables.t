#!/usr/bin/perl

# Tests for what a push tells the other server, by its url, its parameters and the
# variables in them.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::RTMP;
use Test::Nginx::Relay;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new();

# the line, and what is said there: app, name, and some members of connect
my @cases = (
	['' => 'live', 'cam', {}],
	['/there' => 'there', 'cam', {}],
	['/there/a/b?x=y&z' => 'there', 'a/b?x=y&z', {}],
	['/there app=other name=n pargs=q' => 'other', 'n?q', {}],
	['/$app-$parg_k/$name?$args' => 'live-v', 'cam?k=v&secret=1', {}],
	['/pages page_url=$page_url flash_ver=$flashver' => 'pages', 'cam',
		{ pageUrl => 'http://page/', flashVer => 'FMLE/3.0 x' }],
	['app=${app}2 name=$domain pargs=a=$remote_addr' => 'live2',
		'Host.Example?a=127.0.0.1' => {}],
	[' domain=d.example:8 page_url=http://p/ swf_url=http://s/ flash_ver=f'
		=> 'live', 'cam', { tcUrl => 'rtmp://d.example:8/live',
		pageUrl => 'http://p/', swfUrl => 'http://s/', flashVer => 'f' }],
	[' tcUrl=rtmp://t/x playPath=pp referer=http://r/ user_agent=ua live=1'
		=> 'live', 'pp', { tcUrl => 'rtmp://t/x', pageUrl => 'http://r/',
		flashVer => 'ua' }],
);

$t->plan(3 * @cases + 6);

relay_run($t, near => join "\n", map {
	my $url = $_->[0] =~ m!^[ /]|^$! ? $_->[0] : " $_->[0]";
	"push rtmp://127.0.0.1:%%PORT_8081%%$url;"
} @cases);

###############################################################################

my $server = rtmp_server(port(8081));
my $p = near('live', connect => { pageUrl => 'http://page/', flashVer => 'FMLE/3.0 x' },
	tc_url => 'rtmp://Host.Example:1/live');
$p->publish('cam?k=v&secret=1');

my %came;
for (@cases) {
	my $peer = rtmp_accept($server) or next;
	$came{"$peer->{connect}{app} $peer->{name}"}{$peer->{connect}{tcUrl}} = $peer;
}

for my $case (@cases) {
	my ($line, $app, $name, $members) = @$case;
	$name =~ s/Host\.Example/host.example/;
	my $tc_url = $members->{tcUrl} // "rtmp://127.0.0.1:${\port(8081)}/$app";
	my $peer = $came{"$app $name"}{$tc_url};
	ok($peer, "push$line");
	my $connect = $peer ? $peer->{connect} : {};
	is($connect->{tcUrl}, $tc_url, "tcUrl of push$line");
	is_deeply({ map { $_ => $connect->{$_} } keys %$members }, $members,
		"members of push$line");
}

# what every push says

my $connect = $came{'live cam'}{"rtmp://127.0.0.1:${\port(8081)}/live"}{connect};
like($connect->{flashVer}, qr/ngx-rtmp/, 'flashVer is our own');
ok(!exists $connect->{pageUrl}, 'no pageUrl but the line\'s');
is($connect->{ngxRtmpHops}, 1, 'the first relay');
is_deeply($connect->{fourCcList}, ['*'], 'every codec is forwarded');
is_deeply($connect->{videoFourCcInfoMap}, { '*' => 4 }, 'forwarded only');
unlike(join("\n", log_lines($t, qr/push/)), qr/secret/, 'no query in the log');

###############################################################################
