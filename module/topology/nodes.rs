//! What one node of a Redis Cluster says of it: the text of CLUSTER NODES.
//!
//! Who is believed if several say different things is decided in `members.rs`. Source: redis
//! `cluster_legacy.c`, `clusterGenNodeDescription`.

use std::fmt;

use crate::limits;
use crate::shards::{Address, HashSlot, SlotRange};

/// The cluster as one node sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// All nodes that it knows, but for those that have yet to shake hands.
    pub nodes: Vec<Node>,
}

/// One node, as another or itself sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Forty hexadecimal digits.
    pub id: String,
    /// Where it listens, if that is known.
    pub address: Option<Address>,
    /// It is who speaks.
    pub myself: bool,
    /// It is thought to have failed.
    pub failing: bool,
    /// Whose replica it is; none if it is a primary.
    pub primary: Option<String>,
    /// Its config epoch: nodes number the changes of owners among themselves.
    pub epoch: u64,
    /// Its slots; a primary that has just come has none.
    pub slots: Vec<SlotRange>,
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

impl Node {
    /// Whether it can have a shard: its replica has its slots, or nobody ever had any there, if it
    /// has failed and has none.
    pub fn may_serve(&self) -> bool {
        self.primary.is_none() && self.address.is_some() && !(self.failing && self.slots.is_empty())
    }
}

impl View {
    /// Reads the text of a reply to CLUSTER NODES. `asked` is where the node was asked: one that
    /// doesn't know its own address leaves it out.
    ///
    /// # Errors
    /// See [`ViewError`].
    pub fn parse(text: &str, asked: &Address) -> Result<Self, ViewError> {
        let mut nodes = Vec::new();
        for line in text.lines().map(str::trim_end).filter(|line| !line.is_empty()) {
            match node(line, asked).ok_or_else(|| ViewError::Line(line.to_owned()))? {
                Line::Node(node) => nodes.push(node),
                Line::Nobody => {}
            }
        }
        match nodes.iter().filter(|node| node.may_serve()).count() {
            0 => Err(ViewError::NoPrimary),
            count if count > limits::SHARDS_MAX => Err(ViewError::TooMany(count)),
            _ => Ok(Self { nodes }),
        }
    }

    /// Who speaks, as it sees itself.
    pub fn myself(&self) -> Option<&Node> {
        self.nodes.iter().find(|node| node.myself)
    }

    /// The ids of all nodes that it knows.
    pub(super) fn ids(&self) -> impl Iterator<Item = &String> {
        self.nodes.iter().map(|node| &node.id)
    }
}

/// One line of CLUSTER NODES.
enum Line {
    Node(Node),
    /// Who has yet to shake hands may turn out to be somebody else.
    Nobody,
}

/// `<id> <ip:port@bus[,hostname[,..]]> <flags> <primary> <ping> <pong> <epoch> <link> <slot> ..`
fn node(line: &str, asked: &Address) -> Option<Line> {
    let mut words = line.split(' ');
    let (id, place, flags, primary) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let (_ping, _pong, epoch, _link) =
        (words.next()?, words.next()?, words.next()?.parse().ok()?, words.next()?);
    // `[93-<-id]` is a slot that moves; it is still its old owner's.
    let slots = words.filter(|word| !word.starts_with('[')).map(range).collect::<Option<_>>()?;
    let is = |flag: &str| flags.split(',').any(|own| own == flag);
    let is_replica = is("slave") || is("replica");
    if is("handshake") || !(is_replica || is("master")) {
        return Some(Line::Nobody);
    }
    Some(Line::Node(Node {
        id: id.to_owned(),
        address: if is("noaddr") { None } else { address(place, asked) },
        myself: is("myself"),
        failing: is("fail") || is("fail?"),
        primary: is_replica.then(|| primary.to_owned()),
        epoch,
        slots,
    }))
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

#[cfg(test)]
mod tests {
    use super::*;

    const NODES: &str = "\
        a1 10.0.0.1:6379@1,,tls-port=0,shard-id=s myself,master - 0 0 3 connected 0-99 [7->-b1]\n\
        b1 10.0.0.2:6379@16379,host.b master,fail? - 0 1 2 connected 100-16382 16383\n\
        a2 10.0.0.3:6379@16379 slave a1 0 1 3 connected\n\
        b2 ::1:6380@16380 slave b1 0 1 2 connected\n\
        d1 10.0.0.4:6379@16379 handshake - 0 1 0 connected\n\
        c1 :0@0 master,noaddr - 0 1 9 disconnected\n";

    fn asked() -> Address {
        "10.0.0.9:7000".parse().unwrap()
    }

    #[test]
    fn a_view_is_read_from_the_text() {
        let view = View::parse(NODES, &asked()).unwrap();
        let told = |node: &Node| {
            let place = node.address.as_ref().map_or("-".to_owned(), ToString::to_string);
            let whose = node.primary.as_deref().unwrap_or("itself");
            format!("{} {place} {whose} {}", node.id, node.epoch)
        };
        assert_eq!(
            view.nodes.iter().map(told).collect::<Vec<_>>(),
            [
                "a1 10.0.0.1:6379 itself 3",
                "b1 10.0.0.2:6379 itself 2",
                "a2 10.0.0.3:6379 a1 3",
                "b2 [::1]:6380 b1 2",
                "c1 - itself 9"
            ]
        );
        let slots = |first, last| SlotRange { first, last };
        assert_eq!(view.nodes[0].slots, [slots(0, 99)]);
        assert_eq!(view.nodes[1].slots, [slots(100, 16382), slots(16383, 16383)]);
        assert!(view.nodes[0].myself && !view.nodes[1].myself);
        assert!(view.nodes[1].failing && !view.nodes[0].failing);
        assert!(view.nodes[1].may_serve(), "it has slots");
        assert!(!view.nodes[4].may_serve(), "one without an address can't be asked");
    }

    #[test]
    fn a_node_that_does_not_know_its_address_is_where_it_was_asked() {
        let line = "a :7000@17000 myself,master - 0 0 0 connected 0-16383";
        assert_eq!(View::parse(line, &asked()).unwrap().nodes[0].address, Some(asked()));
    }

    #[test]
    fn what_is_no_view_is_named() {
        let parse = |text| View::parse(text, &asked());
        assert_eq!(parse("hello"), Err(ViewError::Line("hello".to_owned())));
        let beyond = "a 1.1.1.1:1@1 master - 0 0 0 connected 0-16384";
        assert_eq!(parse(beyond), Err(ViewError::Line(beyond.to_owned())));
        assert_eq!(parse(""), Err(ViewError::NoPrimary));
    }
}
