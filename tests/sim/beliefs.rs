//! What workers believe of a cluster: they are asked at the end of each turn.
//!
//! ```text
//!   truth:    region 3 is shard 0's ----> shard 1's
//!   worker:   region 3 is shard 0's ------------------> shard 1's
//!                                         |             '--- from now on it must count there
//!                                         '--- what is lost there until then nobody can know
//! ```

use super::places::Place;
use super::plan::{Plan, Told};
use super::resp;
use super::wire::{Far, Wire};
use super::world::{Happening, World};

/// One of an engine's shards.
#[derive(Debug, Default, Clone)]
struct Believed {
    primary: String,
    slots: String,
    generation: u64,
    /// All shards that it has ever stood for.
    stood_for: Vec<usize>,
}

#[derive(Debug, Default)]
pub struct Beliefs {
    /// By the engine's number.
    shards: Vec<Believed>,
    /// For each region: who has it, since when.
    regions: Vec<Vec<(usize, u64)>>,
}

impl Beliefs {
    pub fn of(plan: &Plan) -> Self {
        let regions = if plan.told == Told::Cluster { plan.regions } else { 0 };
        Self { shards: Vec::new(), regions: vec![Vec::new(); regions] }
    }

    /// The shard that has a region.
    pub fn owner(&self, region: usize) -> Option<usize> {
        self.regions[region].last().map(|(shard, _)| *shard)
    }

    /// When it was first known, since a key came there, that a region is this shard's.
    pub fn learned(&self, region: usize, shard: usize, since: u64) -> Option<u64> {
        let spans = &self.regions[region];
        let fit = spans.iter().find(|(owner, at)| *owner == shard && *at >= since);
        fit.map(|(_, at)| *at)
    }

    /// The shards for which an engine's number has ever stood.
    pub fn stood_for(&self, number: usize) -> &[usize] {
        self.shards.get(number).map_or(&[], |believed| &believed.stood_for)
    }
}

impl World {
    /// Looks at what a worker believes now.
    pub fn note_beliefs(&mut self, worker: usize) {
        if !self.is_cluster() {
            return;
        }
        let views = self.views(worker);
        for view in &views {
            let number = usize::from(view.shard);
            let beliefs = &mut self.beliefs[worker].shards;
            if beliefs.len() <= number {
                beliefs.resize(number + 1, Believed::default());
            }
            let known = &mut beliefs[number];
            let same = (known.generation, &known.slots, &known.primary)
                == (view.generation, &view.slots, &view.primary);
            if same {
                continue;
            }
            let turned = known.generation != view.generation;
            known.generation = view.generation;
            known.slots.clone_from(&view.slots);
            known.primary.clone_from(&view.primary);
            let Some(node) = node_at(&view.primary) else {
                continue;
            };
            let shard = self.nodes[node].shard;
            let known = &mut self.beliefs[worker].shards[number];
            if !known.stood_for.contains(&shard) {
                known.stood_for.push(shard);
            }
            let (primary, slots, generation) = (&view.primary, &view.slots, view.generation);
            self.line(|| {
                format!(
                    "worker {worker}: its shard {number} is {primary} (shard {shard}), generation \
                     {generation}, slots {slots}"
                )
            });
            self.note_owner(worker, shard, &view.slots);
            if turned {
                self.note_turn(worker, shard, node, view.generation);
            }
        }
    }

    fn note_owner(&mut self, worker: usize, shard: usize, slots: &str) {
        let ranges = slots.split(',').filter(|range| !range.is_empty()).map(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let number = |text: &str| text.parse::<u16>().expect("a slot");
            number(first)..=number(last)
        });
        let ranges: Vec<_> = ranges.collect();
        let mut moved = Vec::new();
        let regions = resp::ranges(self.regions.len());
        for (region, (first, _)) in regions.into_iter().enumerate() {
            let here = ranges.iter().any(|range| range.contains(&first));
            let spans = &mut self.beliefs[worker].regions[region];
            if here && spans.last().is_none_or(|(owner, _)| *owner != shard) {
                spans.push((shard, self.now));
                moved.push(region);
            }
        }
        // Whoever wrote there, and writes no more, is to be told of the new owner's replicas.
        for client in 0..self.clients.len() {
            let who = &self.clients[client];
            let mut keys = who.keys.keys().map(|key| self.region_of_key(key));
            if who.worker == worker && keys.any(|region| moved.contains(&region)) {
                let at = self.now + self.rng.below(20_000);
                self.agenda.add(at, Happening::Wonders { client });
            }
        }
    }

    /// An engine has seen another history. Of a former primary's nobody learns what the present one
    /// has.
    fn note_turn(&mut self, worker: usize, shard: usize, node: usize, generation: u64) {
        let far = Far::Node(node);
        let there = |wire: &Wire| wire.worker == worker && !wire.dead && wire.far == far;
        let seen = self.shards[shard].primary == node && self.wires.iter().any(there);
        let known = &mut self.shards[shard].known[worker];
        *known = (generation, if seen { self.now } else { known.1 });
    }

    /// Everything has been put right: all workers must believe what is true.
    pub fn beliefs_are_true(&mut self) {
        let workers = if self.is_cluster() { self.beliefs.len() } else { 0 };
        for worker in 0..workers {
            for region in 0..self.regions.len() {
                let owner = self.regions[region].owner;
                let primary = Place::Node(self.shards[owner].primary).address();
                let first = resp::ranges(self.regions.len())[region].0;
                let shards = &self.beliefs[worker].shards;
                let found = shards.iter().find(|shard| shard.primary == primary);
                let believed = self.beliefs[worker].owner(region);
                if believed != Some(owner) || found.is_none() {
                    self.violation(format!(
                        "worker {worker} believes that slot {first} is shard {believed:?}'s, and \
                         it is shard {owner}'s at {primary}"
                    ));
                }
            }
        }
    }
}

/// The node at an address; none if nobody knows one.
fn node_at(address: &str) -> Option<usize> {
    match Place::of(&address.parse().ok()?) {
        Place::Node(node) => Some(node),
        Place::Shard(_) | Place::Sentinel(_) => None,
    }
}
