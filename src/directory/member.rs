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
    /// Whether the scheduling server is sent updates while the key has clients; 0 or 1.
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

    /// What this worker says; added if it has said nothing yet.
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ME: i32 = 10;
    const OTHER: i32 = 20;

    fn with_source(pid: i32, priority: i32) -> Members {
        let mut members = Members::default();
        members.claim(pid, priority, |_| true).expect("the first");
        members
    }

    /// As the other workers see it.
    fn stored(members: &Members) -> (Members, Class) {
        let mut value = b"what was there".to_vec();
        let class = members.encode(&mut value);
        (Members::decode(&value), class)
    }

    proptest! {
        #[test]
        fn any_members_come_back(
            all in prop::collection::vec(
                (any::<i32>(), 1u32.., any::<i32>(), any::<u32>(), 0u32..2), 0..8),
        ) {
            let member = |(pid, clients, source, interested, updates)| Member {
                pid, clients, source, interested, updates,
            };
            let members = Members(all.into_iter().map(member).collect());
            prop_assert_eq!(stored(&members).0, members);
        }

        #[test]
        fn a_value_of_a_broken_worker_never_panics(
            value in prop::collection::vec(any::<u8>(), 0..100),
        ) {
            let mut members = Members::decode(&value);
            members.own_source(ME);
            members.enter(ME, u32::MAX);
            members.leave_if(ME, true);
            members.change_interest(ME, true);
        }

        #[test]
        fn whoever_enters_and_leaves_leaves_nothing(order in prop::collection::vec(0i32..4, 0..40)) {
            let mut members = Members::default();
            for pid in &order {
                prop_assert!(members.enter(*pid, u32::MAX).is_some());
            }
            for pid in order.iter().rev() {
                members.leave(*pid);
            }
            prop_assert_eq!(stored(&members).0, Members::default());
        }
    }

    #[test]
    fn who_has_nothing_to_do_with_a_key_is_not_stored() {
        let mut members = Members::default();
        members.own_source(ME);
        assert_eq!(stored(&members), (Members::default(), Class::Open));
    }

    #[test]
    fn what_has_a_source_has_room() {
        let mut members = Members::default();
        members.enter(ME, 1);
        assert_eq!(stored(&members).1, Class::Open);
        members.claim(OTHER, 0, |_| true).expect("the first");
        assert_eq!(stored(&members).1, Class::Reserved);
    }

    #[test]
    fn a_source_that_rules_this_one_out_is_another_workers() {
        let mut members = with_source(OTHER, 0);
        assert_eq!(members.claim(ME, 0, |other| other == 0), Err(Taken));
        assert_eq!(members.best_of_others(OTHER), None);
        assert_eq!(members.claim(ME, 1, |other| other == 1), Ok(()));
        // its own rules nothing out
        assert_eq!(members.claim(OTHER, 0, |other| other == 0), Ok(()));
    }

    #[test]
    fn a_pull_gives_way_to_any_source() {
        assert_eq!(with_source(OTHER, -1).claim(ME, -1, |_| true), Err(Taken));
        assert_eq!(Members::default().claim(ME, -1, |_| true), Ok(()));
    }

    #[test]
    fn the_best_of_the_others_is_the_one_of_the_highest_priority() {
        let mut members = with_source(OTHER, -1);
        members.claim(30, 5, |_| false).expect("not ruled out");
        members.claim(ME, 9, |_| false).expect("not ruled out");
        assert_eq!(members.best_of_others(ME), Some((30, 5)));
        members.set_source(30, None);
        assert_eq!(members.best_of_others(ME), Some((OTHER, -1)));
    }

    #[test]
    fn one_that_takes_a_place_tells_whose_it_was() {
        let mut members = with_source(OTHER, 0);
        members.claim(30, 7, |_| false).expect("not ruled out");
        assert_eq!(members.replace(ME, 0), [OTHER]);
        assert!(members.is_replaced(OTHER, 0));
        assert!(!members.is_replaced(ME, 0) && !members.is_replaced(30, 7));
    }

    #[test]
    fn a_source_that_nobody_took_the_place_of_is_not_replaced() {
        assert!(!Members::default().is_replaced(ME, 0));
        assert!(!with_source(ME, 0).is_replaced(ME, 0));
    }

    #[test]
    fn only_others_that_are_interested_are_told() {
        let mut members = Members::default();
        members.change_interest(ME, true);
        members.change_interest(OTHER, true);
        members.change_interest(OTHER, true);
        members.change_interest(OTHER, false);
        members.enter(30, 1);
        assert_eq!(members.interested(ME), [OTHER]);
        members.change_interest(OTHER, false);
        members.change_interest(OTHER, false);
        assert!(members.interested(ME).is_empty());
    }

    #[test]
    fn no_more_enter_than_may() {
        let mut members = Members::default();
        assert_eq!(members.enter(ME, 2), Some(true));
        assert_eq!(members.enter(OTHER, 2), Some(false));
        assert_eq!(members.enter(ME, 2), None);
        members.leave(OTHER);
        assert_eq!(members.enter(ME, 2), Some(false));
        assert_eq!(Members::default().enter(ME, 0), None);
    }

    #[test]
    fn only_the_last_leaves_as_the_last() {
        let mut members = Members::default();
        members.enter(ME, 9);
        members.enter(OTHER, 9);
        assert!(!members.leave_if(ME, true));
        assert!(members.leave_if(ME, false));
        assert!(!members.leave_if(OTHER, false));
        assert!(members.leave_if(OTHER, true));
        assert_eq!(members.clients(), 0);
    }

    #[test]
    fn updates_are_sent_by_the_first_worker_with_clients() {
        let mut members = Members::default();
        assert!(members.enter_told(ME));
        members.set_updates(true);
        assert!(!members.enter_told(OTHER));
        assert!(members.sends_updates(ME) && !members.sends_updates(OTHER));
        members.leave(ME);
        assert!(members.sends_updates(OTHER), "what was said of updates holds for the next");
        members.set_updates(false);
        assert!(!members.sends_updates(OTHER));
    }

    #[test]
    fn a_worker_that_died_is_forgotten_with_its_source() {
        let mut members = with_source(OTHER, 0);
        members.enter(ME, 1);
        assert!(members.lose_source(|pid| pid == OTHER));
        assert!(!members.lose_source(|pid| pid == ME));
        members.forget(|pid| pid == OTHER);
        assert_eq!(members.pids().collect::<Vec<_>>(), [ME]);
    }

    #[test]
    fn counts_do_not_overflow() {
        let mut members = Members(vec![
            Member { clients: u32::MAX, interested: u32::MAX, ..Member::new(ME) },
            Member { clients: u32::MAX, ..Member::new(OTHER) },
        ]);
        assert_eq!(members.enter(ME, u32::MAX), None);
        assert!(!members.enter_told(ME));
        members.change_interest(ME, true);
        assert_eq!(members.own(ME).interested, u32::MAX);
    }
}
