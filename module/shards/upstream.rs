//! What the setting `weir.upstream` says.
//!
//! ```text
//!   static://10.0.0.1:6379,10.0.0.2:6379            even shares in this order
//!   static://a:1=0-99+200,b:1=100-199+201-16383     these slots and no others
//!   static://[::1]:7000,unix:/run/redis.sock        IPv6 in brackets; a unix socket
//!   sentinel://s1:26379,s2:26379/users,carts        the masters `users` and `carts` of these
//!   cluster://10.0.0.1:6379,10.0.0.2:6379           a Redis Cluster, by some of its nodes
//! ```
//!
//! Of `static`, either all shards name their slots or none does. Ranges of one shard are joined by
//! `+`, since `,` stands between shards. The path of a unix socket can have neither `,` nor `=`.
//! Masters get even shares in their order, as static shards do.

use std::fmt;

use super::{Address, AddressError, MapError, ShardMap, SlotRange};
use crate::limits;

/// Where the shards are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Upstream {
    /// The primaries, named one by one.
    Static(ShardMap),
    /// Sentinels say where the primary of each named master is.
    Sentinel {
        /// Whom to ask; at least one, each once.
        sentinels: Vec<Address>,
        /// The masters' names; at least one, each once.
        masters: Vec<String>,
    },
    /// The nodes of a Redis Cluster say who has which slots.
    Cluster {
        /// Whom to ask first; at least one, each once.
        seeds: Vec<Address>,
    },
}

/// Why a text is no [`Upstream`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpstreamError {
    /// Nothing there.
    Empty,
    /// No `scheme://` in front.
    NoScheme,
    /// A scheme that nobody knows.
    UnknownScheme(String),
    /// One of the addresses is none.
    Address {
        /// As it was written.
        text: String,
        /// What is wrong with it.
        why: AddressError,
    },
    /// Some shards name their slots and some don't.
    Mixed {
        /// One that doesn't.
        without: String,
    },
    /// Something else than `first-last` or one slot's number behind `=`.
    Slots {
        /// The shard's address.
        of: Address,
        /// As it was written.
        text: String,
    },
    /// The shards don't make a map.
    Map(MapError),
    /// No `/` and names of masters behind the Sentinels.
    NoMasters,
    /// A name that no master can have, or an empty one.
    BadMaster(String),
    /// A master, a Sentinel or a node that is named twice.
    Twice(String),
    /// Where a name should be that can be told to others, a Unix socket.
    Socket(String),
}

impl fmt::Display for UpstreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => {
                write!(f, "the upstream is empty; write static://host:port,host:port")
            }
            Self::NoScheme => write!(f, "no scheme; write static://host:port,host:port"),
            Self::UnknownScheme(scheme) => write!(
                f,
                "unknown scheme '{scheme}'; there are static://, sentinel:// and cluster://"
            ),
            Self::Address { text, why } => write!(f, "'{text}': {why}"),
            Self::Mixed { without } => {
                write!(f, "'{without}' names no slots, but others do; either all do or none")
            }
            Self::Slots { of, text } => write!(
                f,
                "'{text}' of {of} is not a range of slots; write first-last, joined by '+'"
            ),
            Self::Map(why) => why.fmt(f),
            Self::NoMasters => {
                write!(f, "no master is named; write sentinel://host:port,host:port/name,name")
            }
            Self::BadMaster(name) => write!(f, "'{name}' is not a master's name"),
            Self::Twice(name) => write!(f, "{name} is named twice"),
            Self::Socket(text) => {
                write!(f, "'{text}': Sentinels and nodes of a cluster are named by host:port")
            }
        }
    }
}

impl std::error::Error for UpstreamError {}

impl Upstream {
    /// Reads the setting's text.
    pub fn parse(text: &str) -> Result<Self, UpstreamError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(UpstreamError::Empty);
        }
        match text.split_once("://") {
            None => Err(UpstreamError::NoScheme),
            Some(("static", shards)) => parse_static(shards).map(Self::Static),
            Some(("sentinel", rest)) => parse_sentinel(rest),
            Some(("cluster", seeds)) => Ok(Self::Cluster { seeds: parse_hosts(seeds)? }),
            Some((scheme, _)) => Err(UpstreamError::UnknownScheme(scheme.to_owned())),
        }
    }

    /// Who has which slots, as far as it is known before anybody has been asked.
    pub fn into_map(self) -> ShardMap {
        match self {
            Self::Static(map) => map,
            Self::Sentinel { masters, .. } => {
                ShardMap::of_masters(masters.into_iter().map(|name| (name, None)).collect())
            }
            Self::Cluster { .. } => ShardMap::of_cluster(vec![(None, Vec::new())]),
        }
    }

    /// Whether it may take the place of `before` while clients are served: what was written is
    /// looked for where it was written.
    ///
    /// # Errors
    /// Why not, for people.
    pub fn may_follow(&self, before: &Self) -> Result<(), String> {
        let slots = |map: &ShardMap| -> Vec<Vec<SlotRange>> {
            map.shards().map(|(_, shard)| shard.slots.clone()).collect()
        };
        match (before, self) {
            (Self::Static(before), Self::Static(after)) if before.len() != after.len() => {
                Err(format!(
                    "there are {} shards, and {} would leave data behind; static shards can only \
                     change their addresses while clients are served",
                    before.len(),
                    after.len()
                ))
            }
            (Self::Static(before), Self::Static(after)) if slots(before) != slots(after) => {
                Err("other slots for a shard would leave data behind; static shards can only \
                     change their addresses while clients are served"
                    .to_owned())
            }
            (Self::Sentinel { masters: before, .. }, Self::Sentinel { masters: after, .. })
                if before != after =>
            {
                Err(format!(
                    "the masters are {}; others, or another order, would leave data behind",
                    before.join(",")
                ))
            }
            (Self::Static(_), Self::Static(_))
            | (Self::Sentinel { .. }, Self::Sentinel { .. })
            | (Self::Cluster { .. }, Self::Cluster { .. }) => Ok(()),
            _ => {
                Err("static, sentinel and cluster can't take each other's place while clients are \
                      served; restart the host with the new one"
                    .to_owned())
            }
        }
    }
}

fn parse_sentinel(text: &str) -> Result<Upstream, UpstreamError> {
    let (sentinels, names) = text.split_once('/').ok_or(UpstreamError::NoMasters)?;
    let sentinels = parse_hosts(sentinels)?;
    let mut masters: Vec<String> = Vec::new();
    for name in names.split(',').map(str::trim) {
        // Source: redis `sentinel.c`, `sentinelCheckCreateInstanceErrors` takes any; but a space
        // couldn't be told from the end of a name in what Sentinels publish.
        if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c.is_control()) {
            let missing = name.is_empty() && names.trim().is_empty();
            return Err(match missing {
                true => UpstreamError::NoMasters,
                false => UpstreamError::BadMaster(name.to_owned()),
            });
        }
        if masters.iter().any(|other| other == name) {
            return Err(UpstreamError::Twice(name.to_owned()));
        }
        masters.push(name.to_owned());
    }
    if masters.len() > limits::SHARDS_MAX {
        return Err(UpstreamError::Map(MapError::TooMany(masters.len())));
    }
    Ok(Upstream::Sentinel { sentinels, masters })
}

/// `host:port,host:port`.
fn parse_hosts(text: &str) -> Result<Vec<Address>, UpstreamError> {
    let mut hosts: Vec<Address> = Vec::new();
    for entry in text.split(',').map(str::trim) {
        let address = entry
            .parse::<Address>()
            .map_err(|why| UpstreamError::Address { text: entry.to_owned(), why })?;
        if matches!(address, Address::Unix(_)) {
            return Err(UpstreamError::Socket(entry.to_owned()));
        }
        if hosts.contains(&address) {
            return Err(UpstreamError::Twice(address.to_string()));
        }
        hosts.push(address);
    }
    Ok(hosts)
}

fn parse_static(text: &str) -> Result<ShardMap, UpstreamError> {
    if text.trim().is_empty() {
        return Err(UpstreamError::Map(MapError::Empty));
    }
    let (mut addresses, mut slots, mut without) = (Vec::new(), Vec::new(), None);
    for entry in text.split(',').map(str::trim) {
        let (address, ranges) = match entry.split_once('=') {
            Some((address, ranges)) => (address, Some(ranges)),
            None => (entry, None),
        };
        let address = address.parse::<Address>();
        let address =
            address.map_err(|why| UpstreamError::Address { text: entry.to_owned(), why })?;
        match ranges {
            Some(ranges) => slots.push(parse_slots(&address, ranges)?),
            None => without = Some(entry),
        }
        addresses.push(address);
    }
    match without {
        None => ShardMap::new(addresses.into_iter().zip(slots).collect()),
        Some(_) if slots.is_empty() => ShardMap::even(addresses),
        Some(without) => return Err(UpstreamError::Mixed { without: without.to_owned() }),
    }
    .map_err(UpstreamError::Map)
}

fn parse_slots(of: &Address, text: &str) -> Result<Vec<SlotRange>, UpstreamError> {
    let number = |digits: &str| -> Option<u16> {
        // `u16::from_str` takes a plus sign too; here it stands between ranges.
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
    };
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(SlotRange { first: number(first)?, last: number(last)? })
    };
    text.split('+')
        .map(|part| {
            range(part)
                .ok_or_else(|| UpstreamError::Slots { of: of.clone(), text: part.to_owned() })
        })
        .collect()
}
