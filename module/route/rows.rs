//! What is to be done with the commands about which flags and policies don't say enough.
//!
//! One row per reason. A name that ends in `*` stands for all that begin so and have no row of
//! their own. Everything that isn't here is decided by `class.rs`; a command is put here only if
//! what it is can't be told from its description.

use super::action::{Action, Check, ClientSub, Local, PubSub, Step};
use super::class;
use crate::command::{How, Merge, Spec};
use crate::text;

/// One decision.
struct Row {
    names: &'static [&'static str],
    what: What,
    /// Why flags and policies can't tell.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "for the reader, and a test that it is there")
    )]
    why: &'static str,
}

/// An action, or how to get at it.
enum What {
    Is(Action),
    /// Served although it is for operators: by its policies.
    ByPolicy,
    /// All shards, whose replies become one by a rule that its tips don't give.
    All(How),
    /// The same, for what must reach shards that are held up.
    Beside(How),
}

use What::{All, Beside, ByPolicy, Is};

const fn local(local: Local) -> What {
    Is(Action::Local(local))
}

const fn client(sub: ClientSub) -> What {
    Is(Action::Local(Local::Client(sub)))
}

const fn pubsub(word: PubSub) -> What {
    Is(Action::Local(Local::PubSub(word)))
}

const fn checked(check: Check) -> What {
    Is(Action::Checked(check))
}

const ROWS: &[Row] = &[
    Row {
        names: &["ping"],
        what: local(Local::Ping),
        why: "asks for the endpoint, not for shards",
    },
    Row { names: &["echo"], what: local(Local::Echo), why: "any server would say the same" },
    Row { names: &["quit"], what: local(Local::Quit), why: "ends the session, not a pipeline" },
    Row { names: &["reset"], what: local(Local::Reset), why: "resets the session, not a pipeline" },
    Row { names: &["time"], what: local(Local::Time), why: "one clock for all clients" },
    Row { names: &["hello"], what: local(Local::Hello), why: "greets the endpoint" },
    Row { names: &["info"], what: local(Local::Info), why: "tells of all shards as of one server" },
    Row { names: &["wait"], what: local(Local::Wait), why: "the acks room answers it" },
    Row { names: &["waitaof"], what: local(Local::WaitAof), why: "the acks room answers it" },
    Row {
        names: &["weir.wait"],
        what: local(Local::WeirWait),
        why: "WAIT that may say ALL or MAJORITY",
    },
    Row {
        names: &["weir.waitaof"],
        what: local(Local::WeirWaitAof),
        why: "WAITAOF that may say ALL or MAJORITY",
    },
    Row { names: &["client|id"], what: client(ClientSub::Id), why: "the endpoint's own clients" },
    Row {
        names: &["client|info"],
        what: client(ClientSub::Info),
        why: "the endpoint's own clients",
    },
    Row {
        names: &["client|list"],
        what: client(ClientSub::List),
        why: "the endpoint's own clients",
    },
    Row {
        names: &["client|kill"],
        what: client(ClientSub::Kill),
        why: "the endpoint's own clients",
    },
    Row {
        names: &["client|setname"],
        what: client(ClientSub::SetName),
        why: "the session's name, not a pipeline's",
    },
    Row {
        names: &["client|getname"],
        what: client(ClientSub::GetName),
        why: "the session's name, not a pipeline's",
    },
    Row {
        names: &["client|setinfo"],
        what: client(ClientSub::SetInfo),
        why: "the session's library, not Weir",
    },
    Row {
        names: &["client|no-evict"],
        what: client(ClientSub::NoEvict),
        why: "the session is no client of a shard",
    },
    Row {
        names: &["client|no-touch"],
        what: client(ClientSub::NoTouch),
        why: "on a pipeline it would hold for all clients",
    },
    Row {
        names: &["client|unblock"],
        what: client(ClientSub::Unblock),
        why: "the endpoint's own waiters",
    },
    Row {
        names: &["client|reply"],
        what: client(ClientSub::Reply),
        why: "a pipeline without replies would lose its place",
    },
    Row {
        names: &["client|tracking"],
        what: client(ClientSub::Tracking),
        why: "on a pipeline it would be about what all clients read",
    },
    Row {
        names: &["client|trackinginfo"],
        what: client(ClientSub::TrackingInfo),
        why: "the session's tracking, not a pipeline's",
    },
    Row {
        names: &["client|getredir"],
        what: client(ClientSub::GetRedir),
        why: "the session's tracking, not a pipeline's",
    },
    Row {
        names: &["client|caching"],
        what: client(ClientSub::Caching),
        why: "about the session's next command, not a pipeline's",
    },
    Row {
        names: &["client|pause"],
        what: client(ClientSub::Pause),
        why: "the endpoint's clients; a paused shard would hold up WAIT too",
    },
    Row {
        names: &["client|unpause"],
        what: client(ClientSub::Unpause),
        why: "the endpoint's clients",
    },
    Row {
        names: &["monitor"],
        what: local(Local::Monitor),
        why: "needs a connection to itself on every shard",
    },
    Row {
        names: &["script|kill", "function|kill"],
        what: Beside(How::OneSucceeded),
        why: "a script holds up the pipeline on which it was sent",
    },
    Row {
        names: &["function|stats"],
        what: Beside(How::Running),
        why: "tells of the script that holds up a pipeline; its policy is special",
    },
    Row {
        names: &["client|capa"],
        what: local(Local::Ok),
        why: "a server may ignore any capability of a client",
    },
    Row { names: &["client|help"], what: Is(Action::First), why: "only a text" },
    Row {
        names: &["client|*"],
        what: Is(Action::Refused),
        why: "about a connection, and here that is a pipeline of many clients",
    },
    Row { names: &["auth"], what: local(Local::Auth), why: "logs in the session, not a pipeline" },
    Row {
        names: &["select"],
        what: local(Local::Select),
        why: "chooses the session's database, not a pipeline's",
    },
    Row {
        names: &["swapdb"],
        what: All(How::AllSucceeded),
        why: "a database is that of all shards together",
    },
    Row {
        names: &["multi"],
        what: Is(Action::Transaction(Step::Multi)),
        why: "needs a connection to itself",
    },
    Row {
        names: &["exec"],
        what: Is(Action::Transaction(Step::Exec)),
        why: "ends what a session has begun",
    },
    Row {
        names: &["discard"],
        what: Is(Action::Transaction(Step::Discard)),
        why: "ends what a session has begun",
    },
    Row {
        names: &["watch"],
        what: Is(Action::Transaction(Step::Watch)),
        why: "needs a connection to itself",
    },
    Row {
        names: &["unwatch"],
        what: Is(Action::Transaction(Step::Unwatch)),
        why: "ends what a session has begun",
    },
    Row {
        names: &["xread", "xreadgroup"],
        what: checked(Check::Read),
        why: "waits only if told to BLOCK",
    },
    Row {
        names: &["sort", "sort_ro"],
        what: checked(Check::Sort),
        why: "BY and GET read keys that are no arguments",
    },
    Row {
        names: &["migrate"],
        what: Is(Action::Error(text::MIGRATE)),
        why: "takes keys away from their shard, and holds up all others for as long",
    },
    Row {
        names: &["readonly"],
        what: local(Local::ReadOnly),
        why: "where a client reads is decided for each of its commands",
    },
    Row {
        names: &["readwrite"],
        what: local(Local::ReadWrite),
        why: "where a client reads is decided for each of its commands",
    },
    Row {
        names: &["cluster|*", "asking"],
        what: Is(Action::Error(text::CLUSTER_DISABLED)),
        why: "a client must not speak to the endpoint as to a node of a cluster",
    },
    Row {
        names: &["acl|setuser", "acl|deluser", "acl|load"],
        what: local(Local::AclChange),
        why: "users are those of all shards, and what is known of their rights is no longer true",
    },
    Row {
        names: &["acl|save"],
        what: All(How::AllSucceeded),
        why: "users are those of all shards together",
    },
    Row { names: &["acl|log"], what: checked(Check::AclLog), why: "each shard has its own" },
    Row {
        names: &["acl|*"],
        what: Is(Action::First),
        why: "an operator's or about oneself, and all shards have the same users",
    },
    Row {
        names: &["script|debug"],
        what: Is(Action::Refused),
        why: "changes what a connection does, and pipelines have many clients",
    },
    Row {
        names: &["role"],
        what: Is(Action::Refused),
        why: "would give the addresses of one shard's replicas",
    },
    Row { names: &["scan"], what: checked(Check::Scan), why: "one cursor over all shards" },
    Row { names: &["randomkey"], what: All(How::RandomKey), why: "its policy is special" },
    Row {
        names: &["lastsave"],
        what: All(How::Min),
        why: "the database is saved when the last of its shards is",
    },
    Row {
        names: &["slowlog|get"],
        what: checked(Check::SlowLog),
        why: "the newest of all shards, and no more than were asked for",
    },
    Row {
        names: &["slowlog|len", "slowlog|reset", "latency|reset"],
        what: ByPolicy,
        why: "an operator's, but about all shards together",
    },
    Row {
        names: &["latency|latest", "latency|history"],
        what: All(How::Concat),
        why: "lists of events, which go one behind the other; its policy is special",
    },
    Row {
        names: &["latency|histogram", "latency|graph", "latency|doctor"],
        what: Is(Action::Untold),
        why: "says of one server what can't be said of several together",
    },
    Row {
        names: &["memory|stats", "memory|doctor", "memory|malloc-stats"],
        what: Is(Action::Untold),
        why: "says of one server what can't be said of several together",
    },
    Row {
        names: &["save", "bgsave", "bgrewriteaof"],
        what: All(How::AllSucceeded),
        why: "the database is saved when all of its shards are",
    },
    Row { names: &["debug"], what: checked(Check::Debug), why: "nothing describes subcommands" },
    Row { names: &["pfdebug"], what: ByPolicy, why: "an operator's, but about one key" },
    Row { names: &["pfselftest"], what: Is(Action::First), why: "tests the program, not the data" },
    Row { names: &["config|get"], what: All(How::DataSettings), why: "settings of the data only" },
    Row {
        names: &["config|set"],
        what: checked(Check::ConfigSet),
        why: "settings of the data only",
    },
    Row {
        names: &["config|resetstat"],
        what: local(Local::ResetStat),
        why: "the endpoint counts too",
    },
    Row {
        names: &["module|list"],
        what: Is(Action::First),
        why: "an operator's, but clients ask it for what they can use",
    },
    Row {
        names: &["publish"],
        what: Is(Action::Publish { sharded: false }),
        why: "any shard would do, but messages of one channel must come in one order",
    },
    Row {
        names: &["spublish"],
        what: Is(Action::Publish { sharded: true }),
        why: "who listens are clients of the endpoint, which knows better how many",
    },
    Row {
        names: &["subscribe"],
        what: pubsub(PubSub::Subscribe),
        why: "many clients share a connection on which messages come",
    },
    Row {
        names: &["psubscribe"],
        what: pubsub(PubSub::PSubscribe),
        why: "many clients share a connection on which messages come",
    },
    Row {
        names: &["ssubscribe"],
        what: pubsub(PubSub::SSubscribe),
        why: "many clients share a connection on which messages come",
    },
    Row {
        names: &["unsubscribe"],
        what: pubsub(PubSub::Unsubscribe),
        why: "other clients may listen on",
    },
    Row {
        names: &["punsubscribe"],
        what: pubsub(PubSub::PUnsubscribe),
        why: "other clients may listen on",
    },
    Row {
        names: &["sunsubscribe"],
        what: pubsub(PubSub::SUnsubscribe),
        why: "other clients may listen on",
    },
    Row {
        names: &["pubsub|channels"],
        what: pubsub(PubSub::Channels),
        why: "the endpoint's own clients",
    },
    Row {
        names: &["pubsub|numsub"],
        what: pubsub(PubSub::NumSub),
        why: "the endpoint's own clients",
    },
    Row {
        names: &["pubsub|numpat"],
        what: pubsub(PubSub::NumPat),
        why: "the endpoint's own clients",
    },
    Row {
        names: &["pubsub|shardchannels"],
        what: pubsub(PubSub::ShardChannels),
        why: "the endpoint's own clients",
    },
    Row {
        names: &["pubsub|shardnumsub"],
        what: pubsub(PubSub::ShardNumSub),
        why: "the endpoint's own clients",
    },
    Row {
        names: &["weir.*"],
        what: Is(Action::Refused),
        why: "the host's, whose table may be ours; no shard has them",
    },
];

/// The action for `spec`.
pub(super) fn action(spec: &Spec) -> Action {
    match row(&spec.name).map(|row| &row.what) {
        None => class::action(spec),
        Some(Is(action)) => *action,
        Some(ByPolicy) => class::by_policy(spec),
        Some(All(how)) => class::all(spec, *how),
        Some(Beside(how)) => Action::Beside(Merge { how: *how, may_write: false }),
    }
}

fn row(name: &str) -> Option<&'static Row> {
    let named = |wanted: &'static str| match wanted.strip_suffix('*') {
        Some(prefix) => name
            .get(..prefix.len())
            .filter(|start| start.eq_ignore_ascii_case(prefix))
            .map(|_| prefix.len()),
        None => name.eq_ignore_ascii_case(wanted).then_some(usize::MAX),
    };
    let matching = ROWS.iter().filter_map(|row| {
        row.names.iter().filter_map(|wanted| named(wanted)).max().map(|exactness| (exactness, row))
    });
    matching.max_by_key(|(exactness, _)| *exactness).map(|(_, row)| row)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::CommandTable;

    const RECORDED: [&[u8]; 2] = [
        include_bytes!("../../tests/data/command-valkey.resp"),
        include_bytes!("../../tests/data/command-redis.resp"),
    ];

    fn recorded_names() -> Vec<String> {
        let tables = RECORDED.iter().map(|reply| CommandTable::from_reply(reply).unwrap());
        tables
            .flat_map(|t| t.specs().iter().map(|s| s.name.to_string()).collect::<Vec<_>>())
            .collect()
    }

    fn matches(name: &str, wanted: &str) -> bool {
        wanted.strip_suffix('*').map_or(name == wanted, |prefix| name.starts_with(prefix))
    }

    #[test]
    fn every_row_has_a_reason_and_a_command() {
        let recorded = recorded_names();
        for row in ROWS {
            assert!(!row.why.is_empty(), "{:?}", row.names);
            for wanted in row.names.iter().filter(|wanted| !wanted.starts_with("weir.")) {
                assert!(recorded.iter().any(|name| matches(name, wanted)), "{wanted} is dead");
            }
        }
    }

    #[test]
    fn no_command_has_two_rows() {
        for name in recorded_names() {
            let rows = |exact: bool| {
                let wanted = ROWS.iter().flat_map(|row| row.names);
                wanted.filter(|w| w.ends_with('*') != exact && matches(&name, w)).count()
            };
            assert!(rows(true) <= 1, "{name}");
            assert!(rows(false) <= 1, "{name}");
        }
    }
}
