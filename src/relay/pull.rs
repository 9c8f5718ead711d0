//! Pulls: what is played here and not published here is published by us, from another server.
//!
//! The players of a stream share its pull: it starts when there is one of them and no source, and
//! ends when the last has left, or when somebody publishes the stream here. Whose name it asks in
//! is said in [`super::players`].

use std::cell::RefCell;
use std::future::pending;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::rc::{Rc, Weak};

use live::{Change, Key, Stream};

use super::attempt::{attempt, Ended, Outcome, Relay};
use super::audience::{self, Audience, Seat};
use super::configured::Configured;
use super::decision::Targets;
use super::failure::{Failure, Refused};
use super::feed::Feed;
use super::flow::Flow;
use super::flv_client::FlvClient;
use super::loops::{self, MAX_HOPS};
use super::pace::Pace;
use super::players::{Choice, Player};
use super::report::Report;
use super::rtmp_client::{Role, RtmpClient};
use super::scheduled::Scheduled;
use super::target::{Scheme, Target};
use crate::conf::{self, AppConf, Msec, ServerConf};
use crate::directory::{self, Interest, SourceHold};
use crate::nginx::async_conn::AsyncConn;
use crate::nginx::clock;
use crate::nginx::process;
use crate::nginx::task::{race, sleep};
use crate::registry;
use crate::stream_request::StreamRequest;

/// Below every publisher, so that one who comes wins.
pub const PRIORITY: i32 = -1;
/// How often a pull that waits for a publisher looks whether somebody else wants to ask.
const LOOK_MS: u64 = 5000;
/// How long the workers of other players have to ask in their names, before it is our turn again.
const YIELD_MS: u64 = 50;
/// A wait that is not worth being interrupted by a new player.
const SHORT_MS: u64 = 100;

thread_local! {
    /// The places of those who play without end: static pulls.
    static STATIC: RefCell<Vec<(Seat, Rc<Interest>)>> = const { RefCell::new(Vec::new()) };
    /// What players say is hashed with a key that none of them knows.
    static HASHER: RandomState = RandomState::new();
}

/// A worker starts.
pub fn init() {
    registry::observe(changed);
    // one worker pulls for all
    if process::worker() > 0 {
        return;
    }
    let Some(main) = conf::main_conf() else { return };
    for server in &main.servers {
        for app in server.applications() {
            if let Some(request) = static_name(app).map(|name| static_request(server, app, name)) {
                keep_static(&Rc::new(request));
            }
        }
    }
}

/// A worker ends: so do the static pulls, while what they hold of nginx is still there.
pub fn exit() {
    drop(STATIC.take());
    audience::exit();
}

/// The stream that a line `pull … static` of this application is for.
fn static_name(app: &AppConf) -> Option<&[u8]> {
    let line = app.relay.pull.as_ref().filter(|_| app.live.live && app.oclp.pull.is_none())?;
    line.keep.as_deref()
}

/// What a static pull asks and pushes in the name of, in whatever worker it runs; `None` if the
/// stream is none.
pub fn standing(key: &Key) -> Option<Rc<StreamRequest>> {
    let main = conf::main_conf()?;
    let server = main.servers.iter().find(|server| *server.id == *key.server)?;
    let app = server.applications().find(|app| *app.name == *key.app)?;
    let name = static_name(app).filter(|name| **name == *key.name)?;
    Some(Rc::new(static_request(server, app, name)))
}

fn static_request(server: &Rc<ServerConf>, app: &Rc<AppConf>, name: &[u8]) -> StreamRequest {
    StreamRequest {
        server: server.clone(),
        app: app.clone(),
        key: Key {
            server: server.id.as_str().into(),
            app: app.name.as_slice().into(),
            name: name.into(),
        },
        domain: Vec::new(),
        args: Vec::new(),
        remote_addr: Vec::new(),
        ip: None,
        remote_port: 0,
        local: None,
        connection: 0,
        tc_url: Vec::new(),
        page_url: Vec::new(),
        swf_url: Vec::new(),
        flash_ver: Vec::new(),
        scheme: "rtmp",
        hops: 0,
        via: Vec::new(),
    }
}

/// Takes a place that is never left, for a line `pull … static`.
fn keep_static(request: &Rc<StreamRequest>) {
    // workers of the generation before may still pull it
    let interest = directory::inner::interest(&request.key);
    let seat = Audience::of(&request.stream()).keep();
    STATIC.with_borrow_mut(|seats| seats.push((seat, interest)));
}

/// Whether the application pulls at all.
pub fn possible(request: &StreamRequest) -> bool {
    request.app.relay.pull.is_some() || request.app.oclp.pull.is_some()
}

/// A player was let in.
pub fn join(request: &Rc<StreamRequest>, stream: &Rc<Stream>) -> Seat {
    Audience::of(stream).take_seat(request)
}

/// A source in another worker came or went. If it was the worker that pulled the stream for all, it
/// is up to this one now. If it is a publisher, players go over to it; a pull that nobody plays ends.
pub fn resume(stream: &Rc<Stream>) {
    let Some(audience) = audience::find(stream.key()) else { return };
    let other = directory::source(stream.key());
    if audience.is_empty() && other.is_some_and(|other| other.priority > PRIORITY) {
        audience.end_pull();
    } else {
        audience.start_if_needed();
    }
}

/// There is no such stream, as a scheduler says.
pub fn end_players(stream: &Stream, why: &'static str) {
    if let Some(audience) = audience::find(stream.key()) {
        audience.players.end();
    }
    stream.end_players(why);
}

/// Follows a stream's sources.
fn changed(stream: &Rc<Stream>, change: Change) {
    let Some(audience) = audience::find(stream.key()) else { return };
    match change {
        // it wins, and the players are with it already
        Change::Published { own: true } => audience.end_pull(),
        // another worker was faster
        Change::Published { own: false } if !audience.is_feeding() => audience.end_pull(),
        Change::Unpublished => {
            // what was decided for the source before says nothing of the next
            audience.players.reopen();
            audience.start_if_needed();
        }
        Change::Audience { some } => audience.note_players(some),
        _ => (),
    }
}

/// What an origin, or a scheduler, is told in the name of `request`, as a number.
pub fn identity(request: &StreamRequest) -> u64 {
    HASHER.with(|hasher| {
        let mut hasher = hasher.build_hasher();
        if let Some(callback) = &request.app.oclp.pull {
            Scheduled(callback.clone()).told(request).hash(&mut hasher);
        } else if let Some(line) = &request.app.relay.pull {
            let targets = Configured { line: line.clone(), pull: true }.targets(request);
            targets.iter().for_each(|target| target.told().hash(&mut hasher));
        }
        hasher.finish()
    })
}

/// Pulls for `audience`, until nobody is left to ask for, or another worker does.
pub async fn keep_on(audience: Weak<Audience>, stream: Rc<Stream>, request: Rc<StreamRequest>) {
    let pull = Pull { audience, stream };
    if let Some(callback) = &request.app.oclp.pull {
        pull.keep_on(Scheduled(callback.clone())).await;
    } else if let Some(line) = &request.app.relay.pull {
        pull.keep_on(Configured { line: line.clone(), pull: true }).await;
    }
}

/// The pull of a stream.
struct Pull {
    audience: Weak<Audience>,
    stream: Rc<Stream>,
}

/// A pull that the origin has consented to.
enum Session {
    Rtmp(RtmpClient, Feed),
    Flv(FlvClient, Feed),
}

impl Pull {
    async fn keep_on(&self, mut targets: impl Targets) {
        let pace = Pace::of(self.stream.key());
        let report = Report::of(format!("{} {}", self.describe(), targets.name()));
        let mut hold: Option<SourceHold> = None;
        let mut begin = 0;
        while let Some(audience) = self.audience.upgrade() {
            if self.stream.on_air() || !audience.is_wanted() {
                break;
            }
            self.turn_away(&audience, &report);
            let player = match audience.players.choose(&pace) {
                Choice::Nobody => break,
                Choice::At(moment) => {
                    let ms = moment.saturating_sub(clock::now());
                    let news = audience.news.clone();
                    drop(audience);
                    match ms <= SHORT_MS {
                        true => sleep(ms).await,
                        false => race(sleep(ms), news.wait()).await,
                    }
                    continue;
                }
                Choice::Now(player) => player,
            };
            if hold.is_none() {
                // a stream is pulled once, whatever the number of workers
                hold = directory::claim_pull(self.stream.key(), PRIORITY).ok();
            }
            if hold.is_none() {
                directory::find_source(&self.stream);
                break;
            }
            let (request, identity) = (player.request.clone(), player.identity());
            pace.ask(identity);
            audience.speak_for(&player);
            let gone = audience.gone.clone();
            drop(audience);
            let left = async { gone.wait().await };
            let outcome = attempt(self, &mut targets, &request, begin, &report, left).await;
            let Some(audience) = self.audience.upgrade() else { break };
            begin = 0;
            match outcome {
                Outcome::Left => (),
                Outcome::GiveUp => give_up(&audience, &player),
                Outcome::EndClients(why) => {
                    // before the others hear that it is up to them
                    directory::end_players(self.stream.key());
                    end_players(&self.stream, why);
                    hold = None;
                }
                Outcome::Ended(ended) => {
                    begin = ended.next;
                    if ended.stable {
                        pace.worked(identity);
                    }
                    // a worker that leaves has ended it itself
                    if audience.is_wanted() {
                        self.ended(&ended, &request, &pace, &report);
                    }
                }
                Outcome::Failed { failure, last } => {
                    if failure.refused.is_some() {
                        // it may be because of whom it was asked for: others may try
                        hold = None;
                    }
                    let next = failed(&audience, &player, &failure, &pace);
                    let relay = self.describe();
                    report.failed(&relay, last.as_ref(), &failure.why, format_args!("{next}"));
                    if hold.is_none() && directory::is_wanted_elsewhere(self.stream.key()) {
                        drop(audience);
                        sleep(YIELD_MS).await;
                    }
                }
            }
        }
        drop(hold);
    }

    /// Players who have come through as many relays as one may can't have another one made.
    fn turn_away(&self, audience: &Audience, report: &Report) {
        for player in audience.players.open() {
            if loops::is_spent(&player.request) {
                let from = String::from_utf8_lossy(&player.request.remote_addr);
                let why =
                    format!("a player has come through {MAX_HOPS} relays already, client: {from}");
                report.failed(&self.describe(), None, &why, format_args!("it is refused"));
                player.refuse("too many relays");
            }
        }
    }

    fn ended(&self, ended: &Ended, request: &StreamRequest, pace: &Pace, report: &Report) {
        let Ended { failure, target, stable, .. } = ended;
        let ms = match stable {
            true => 0,
            false => pace.failed(delays(request)),
        };
        match failure.gone && *stable {
            true => report.ended(&self.describe(), target, &failure.why),
            false => {
                let why = format!("ended: {failure}");
                report.failed(
                    &self.describe(),
                    Some(target),
                    &why,
                    format_args!("again in {ms}ms"),
                );
            }
        }
    }
}

/// The first delay after a failure, and the longest.
fn delays(request: &StreamRequest) -> (Msec, Msec) {
    let conf = &request.app.relay;
    (conf.failed_reconnect, conf.pull_reconnect.unwrap_or(conf.relay_reconnect))
}

/// There is to be no pull for a player, and those who would get the same answer.
fn give_up(audience: &Audience, player: &Rc<Player>) {
    for player in audience.players.of(player.identity()) {
        match player.request.app.live.idle_streams || audience.stands_for(&player) {
            true => player.give_up(),
            false => player.refuse("the stream is not pulled"),
        }
    }
    audience.gave_up(player);
}

/// Nobody gave the stream to a player: what follows.
fn failed(audience: &Audience, player: &Player, failure: &Failure, pace: &Pace) -> String {
    let (identity, request) = (player.identity(), &player.request);
    let again = |ms| format!("again in {ms}ms");
    let why = match failure.refused {
        None => return again(pace.failed(delays(request))),
        Some(Refused::Forbidden) => "the origin does not give the stream",
        // who would wait for a publisher waits for an origin that has none
        Some(Refused::NotFound) if !request.app.live.idle_streams => {
            "the origin does not have the stream"
        }
        Some(_) => return again(pace.not_found(delays(request))),
    };
    let refused = audience.players.of(identity);
    if refused.iter().any(|player| audience.stands_for(player)) {
        return again(pace.not_found(delays(request)));
    }
    pace.refused(identity, request.ip);
    for player in &refused {
        player.refuse(why);
    }
    match refused.len() {
        1 => "the player is refused".into(),
        n => format!("{n} players are refused"),
    }
}

impl Relay for Pull {
    type Session = Session;

    fn describe(&self) -> String {
        format!("pull of \"{}\" from", self.stream.key())
    }

    async fn open(&self, request: &Rc<StreamRequest>, target: &Target) -> Result<Session, Failure> {
        let pusher = self.audience.upgrade().and_then(|audience| audience.standing());
        let mut feed = Feed::new(&self.stream, pusher);
        match target.scheme {
            Scheme::Rtmp => {
                let buffer = request.app.relay.relay_buffer;
                let peer = RtmpClient::open(request, target, Role::Play { buffer }).await?;
                self.opened(&peer.conn());
                let peer = peer.established(|message| feed.message(message)).await;
                Ok(Session::Rtmp(peer.map_err(Failure::when_asked)?, feed))
            }
            Scheme::Http => {
                let client = FlvClient::open(request, target).await?;
                self.opened(&client.conn());
                Ok(Session::Flv(client, feed))
            }
        }
    }

    fn flow(&self, session: &Session) -> Option<Rc<Flow>> {
        let (Session::Rtmp(_, feed) | Session::Flv(_, feed)) = session;
        if let Some(audience) = self.audience.upgrade() {
            audience.watch(&feed.flow());
        }
        Some(feed.flow())
    }

    /// An origin of which nothing comes may still have the stream soon: with one url and nobody else
    /// to ask for, there is nothing better than to wait there.
    async fn waited(&self, limit: Msec, spares: bool) {
        sleep(limit).await;
        if spares {
            return;
        }
        while let Some(audience) = self.audience.upgrade() {
            if audience.has_alternative() || directory::is_wanted_elsewhere(self.stream.key()) {
                return;
            }
            drop(audience);
            sleep(LOOK_MS).await;
        }
        pending().await
    }

    async fn run(&self, session: Session) -> Failure {
        match session {
            Session::Rtmp(peer, feed) => peer.play(feed).await,
            Session::Flv(client, mut feed) => client.play(&mut feed).await,
        }
    }
}

impl Pull {
    fn opened(&self, conn: &Rc<AsyncConn>) {
        if let Some(audience) = self.audience.upgrade() {
            audience.opened(conn);
        }
    }
}
