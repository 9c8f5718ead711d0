//! What workers say of a key, and how that is written into the zone.

use shared_table::Class;

/// What a worker says of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) pid: i32,
    /// Clients from outside that it serves.
    pub(super) clients: u32,
    /// The priority of its source; [`NO_SOURCE`] = it has none.
    pub(super) source: i32,
    /// How many of it want to hear when sources come and go.
    pub(super) interested: u32,
    /// Whether those who ask for it are told that the key goes on; 0 or 1.
    pub(super) updates: u32,
}

/// [`Member::source`] of a worker that has none.
pub(super) const NO_SOURCE: i32 = i32::MIN;

/// Bytes of a member in the zone.
const SIZE: usize = 20;

impl Member {
    /// A worker that has nothing to do with the key yet.
    fn new(pid: i32) -> Self {
        Member { pid, clients: 0, source: NO_SOURCE, interested: 0, updates: 0 }
    }

    fn is_idle(&self) -> bool {
        self.clients == 0 && self.source == NO_SOURCE && self.interested == 0
    }

    fn has_source(&self) -> bool {
        self.source != NO_SOURCE
    }

    fn encode(&self) -> [u8; SIZE] {
        let words = [
            self.pid.to_le_bytes(),
            self.clients.to_le_bytes(),
            self.source.to_le_bytes(),
            self.interested.to_le_bytes(),
            self.updates.to_le_bytes(),
        ];
        let mut bytes = [0; SIZE];
        for (to, word) in bytes.chunks_exact_mut(4).zip(words) {
            to.copy_from_slice(&word);
        }
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut words = bytes.chunks_exact(4).filter_map(|word| <[u8; 4]>::try_from(word).ok());
        let mut word = || words.next();
        Some(Member {
            pid: i32::from_le_bytes(word()?),
            clients: u32::from_le_bytes(word()?),
            source: i32::from_le_bytes(word()?),
            interested: u32::from_le_bytes(word()?),
            updates: u32::from_le_bytes(word()?),
        })
    }
}

/// Another worker has a source that rules this one out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken;

impl std::fmt::Display for Taken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("another worker has a source of the stream")
    }
}

impl std::error::Error for Taken {}

/// All that workers say of a key, in the order in which they came; `me` is always the id of this
/// worker's process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Members(Vec<Member>);

impl Members {
    pub(super) fn decode(value: &[u8]) -> Self {
        Members(value.chunks_exact(SIZE).filter_map(Member::decode).collect())
    }

    /// Writes those that are not idle, and gives what room they may take: a source is never kept out
    /// by what players ask for.
    pub(super) fn encode(&self, value: &mut Vec<u8>) -> Class {
        value.clear();
        for member in self.0.iter().filter(|member| !member.is_idle()) {
            value.extend_from_slice(&member.encode());
        }
        match self.0.iter().any(Member::has_source) {
            true => Class::Reserved,
            false => Class::Open,
        }
    }

    /// The ids of the workers.
    pub(super) fn pids(&self) -> impl Iterator<Item = i32> + '_ {
        self.0.iter().map(|member| member.pid)
    }

    /// What this worker says; it joins the others if it was none of them.
    fn own(&mut self, me: i32) -> &mut Member {
        if !self.0.iter().any(|member| member.pid == me) {
            self.0.push(Member::new(me));
        }
        match self.0.iter_mut().find(|member| member.pid == me) {
            Some(own) => own,
            None => unreachable!("it has joined"),
        }
    }

    fn others(&self, me: i32) -> impl Iterator<Item = &Member> {
        self.0.iter().filter(move |member| member.pid != me)
    }

    // ---- sources ----

    /// The priority of this worker's best source.
    pub(super) fn own_source(&mut self, me: i32) -> i32 {
        self.own(me).source
    }

    /// Makes a source of this worker known, unless one of another worker rules it out.
    pub(super) fn claim(
        &mut self,
        me: i32,
        priority: i32,
        rules_out: impl Fn(i32) -> bool,
    ) -> Result<(), Taken> {
        if self.others(me).any(|other| other.has_source() && rules_out(other.source)) {
            return Err(Taken);
        }
        let own = self.own(me);
        own.source = own.source.max(priority);
        Ok(())
    }

    /// The same, in the place of other workers' sources of this priority. Gives those workers.
    pub(super) fn replace(&mut self, me: i32, priority: i32) -> Vec<i32> {
        let mut replaced = Vec::new();
        for other in self.0.iter_mut().filter(|m| m.pid != me && m.source == priority) {
            other.source = NO_SOURCE;
            replaced.push(other.pid);
        }
        let own = self.own(me);
        own.source = own.source.max(priority);
        replaced
    }

    /// Whether another worker has taken the place of this worker's source of this priority.
    pub(super) fn is_replaced(&self, me: i32, priority: i32) -> bool {
        let has = |member: &Member| member.source == priority;
        let own = self.0.iter().find(|member| member.pid == me);
        !own.is_some_and(has) && self.others(me).any(has)
    }

    /// This worker has `rest` as its best source.
    pub(super) fn set_source(&mut self, me: i32, rest: Option<i32>) {
        self.own(me).source = rest.unwrap_or(NO_SOURCE);
    }

    /// The best source of another worker: its worker and its priority.
    pub(super) fn best_of_others(&self, me: i32) -> Option<(i32, i32)> {
        let best = self.others(me).filter(|member| member.has_source());
        best.max_by_key(|member| member.source).map(|member| (member.pid, member.source))
    }

    /// Whether one of the workers that are `gone` had a source.
    pub(super) fn lose_source(&self, gone: impl Fn(i32) -> bool) -> bool {
        self.0.iter().any(|member| member.has_source() && gone(member.pid))
    }

    /// Takes out the workers that are `gone`.
    pub(super) fn forget(&mut self, gone: impl Fn(i32) -> bool) {
        self.0.retain(|member| !gone(member.pid));
    }

    // ---- interest ----

    /// The other workers that want to hear of sources.
    pub(super) fn interested(&self, me: i32) -> Vec<i32> {
        self.others(me).filter(|member| member.interested > 0).map(|member| member.pid).collect()
    }

    /// One more, or one less, of this worker wants to hear of sources.
    pub(super) fn change_interest(&mut self, me: i32, more: bool) {
        let own = self.own(me);
        own.interested = match more {
            true => own.interested.saturating_add(1),
            false => own.interested.saturating_sub(1),
        };
    }

    // ---- clients ----

    /// The clients of all workers.
    fn clients(&self) -> u32 {
        self.0.iter().fold(0, |sum, member| sum.saturating_add(member.clients))
    }

    /// Counts one more client, if there are fewer than `max`; says whether it is the first of all.
    pub(super) fn enter(&mut self, me: i32, max: u32) -> Option<bool> {
        let clients = self.clients();
        if clients >= max {
            return None;
        }
        let own = self.own(me);
        own.clients = own.clients.saturating_add(1);
        Some(clients == 0)
    }

    /// Counts one more client, for whom what was said of updates holds; says whether it is the first.
    pub(super) fn enter_told(&mut self, me: i32) -> bool {
        let present = self.0.iter().find(|member| member.clients > 0);
        let (first, updates) = present.map_or((true, 0), |member| (false, member.updates));
        let own = self.own(me);
        own.clients = own.clients.saturating_add(1);
        own.updates = updates;
        first
    }

    /// Counts one less.
    pub(super) fn leave(&mut self, me: i32) {
        let own = self.own(me);
        own.clients = own.clients.saturating_sub(1);
    }

    /// Counts one less if that is the last of all, or with `last` false if it is not; says whether it
    /// did.
    pub(super) fn leave_if(&mut self, me: i32, last: bool) -> bool {
        let leaves = (self.clients() <= 1) == last;
        if leaves {
            self.leave(me);
        }
        leaves
    }

    /// Whether there are to be updates as long as there are clients.
    pub(super) fn set_updates(&mut self, updates: bool) {
        for member in &mut self.0 {
            member.updates = updates.into();
        }
    }

    /// Whether there are to be updates and, of the workers that have clients, this is the one to send
    /// them: the first.
    pub(super) fn sends_updates(&self, me: i32) -> bool {
        let first = self.0.iter().find(|member| member.clients > 0);
        first.is_some_and(|first| first.pid == me && first.updates != 0)
    }
}
