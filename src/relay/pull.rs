//! One pull: whose name it asks in, where it goes, and what follows when it fails.

use std::future::pending;
use std::rc::{Rc, Weak};

use live::Stream;
use rtmp_protocol::flv::Tag;

use super::attempt::{attempt, Ended, Outcome, Relay};
use super::audience::{end_players, Audience};
use super::configured::Configured;
use super::decision::Targets;
use super::failure::{Failure, Refused};
use super::feed::{Feed, PRIORITY};
use super::flv_client::FlvClient;
use super::inlet;
use super::loops::{self, MAX_HOPS};
use super::media_flow::MediaFlow;
use super::pace::Pace;
use super::players::{Choice, Player};
use super::report::Report;
use super::rtmp_client::{Role, RtmpClient};
use super::rtmp_opening;
use super::scheduled::Scheduled;
use super::target::{Scheme, Target};
use crate::conf::Msec;
use crate::directory::{self, SourceHold};
use crate::nginx::async_conn::AsyncConn;
use crate::nginx::clock;
use crate::nginx::task::{self, race, sleep};
use crate::stream_request::StreamRequest;

/// How often a pull that waits for a publisher looks for another player to ask for.
const LOOK_MS: u64 = 5000;
/// How long the workers of other players have to ask in their names, before it is our turn again.
const YIELD_MS: u64 = 50;
/// A wait that is not worth being interrupted by a new player.
const SHORT_MS: u64 = 100;

/// Whether the application pulls at all.
pub fn possible(request: &StreamRequest) -> bool {
    request.app.relay.pull.is_some() || request.app.oclp.pull.is_some()
}

/// Starts the pull if there is a player to ask for and no source, or tells it of a new player.
pub fn start_if_needed(audience: &Rc<Audience>) {
    if audience.stream.on_air() || !audience.is_wanted() || !audience.players.any_open() {
        return;
    }
    if audience.is_pulling() {
        return audience.news.set();
    }
    let Some(request) = audience.players.first().filter(|request| possible(request)) else {
        return;
    };
    let pulling = keep_on(Rc::downgrade(audience), audience.stream.clone(), request);
    let this = Rc::downgrade(audience);
    let task = task::spawn(async move {
        pulling.await;
        // nothing is waited for any more, so this task may go
        if let Some(audience) = this.upgrade() {
            audience.end_pull();
        }
    });
    audience.set_pull(task);
}

/// Pulls for `audience`, until no player is left to ask for, or another worker pulls.
async fn keep_on(audience: Weak<Audience>, stream: Rc<Stream>, request: Rc<StreamRequest>) {
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
pub enum Origin {
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
            let player = match audience.players.choose(&pace, clock::now()) {
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
            pace.ask(identity, clock::now());
            audience.speak_for(&player);
            let gone = audience.gone.clone();
            drop(audience);
            let left = async { gone.wait().await };
            let outcome = attempt(self, &mut targets, &request, begin, &report, left).await;
            let Some(audience) = self.audience.upgrade() else { break };
            begin = match &outcome {
                Outcome::Ended(ended) => ended.next,
                _ => 0,
            };
            let has_failed = matches!(outcome, Outcome::Failed { .. });
            self.follow_up(&audience, &player, outcome, &mut hold, &report);
            let others_may = has_failed && hold.is_none();
            if others_may && directory::is_wanted_elsewhere(self.stream.key()) {
                drop(audience);
                sleep(YIELD_MS).await;
            }
        }
        drop(hold);
    }

    /// Does what follows from an attempt in the name of `player`.
    fn follow_up(
        &self,
        audience: &Audience,
        player: &Rc<Player>,
        outcome: Outcome,
        hold: &mut Option<SourceHold>,
        report: &Report,
    ) {
        let pace = Pace::of(self.stream.key());
        match outcome {
            Outcome::Left => (),
            Outcome::GiveUp => give_up(audience, player),
            Outcome::EndClients(why) => {
                // before the others hear that it is up to them
                directory::end_players(self.stream.key());
                end_players(&self.stream, why);
                *hold = None;
            }
            Outcome::Ended(ended) => {
                if ended.stable {
                    pace.worked(player.identity());
                }
                // a worker that leaves has ended it itself
                if audience.is_wanted() {
                    self.ended(&ended, &player.request, &pace, report);
                }
            }
            Outcome::Failed { failure, last } => {
                if failure.refused.is_some() {
                    // it may be because of whom it was asked for: others may try
                    *hold = None;
                }
                let next = failed(audience, player, &failure, &pace);
                let (relay, why) = (self.describe(), failure.to_string());
                report.failed(&relay, last.as_ref(), &why, format_args!("{next}"));
            }
        }
    }

    /// Players who have come through as many relays as one may can't have another one made.
    fn turn_away(&self, audience: &Audience, report: &Report) {
        for player in audience.players.open() {
            if loops::is_spent(&player.request) {
                report.speaks_for(&player.request);
                let from = String::from_utf8_lossy(&player.request.caller.remote_addr);
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
            false => pace.failed(delays(request), clock::now()),
        };
        match failure.is_normal() && *stable {
            true => report.ended(&self.describe(), target, &failure.to_string()),
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

/// There is to be no pull for a player, nor for those with the same identity.
fn give_up(audience: &Audience, player: &Rc<Player>) {
    for player in audience.players.of(player.identity()) {
        match player.request.app.live.idle_streams || audience.stands_for(&player) {
            true => player.give_up(),
            false => player.refuse("the stream is not pulled"),
        }
    }
    audience.gave_up(player);
}

/// No origin gave the stream to a player: gives what follows, for the log.
fn failed(audience: &Audience, player: &Player, failure: &Failure, pace: &Pace) -> String {
    let (identity, request) = (player.identity(), &player.request);
    let again = |ms| format!("again in {ms}ms");
    let why = match failure.refused {
        None => return again(pace.failed(delays(request), clock::now())),
        Some(Refused::Forbidden) => "the origin does not give the stream",
        // who would wait for a publisher waits for an origin that has none
        Some(Refused::NotFound) if !request.app.live.idle_streams => {
            "the origin does not have the stream"
        }
        Some(_) => return again(pace.not_found(delays(request), clock::now())),
    };
    let refused = audience.players.of(identity);
    if refused.iter().any(|player| audience.stands_for(player)) {
        return again(pace.not_found(delays(request), clock::now()));
    }
    pace.refused(identity, request.caller.ip);
    for player in &refused {
        player.refuse(why);
    }
    match refused.len() {
        1 => "the player is refused".into(),
        n => format!("{n} players are refused"),
    }
}

impl Relay for Pull {
    type Session = Origin;

    fn describe(&self) -> String {
        format!("pull of \"{}\" from", self.stream.key())
    }

    async fn open(&self, request: &Rc<StreamRequest>, target: &Target) -> Result<Origin, Failure> {
        let pusher = self.audience.upgrade().and_then(|audience| audience.standing());
        let mut feed = Feed::new(&self.stream, pusher);
        match target.scheme {
            Scheme::Rtmp => {
                let buffer = request.app.relay.relay_buffer;
                let peer = rtmp_opening::open(request, target, Role::Play { buffer }).await?;
                self.opened(&peer.conn());
                let peer = rtmp_opening::established(peer, |message| feed.message(message)).await;
                Ok(Origin::Rtmp(peer.map_err(Failure::when_asked)?, feed))
            }
            Scheme::Http => {
                let client = FlvClient::open(request, target).await?;
                self.opened(&client.conn());
                Ok(Origin::Flv(client, feed))
            }
        }
    }

    fn flow(&self, session: &Origin) -> Option<Rc<MediaFlow>> {
        let (Origin::Rtmp(_, feed) | Origin::Flv(_, feed)) = session;
        if let Some(audience) = self.audience.upgrade() {
            audience.watch(&feed.flow());
        }
        Some(feed.flow())
    }

    /// An origin that sends nothing yet may send soon: with one url and no other player to ask for, it
    /// is best to wait there.
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

    async fn run(&self, session: Origin) -> Failure {
        match session {
            Origin::Rtmp(peer, feed) => inlet::play(peer, feed).await,
            Origin::Flv(client, mut feed) => {
                let mut taken = |tag: Tag<'_>| feed.media(tag.kind, tag.timestamp, tag.payload);
                client.play(&mut taken).await
            }
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
