//! How many file descriptors there are, and which are ours.
//!
//! ```text
//!   roomy    0 ... the host's ... maxclients+128 | ours ................ | limit
//!   shared   0 ... the host's ........ | ours ......... | limit <= maxclients+128
//! ```
//!
//! The host's event loop holds only descriptor numbers below `maxclients + 128`; a client of the
//! host that is given a higher one hangs. The kernel gives out the lowest free number, so ours must
//! not fill the low ones up: they begin at a base above.
//!
//! A host that starts with a low limit of open files lowers its *hard* limit to what its own
//! clients need, and only root can raise that again. Then there is no room above. But then no
//! number beyond the event loop can exist either, so nobody hangs; host and endpoint just share
//! what there is: the endpoint takes at most half, and says so.

use crate::limits::{DESCRIPTORS_PER_SHARD, DESCRIPTORS_PER_WORKER};
use crate::settings::Settings;

/// What the host's event loop has room for beyond its `maxclients`. Source: redis `server.h`,
/// `CONFIG_FDSET_INCR`.
const EVENT_LOOP_EXTRA: u64 = 128;
/// The host's own files, listeners and replicas, in the shared case.
const HOST_RESERVE: u64 = 64;
/// With room for fewer clients an endpoint is of no use.
const CLIENTS_MIN: u64 = 16;
/// Numbers that the kernel's own default allows at most (`fs.nr_open`); no base lies beyond.
const NUMBERS_MAX: u64 = 1 << 20;

/// Where our descriptors begin, and how many clients may use them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Space {
    pub(super) base: u64,
    pub(super) clients: u32,
    /// The limit of open files at which nothing would have to be cut down.
    pub(super) wanted_limit: u64,
}

/// Divides the numbers below `limit`.
///
/// # Errors
/// Nothing could work; the text says what to do.
pub(super) fn divide(
    limit: u64,
    host_maxclients: u64,
    settings: &Settings,
    shards: usize,
) -> Result<Space, String> {
    let above = host_maxclients + EVENT_LOOP_EXTRA;
    let overhead = overhead(settings, shards);
    let wanted = u64::from(settings.maxclients);
    let wanted_limit = above + overhead + wanted;
    let fitting = |room: u64| room.saturating_sub(overhead).min(wanted);

    if fitting(limit.saturating_sub(above)) >= CLIENTS_MIN.min(wanted) {
        let clients = fitting(limit - above);
        return space(above, clients, wanted_limit);
    }
    let clients = fitting(limit.saturating_sub(HOST_RESERVE) / 2);
    if clients < CLIENTS_MIN.min(wanted) {
        return Err(format!(
            "too few file descriptors: the limit of open files is {limit}, which leaves no room \
             for clients of the endpoint; start the server with at least {wanted_limit} (ulimit \
             -n, or LimitNOFILE= of its service)"
        ));
    }
    // Below the end of the event loop, so that the numbers of the host's clients stay there too.
    let base = limit.min(above) - overhead - clients;
    space(base, clients, wanted_limit)
}

fn space(base: u64, clients: u64, wanted_limit: u64) -> Result<Space, String> {
    if base + clients > NUMBERS_MAX {
        return Err(format!(
            "maxclients of the server and weir.maxclients together need {wanted_limit} file \
             descriptors; there can't be more than {NUMBERS_MAX}"
        ));
    }
    Ok(Space { base, clients: u32::try_from(clients).unwrap_or(u32::MAX), wanted_limit })
}

/// Whether as many clients as the settings say fit above a base that can't move any more. Raises
/// the limit of open files if it must and may.
///
/// # Errors
/// How many fit; a sentence for a user.
pub(super) fn fit(base: u64, settings: &Settings, shards: usize) -> Result<(), String> {
    let needed = base + overhead(settings, shards) + u64::from(settings.maxclients);
    let limit = limit(needed.min(NUMBERS_MAX));
    if limit >= needed {
        return Ok(());
    }
    let room = u64::from(settings.maxclients).saturating_sub(needed - limit);
    Err(format!(
        "weir.maxclients: there are file descriptors for {room} clients; for {} start the server \
         with a limit of open files of at least {needed} (ulimit -n, or LimitNOFILE= of its \
         service)",
        settings.maxclients
    ))
}

/// Descriptors that are needed whoever comes: listeners, and what each worker has of its own and
/// for each shard.
fn overhead(settings: &Settings, shards: usize) -> u64 {
    // Each address may have two ports, with and without TLS; and the Unix socket.
    let listeners = 2 * settings.bind_addresses().count() + 1;
    let per_worker = DESCRIPTORS_PER_WORKER + DESCRIPTORS_PER_SHARD * shards;
    (listeners + usize::from(settings.threads) * per_worker) as u64
}

/// The limit of open files, after an attempt to raise it to `wanted` if it is lower.
pub(super) fn limit(wanted: u64) -> u64 {
    let now = read();
    if now.rlim_cur >= wanted {
        return now.rlim_cur;
    }
    // With the right to do so, the hard limit too; else as far as the hard limit goes.
    for max in [now.rlim_max.max(wanted), now.rlim_max] {
        let raised = libc::rlimit { rlim_cur: wanted.min(max), rlim_max: max };
        // SAFETY: the pointer is to a whole rlimit that the call only reads.
        if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const raised) } == 0 {
            break;
        }
    }
    read().rlim_cur
}

fn read() -> libc::rlimit {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a whole rlimit. If the call failed the limit would read as 0, which
    // refuses the load with a text about limits.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    limit
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARDS: usize = 2;

    fn divided(limit: u64, host_maxclients: u64, maxclients: u32) -> Result<Space, String> {
        divide(limit, host_maxclients, &with(maxclients), SHARDS)
    }

    fn with(maxclients: u32) -> Settings {
        Settings { maxclients, ..Settings::default() }
    }

    /// What there must be beside clients.
    fn besides() -> u64 {
        overhead(&with(1), SHARDS)
    }

    #[test]
    fn with_room_ours_lie_above_the_hosts() {
        let space = divided(65_536, 10_000, 10_000).expect("room");
        let wanted_limit = 20_128 + besides();
        assert_eq!(space, Space { base: 10_128, clients: 10_000, wanted_limit });
    }

    #[test]
    fn with_less_room_fewer_clients_are_served() {
        let space = divided(15_128 + besides(), 10_000, 10_000).expect("room");
        assert_eq!((space.base, space.clients), (10_128, 5_000));
    }

    #[test]
    fn without_room_above_half_is_shared() {
        // What a host with 10000 clients leaves of an unprivileged process's limit.
        let space = divided(10_032, 10_000, 10_000).expect("room");
        let clients = (10_032 - HOST_RESERVE) / 2 - besides();
        assert_eq!(u64::from(space.clients), clients);
        assert_eq!(space.base, 10_032 - besides() - clients);
    }

    #[test]
    fn too_few_are_refused_with_what_to_do() {
        let text = divided(100, 68, 10_000).expect_err("no room");
        let wanted = (10_196 + besides()).to_string();
        assert!(text.contains("is 100,") && text.contains(&wanted), "{text}");
        let text = divided(u64::MAX, 1_000_000, 1_000_000).expect_err("no numbers");
        assert!(text.contains("1048576"), "{text}");
    }

    #[test]
    fn whatever_the_limits_ours_lie_within_them() {
        for limit in (0..40_000).step_by(37) {
            for host in [1, 100, 4_000, 10_000, 20_000] {
                for clients in [1, 16, 1_000, 10_000] {
                    let Ok(space) = divided(limit, host, clients) else { continue };
                    let end = space.base + besides() + u64::from(space.clients);
                    assert!(end <= limit, "{space:?} with {limit}, {host}, {clients}");
                    assert!(space.base >= host + 128 || end <= host + 128, "{space:?}");
                    assert!(space.clients >= 1 && space.clients <= clients);
                }
            }
        }
    }
}
