//! The judge of WAIT and WAITAOF: a count is never higher than the truth.
//!
//! ```text
//!   a write: on shard 0 --its key goes--> on shard 1 --worker learns of it--> ..
//!                                            |
//!            counted there                   there, or here                   here
//! ```
//!
//! Where slots move, a key is on its way for a while, and an engine learns of it when it is told
//! that the slot has another owner. Until then it asks the old owner, whose replicas had the write,
//! as any client of a cluster does that asks where it has written.

use std::collections::BTreeMap;

use super::client::{Ask, Expected};
use super::ledger::{EntryId, Having};
use super::plan::{GRACE, Told};
use super::resp::Reply;
use super::world::World;

/// Where a client's write is, as far as its worker can know.
enum Standing {
    /// On this shard; or, if it has just come there, it may still be looked for on others.
    On(usize, Vec<usize>),
    /// It was lost before anybody could know that it is there.
    Beyond,
}

impl World {
    // ---------------------------------------------------------------- where writes are

    fn standing(&self, client: usize, entry: EntryId, sent_at: u64) -> Standing {
        let entry = &self.ledger.entries[entry];
        let beliefs = &self.beliefs[self.clients[client].worker];
        let mut before = Vec::new();
        for pair in entry.homes.windows(2).rev() {
            let (home, since) = pair[1];
            let learned = beliefs.learned(self.region_of_key(&entry.key), home, since);
            // A target that loses a key which has just come, before anybody is told that the slot
            // is its own: whoever wrote it has no reason to ask there, and the old owner has said
            // all that it knew. A cluster's own clients are in the same case.
            let unseen = |at: u64| learned.is_none_or(|learned| at <= learned);
            if home == entry.home() && entry.lost_at.is_some_and(unseen) {
                return Standing::Beyond;
            }
            if !unseen(sent_at) {
                break;
            }
            before.push(pair[0].0);
        }
        Standing::On(entry.home(), before)
    }

    /// A client's writes of which it may be told a number, by where they are.
    fn open_writes(
        &self,
        client: usize,
        sent_at: u64,
    ) -> BTreeMap<(usize, Vec<usize>), Vec<EntryId>> {
        let mut groups: BTreeMap<_, Vec<EntryId>> = BTreeMap::new();
        for &id in self.ledger.of(client) {
            let entry = &self.ledger.entries[id];
            if entry.ghost || entry.forgiven {
                continue;
            }
            if let Standing::On(home, before) = self.standing(client, id, sent_at) {
                groups.entry((home, before)).or_default().push(id);
            }
        }
        groups
    }

    /// A client was told that one of its worker's shards has lost its history.
    pub fn forgive(&mut self, client: usize, number: usize, sent_at: u64) {
        let worker = self.clients[client].worker;
        let shards = match self.is_cluster() {
            true => self.beliefs[worker].stood_for(number).to_vec(),
            false => vec![number],
        };
        for ((home, before), entries) in self.open_writes(client, sent_at) {
            let told =
                shards.contains(&home) || before.iter().any(|before| shards.contains(before));
            for id in entries {
                // What was lost before its slot went elsewhere is looked for where it should be.
                let entry = &self.ledger.entries[id];
                let due =
                    entry.lost_at.is_some() && shards.contains(&self.shard_of_key(&entry.key));
                self.ledger.entries[id].forgiven |= told || due;
            }
        }
        self.clients[client].unknown[number] = false;
    }

    // ---------------------------------------------------------------- what is told

    pub fn judge_counts(&mut self, client: usize, expected: &Expected, reply: &Reply) -> bool {
        match (&expected.ask, reply) {
            (Ask::Wait { replicas, timeout }, Reply::Int(count)) => {
                self.judge_wait(client, expected, (0, *replicas), (0, *count), *timeout);
                true
            }
            (Ask::WaitAof { local, replicas, timeout }, Reply::Array(counts)) => {
                let [Reply::Int(own), Reply::Int(count)] = counts.as_slice() else {
                    return false;
                };
                self.judge_wait(client, expected, (*local, *replicas), (*own, *count), *timeout);
                true
            }
            _ => false,
        }
    }

    /// The heart: a count is never higher than the truth, and never told of what is lost.
    fn judge_wait(
        &mut self,
        client: usize,
        expected: &Expected,
        wanted: (i64, i64),
        told: (i64, i64),
        timeout: u64,
    ) {
        self.tally.waits += 1;
        self.tally.counted += u64::from(told.1 > 0);
        let low = expected.sent_at.saturating_sub(GRACE);
        if let Some(shard) = self.clients[client].unknown.iter().position(|unknown| *unknown) {
            let text = format!("a write's outcome on shard {shard} is unknown");
            return self.overcount(client, told, &text);
        }
        let groups = self.open_writes(client, expected.sent_at);
        let (wrote, mut least) = (!groups.is_empty(), (1, i64::MAX));
        for ((home, before), entries) in groups {
            if let Err(why) = self.judge_lost(client, home, &entries, expected, told) {
                return self.overcount(client, told, &why);
            }
            let wait = matches!(expected.ask, Ask::Wait { .. });
            let here = self.truth_about(&entries, home, wait, low);
            let mut best = here;
            for shard in before {
                let there = self.truth_about(&entries, shard, wait, low);
                best = (best.0.max(there.0), best.1.max(there.1));
            }
            self.line(|| format!("  writes {entries:?}: {here:?} on shard {home}, or {best:?}"));
            least = (least.0.min(best.0), least.1.min(best.1));
        }
        if !wrote {
            // Who never wrote is told the smallest number of any shard. Who did, and changed
            // nothing, waits for those shards only.
            let asked = self.asked_of_all(client);
            let all = asked.iter().map(|&shard| self.shards[shard].replicas_since(low));
            let tried = self.clients[client].tried_to_write;
            least.1 = if tried { all.max() } else { all.min() }.unwrap_or(0);
        }
        if told.1 > least.1 || told.0 > least.0 {
            let text = format!("no more than {least:?} is true");
            return self.overcount(client, told, &text);
        }
        let due = timeout > 0 && self.now >= expected.sent_at + timeout * 1_000;
        let short = told.0 < wanted.0 || told.1 < wanted.1;
        if short && !due && !self.was_unblocked(client, expected) {
            self.violation(format!(
                "client {client} waits for {wanted:?} and is told {told:?} before its time"
            ));
        }
        self.judge_last_wait(client, expected, wanted, told);
    }

    /// How many nodes of a shard truly have all of these writes: on the primary's disk, or any, and
    /// on replicas.
    fn truth_about(&self, entries: &[EntryId], shard: usize, wait: bool, low: u64) -> (i64, i64) {
        let nodes = || self.shards[shard].nodes.iter().copied();
        let (memory, disk) = (Having::InMemory, Having::OnDisk);
        if wait {
            return (1, self.ledger.count(entries, nodes(), memory, low));
        }
        let replicas = nodes().filter(|&node| self.held_at_all(entries, node, low));
        let own = self.ledger.count(entries, nodes(), disk, low);
        (own.min(1), self.ledger.count(entries, replicas, disk, low))
    }

    /// The shards that a WAIT of a client asks who never wrote.
    fn asked_of_all(&self, client: usize) -> Vec<usize> {
        let beliefs = &self.beliefs[self.clients[client].worker];
        let all = 0..self.shards.len();
        // Who did, and was told of the loss of all of it, may still wait for where it was.
        if !self.is_cluster() || self.clients[client].tried_to_write {
            return all.collect();
        }
        let asked =
            |shard: &usize| (0..self.regions.len()).any(|r| beliefs.owner(r) == Some(*shard));
        all.filter(asked).collect()
    }

    fn held_at_all(&self, entries: &[EntryId], node: usize, low: u64) -> bool {
        self.ledger.count(entries, std::iter::once(node), Having::InMemory, low) > 0
    }

    /// Whether a number may be told although some of the writes are not in the shard's history.
    fn judge_lost(
        &self,
        client: usize,
        shard: usize,
        entries: &[EntryId],
        expected: &Expected,
        told: (i64, i64),
    ) -> Result<(), String> {
        let lost = entries
            .iter()
            .filter_map(|&entry| self.ledger.entries[entry].lost_at.map(|at| (entry, at)));
        let (_, seen_at) = self.shards[shard].known[self.clients[client].worker];
        for (entry, at) in lost {
            let asked_after = |time: u64| expected.sent_at > time;
            // Who is a primary elsewhere says so since it is one; the same server may have said it
            // before it lost anything.
            let elsewhere = self.plan.told != Told::Static
                && self.ledger.entries[entry].node != self.shards[shard].primary;
            let seen = seen_at > at && elsewhere || seen_at >= at + GRACE;
            if seen && asked_after(seen_at) {
                return Err(format!("write {entry} is lost, which its worker knows"));
            }
            if told.1 > 0 && asked_after(self.must_be_known_at(shard, at)) {
                return Err(format!("write {entry} is lost for a long time"));
            }
        }
        Ok(())
    }

    /// When engines must have seen that a write is lost which was lost then.
    fn must_be_known_at(&self, shard: usize, lost_at: u64) -> u64 {
        match (self.plan.told, self.shards[shard].told_at) {
            (Told::Static, _) => lost_at + GRACE,
            (_, Some(told_at)) => lost_at.max(told_at) + self.plan.patience(),
            (_, None) => u64::MAX,
        }
    }

    fn overcount(&mut self, client: usize, told: (i64, i64), why: &str) {
        self.violation(format!("OVER-COUNT: client {client} is told {told:?}, but {why}"));
    }

    fn judge_last_wait(
        &mut self,
        client: usize,
        expected: &Expected,
        wanted: (i64, i64),
        told: (i64, i64),
    ) {
        if !self.clients[client].last_words {
            return;
        }
        if told.0 < wanted.0 || told.1 < wanted.1 {
            return self.violation(format!(
                "client {client}: all is well, it waits for {wanted:?}, and is told {told:?}"
            ));
        }
        match expected.ask {
            Ask::Wait { .. } => self.last_wait(client, true),
            _ => self.clients[client].done = true,
        }
    }
}
