//! Which servers a command must reach, and how their replies become one.

/// Which servers a request must reach. Source:
/// <https://redis.io/docs/latest/develop/reference/command-tips/>.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum RequestPolicy {
    /// The one that has its keys; any one if it has none.
    #[default]
    Default,
    /// All servers, replicas too.
    AllNodes,
    /// All primaries.
    AllShards,
    /// All primaries that have one of its keys, each with its own.
    MultiShard,
    /// A rule of its own.
    Special,
}

/// How replies become one. Source: as [`RequestPolicy`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum ResponsePolicy {
    /// Without keys: all elements one after the other. With keys: in the order of the keys.
    #[default]
    Default,
    /// The first that is no error.
    OneSucceeded,
    /// Any, if none is an error.
    AllSucceeded,
    /// The sum of numbers.
    AggSum,
    /// The smallest number.
    AggMin,
    /// The largest number.
    AggMax,
    /// 1 if all are.
    AggLogicalAnd,
    /// 1 if any is.
    AggLogicalOr,
    /// A rule of its own.
    Special,
}

impl RequestPolicy {
    /// The policy that a tip calls `name`. One that nobody knows yet is a rule of its own.
    pub(super) fn named(name: &[u8]) -> Self {
        match name {
            b"all_nodes" => Self::AllNodes,
            b"all_shards" => Self::AllShards,
            b"multi_shard" => Self::MultiShard,
            _ => Self::Special,
        }
    }
}

impl ResponsePolicy {
    /// The policy that a tip calls `name`. One that nobody knows yet is a rule of its own.
    pub(super) fn named(name: &[u8]) -> Self {
        match name {
            b"one_succeeded" => Self::OneSucceeded,
            b"all_succeeded" => Self::AllSucceeded,
            b"agg_sum" => Self::AggSum,
            b"agg_min" => Self::AggMin,
            b"agg_max" => Self::AggMax,
            b"agg_logical_and" => Self::AggLogicalAnd,
            b"agg_logical_or" => Self::AggLogicalOr,
            _ => Self::Special,
        }
    }
}

/// What a response policy comes to for one command: how the replies of several shards become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Merge {
    /// The rule.
    pub how: How,
    /// Whether shards may have changed something. Then an error from some of them says that the
    /// others have done their part.
    pub may_write: bool,
}

/// How the replies of several shards become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// The sum of numbers; of arrays of numbers, element by element.
    Sum,
    /// The smallest number; of arrays of numbers, element by element.
    Min,
    /// The largest number; of arrays of numbers, element by element.
    Max,
    /// 1 if all numbers are; of arrays of numbers, element by element.
    And,
    /// 1 if any number is; of arrays of numbers, element by element.
    Or,
    /// The first that is no error.
    OneSucceeded,
    /// The first, if none is an error.
    AllSucceeded,
    /// All elements, shard after shard.
    Concat,
    /// One element for each key, in the order of the keys.
    ByKey,
    /// RANDOMKEY: one of those that are not nil, chosen by what they are.
    RandomKey,
    /// SLOWLOG GET: this many elements at most, by the time that each bears, the newest first.
    Newest(u32),
    /// DEBUG DIGEST: forty hexadecimal digits each, of which the exclusive or is that of all keys.
    Digest,
    /// FUNCTION STATS: the first of a shard that runs something, or else the first.
    Running,
    /// CONFIG GET: the first, without the settings that are a shard's own.
    DataSettings,
}

impl How {
    /// The rule for a response policy; none if it is [`ResponsePolicy::Special`].
    pub fn of(policy: ResponsePolicy, by_key: bool) -> Option<Self> {
        Some(match policy {
            ResponsePolicy::Default if by_key => Self::ByKey,
            ResponsePolicy::Default => Self::Concat,
            ResponsePolicy::OneSucceeded => Self::OneSucceeded,
            ResponsePolicy::AllSucceeded => Self::AllSucceeded,
            ResponsePolicy::AggSum => Self::Sum,
            ResponsePolicy::AggMin => Self::Min,
            ResponsePolicy::AggMax => Self::Max,
            ResponsePolicy::AggLogicalAnd => Self::And,
            ResponsePolicy::AggLogicalOr => Self::Or,
            ResponsePolicy::Special => return None,
        })
    }
}
