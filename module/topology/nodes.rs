//! What a Redis Cluster's nodes say of its shards.
//!
//! ```text
//!   CLUSTER NODES --> View: primaries with their slots, and replicas --> Members --> ShardMap
//!                                                                         |
//!                                    which shard each primary was before, and is therefore now
//! ```
//!
//! A shard is who it was: a replica that has taken over from its primary has its shard, and so its
//! clients' marks. Each change of owners has a config epoch, which the nodes number among
//! themselves, so that of two views the one that knows the higher epoch is newer. An older one than
//! is known is believed only if most of the nodes have been heard and none knows better. Source:
//! redis `cluster_legacy.c`, `clusterUpdateSlotsConfigWith` and `clusterGenNodeDescription`.

use std::fmt;

use crate::limits;
use crate::shards::{Address, HashSlot, ShardMap, SlotRange};

/// The cluster as one node sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// The highest config epoch among primaries.
    pub epoch: u64,
    /// Whoever isn't another's replica; without those that have failed and have no slots.
    pub primaries: Vec<Primary>,
}

/// One primary, with its replicas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Primary {
    /// The node's id, forty hexadecimal digits.
    pub id: String,
    /// Where it listens.
    pub address: Address,
    /// Its slots; a node that has just come has none.
    pub slots: Vec<SlotRange>,
    /// Its replicas: id and address.
    pub replicas: Vec<(String, Address)>,
}

/// Why a text is no view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ViewError {
    /// A line that isn't one of CLUSTER NODES.
    Line(String),
    /// There is no primary whose address is known.
    NoPrimary,
    /// More than [`limits::SHARDS_MAX`].
    TooMany(usize),
}

impl fmt::Display for ViewError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => write!(f, "its CLUSTER NODES has the line '{line}'"),
            Self::NoPrimary => write!(f, "it knows no primary"),
            Self::TooMany(count) => {
                write!(f, "it knows {count} primaries; at most {} are served", limits::SHARDS_MAX)
            }
        }
    }
}

impl std::error::Error for ViewError {}

/// One line of CLUSTER NODES.
struct Node<'a> {
    id: &'a str,
    address: Option<Address>,
    flags: &'a str,
    primary: &'a str,
    epoch: u64,
    slots: Vec<SlotRange>,
}

impl Node<'_> {
    fn is(&self, flag: &str) -> bool {
        self.flags.split(',').any(|own| own == flag)
    }
}

impl View {
    /// Reads the text of a reply to CLUSTER NODES. `asked` is where the node was asked: one that
    /// doesn't know its own address leaves it out.
    ///
    /// # Errors
    /// See [`ViewError`].
    pub fn parse(text: &str, asked: &Address) -> Result<Self, ViewError> {
        let lines = text.lines().map(str::trim_end).filter(|line| !line.is_empty());
        let nodes = lines
            .map(|line| node(line, asked).ok_or_else(|| ViewError::Line(line.to_owned())))
            .collect::<Result<Vec<_>, _>>()?;
        let mut view = Self { epoch: 0, primaries: Vec::new() };
        for node in nodes.iter().filter(|node| node.is("master") && !node.is("handshake")) {
            view.epoch = view.epoch.max(node.epoch);
            let Some(address) = node.address.clone() else { continue };
            // Its replica has its slots, or nobody ever had any there.
            if node.slots.is_empty() && (node.is("fail") || node.is("fail?")) {
                continue;
            }
            let (id, slots) = (node.id.to_owned(), node.slots.clone());
            view.primaries.push(Primary { id, address, slots, replicas: Vec::new() });
        }
        for node in nodes.iter().filter(|node| node.is("slave") || node.is("replica")) {
            let of = view.primaries.iter_mut().find(|primary| primary.id == node.primary);
            if let (Some(of), Some(address)) = (of, node.address.clone()) {
                of.replicas.push((node.id.to_owned(), address));
            }
        }
        match view.primaries.len() {
            0 => Err(ViewError::NoPrimary),
            count if count > limits::SHARDS_MAX => Err(ViewError::TooMany(count)),
            _ => Ok(view),
        }
    }

    /// Where all nodes listen, primaries first.
    pub fn addresses(&self) -> impl Iterator<Item = &Address> {
        let replicas = self.primaries.iter().flat_map(|primary| &primary.replicas);
        let primaries = self.primaries.iter().map(|primary| &primary.address);
        primaries.chain(replicas.map(|(_, address)| address))
    }
}

/// `<id> <ip:port@bus[,hostname[,..]]> <flags> <primary> <ping> <pong> <epoch> <link> <slot> ..`
fn node<'a>(line: &'a str, asked: &Address) -> Option<Node<'a>> {
    let mut words = line.split(' ');
    let (id, place, flags, primary) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let (_ping, _pong, epoch, _link) =
        (words.next()?, words.next()?, words.next()?.parse().ok()?, words.next()?);
    // `[93-<-id]` is a slot that moves; it is still its old owner's.
    let slots = words.filter(|word| !word.starts_with('[')).map(range).collect::<Option<_>>()?;
    let noaddr = flags.split(',').any(|flag| flag == "noaddr");
    let address = if noaddr { None } else { address(place, asked) };
    Some(Node { id, address, flags, primary, epoch, slots })
}

fn address(place: &str, asked: &Address) -> Option<Address> {
    let endpoint = place.split(['@', ',']).next()?;
    // An IPv6 address comes without brackets.
    let (host, port) = endpoint.rsplit_once(':')?;
    let port = port.parse().ok().filter(|port| *port != 0)?;
    let host = match (host, asked) {
        ("", Address::Tcp { host, .. }) => host,
        ("", Address::Unix(_)) => return None,
        (host, _) => host,
    };
    Some(Address::Tcp { host: host.to_owned(), port })
}

fn range(word: &str) -> Option<SlotRange> {
    let (first, last) = word.split_once('-').unwrap_or((word, word));
    let range = SlotRange { first: first.parse().ok()?, last: last.parse().ok()? };
    (range.first <= range.last && range.last < HashSlot::COUNT).then_some(range)
}

/// Which shard is whose.
#[derive(Clone, Debug, Default)]
pub struct Members {
    /// By shard.
    shards: Vec<Member>,
    /// The epoch of the view that is believed.
    epoch: u64,
    /// By who was asked: the epoch of the last view.
    heard: Vec<Option<u64>>,
}

/// What has come of a view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// It is older than what is known.
    Doubted,
    /// It is believed, and says nothing new.
    Known,
    /// It is believed, and [`Members::map`] is another one now.
    Changed,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Member {
    /// The primary's id.
    primary: String,
    /// None if it is no primary any more.
    address: Option<Address>,
    /// The ids of its replicas.
    replicas: Vec<String>,
    slots: Vec<SlotRange>,
}

impl Members {
    /// Other nodes are asked from now on: of each, which it was before, if it was any.
    pub fn ask_others(&mut self, before: &[Option<usize>]) {
        let was = |number: &Option<usize>| self.heard.get((*number)?).copied()?;
        self.heard = before.iter().map(was).collect();
    }

    /// A node can't be asked any more: its view doesn't count.
    pub fn gone(&mut self, node: usize) {
        if let Some(heard) = self.heard.get_mut(node) {
            *heard = None;
        }
    }

    /// A node's view.
    pub fn told(&mut self, node: usize, view: &View) -> Told {
        if let Some(heard) = self.heard.get_mut(node) {
            *heard = Some(view.epoch);
        }
        if view.epoch < self.epoch {
            let heard = || self.heard.iter().flatten();
            let knows_better = heard().any(|epoch| *epoch >= self.epoch);
            if knows_better || 2 * heard().count() <= self.heard.len() {
                return Told::Doubted;
            }
        }
        self.epoch = view.epoch;
        let before = self.shards.clone();
        let mut taken = vec![None; before.len()];
        let mut new = Vec::new();
        // Those with slots first: who has lost all to a replica of its own is to become one.
        let (serving, idle): (Vec<_>, Vec<_>) =
            view.primaries.iter().partition(|primary| !primary.slots.is_empty());
        for primary in serving.into_iter().chain(idle) {
            let place = place_of(primary, &before, view).filter(|place| taken[*place].is_none());
            let was_primary = before.iter().any(|member| member.primary == primary.id);
            match place {
                Some(place) => taken[place] = Some(primary),
                None if primary.slots.is_empty() && was_primary => {}
                None => new.push(primary),
            }
        }
        // A shard that is gone keeps its place, since clients have marks there, until another one
        // needs it.
        let mut new = new.into_iter();
        let after = before.iter().zip(taken);
        self.shards = after
            .map(|(member, primary)| match primary.or_else(|| new.next()) {
                Some(primary) => Member::of(primary),
                None => Member { address: None, slots: Vec::new(), ..member.clone() },
            })
            .collect();
        self.shards.extend(new.map(Member::of));
        if self.shards == before { Told::Known } else { Told::Changed }
    }

    /// The shards as they are believed to be.
    pub fn map(&self) -> ShardMap {
        let of = |member: &Member| (member.address.clone(), member.slots.clone());
        ShardMap::of_cluster(self.shards.iter().map(of).collect())
    }
}

impl Member {
    fn of(primary: &Primary) -> Self {
        Self {
            primary: primary.id.clone(),
            address: Some(primary.address.clone()),
            replicas: primary.replicas.iter().map(|(id, _)| id.clone()).collect(),
            slots: primary.slots.clone(),
        }
    }
}

/// Which shard a primary has been: its own, or that of the primary from which it has taken over.
fn place_of(primary: &Primary, before: &[Member], view: &View) -> Option<usize> {
    let own = before.iter().position(|member| member.primary == primary.id);
    own.or_else(|| {
        let serves =
            |id: &str| view.primaries.iter().any(|other| other.id == id && !other.slots.is_empty());
        before
            .iter()
            .position(|member| member.replicas.contains(&primary.id) && !serves(&member.primary))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODES: &str = "\
        a1 10.0.0.1:6379@1,,tls-port=0,shard-id=s myself,master - 0 0 3 connected 0-99 [7->-b1]\n\
        b1 10.0.0.2:6379@16379,host.b master - 0 1 2 connected 100-16382 16383\n\
        a2 10.0.0.3:6379@16379 slave a1 0 1 3 connected\n\
        b2 ::1:6380@16380 slave b1 0 1 2 connected\n\
        c1 :0@0 master,noaddr - 0 1 9 disconnected\n";

    fn asked() -> Address {
        "10.0.0.9:7000".parse().unwrap()
    }

    fn view(text: &str) -> View {
        View::parse(text, &asked()).unwrap()
    }

    fn shards(members: &Members) -> Vec<String> {
        let map = members.map();
        let line = |shard: &crate::shards::Shard| {
            let address = shard.address.as_ref().map_or("-".to_owned(), ToString::to_string);
            format!("{address} {}", shard.slots_text())
        };
        map.shards().map(|(_, shard)| line(shard)).collect()
    }

    #[test]
    fn a_view_is_read_from_the_text() {
        let view = view(NODES);
        assert_eq!(view.epoch, 9);
        assert_eq!(view.primaries.len(), 2, "one without an address can't be asked");
        assert_eq!(
            view.primaries[0].replicas,
            [("a2".to_owned(), "10.0.0.3:6379".parse().unwrap())]
        );
        let slots = |first, last| SlotRange { first, last };
        assert_eq!(view.primaries[1].slots, [slots(100, 16382), slots(16383, 16383)]);
        let all: Vec<String> = view.addresses().map(ToString::to_string).collect();
        assert_eq!(all, ["10.0.0.1:6379", "10.0.0.2:6379", "10.0.0.3:6379", "[::1]:6380"]);
    }

    #[test]
    fn a_node_that_does_not_know_its_address_is_where_it_was_asked() {
        let view = view("a :7000@17000 myself,master - 0 0 0 connected 0-16383");
        assert_eq!(view.primaries[0].address, asked());
    }

    #[test]
    fn what_is_no_view_is_named() {
        let parse = |text| View::parse(text, &asked());
        assert_eq!(parse("hello"), Err(ViewError::Line("hello".to_owned())));
        let beyond = "a 1.1.1.1:1@1 master - 0 0 0 connected 0-16384";
        assert_eq!(parse(beyond), Err(ViewError::Line(beyond.to_owned())));
        assert_eq!(parse(""), Err(ViewError::NoPrimary));
    }

    #[test]
    fn a_replica_that_takes_over_has_its_primarys_shard() {
        let mut members = Members::default();
        members.ask_others(&[None, None]);
        assert_eq!(members.told(0, &view(NODES)), Told::Changed);
        assert_eq!(members.told(1, &view(NODES)), Told::Known);
        let over = "\
            a1 10.0.0.1:6379@1 master - 0 0 3 connected\n\
            b1 10.0.0.2:6379@1 master - 0 1 2 connected 100-16383\n\
            a2 10.0.0.3:6379@1 myself,master - 0 1 10 connected 0-99\n";
        assert_eq!(members.told(1, &view(over)), Told::Changed);
        let after = ["10.0.0.3:6379 0-99", "10.0.0.2:6379 100-16383"];
        assert_eq!(shards(&members), after, "the old primary is to be a replica");
    }

    #[test]
    fn a_primary_without_slots_has_a_shard_while_it_is_there() {
        let mut members = Members::default();
        members.ask_others(&[None]);
        let both = "\
            a 1.1.1.1:1@1 master - 0 0 1 connected 0-16383\n\
            b 1.1.1.1:2@1 master - 0 0 0 connected\n";
        members.told(0, &view(both));
        assert_eq!(shards(&members), ["1.1.1.1:1 0-16383", "1.1.1.1:2 "]);
        members.told(0, &view("b 1.1.1.1:2@1 master - 0 0 2 connected 0-16383"));
        assert_eq!(shards(&members), ["- ", "1.1.1.1:2 0-16383"]);
    }

    #[test]
    fn a_place_that_nobody_needs_is_the_next_comers() {
        let mut members = Members::default();
        members.ask_others(&[None]);
        members.told(0, &view("a 1.1.1.1:1@1 master - 0 0 1 connected 0-16383"));
        members.told(0, &view("b 1.1.1.1:2@1 master - 0 0 2 connected 0-16383"));
        assert_eq!(shards(&members), ["1.1.1.1:2 0-16383"]);
    }

    #[test]
    fn who_knows_less_is_not_believed_while_somebody_knows_more() {
        let mut members = Members::default();
        members.ask_others(&[None, None, None]);
        let at = |epoch: u64, port: u16| {
            view(&format!("a 1.1.1.1:{port}@1 master - 0 0 {epoch} connected 0-16383"))
        };
        assert_eq!(members.told(0, &at(5, 1)), Told::Changed);
        assert_eq!(members.told(1, &at(4, 2)), Told::Doubted);
        members.ask_others(&[Some(1), Some(0), Some(2)]);
        assert_eq!(members.told(0, &at(4, 2)), Told::Doubted, "who said what is remembered");
        members.gone(1);
        assert_eq!(members.told(0, &at(4, 2)), Told::Doubted, "one node may be cut off");
        assert_eq!(members.told(2, &at(4, 2)), Told::Changed, "most say so: it was made anew");
    }
}
