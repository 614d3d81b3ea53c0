//! What is to be done with a command, before a request of it is seen.

use crate::command::Merge;

/// What is to be done with all requests of one command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// The endpoint answers itself.
    Local(Local),
    /// The endpoint answers with this error, as a stock server would.
    Error(&'static str),
    /// Not supported by this endpoint.
    Refused,
    /// The first shard answers: any would do, and it is always the same.
    First,
    /// The shard that has the keys, if that is one.
    Keys,
    /// As [`Action::Keys`], but nothing tells where the keys are: only where there is one shard.
    Untold,
    /// Every shard that has some of the keys.
    Split(Shape, Merge),
    /// Every shard.
    All(Merge),
    /// Every shard, even if it is held up by what is on its way there.
    Beside(Merge),
    /// The shard that has the keys, and the command may wait there.
    Blocking,
    /// A transaction's own command.
    Transaction(Step),
    /// The shard of the slot of the channel, or of the shard channel, that is its first argument.
    Publish {
        /// It is a shard channel.
        sharded: bool,
    },
    /// It depends on the arguments.
    Checked(Check),
}

/// What the requests of a command look like whose keys may go to several shards:
/// `name .. [key value ..] [key value ..] .. trailer ..`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    /// The first key's argument; what is in front of it goes to every shard.
    pub(super) first: usize,
    /// Arguments of one key, itself included.
    pub(super) step: usize,
    /// Arguments behind the last key's, which go to every shard.
    pub(super) trailer: usize,
}

/// The commands that make transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// MULTI
    Multi,
    /// EXEC
    Exec,
    /// DISCARD
    Discard,
    /// WATCH
    Watch,
    /// UNWATCH
    Unwatch,
}

/// What is to be looked at in a request before it is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Check {
    /// SORT: its patterns may name keys of other shards.
    Sort,
    /// XREAD, XREADGROUP: their BLOCK option makes them wait.
    Read,
    /// SCAN: its cursor says which shard.
    Scan,
    /// SLOWLOG GET: how many of the newest are wanted.
    SlowLog,
    /// DEBUG: its subcommands have little in common.
    Debug,
    /// CONFIG SET: it may name settings that are a shard's own.
    ConfigSet,
    /// ACL LOG: it lists what the shards have logged, or has them forget it.
    AclLog,
}

/// What the endpoint answers itself. The number of arguments is right, nothing else has been looked
/// at unless it says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Local {
    /// `+OK`, whatever the arguments: they have been looked at.
    Ok,
    /// AUTH
    Auth,
    /// ACL SETUSER, DELUSER or LOAD: changes who may do what.
    AclChange,
    /// CONFIG RESETSTAT
    ResetStat,
    /// PING
    Ping,
    /// ECHO
    Echo,
    /// QUIT
    Quit,
    /// RESET
    Reset,
    /// TIME
    Time,
    /// HELLO
    Hello,
    /// SELECT
    Select,
    /// INFO
    Info,
    /// WAIT
    Wait,
    /// WAITAOF
    WaitAof,
    /// WEIR.WAIT
    WeirWait,
    /// WEIR.WAITAOF
    WeirWaitAof,
    /// READONLY
    ReadOnly,
    /// READWRITE
    ReadWrite,
    /// MONITOR
    Monitor,
    /// CLIENT and its subcommand.
    Client(ClientSub),
    /// Listening to channels, and who does.
    PubSub(PubSub),
}

/// What the endpoint knows of channels, because their listeners are its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PubSub {
    /// SUBSCRIBE
    Subscribe,
    /// PSUBSCRIBE
    PSubscribe,
    /// SSUBSCRIBE
    SSubscribe,
    /// UNSUBSCRIBE
    Unsubscribe,
    /// PUNSUBSCRIBE
    PUnsubscribe,
    /// SUNSUBSCRIBE
    SUnsubscribe,
    /// PUBSUB CHANNELS
    Channels,
    /// PUBSUB NUMSUB
    NumSub,
    /// PUBSUB NUMPAT
    NumPat,
    /// PUBSUB SHARDCHANNELS
    ShardChannels,
    /// PUBSUB SHARDNUMSUB
    ShardNumSub,
}

/// The subcommands of CLIENT that the endpoint answers itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientSub {
    /// CLIENT ID
    Id,
    /// CLIENT INFO
    Info,
    /// CLIENT LIST
    List,
    /// CLIENT KILL
    Kill,
    /// CLIENT SETNAME
    SetName,
    /// CLIENT GETNAME
    GetName,
    /// CLIENT SETINFO
    SetInfo,
    /// CLIENT NO-EVICT
    NoEvict,
    /// CLIENT NO-TOUCH
    NoTouch,
    /// CLIENT UNBLOCK
    Unblock,
    /// CLIENT REPLY
    Reply,
    /// CLIENT TRACKING
    Tracking,
    /// CLIENT TRACKINGINFO
    TrackingInfo,
    /// CLIENT GETREDIR
    GetRedir,
    /// CLIENT CACHING
    Caching,
    /// CLIENT PAUSE
    Pause,
    /// CLIENT UNPAUSE
    Unpause,
}
