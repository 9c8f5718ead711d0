//! The cases: who is compared at what.

use super::server::{Kind, Merge, Ports, Relay, Setup};

/// One server in one set-up, as a row of a case's table.
#[derive(Clone, Debug)]
pub struct Contender {
    pub kind: Kind,
    pub setup: Setup,
    pub protocol: Protocol,
    /// What tells it from other rows of the same server.
    pub variant: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Rtmp,
    HttpFlv,
}

/// What is done to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Streams, and players of each.
    FanOut { streams: u32, players: u32 },
    /// Players of a stream where it is published, and as many of one that comes through a relay.
    Relay { players: u32 },
    /// One player for each of these streams at the far end of a relay that is not there yet.
    PullOnDemand { streams: u32 },
    /// Players that join, beside some that are there already.
    Join { present: u32, joins: u32, per_s: u32 },
    /// Players that come and go, at a rate or as fast as the server answers.
    Churn { slots: u32, until: &'static str, handshake: &'static str, rate: Option<u32> },
    /// Idle requests for a file.
    Hold { requests: u32 },
}

#[derive(Clone, Debug)]
pub struct Case {
    pub id: &'static str,
    pub title: &'static str,
    pub media: &'static str,
    pub work: Work,
    pub contenders: Vec<Contender>,
    /// Part of a quick comparison.
    pub quick: bool,
}

impl Contender {
    /// The server's name, and its variant if it has one.
    pub fn name(&self) -> String {
        match self.variant {
            "" => self.kind.name().into(),
            variant => format!("{}, {variant}", self.kind.name()),
        }
    }

    fn new(kind: Kind) -> Self {
        Self { kind, setup: Setup::default(), protocol: Protocol::Rtmp, variant: "" }
    }

    fn merge(mut self, ms: u32, variant: &'static str) -> Self {
        self.setup.merge = Merge::Ms(ms);
        self.variant = variant;
        self
    }

    fn cache(mut self) -> Self {
        self.setup.cache = true;
        self
    }

    fn relay(mut self, relay: Relay) -> Self {
        self.setup.relay = relay;
        self
    }

    fn callbacks(mut self) -> Self {
        self.setup.callbacks = true;
        self.variant = "oclp_play";
        self
    }

    fn flv(mut self) -> Self {
        self.protocol = Protocol::HttpFlv;
        self.setup.http = true;
        self
    }

    fn named(mut self, variant: &'static str) -> Self {
        self.variant = variant;
        self
    }
}

/// The windows that are compared with the floor's.
pub const WINDOWS: [(u32, &str); 4] =
    [(0, "0 ms"), (50, "50 ms"), (100, "100 ms"), (350, "350 ms")];

/// Every server with its defaults.
fn everybody() -> Vec<Contender> {
    use Kind::{LibnginxModRtmp, NgxRtmp, NodeMediaServer, Xiu};
    [NgxRtmp, LibnginxModRtmp, NodeMediaServer, Xiu].map(Contender::new).to_vec()
}

/// Every server with its defaults, then this module and the floor at each window.
fn all_windows() -> Vec<Contender> {
    let windows = |kind| WINDOWS.map(|(ms, name)| Contender::new(kind).merge(ms, name));
    [everybody(), windows(Kind::NgxRtmp).to_vec(), windows(Kind::Floor).to_vec()].concat()
}

fn zero_window() -> Vec<Contender> {
    let zero = |kind| Contender::new(kind).merge(0, "0 ms");
    [everybody(), vec![zero(Kind::NgxRtmp), zero(Kind::Floor)]].concat()
}

pub fn cases() -> Vec<Case> {
    let fan_out = |id, title, media, players, contenders, quick| {
        let work = Work::FanOut { streams: 1, players };
        Case { id, title, media, work, contenders, quick }
    };
    let case = |id, title, media, work, contenders, quick| Case {
        id,
        title,
        media,
        work,
        contenders,
        quick,
    };
    let ours = || Contender::new(Kind::NgxRtmp);
    let arut = || Contender::new(Kind::LibnginxModRtmp);
    let nms = || Contender::new(Kind::NodeMediaServer);
    let xiu = || Contender::new(Kind::Xiu);
    let floor = || Contender::new(Kind::Floor);
    let with_cache = || vec![ours().cache(), arut(), nms(), xiu()];
    let mut streams_floor = floor().merge(0, "0 ms");
    streams_floor.setup.streams = 500;
    let mut two_workers = ours().merge(50, "50 ms, 2 workers");
    two_workers.setup.workers = 2;
    vec![
        fan_out("fanout-1", "1 stream × 1 player, 1 Mbit/s", "1m", 1, zero_window(), false),
        fan_out("fanout-100", "1 stream × 100 players, 1 Mbit/s", "1m", 100, zero_window(), true),
        fan_out(
            "fanout-500",
            "1 stream × 500 players, 1 Mbit/s",
            "1m",
            500,
            [zero_window(), vec![ours().merge(50, "50 ms"), floor().merge(50, "50 ms")]].concat(),
            false,
        ),
        fan_out(
            "fanout-1000",
            "1 stream × 1000 players, 1 Mbit/s",
            "1m",
            1000,
            all_windows(),
            true,
        ),
        fan_out(
            "fanout-2000",
            "1 stream × 2000 players, 1 Mbit/s",
            "1m",
            2000,
            all_windows(),
            false,
        ),
        fan_out(
            "fanout-250-4m",
            "1 stream × 250 players, 4 Mbit/s",
            "4m",
            250,
            all_windows(),
            false,
        ),
        case(
            "streams-500",
            "500 streams × 1 player, 500 kbit/s",
            "500k",
            Work::FanOut { streams: 500, players: 1 },
            vec![
                ours().named("cache off"),
                ours().cache().named("cache 3 s"),
                arut(),
                nms(),
                xiu(),
                streams_floor,
            ],
            true,
        ),
        case(
            "relay-push",
            "A relay that pushes: 10 players of a stream pushed to their server, 10 of one published there",
            "1m",
            Work::Relay { players: 10 },
            vec![ours().relay(Relay::Push), arut().relay(Relay::Push)],
            true,
        ),
        case(
            "relay-pull",
            "A relay that pulls: 10 players of a stream their server pulls, 10 of one played where it is published",
            "1m",
            Work::Relay { players: 10 },
            vec![ours().relay(Relay::Pull), arut().relay(Relay::Pull)],
            false,
        ),
        case(
            "pull-on-demand",
            "20 streams pulled when their first player comes",
            "1m",
            Work::PullOnDemand { streams: 20 },
            vec![ours().cache().relay(Relay::Pull), arut().relay(Relay::Pull)],
            true,
        ),
        case(
            "join-idle",
            "100 players join one after the other",
            "1m",
            Work::Join { present: 0, joins: 100, per_s: 20 },
            with_cache(),
            true,
        ),
        case(
            "join-1000",
            "200 players join while 1000 play",
            "1m",
            Work::Join { present: 1000, joins: 200, per_s: 50 },
            with_cache(),
            false,
        ),
        case(
            "churn",
            "100 players connect, play and leave, again and again",
            "500k",
            Work::Churn { slots: 100, until: "status", handshake: "simple", rate: None },
            everybody(),
            true,
        ),
        case(
            "churn-digest",
            "The same with the signed handshake",
            "500k",
            Work::Churn { slots: 100, until: "status", handshake: "digest", rate: None },
            everybody(),
            false,
        ),
        case(
            "plays-oclp",
            "2000 plays a second, with and without oclp_play",
            "500k",
            Work::Churn { slots: 200, until: "status", handshake: "simple", rate: Some(2000) },
            vec![ours(), ours().callbacks()],
            true,
        ),
        case(
            "flv-1000",
            "1 stream × 1000 HTTP-FLV players, 1 Mbit/s",
            "1m",
            Work::FanOut { streams: 1, players: 1000 },
            vec![
                ours().flv().named("HTTP-FLV"),
                ours().named("RTMP"),
                ours().flv().merge(50, "HTTP-FLV, 50 ms"),
                ours().merge(50, "RTMP, 50 ms"),
                nms().flv().named("HTTP-FLV"),
                xiu().flv().named("HTTP-FLV"),
                floor().merge(50, "50 ms"),
            ],
            true,
        ),
        case(
            "held-1000",
            "1000 requests for a file that never ends: nginx's own memory for each",
            "1m",
            Work::Hold { requests: 1000 },
            vec![ours().flv()],
            true,
        ),
        case(
            "workers-2",
            "1 stream × 1000 players with one worker and with two",
            "1m",
            Work::FanOut { streams: 1, players: 1000 },
            vec![ours().merge(50, "50 ms, 1 worker"), two_workers],
            false,
        ),
    ]
}

/// Times of every run, in s.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    pub window: f64,
    pub warm_up: f64,
}

impl Case {
    /// The arguments of `rtmp-bench` that do the work on one contender; `far` is the other end of a relay.
    pub fn arguments(
        &self,
        contender: &Contender,
        near: Ports,
        far: Ports,
        pace: Pace,
    ) -> Vec<String> {
        let rtmp = |ports: Ports| format!("rtmp://127.0.0.1:{}/live/s{{}}", ports.rtmp);
        let play = |ports: Ports, count: u32, per_s: u32| {
            let url = match (contender.kind, contender.protocol) {
                (Kind::Floor, _) => format!("floor://127.0.0.1:{}/{{}}", ports.rtmp),
                (_, Protocol::Rtmp) => rtmp(ports),
                (_, Protocol::HttpFlv) => {
                    format!("http://127.0.0.1:{}/live/s{{}}.flv", ports.http)
                }
            };
            format!("{url}*{count}@{per_s}")
        };
        // what a relay pulls is published at the far end, what it pushes at the near one
        let (publish_at, play_at) = match contender.setup.relay {
            Relay::Pull => (far, near),
            _ => (near, far),
        };
        let mut words: Vec<String> = Vec::new();
        let mut add = |name: &str, value: String| words.extend([name.to_string(), value]);
        let mut streams = 1;
        match self.work {
            Work::FanOut { streams: count, players } => {
                streams = count;
                add("--play", play(near, players, 2000));
                // time for caches to fill, and for 500 streams to come without a rush
                if count > 1 {
                    add("--settle", "4".into());
                    add("--publish-over", "2".into());
                }
            }
            Work::Relay { players } => {
                // what plays one stream must not be in the way of the other: where both were played
                // from the same publisher, it was the scheduler's choice which server wrote first
                streams = 2;
                add("--play", play(far, players, 100).replace("{}", "{0}"));
                add("--play", play(play_at, players, 100).replace("{}", "{1}"));
            }
            Work::PullOnDemand { streams: count } => {
                streams = count;
                add("--settle", "3".into());
                add("--play", play(near, 1, 10));
            }
            Work::Join { present, joins, per_s } => {
                add("--settle", "3".into());
                if present > 0 {
                    add("--play", play(near, present, 2000));
                }
                add("--play", play(near, joins, per_s));
            }
            Work::Churn { slots, until, handshake, rate } => {
                add("--play", play(near, slots, 2000));
                if let Some(rate) = rate {
                    add("--rate", rate.to_string());
                }
                add("--until", until.into());
                add("--handshake", handshake.into());
            }
            Work::Hold { requests } => {
                add("--get", format!("http://127.0.0.1:{}/held*{requests}@2000", near.http));
                return [vec!["hold".into()], words].concat();
            }
        }
        if matches!(self.work, Work::Relay { .. }) {
            add("--publish", rtmp(far).replace("{}", "{0}"));
            add("--publish", rtmp(publish_at).replace("{}", "{1}"));
        } else if contender.kind != Kind::Floor {
            add("--publish", rtmp(publish_at));
        }
        add("--streams", streams.to_string());
        add("--media", self.media.into());
        add("--window", pace.window.to_string());
        add("--warm-up", pace.warm_up.to_string());
        // to wake a sleeping player costs a server as much as to write to it, and how often that
        // happens is chance
        if matches!(self.work, Work::Relay { .. } | Work::FanOut { .. }) {
            words.push("--busy-poll".into());
        }
        let verb = if matches!(self.work, Work::Churn { .. }) { "churn" } else { "run" };
        [vec![verb.into()], words].concat()
    }

    /// Does it take a second server?
    pub fn has_relay(&self) -> bool {
        matches!(self.work, Work::Relay { .. } | Work::PullOnDemand { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_are_unique() {
        let cases = cases();
        let ids: HashSet<_> = cases.iter().map(|case| case.id).collect();
        assert_eq!(ids.len(), cases.len());
        for case in &cases {
            let names: HashSet<_> = case.contenders.iter().map(Contender::name).collect();
            assert_eq!(names.len(), case.contenders.len(), "{}", case.id);
        }
    }

    #[test]
    fn a_pull_is_published_at_the_far_end_and_played_at_the_near_one() {
        let cases = cases();
        let case = cases.iter().find(|case| case.id == "pull-on-demand").unwrap();
        let (near, far) = (Ports { rtmp: 1, http: 2 }, Ports { rtmp: 3, http: 4 });
        let pace = Pace { window: 2.0, warm_up: 1.0 };
        let words = case.arguments(&case.contenders[0], near, far, pace).join(" ");
        assert!(words.contains("--publish rtmp://127.0.0.1:3/live/s{}"), "{words}");
        assert!(words.contains("--play rtmp://127.0.0.1:1/live/s{}*1@10"), "{words}");
    }

    #[test]
    fn one_of_two_streams_takes_the_relay() {
        let (near, far) = (Ports { rtmp: 1, http: 2 }, Ports { rtmp: 3, http: 4 });
        let pace = Pace { window: 2.0, warm_up: 1.0 };
        let url = |port, stream| format!("rtmp://127.0.0.1:{port}/live/s{{{stream}}}");
        for (id, publish_at, play_at) in [("relay-push", 1, 3), ("relay-pull", 3, 1)] {
            let case = cases().into_iter().find(|case| case.id == id).unwrap();
            let words = case.arguments(&case.contenders[0], near, far, pace).join(" ");
            for part in [
                format!("--play {}*10@100 --play {}*10@100", url(3, 0), url(play_at, 1)),
                format!("--publish {} --publish {}", url(3, 0), url(publish_at, 1)),
                "--streams 2".into(),
            ] {
                assert!(words.contains(&part), "{id}: {words}");
            }
        }
    }
}
