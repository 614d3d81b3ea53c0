//! What the setting `weir.upstream` says.
//!
//! ```text
//!   static://10.0.0.1:6379,10.0.0.2:6379            even shares in this order
//!   static://a:1=0-99+200,b:1=100-199+201-16383     these slots and no others
//!   static://[::1]:7000,unix:/run/redis.sock        IPv6 in brackets; a unix socket
//! ```
//!
//! Either all shards name their slots or none does. Ranges of one shard are joined by `+`, since
//! `,` stands between shards. The path of a unix socket can have neither `,` nor `=`.

use std::fmt;

use super::{Address, AddressError, MapError, ShardMap, SlotRange};

/// Where the shards are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Upstream {
    /// The primaries, named one by one.
    Static(ShardMap),
}

/// Why a text is no [`Upstream`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpstreamError {
    /// Nothing there.
    Empty,
    /// No `scheme://` in front.
    NoScheme,
    /// A scheme that is planned, but that this version doesn't have.
    NotYet(&'static str),
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
}

impl fmt::Display for UpstreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => {
                write!(f, "the upstream is empty; write static://host:port,host:port")
            }
            Self::NoScheme => write!(f, "no scheme; write static://host:port,host:port"),
            Self::NotYet(scheme) => {
                write!(f, "{scheme}:// is not there yet; only static:// is")
            }
            Self::UnknownScheme(scheme) => {
                write!(f, "unknown scheme '{scheme}'; only static:// is there")
            }
            Self::Address { text, why } => write!(f, "'{text}': {why}"),
            Self::Mixed { without } => {
                write!(f, "'{without}' names no slots, but others do; either all do or none")
            }
            Self::Slots { of, text } => write!(
                f,
                "'{text}' of {of} is not a range of slots; write first-last, joined by '+'"
            ),
            Self::Map(why) => why.fmt(f),
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
            Some(("sentinel", _)) => Err(UpstreamError::NotYet("sentinel")),
            Some(("cluster", _)) => Err(UpstreamError::NotYet("cluster")),
            Some((scheme, _)) => Err(UpstreamError::UnknownScheme(scheme.to_owned())),
        }
    }

    /// Who has which slots.
    pub fn into_map(self) -> ShardMap {
        match self {
            Self::Static(map) => map,
        }
    }
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
