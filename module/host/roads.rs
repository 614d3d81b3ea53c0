//! Which way a command of the host's own port goes: the host has it, or the shards.
//!
//! The host keeps what is about itself: its settings, its clients, its users, its replication, its
//! modules. All else is about data, and the shards' affair; so is what the host doesn't know, for a
//! shard may have it from a module.

/// The longest name that stays with the host.
const NAME_MAX: usize = 16;

/// Where a command goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Road {
    /// It stays with the host.
    Host,
    /// As `Host`, and it may change who the client is.
    Login,
    /// As `Host`, and the client begins anew.
    Reset,
    /// It stays with the host, and what is published on the shards must be published here too.
    Listen,
    /// To the shards.
    Shards,
    /// `CLIENT UNBLOCK`: to the shards if it is about one of those who wait for them.
    Unblock,
    /// It would change how replies come, in a way that a module can't follow.
    Refused(&'static str),
}

const TRACKING: &str = "ERR client side caching is not possible on this port, because a module can't \
                        send a client what it didn't ask for: use the endpoint's port";

/// The road of a command on the host's port. `sub` is its first argument.
pub(super) fn road(name: &[u8], sub: Option<&[u8]>) -> Road {
    let mut buffer = [0; NAME_MAX];
    let Some(name) = lower(name, &mut buffer) else {
        return Road::Shards;
    };
    match name {
        b"auth" | b"hello" => Road::Login,
        b"reset" => Road::Reset,
        b"subscribe" | b"psubscribe" | b"ssubscribe" => Road::Listen,
        b"acl" | b"bgrewriteaof" | b"bgsave" | b"command" | b"config" | b"debug" | b"echo"
        | b"failover" | b"hotkeys" | b"info" | b"lastsave" | b"latency" | b"lolwut" | b"module"
        | b"monitor" | b"pfselftest" | b"ping" | b"psync" | b"punsubscribe" | b"quit"
        | b"replconf" | b"replicaof" | b"role" | b"save" | b"sentinel" | b"shutdown"
        | b"slaveof" | b"slowlog" | b"commandlog" | b"sunsubscribe" | b"sync" | b"time"
        | b"unsubscribe" => Road::Host,
        b"client" => client(sub.unwrap_or_default()),
        // MEMORY USAGE is about a key; the rest is about a server.
        b"memory" if !is(sub, b"usage") => Road::Host,
        b"pubsub" => Road::Host,
        _ if is_ours(name) => Road::Host,
        _ => Road::Shards,
    }
}

/// Whether this is a command of this module.
pub(super) fn is_ours(name: &[u8]) -> bool {
    name.get(..5).is_some_and(|prefix| prefix.eq_ignore_ascii_case(b"weir."))
}

fn client(sub: &[u8]) -> Road {
    let mut buffer = [0; NAME_MAX];
    match lower(sub, &mut buffer) {
        Some(b"unblock") => Road::Unblock,
        Some(b"tracking" | b"caching") => Road::Refused(TRACKING),
        _ => Road::Host,
    }
}

/// Why a command can't be said by `WEIR.DO`, or inside a transaction, if it can't.
pub(super) fn refusal(name: &[u8], sub: Option<&[u8]>) -> Option<&'static str> {
    let mut buffer = [0; NAME_MAX];
    match lower(name, &mut buffer)? {
        b"auth" | b"hello" => Some(
            "ERR the login at the shards is that of weir.intercept-user for all clients of this port",
        ),
        b"monitor" | b"psync" | b"quit" | b"reset" | b"sync" => {
            Some("ERR this command is about the connection, so it can't be passed on to the shards")
        }
        b"subscribe" | b"psubscribe" | b"ssubscribe" | b"unsubscribe" | b"punsubscribe"
        | b"sunsubscribe" => Some(
            "ERR channels are listened to by a connection of their own on this port, outside of \
             WEIR.DO and of transactions",
        ),
        b"client" => {
            let sub = sub.unwrap_or_default();
            let mut buffer = [0; NAME_MAX];
            match lower(sub, &mut buffer)? {
                b"tracking" | b"caching" => Some(TRACKING),
                b"reply" => Some("ERR CLIENT REPLY is the host's: say it without WEIR.DO"),
                _ => None,
            }
        }
        _ => None,
    }
}

fn is(word: Option<&[u8]>, name: &[u8]) -> bool {
    word.is_some_and(|word| word.eq_ignore_ascii_case(name))
}

/// `name` in small letters; none if it is longer than all that are looked for.
fn lower<'a>(name: &[u8], buffer: &'a mut [u8; NAME_MAX]) -> Option<&'a [u8]> {
    let place = buffer.get_mut(..name.len())?;
    place.copy_from_slice(name);
    place.make_ascii_lowercase();
    Some(place)
}

/// What is said in place of a command that isn't passed on: the number of its arguments is wrong,
/// so it aborts the transaction that it is in, as what is refused must.
pub(super) const ABORTS: &str = "GET";

/// What a command does to the transaction of its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bracket {
    None,
    /// If it is answered OK, a transaction has begun.
    Opens,
    /// Whatever it is answered, none is open.
    Closes,
}

/// What kind of bracket a command is.
pub(super) fn bracket(name: &[u8]) -> Bracket {
    if name.eq_ignore_ascii_case(b"multi") {
        Bracket::Opens
    } else if name.eq_ignore_ascii_case(b"exec") || name.eq_ignore_ascii_case(b"discard") {
        Bracket::Closes
    } else {
        Bracket::None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Road {
        let mut words = text.split(' ').map(str::as_bytes);
        road(words.next().unwrap(), words.next())
    }

    #[test]
    fn data_goes_to_the_shards_and_administration_stays() {
        for data in [
            "GET k",
            "set k v",
            "MULTI",
            "EXEC",
            "WATCH k",
            "WAIT 1",
            "WAITAOF 1",
            "EVAL x",
            "FUNCTION LOAD",
            "SCRIPT KILL",
            "SELECT 1",
            "PUBLISH c",
            "SPUBLISH c",
            "BLPOP k",
            "KEYS *",
            "DBSIZE",
            "FLUSHALL",
            "MEMORY USAGE",
            "memory usage",
            "OBJECT ENCODING",
            "CLUSTER SLOTS",
            "READONLY",
            "JSON.SET k",
            "NOSUCHCOMMAND",
            "",
            "AVERYLONGCOMMANDNAMEINDEED x",
        ] {
            assert_eq!(of(data), Road::Shards, "{data}");
        }
        for host in [
            "CONFIG GET",
            "info",
            "ACL LIST",
            "CLIENT LIST",
            "CLIENT ID",
            "CLIENT",
            "MEMORY",
            "MEMORY DOCTOR",
            "PING",
            "SHUTDOWN",
            "REPLICAOF h",
            "MODULE LOAD",
            "WEIR.SHARDS",
            "weir.do GET",
            "UNSUBSCRIBE",
            "PUBSUB CHANNELS",
            "MONITOR",
        ] {
            assert_eq!(of(host), Road::Host, "{host}");
        }
        assert_eq!(of("AUTH p"), Road::Login);
        assert_eq!(of("hello 3"), Road::Login);
        assert_eq!(of("RESET"), Road::Reset);
        assert_eq!(of("SUBSCRIBE c"), Road::Listen);
        assert_eq!(of("CLIENT UNBLOCK"), Road::Unblock);
        assert!(matches!(of("CLIENT TRACKING"), Road::Refused(_)));
    }

    #[test]
    fn what_changes_how_replies_come_is_not_passed_on() {
        for (name, sub) in [("SUBSCRIBE", "c"), ("client", "reply"), ("HELLO", "3"), ("quit", "")] {
            assert!(refusal(name.as_bytes(), Some(sub.as_bytes())).is_some(), "{name} {sub}");
        }
        for (name, sub) in [("GET", "k"), ("CLIENT", "LIST"), ("INFO", ""), ("RESETX", "")] {
            assert_eq!(refusal(name.as_bytes(), Some(sub.as_bytes())), None, "{name} {sub}");
        }
    }
}
