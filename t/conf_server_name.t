#!/usr/bin/perl

# Tests for server_name: which server a client's domain leads to. Each server is
# told by the size of its chunks.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Conf;
use Test::Nginx::RTMP;

my $t = Test::Nginx->new()->has(qw/rewrite/)->plan(34)
	->write_file_expand('nginx.conf', <<'EOT');

%%TEST_GLOBALS%%

daemon off;

events {
}

rtmp {
    server {
        listen 127.0.0.1:%%PORT_25010%%;
        listen 127.0.0.1:%%PORT_25011%%;
        server_name first.example.com;
        chunk_size 1001;
        application live { live on; }
    }

    server {
        listen 127.0.0.1:%%PORT_25010%%;
        server_name Exact.Example.com .both.example.com;
        chunk_size 1002;
        application live { live on; }
    }

    server {
        listen 127.0.0.1:%%PORT_25010%%;
        server_name *.example.com *.deep.both.example.com;
        chunk_size 1003;
        application live { live on; }
    }

    server {
        listen 127.0.0.1:%%PORT_25010%%;
        server_name live.* live.example.*;
        chunk_size 1004;
        application live { live on; }
    }

    server {
        listen 127.0.0.1:%%PORT_25010%%;
        server_name ~^R\d+\.test$ ~^r2 $hostname;
        chunk_size 1005;
        application live { live on; }
    }

    server {
        listen 127.0.0.1:%%PORT_25010%%;
        listen 127.0.0.1:%%PORT_25011%% default_server;
        server_name ~^r2 "" 192.0.2.1;
        chunk_size 1006;
        application live { live on; }
    }

    server {
        listen 127.0.0.1:%%PORT_25012%%;
        server_name only.example.com;
        chunk_size 1007;
        application live { live on; }
    }
}

EOT

$t->run();

# the chunk size of the server that answers
sub server_of {
	my ($domain, $port) = @_;
	my $client = rtmp_connect(port($port // 25010), 'live',
		tc_url => "rtmp://$domain/live");
	return $client->{in_chunk};
}

is(server_of('first.example.com'), 1001, 'exact name');
is(server_of('exact.example.com'), 1002, 'exact name goes before asterisk');
is(server_of('EXACT.example.COM'), 1002, 'case of letters');
is(server_of('exact.example.com:1935'), 1002, 'port');
is(server_of('exact.example.com.'), 1002, 'dot at the end');
is(server_of('both.example.com'), 1002, 'name that begins with a dot');
is(server_of('one.both.example.com'), 1002, 'its subdomain');
is(server_of('one.two.both.example.com'), 1002, 'subdomain of a subdomain');
is(server_of('one.deep.both.example.com'), 1003, 'the longest asterisk in front');
is(server_of('deep.both.example.com'), 1002, 'asterisk stands for something');
is(server_of('www.example.com'), 1003, 'asterisk in front');
is(server_of('example.com'), 1001, 'asterisk in front stands for something');
is(server_of('live.example.com'), 1003, 'asterisk in front goes before one at the end');
is(server_of('live.org'), 1004, 'asterisk at the end');
is(server_of('live.example.org'), 1004, 'longer name with asterisk at the end');
is(server_of('alive.org'), 1001, 'asterisk at the end begins at the start');
is(server_of('r1.test'), 1005, 'regular expression');
is(server_of('R1.TEST'), 1005, 'regular expression, other case');
is(server_of('r2.other'), 1005, 'the first regular expression');
is(server_of('192.0.2.1'), 1006, 'address as a name');
is(server_of('unknown.test'), 1001, 'default server is the first');
is(server_of('unknown.test', 25011), 1006, 'default_server');
is(server_of('first.example.com', 25011), 1001, 'name on the second address');
is(server_of('exact.example.com', 25011), 1006, 'name of another address');
is(server_of('unknown.test', 25012), 1007, 'single server');

# messages

is(conf_check($t, 'rtmp { server { server_name a..b; } }'),
	'server name "a..b" is invalid', 'empty label');
is(conf_check($t, 'rtmp { server { server_name *; } }'),
	'server name "*" is invalid', 'asterisk alone');
is(conf_check($t, 'rtmp { server { server_name a.*.b; } }'),
	'server name "a.*.b" is invalid', 'asterisk in the middle');
is(conf_check($t, 'rtmp { server { server_name w*.b; } }'),
	'server name "w*.b" is invalid', 'asterisk in a label');
is(conf_check($t, 'rtmp { server { server_name ~; } }'),
	'empty regex in server name "~"', 'empty regular expression');
like(conf_check($t, 'rtmp { server { server_name ~(a; } }'),
	qr/failed.* in "\(a"/, 'bad regular expression');
is(conf_check($t, 'rtmp { server { server_name a/b; } }'),
	"server name \"a/b\" has suspicious symbols\nand starts", 'slash');
like(conf_check($t, <<'END'), qr/^conflicting server name "a" on 127.0.0.1:\d+, ignored/,
rtmp {
    server { listen 127.0.0.1:%%PORT_25013%%; server_name a; }
    server { listen 127.0.0.1:%%PORT_25013%%; server_name b A; }
}
END
	'the same name twice');
is(conf_check($t, <<'END'), '', 'the same name on other addresses');
rtmp {
    server { listen 127.0.0.1:%%PORT_25013%%; server_name a; }
    server { listen 127.0.0.1:%%PORT_25014%%; server_name a; }
}
END
