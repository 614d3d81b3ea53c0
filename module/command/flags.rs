//! The flags of a command.

use std::fmt;
use std::ops::BitOr;

/// A set of flags, of those that decide something in Weir.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Flags(u16);

macro_rules! flags {
    ($($(#[$doc:meta])* $name:ident = $bit:literal $text:literal;)*) => {
        impl Flags {
            $($(#[$doc])* pub const $name: Self = Self(1 << $bit);)*

            /// Each flag with its name in a `COMMAND` reply.
            const ROWS: &[(&str, Self)] = &[$(($text, Self::$name)),*];
        }
    };
}

flags! {
    /// Changes data; refused by replicas.
    WRITE = 0 "write";
    /// Reads data and changes none.
    READONLY = 1 "readonly";
    /// May have to wait, and then holds up its connection.
    BLOCKING = 2 "blocking";
    /// Its keys are not all at fixed places.
    MOVABLE_KEYS = 3 "movablekeys";
    /// Not callable from scripts.
    NOSCRIPT = 4 "noscript";
    /// Has to do with channels.
    PUBSUB = 5 "pubsub";
    /// For the server's operator.
    ADMIN = 6 "admin";
    /// Not callable inside MULTI.
    NO_MULTI = 7 "no_multi";
    /// Callable before AUTH.
    NO_AUTH = 8 "no_auth";
    /// Belongs to a module.
    MODULE = 9 "module";
    /// May move the replication offset although it is no write. Servers don't tell: see `spec.rs`.
    MAY_REPLICATE = 10 "may_replicate";
}

impl Flags {
    /// No flag.
    pub const NONE: Self = Self(0);

    /// The flag that a `COMMAND` reply calls `name`; none if it decides nothing here.
    pub fn named(name: &[u8]) -> Self {
        let row = Self::ROWS.iter().find(|(text, _)| text.as_bytes() == name);
        row.map_or(Self::NONE, |&(_, flag)| flag)
    }

    /// Whether any of `others` is in the set.
    pub const fn any(self, others: Self) -> bool {
        self.0 & others.0 != 0
    }
}

impl BitOr for Flags {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = Self::ROWS.iter().filter(|(_, flag)| self.any(*flag)).map(|(name, _)| name);
        f.debug_set().entries(names).finish()
    }
}
