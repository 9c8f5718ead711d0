//! The wire forms of a stream, and the subscribers that take each.

use std::cell::RefCell;

use crate::cost;
use crate::form::Form;
use crate::media::Media;
use crate::members::Members;
use crate::settings::Settings;
use crate::stickies::Stickies;
use crate::wire::Wire;

/// A wire whose last player has left is kept up for so long, in milliseconds: to fill it for the
/// next one takes as long as all that is cached.
const LINGER_MS: u64 = 1000;

/// A wire, and those who take its bytes.
pub(crate) struct Outlet {
    pub wire: Wire,
    pub subscribers: usize,
    /// Those of them that are written to directly.
    pub members: Members,
    /// The sticky messages that one of them was sent last.
    pub stickies: RefCell<Stickies>,
    /// When the last of them left.
    left: Option<u64>,
    /// The first byte, and the first packet, that one of the others still needs.
    pub behind: (u64, u64),
}

impl Outlet {
    fn new(wire: Wire) -> Self {
        Outlet {
            wire,
            subscribers: 0,
            members: Members::default(),
            stickies: RefCell::default(),
            left: None,
            behind: (0, 0),
        }
    }

    /// A wire is filled while it has subscribers, or while there is a GOP cache.
    fn is_wanted(&self, settings: &Settings) -> bool {
        self.subscribers > 0 || settings.cache_time > 0
    }
}

/// The outlets of a stream. Packets are kept in the first one's wire; the others are there as long
/// as their players, and a little longer if something is cached.
pub(crate) struct Outlets(Vec<Outlet>);

impl Outlets {
    /// One outlet, of the form in which packets are kept.
    pub(crate) fn new(form: Form) -> Self {
        Outlets(vec![Outlet::new(Wire::new(form, 0))])
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The wire in which packets are kept.
    pub(crate) fn first(&self) -> Option<&Wire> {
        self.0.first().map(|outlet| &outlet.wire)
    }

    /// The outlet of this form.
    pub(crate) fn get(&self, form: Form) -> Option<&Outlet> {
        self.0.iter().find(|outlet| outlet.wire.form == form)
    }

    /// The outlet of this form.
    pub(crate) fn get_mut(&mut self, form: Form) -> Option<&mut Outlet> {
        self.0.iter_mut().find(|outlet| outlet.wire.form == form)
    }

    /// The wire of this form.
    pub(crate) fn wire(&self, form: Form) -> Option<&Wire> {
        self.get(form).map(|outlet| &outlet.wire)
    }

    /// All of them.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Outlet> {
        self.0.iter_mut()
    }

    /// Puts a message that came at time `now` (ms) into each wire that somebody wants.
    pub(crate) fn append(&mut self, media: &Media<'_>, settings: &Settings, now: u64) {
        for outlet in self.0.iter_mut().filter(|outlet| outlet.is_wanted(settings)) {
            outlet.wire.append(media, now);
        }
    }

    /// A subscriber comes that wants the packets from number `seq` on, of which `next` will be the
    /// next. Gives the first that it can have; none if there is no wire of its form.
    pub(crate) fn enter(
        &mut self,
        form: Form,
        seq: u64,
        next: u64,
        settings: &Settings,
    ) -> Option<u64> {
        let outlet = self.get_mut(form)?;
        if !outlet.is_wanted(settings) {
            outlet.wire.resume(next);
        }
        outlet.subscribers += 1;
        outlet.left = None;
        Some(seq.max(outlet.wire.first()))
    }

    /// Whether there may be one more.
    pub(crate) fn have_room(&self) -> bool {
        self.0.len() < cost::MAX_WIRES
    }

    /// Adds an outlet with one subscriber.
    pub(crate) fn add(&mut self, wire: Wire) {
        self.0.push(Outlet { subscribers: 1, ..Outlet::new(wire) });
    }

    /// A subscriber has left at time `now`.
    pub(crate) fn leave(&mut self, form: Form, settings: &Settings, now: u64) {
        let Some(outlet) = self.get_mut(form) else { return };
        outlet.subscribers -= 1;
        if outlet.subscribers == 0 {
            outlet.left = Some(now);
            let linger = if settings.cache_time > 0 { LINGER_MS } else { 0 };
            self.drop_left(linger, now);
        }
    }

    /// Drops the wires whose players have left for long.
    pub(crate) fn drop_idle(&mut self, now: u64) {
        if self.0.len() > 1 {
            self.drop_left(LINGER_MS, now);
        }
    }

    fn drop_left(&mut self, linger: u64, now: u64) {
        let Some(kept) = self.first().map(|wire| wire.form) else { return };
        let over = |left: u64| now.saturating_sub(left) >= linger;
        self.0.retain(|outlet| outlet.wire.form == kept || !outlet.left.is_some_and(over));
    }

    /// Whether there are subscribers that the engine does not write to directly.
    pub(crate) fn have_others(&self) -> bool {
        self.0.iter().any(|outlet| outlet.subscribers > outlet.members.count())
    }

    /// What the wires hold.
    pub(crate) fn held(&self) -> u64 {
        self.0.iter().map(|outlet| outlet.wire.held()).sum()
    }
}
