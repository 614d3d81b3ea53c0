//! The state of the shards, as another module asks for it.

use std::ffi::CString;
use std::ptr;
use std::sync::Arc;

use super::header::{WeirReplica, WeirShard, WeirShardsCallback};
use super::module::{Due, Module};
use super::{Data, Gate, Outcome};
use crate::engine::{Asker, Mail, Question, ShardView};
use crate::ids::WorkerId;

use super::super::api::c_string;
use super::super::commands::Asking;

/// A module that has asked. It is told exactly once: when this is dropped, that nobody knows.
pub(in crate::host) struct Call {
    callback: WeirShardsCallback,
    data: Data,
    is_told: bool,
    /// Dropped last, when the callback has returned.
    _due: Due,
}

impl Call {
    /// Tells it. On any thread.
    pub(in crate::host) fn tell(mut self, shards: Vec<ShardView>) {
        self.show(&View::of(shards));
    }

    fn show(&mut self, view: &View) {
        self.is_told = true;
        let Some(callback) = self.callback else { return };
        let shards = if view.shards.is_empty() { ptr::null() } else { view.places.as_ptr() };
        // SAFETY: a callback of the header, with what its module has given for it; what is shown
        // lives until it returns.
        unsafe { callback(self.data.get(), shards, view.shards.len()) };
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if !self.is_told {
            self.show(&View::default());
        }
    }
}

/// Asks all workers, whose gate is open.
pub(super) fn ask(
    gate: &Gate,
    module: &Arc<Module>,
    callback: WeirShardsCallback,
    data: Data,
) -> Outcome {
    let Some(due) = module.due() else { return Outcome::Gone };
    let call = Call { callback, data, is_told: false, _due: due };
    let workers = gate.entrance.workers();
    let ticket = gate.asks.open(Asking::Module(call), usize::from(workers));
    for worker in (0..workers).map(WorkerId) {
        let question = Question::Shards;
        gate.entrance.send(worker, Mail::Ask { from: Asker::Host, ticket, question });
    }
    Outcome::Ok
}

/// The shards as the header shows them, with all that they point to.
#[derive(Default)]
struct View {
    places: Vec<*const WeirShard>,
    shards: Vec<WeirShard>,
    /// Pointed to by the shards, each to a row of its own.
    _replica_places: Vec<Vec<*const WeirReplica>>,
    _replicas: Vec<Vec<WeirReplica>>,
    _texts: Vec<CString>,
}

impl View {
    fn of(views: Vec<ShardView>) -> Self {
        let mut texts = Vec::new();
        let mut text = |text: &str| {
            let text = c_string(text);
            let pointer = text.as_ptr(); // It stays where it is when the string is moved.
            texts.push(text);
            pointer
        };
        let (mut shards, mut replicas, mut replica_places) = (Vec::new(), Vec::new(), Vec::new());
        for view in &views {
            let row: Vec<WeirReplica> = view
                .replicas
                .iter()
                .map(|replica| WeirReplica {
                    address: text(&replica.address),
                    state: text(&replica.state),
                    offset: replica.offset,
                    lag: replica.lag,
                })
                .collect();
            let places: Vec<_> = row.iter().map(ptr::from_ref).collect();
            shards.push(WeirShard {
                number: view.shard.into(),
                slots: text(&view.slots),
                primary: text(&view.primary),
                state: text(&view.state),
                generation: view.generation,
                waiters: view.waiters,
                rounds: view.rounds,
                pipelines: view.pipelines,
                replicas: if row.is_empty() { ptr::null() } else { places.as_ptr() },
                replica_count: row.len(),
            });
            replicas.push(row);
            replica_places.push(places);
        }
        let places = shards.iter().map(ptr::from_ref).collect();
        Self { places, shards, _replica_places: replica_places, _replicas: replicas, _texts: texts }
    }
}
