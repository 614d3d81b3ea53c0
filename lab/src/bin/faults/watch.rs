//! When the engine itself has switched: the moment from which a client may expect to be served.
//!
//! With Sentinels that is the first `+switch-master` that any of them publishes; in a cluster it is
//! when a replica first says that it is a primary, asked every millisecond while a fault is on.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::Scope;
use std::time::Duration;

use lab::client::{Client, Value};
use lab::cluster::Shard;
use lab::process::Proc;
use lab::sentinel::Switches;

use crate::bed::Bed;
use crate::ledger::{Clock, Micros};

/// How often servers are asked for their role while a fault is on, and otherwise.
const HOT: Duration = Duration::from_millis(1);
const COLD: Duration = Duration::from_millis(20);
/// How long somebody may take to answer before the connection is made anew.
const PATIENCE: Duration = Duration::from_millis(200);

/// One switch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) at: Micros,
    pub(crate) shard: usize,
    pub(crate) to: String,
}

/// All switches of a run.
#[derive(Debug)]
pub(crate) struct Watch {
    clock: Clock,
    seen: Mutex<Vec<Seen>>,
    hot: AtomicBool,
}

impl Watch {
    pub(crate) fn new(clock: Clock) -> Watch {
        Watch { clock, seen: Mutex::default(), hot: AtomicBool::new(false) }
    }

    /// All that were seen until now.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.lock().clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.lock().len()
    }

    /// Whether a fault is on, so that every millisecond counts.
    pub(crate) fn set_hot(&self, hot: bool) {
        self.hot.store(hot, Ordering::Relaxed);
    }

    /// Watches until the run has ended.
    pub(crate) fn run<'scope, 'env: 'scope>(
        &'env self,
        scope: &'scope Scope<'scope, 'env>,
        bed: &'env Bed,
        ended: &'env AtomicBool,
    ) {
        for sentinel in bed.sentinels().into_iter().flat_map(|sentinels| sentinels.iter()) {
            scope.spawn(move || self.listen(sentinel, bed, ended));
        }
        if bed.cluster().is_some() {
            for (shard, servers) in bed.shards().iter().enumerate() {
                for server in Shard::servers(servers) {
                    scope.spawn(move || self.ask(server, shard, ended));
                }
            }
        }
    }

    fn listen(&self, sentinel: &Proc, bed: &Bed, ended: &AtomicBool) {
        while !ended.load(Ordering::Relaxed) {
            let Ok(mut switches) = Switches::of(sentinel) else {
                lab::pause(COLD);
                continue;
            };
            while !ended.load(Ordering::Relaxed) {
                let Ok(next) = switches.next(PATIENCE) else { break };
                let at = self.clock.now();
                let to = next.map(|switch| switch.to).unwrap_or_default();
                if let Some((shard, _)) = bed.shards().at(&to) {
                    self.note(Seen { at, shard, to });
                }
            }
        }
    }

    fn ask(&self, server: &Proc, shard: usize, ended: &AtomicBool) {
        let (mut client, mut was_replica): (Option<Client>, bool) = (None, false);
        while !ended.load(Ordering::Relaxed) {
            lab::pause(if self.hot.load(Ordering::Relaxed) { HOT } else { COLD });
            if client.is_none() {
                client = Client::try_connect_soon(&server.address(), PATIENCE).ok();
            }
            let reply = client.as_mut().map(|client| client.try_call(&["ROLE"]));
            let Some(Ok(Value::Array(role))) = reply else {
                client = None;
                continue;
            };
            let is_replica = role.first().is_some_and(|word| word.text() == "slave");
            let at = self.clock.now();
            if was_replica && !is_replica {
                if !client.as_mut().is_some_and(knows_itself_primary) {
                    continue;
                }
                self.note(Seen { at, shard, to: server.address() });
            }
            was_replica = is_replica;
        }
    }

    /// Sentinels say the same, one after another.
    fn note(&self, new: Seen) {
        let mut seen = self.lock();
        let last = seen.iter().rev().find(|old| old.shard == new.shard);
        if last.is_none_or(|last| last.to != new.to) {
            seen.push(new);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the cluster's view of the node is that it is a primary, too. A replica that was started
/// again says for a moment that it is one, until it has found its primary.
fn knows_itself_primary(client: &mut Client) -> bool {
    let Ok(Value::Bulk(nodes)) = client.try_call(&["CLUSTER", "NODES"]) else { return false };
    String::from_utf8_lossy(&nodes).contains("myself,master")
}
