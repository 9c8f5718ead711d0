#!/usr/bin/perl

# Tests for configurations as they are written for clusters, with the modules
# that came before this one: they load without a word.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Conf;

my $t = Test::Nginx->new()->plan(9);

sub server { return "rtmp { server { listen 127.0.0.1:%%PORT_25050%%; $_[0] } }" }

is(conf_check($t, server(<<'END')), '', 'static push');
        application live {
            live on;
            push rtmp://xxx/xxx;
        }
END

is(conf_check($t, server(<<'END')), '', 'static pull');
        application live {
            live on;
            pull rtmp://xxx/xxx;
        }
END

is(conf_check($t, server(<<'END')), '', 'callbacks of clients and streams');
application test {
    live on;
    cache_time 3s;
    idle_streams off;
    oclp_publish http://127.0.0.1:6200/oclp/v1/publish stage=start,done args=a=c&b=d;
    oclp_play    http://127.0.0.1:6200/oclp/v1/play    stage=start,done args=a=c&b=d;
    oclp_stream  http://127.0.0.1:6200/oclp/v1/stream  stage=start,done args=a=c&b=d;
}
END

is(conf_check($t, server(<<'END')), '', 'dynamic pull');
application edge {
    live on;
    cache_time 3s;
    low_latency on;
    oclp_pull     http://127.0.0.1:6200/oclp/v1/pull    stage=start,update,done args=a=c&b=d;
    pull http://101.200.241.232:11939/core app=core;
}
END

is(conf_check($t, server(<<'END')), '', 'dynamic push at the sequence headers');
application pub {
    live on;
    #oclp_push    http://127.0.0.1:6200/oclp/v1/push    stage=start,update,done args=a=c&b=d timeout=1s;
    oclp_meta    http://127.0.0.1:6200/oclp/v1/push    stage=start,update,done args=a=c&b=d timeout=1s;
}
END

is(conf_check($t, <<'END'), '', 'all callbacks');
rtmp {
    oclp_proc http://127.0.0.1:6200/proc timeout=1s update=10s;
    oclp_meta_once off;
    oclp_meta_type both;

    server {
        listen 127.0.0.1:%%PORT_25050%%;
        oclp_meta_type audio;

        application live {
            live on;
            oclp_meta_type video;
            oclp_push http://127.0.0.1:6200/push groupid=one args=a=$app&c=$remote_addr;
            oclp_push groupid=two http://127.0.0.1:6200/push?x=y update=5s;
        }

        application * {
            live on;
        }
    }
}
END

is(conf_check($t, <<'END'), '', "arut's module");
rtmp {
    server {
        listen 127.0.0.1:%%PORT_25050%%;
        ping 30s;
        ping_timeout 10s;
        max_streams 64;
        chunk_size 4000;
        ack_window 2500000;
        max_message 1M;
        buflen 1s;
        push_reconnect 1s;

        application live {
            live on;
            meta copy;
            interleave on;
            wait_key on;
            wait_video on;
            sync 10ms;
            buffer 1s;
            idle_streams off;
            drop_idle_publisher 10s;
            play_restart on;
            publish_notify on;
            session_relay on;
            relay_buffer 5s;
            max_connections 100;
            allow publish 127.0.0.1;
            deny publish all;
            allow play all;
            access_log logs/rtmp.log;
            push rtmp://backup.test:1936/live/one tcUrl=rtmp://backup.test/live flashVer=x live=1;
            pull backup.test/live name=two static;
        }
    }
}
END

is(conf_check($t, <<'END'), '', 'several servers and workers');
worker_processes 4;
rtmp {
    rtmp_auto_pull on;
    rtmp_auto_pull_port unix:/tmp/conf_cluster_t;
    rtmp_zone 1m;
    resolver 127.0.0.1 valid=30s;
    cache_time 3s;
    low_latency on;

    server {
        listen 127.0.0.1:%%PORT_25050%% reuseport;
        server_name core.test *.core.test;
        application live { live on; push rtmp://edge.test/$app; }
    }

    server {
        listen 127.0.0.1:%%PORT_25050%%;
        server_name ~^edge\d+\.test$;
        application live {
            live on;
            pull rtmp://core.test/live rtmp://core2.test/live;
            relay_reconnect 1s;
            failed_reconnect 100ms;
        }
    }
}
END

like(conf_check($t, server(<<'END')), qr/^"oclp_meta" is ignored .*\nand starts$/,
application live {
    oclp_push http://127.0.0.1:6200/;
    oclp_meta http://127.0.0.1:6200/;
}
END
	'push and meta exclude each other');
