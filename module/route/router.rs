//! The decision.

use std::sync::Arc;

use super::action::{Action, Check, Shape};
use super::debug::{self, Asked};
use super::options::{self, Verdict};
use super::plan::{Head, Parts, Place, Plan};
use super::rows;
use super::split::Split;
use crate::command::{CommandTable, How, KeyRule, Merge, Spec};
use crate::ids::ShardId;
use crate::limits;
use crate::resp::Request;
use crate::shards::{HashSlot, Kind, ShardMap};
use crate::text;

/// Knows all commands and all shards, and where each request goes. Immutable: another table or map
/// is another router.
#[derive(Debug)]
pub struct Router {
    table: Arc<CommandTable>,
    map: Arc<ShardMap>,
    /// By [`SpecId::index`].
    actions: Arc<[Action]>,
}

/// The working memory of [`Router::plan`]. Reused, so that a warm one allocates nothing; what an
/// unusually long request needed is given back.
#[derive(Debug, Default)]
pub struct Scratch {
    keys: Vec<usize>,
    split: Split,
    text: Vec<u8>,
}

impl Scratch {
    /// The parts of the request that was planned last, if it was to be split.
    pub fn parts(&self) -> Parts<'_> {
        Parts { list: &self.split.parts, indices: &self.split.indices }
    }

    fn give_back(&mut self) {
        if self.keys.capacity() > limits::PLAN_ARGS_KEPT {
            self.keys = Vec::new();
        }
        if self.split.indices.capacity() > limits::PLAN_ARGS_KEPT {
            self.split = Split::default();
        }
    }
}

/// Why keys don't lead to one shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CrossSlot;

impl Router {
    /// A router for the commands of `table` over the shards of `map`.
    pub fn new(table: Arc<CommandTable>, map: Arc<ShardMap>) -> Self {
        let actions = table.specs().iter().map(rows::action).collect();
        Self { table, map, actions }
    }

    /// The same commands over the shards of another map.
    pub fn over(&self, map: Arc<ShardMap>) -> Self {
        Self { table: Arc::clone(&self.table), map, actions: Arc::clone(&self.actions) }
    }

    /// The commands it knows.
    pub fn table(&self) -> &Arc<CommandTable> {
        &self.table
    }

    /// The shards it knows.
    pub fn map(&self) -> &Arc<ShardMap> {
        &self.map
    }

    /// What is to be done with `request`.
    pub fn plan<'a>(&'a self, request: &Request<'_>, scratch: &'a mut Scratch) -> Plan<'a> {
        scratch.give_back();
        let id = match self.table.check(request) {
            Ok(id) => id,
            Err(error) => {
                scratch.text.clear();
                error.write_text(&self.table, request, &mut scratch.text);
                return Plan::Error(&scratch.text);
            }
        };
        let spec = self.table.spec(id);
        match self.actions[id.index()] {
            Action::Keys => self.by_keys(spec, request, scratch),
            Action::Split(shape, merge) => self.split(spec, shape, merge, request, scratch),
            Action::All(merge) => self.all(spec, merge),
            Action::Publish { sharded } => {
                let shard = self.map.shard_of_key(request.arg(1));
                Plan::Publish { shard, spec, sharded }
            }
            Action::Beside(merge) => Plan::Beside { spec, merge },
            Action::First => Plan::One { shard: self.first(), spec },
            Action::Blocking => self.blocking(spec, request, scratch),
            Action::Transaction(step) => Plan::Transaction { spec, step },
            Action::Untold if self.has_one_shard() => Plan::One { shard: self.first(), spec },
            Action::Local(local) => Plan::Local { spec, local },
            Action::Error(text) => Plan::Error(text.as_bytes()),
            Action::Untold | Action::Refused => refused(&spec.name, scratch),
            Action::Checked(check) => self.checked(check, spec, request, scratch),
        }
    }

    /// Where `request` goes, if that is told by one key and is all that there is to be done with
    /// it. It is what [`Router::plan`] says of such, which is to be asked about any other.
    pub fn one_key<'a>(&'a self, request: &Request<'_>) -> Option<(ShardId, &'a Spec)> {
        let id = self.table.check(request).ok()?;
        let spec = self.table.spec(id);
        match (self.actions[id.index()], spec.key_rule) {
            (Action::Keys, KeyRule::One(at)) if self.has_one_shard() || at >= request.len() => {
                Some((self.first(), spec))
            }
            (Action::Keys, KeyRule::One(at)) => {
                Some((self.map.shard_of_key(request.arg(at)), spec))
            }
            _ => None,
        }
    }

    /// Where a request goes of which only the first arguments are there, but which will have
    /// `total`: if its shard is certain whatever may follow, and no part of it needs to be
    /// understood. So a value of any size can be forwarded as it arrives.
    pub fn plan_head<'a>(
        &'a self,
        head: &Request<'_>,
        total: usize,
        scratch: &mut Scratch,
    ) -> Option<Head<'a>> {
        let id = self.table.check_head(head, total).ok()?;
        let spec = self.table.spec(id);
        if self.actions[id.index()] != Action::Keys || !spec.keys_before(head, total) {
            return None;
        }
        let shard = self.shard_of_keys(spec, head, &mut scratch.keys).ok()?;
        Some(Head { shard, spec })
    }

    /// Where the keys of a request to `spec` are; none if it has none, or if there is only one
    /// shard. Of a request that is not all there yet, its keys must be.
    pub fn place(
        &self,
        spec: &Spec,
        request: &Request<'_>,
        scratch: &mut Scratch,
    ) -> Result<Option<Place>, CrossSlot> {
        if self.has_one_shard() {
            return Ok(None);
        }
        let slot = Self::slot_of_keys(spec, request, &mut scratch.keys)?;
        Ok(slot.map(|slot| Place { shard: self.map.shard_of(slot), slot: slot.number() }))
    }

    /// Whether a request to `spec` names a single key.
    pub fn has_one_key(&self, spec: &Spec, request: &Request<'_>, scratch: &mut Scratch) -> bool {
        if matches!(spec.key_rule, KeyRule::One(_)) {
            return true;
        }
        spec.keys(request, &mut scratch.keys);
        scratch.keys.len() == 1
    }

    fn has_one_shard(&self) -> bool {
        self.map.is_one_shard()
    }

    /// Where requests go that any shard could answer.
    fn first(&self) -> ShardId {
        self.map.first()
    }

    /// The shard that has all keys of `request`; the first if it has none.
    fn shard_of_keys(
        &self,
        spec: &Spec,
        request: &Request<'_>,
        keys: &mut Vec<usize>,
    ) -> Result<ShardId, CrossSlot> {
        if self.has_one_shard() {
            return Ok(self.first());
        }
        if let KeyRule::One(at) = spec.key_rule {
            return Ok(request.get(at).map_or(self.first(), |key| self.map.shard_of_key(key)));
        }
        let slot = Self::slot_of_keys(spec, request, keys)?;
        Ok(slot.map_or(self.first(), |slot| self.map.shard_of(slot)))
    }

    /// The slot of all keys of `request`, if it has any.
    fn slot_of_keys(
        spec: &Spec,
        request: &Request<'_>,
        keys: &mut Vec<usize>,
    ) -> Result<Option<HashSlot>, CrossSlot> {
        spec.keys(request, keys);
        let mut slots = keys.iter().map(|&at| HashSlot::of(request.arg(at)));
        let Some(slot) = slots.next() else {
            return Ok(None);
        };
        // A server with these keys in one shard but two slots would do; a cluster wouldn't, and the
        // same request must not work today and fail when a shard is added.
        if slots.all(|other| other == slot) { Ok(Some(slot)) } else { Err(CrossSlot) }
    }

    fn by_keys<'a>(
        &'a self,
        spec: &'a Spec,
        request: &Request<'_>,
        scratch: &'a mut Scratch,
    ) -> Plan<'a> {
        match self.shard_of_keys(spec, request, &mut scratch.keys) {
            Ok(shard) => Plan::One { shard, spec },
            Err(CrossSlot) => Plan::Error(text::CROSSSLOT.as_bytes()),
        }
    }

    fn blocking<'a>(
        &'a self,
        spec: &'a Spec,
        request: &Request<'_>,
        scratch: &'a mut Scratch,
    ) -> Plan<'a> {
        match self.shard_of_keys(spec, request, &mut scratch.keys) {
            Ok(shard) => Plan::Blocking { shard, spec },
            Err(CrossSlot) => Plan::Error(text::CROSSSLOT.as_bytes()),
        }
    }

    fn all<'a>(&'a self, spec: &'a Spec, merge: Merge) -> Plan<'a> {
        // The reply of the only shard is the reply, unless something is to be taken out of it.
        match merge.how {
            How::DataSettings => Plan::All { spec, merge },
            _ if self.has_one_shard() => Plan::One { shard: self.first(), spec },
            _ => Plan::All { spec, merge },
        }
    }

    fn split<'a>(
        &'a self,
        spec: &'a Spec,
        shape: Shape,
        merge: Merge,
        request: &Request<'_>,
        scratch: &'a mut Scratch,
    ) -> Plan<'a> {
        let total = request.len();
        let Some(first) = request.get(shape.first).filter(|_| !self.has_one_shard()) else {
            return Plan::One { shard: self.first(), spec };
        };
        let owner = self.map.shard_of_key(first);
        let groups = total.saturating_sub(shape.first + shape.trailer);
        if groups == 0 || !groups.is_multiple_of(shape.step) {
            // A key without its value, or nothing but a trailer: any shard will refuse it.
            return Plan::One { shard: owner, spec };
        }
        let split = &mut scratch.split;
        split.bins.clear();
        let keys = (shape.first..total - shape.trailer).step_by(shape.step);
        let slots = keys.map(|at| HashSlot::of(request.arg(at)));
        // A node of a cluster takes keys of one slot only, even if it has those of others.
        match self.map.kind() {
            Kind::Apart => split.bins.extend(slots.map(|slot| self.map.shard_of(slot).0)),
            Kind::Cluster => split.bins.extend(slots.map(HashSlot::number)),
        }
        if split.bins.iter().all(|&other| other == split.bins[0]) {
            return Plan::One { shard: owner, spec };
        }
        split.share_out(shape, total, |bin| match (self.map.kind(), HashSlot::new(bin)) {
            (Kind::Cluster, Some(slot)) => self.map.shard_of(slot),
            _ => ShardId(bin),
        });
        let (parts, order) = (scratch.parts(), &scratch.split.order);
        Plan::Split { spec, parts, order, merge }
    }

    fn checked<'a>(
        &'a self,
        check: Check,
        spec: &'a Spec,
        request: &Request<'_>,
        scratch: &'a mut Scratch,
    ) -> Plan<'a> {
        let verdict = match check {
            Check::Sort if self.has_one_shard() => Verdict::Pass,
            Check::Sort => options::sort(request),
            Check::Read => options::read(request),
            Check::ConfigSet => options::config_set(request),
            Check::Scan => return self.scan(spec, request),
            Check::SlowLog => {
                return match options::slow_log(request) {
                    Some(most) => {
                        self.all(spec, Merge { how: How::Newest(most), may_write: false })
                    }
                    // Any shard says what is wrong with it.
                    None => Plan::One { shard: self.first(), spec },
                };
            }
            Check::Debug => return self.debug(spec, request, scratch),
            Check::AclLog => return self.all(spec, options::acl_log(request)),
        };
        match verdict {
            Verdict::Error(text) => Plan::Error(text.as_bytes()),
            Verdict::Refused(what) => refused(&what, scratch),
            Verdict::Waits => self.blocking(spec, request, scratch),
            Verdict::Pass if check == Check::ConfigSet => {
                self.all(spec, Merge { how: How::AllSucceeded, may_write: true })
            }
            Verdict::Pass => self.by_keys(spec, request, scratch),
        }
    }

    fn debug<'a>(
        &'a self,
        spec: &'a Spec,
        request: &Request<'_>,
        scratch: &'a mut Scratch,
    ) -> Plan<'a> {
        match debug::asked(request) {
            Asked::Nobody => refused(&options::quoted("debug", request.arg(1)), scratch),
            _ if self.has_one_shard() => Plan::One { shard: self.first(), spec },
            Asked::Only => refused(&options::quoted("debug", request.arg(1)), scratch),
            Asked::Any => Plan::One { shard: self.first(), spec },
            Asked::All(how) => self.all(spec, Merge { how, may_write: true }),
            Asked::Keys(first) => {
                let mut slots = (first..request.len()).map(|at| HashSlot::of(request.arg(at)));
                let slot = slots.next();
                match slot {
                    None => Plan::One { shard: self.first(), spec },
                    Some(slot) if slots.all(|other| other == slot) => {
                        Plan::One { shard: self.map.shard_of(slot), spec }
                    }
                    Some(_) => Plan::Error(text::CROSSSLOT.as_bytes()),
                }
            }
        }
    }

    /// One cursor over all shards, one shard after the other: see [`ShardMap::cursor_of`].
    fn scan<'a>(&'a self, spec: &'a Spec, request: &Request<'_>) -> Plan<'a> {
        if self.has_one_shard() {
            return Plan::One { shard: self.first(), spec };
        }
        let Some(cursor) = options::cursor(request.arg(1)) else {
            return Plan::Error(text::INVALID_CURSOR.as_bytes());
        };
        let (shard, cursor) = self.map.at_cursor(cursor);
        Plan::Scan { spec, shard, cursor }
    }
}

fn refused<'a>(what: &str, scratch: &'a mut Scratch) -> Plan<'a> {
    scratch.text.clear();
    scratch.text.extend_from_slice(text::not_supported(what).as_bytes());
    Plan::Error(&scratch.text)
}
