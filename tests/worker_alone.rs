//! What needs a process of its own: exact counts of threads and descriptors, and their limit.
//!
//! One test, for tests of one binary share a process and run side by side.

#![allow(clippy::unwrap_used, reason = "a test may")]

#[path = "worker/echo.rs"]
mod echo;

use weir::settings::Settings;
use weir::worker::{Fleet, StartError};

use echo::{Caller, Echo, Hall, ground, open_above, settings, threads};

const BASE: i32 = 3000;

#[test]
fn alone() {
    stopping_leaves_nothing_behind();
    a_low_limit_lowers_maxclients_or_refuses_to_start();
    without_descriptors_the_listener_rests();
}

fn stopping_leaves_nothing_behind() {
    let (threads_before, open_before) = (threads(), open_above(0));
    for round in 0..5 {
        let hall = Hall::open(settings(4), BASE);
        assert_eq!(threads(), threads_before + 5, "four workers and the names thread");
        let mut callers: Vec<Caller> = (0..200).map(|_| hall.connect()).collect();
        callers.iter_mut().for_each(|caller| assert_eq!(caller.ask("hello"), "hello"));
        let open = open_above(BASE);
        assert_eq!(open, 200 + 4 * 2 + 1, "clients, epolls and bells, a listener: all up there");
        // Some are on their way from the listener to their worker, some have bytes outstanding.
        callers.extend((0..50).map(|_| hall.connect()));
        callers.iter_mut().for_each(|caller| caller.send("!big 100000\n"));
        if round % 2 == 0 {
            callers[0].send("!panic\n");
            hall.await_log("panicked");
        }
        hall.fleet.stop().unwrap();
        // The kernel says that a thread has ended before it takes it off its list.
        let _ = (0..100_000).find(|_| threads() == threads_before);
        assert_eq!(threads(), threads_before);
        assert_eq!(open_above(BASE), 0);
        drop(callers);
        assert_eq!(open_above(0), open_before);
    }
}

fn a_low_limit_lowers_maxclients_or_refuses_to_start() {
    // More than the kernel lets anybody have, root or not.
    let asked = Settings { maxclients: 2_000_000_000, ..settings(1) };
    let (on, log, _) = ground(&asked, BASE);
    let fleet = Fleet::start_with(on, 8, |place, now| Echo::new(&place, now)).unwrap();
    let line = log.try_recv().unwrap();
    assert!(line.contains("instead of 2000000000"), "{line}");
    fleet.stop().unwrap();
    let (on, _, _) = ground(&asked, BASE);
    let refused = Fleet::start_with(on, 2_000_000_000, |place, now| Echo::new(&place, now));
    assert!(matches!(refused, Err(StartError::Descriptors(_))));
    assert_eq!(open_above(BASE), 0);
}

fn without_descriptors_the_listener_rests() {
    let hall = Hall::open(settings(1), BASE);
    let mut early = hall.connect();
    assert_eq!(early.ask("hello"), "hello");
    let before = limit();
    set_limit(BASE as u64 + open_above(BASE) as u64, before.rlim_max);
    let mut late = hall.connect();
    hall.await_log("can't accept a client");
    assert_eq!(late.line(), "", "it was accepted, and then there was no place for it");
    // Those who come now wait until there is.
    let mut patient = hall.connect();
    patient.send("hello\n");
    let turns = hall.stats.workers[0].turns.get();
    assert!(early.ask("!timer 50000").parse::<u64>().unwrap() >= 50_000);
    assert!(hall.stats.workers[0].turns.get() - turns < 10, "it spins");
    set_limit(before.rlim_cur, before.rlim_max);
    assert_eq!(patient.line(), "hello");
    hall.fleet.stop().unwrap();
}

fn limit() -> libc::rlimit {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a whole rlimit.
    assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) }, 0);
    limit
}

fn set_limit(soft: u64, hard: u64) {
    let limit = libc::rlimit { rlim_cur: soft, rlim_max: hard };
    // SAFETY: the pointer is to a whole rlimit.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }, 0);
}
