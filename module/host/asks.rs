//! Questions of the host's clients, and of its modules, to all workers, and what becomes of the
//! answers.
//!
//! ```text
//!   WEIR.SHARDS --open--> ticket --> one question to each worker
//!        |                                    |
//!     blocked <--unblock with one answer-- answer, answer, ... (on the workers' threads)
//!        |
//!        +-- time-out or gone --> forget: late answers find no ticket
//! ```
//!
//! The server wants exactly one unblock for each client that was blocked, and a module one
//! callback. Whoever takes the ticket out of the table, the last answer or `forget`, is the one who
//! does it.

use std::collections::{BTreeMap, HashMap};
use std::mem;
use std::sync::PoisonError;

use crate::engine::{Answer, ShardView};
use crate::ids::WorkerId;

/// The open questions of askers `C`.
#[derive(Debug)]
pub(super) struct Asks<C> {
    #[expect(clippy::disallowed_types, reason = "main thread and workers meet here, rarely")]
    table: std::sync::Mutex<Table<C>>,
}

#[derive(Debug)]
struct Table<C> {
    next_ticket: u64,
    open: HashMap<u64, Ask<C>>,
}

#[derive(Debug)]
struct Ask<C> {
    client: C,
    workers: usize,
    answers: Vec<(WorkerId, Answer)>,
}

impl<C> Default for Asks<C> {
    #[expect(clippy::disallowed_types, reason = "as above")]
    fn default() -> Self {
        Self { table: std::sync::Mutex::new(Table { next_ticket: 0, open: HashMap::new() }) }
    }
}

impl<C> Asks<C> {
    /// Opens a question that `workers` will answer. Returns its ticket.
    pub(super) fn open(&self, client: C, workers: usize) -> u64 {
        self.with(|table| {
            let ticket = table.next_ticket;
            table.next_ticket += 1;
            table.open.insert(ticket, Ask { client, workers, answers: Vec::new() });
            ticket
        })
    }

    /// Takes a worker's answer. With the last one: the asker, and what the caller must tell it.
    pub(super) fn answer(
        &self,
        ticket: u64,
        worker: WorkerId,
        answer: Answer,
    ) -> Option<(C, Answer)> {
        let ask = self.with(|table| {
            let ask = table.open.get_mut(&ticket)?;
            ask.answers.push((worker, answer));
            if ask.answers.len() < ask.workers { None } else { table.open.remove(&ticket) }
        })?;
        Some((ask.client, join(ask.answers)?))
    }

    /// Drops the questions of those who no longer wait. Returns them: the caller must tell them.
    pub(super) fn forget(&self, is_it: impl Fn(&C) -> bool) -> Vec<C> {
        self.with(|table| {
            let (gone, open) = mem::take(&mut table.open)
                .into_iter()
                .partition::<HashMap<_, _>, _>(|(_, ask)| is_it(&ask.client));
            table.open = open;
            gone.into_values().map(|ask| ask.client).collect()
        })
    }

    fn with<R>(&self, run: impl FnOnce(&mut Table<C>) -> R) -> R {
        run(&mut self.table.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// One answer of several workers' answers to one question; `None` of none. All are of one kind, for
/// the question was one; an answer of another kind than the first would be a bug, and is left out.
fn join(mut answers: Vec<(WorkerId, Answer)>) -> Option<Answer> {
    answers.sort_by_key(|(worker, _)| worker.0);
    let mut answers = answers.into_iter().map(|(_, answer)| answer);
    let mut joined = answers.next()?;
    for answer in answers {
        match (&mut joined, answer) {
            (Answer::Shards(all), Answer::Shards(more)) => join_shards(all, more),
            (Answer::Clients(all), Answer::Clients(more)) => all.extend(more),
            (Answer::Count(all), Answer::Count(more)) => *all += more,
            _ => {}
        }
    }
    if let Answer::Clients(clients) = &mut joined {
        clients.sort_unstable_by_key(|(id, _)| *id);
    }
    Some(joined)
}

/// Adds another worker's view. Each worker has connections and waiters of its own, which add up; of
/// the states the worst one shows, because some clients suffer from it.
fn join_shards(all: &mut Vec<ShardView>, more: Vec<ShardView>) {
    let mut by_number: BTreeMap<u16, ShardView> =
        all.drain(..).map(|view| (view.shard, view)).collect();
    for view in more {
        let Some(joined) = by_number.get_mut(&view.shard) else {
            by_number.insert(view.shard, view);
            continue;
        };
        joined.waiters += view.waiters;
        joined.rounds += view.rounds;
        joined.pipelines += view.pipelines;
        joined.generation = joined.generation.max(view.generation);
        if joined.replicas.is_empty() {
            joined.replicas = view.replicas;
        }
        if badness(&view.state) > badness(&joined.state) {
            joined.state = view.state;
        }
    }
    all.extend(by_number.into_values());
}

fn badness(state: &str) -> u8 {
    match state {
        "up" => 0,
        "connecting" => 1,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::ReplicaView;

    fn view(shard: u16, state: &str, waiters: u64) -> ShardView {
        ShardView { shard, state: state.to_owned(), waiters, ..ShardView::default() }
    }

    #[test]
    fn the_last_answer_unblocks() {
        let asks = Asks::default();
        let first = asks.open('a', 2);
        let second = asks.open('b', 1);
        assert_eq!(asks.answer(first, WorkerId(1), Answer::Count(1)), None);
        assert_eq!(
            asks.answer(second, WorkerId(0), Answer::Count(5)),
            Some(('b', Answer::Count(5)))
        );
        assert_eq!(
            asks.answer(first, WorkerId(0), Answer::Count(2)),
            Some(('a', Answer::Count(3)))
        );
        assert_eq!(asks.answer(first, WorkerId(0), Answer::Count(2)), None);
    }

    #[test]
    fn whoever_takes_the_ticket_unblocks_and_nobody_else() {
        let asks = Asks::default();
        let ticket = asks.open('a', 1);
        assert_eq!(asks.forget(|&asker| asker == 'a'), ['a']);
        assert_eq!(asks.forget(|&asker| asker == 'a'), []);
        assert_eq!(asks.answer(ticket, WorkerId(0), Answer::Count(1)), None);

        let ticket = asks.open('a', 1);
        assert!(asks.answer(ticket, WorkerId(0), Answer::Count(1)).is_some());
        assert_eq!(asks.forget(|_| true), []);
    }

    #[test]
    fn views_add_up_and_the_worst_state_shows() {
        let replica = ReplicaView { offset: 7, ..ReplicaView::default() };
        let with_replica = ShardView { replicas: vec![replica.clone()], ..view(1, "up", 2) };
        let joined = join(vec![
            (WorkerId(1), Answer::Shards(vec![view(1, "down: refused", 3), view(0, "up", 1)])),
            (WorkerId(0), Answer::Shards(vec![view(0, "connecting", 1), with_replica])),
        ]);
        let down = ShardView { replicas: vec![replica], ..view(1, "down: refused", 5) };
        assert_eq!(joined, Some(Answer::Shards(vec![view(0, "connecting", 2), down])));
    }

    #[test]
    fn clients_come_by_id() {
        let line = |id: u64| (id, format!("id={id}"));
        let joined = join(vec![
            (WorkerId(0), Answer::Clients(vec![line(2), line(5)])),
            (WorkerId(1), Answer::Clients(vec![line(1), line(4)])),
        ]);
        assert_eq!(joined, Some(Answer::Clients(vec![line(1), line(2), line(4), line(5)])));
    }
}
