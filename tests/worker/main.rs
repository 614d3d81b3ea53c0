//! Workers with real sockets, and a small machine in the engine's place.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod echo;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use weir::engine::{Asker, Mail, Peer, Question};
use weir::ids::WorkerId;
use weir::settings::Settings;
use weir::worker::{Farewell, Fleet, Promise, StartError};

use echo::{Caller, Echo, Hall, eventually, ground, settings};

#[test]
fn thousands_of_clients_are_dealt_out_and_each_gets_its_own_bytes() {
    const CLIENTS: usize = 3000;
    let hall = Hall::open(settings(3), 9000);
    let mut callers: Vec<Caller> = (0..CLIENTS).map(|_| hall.connect()).collect();
    for round in 0..3 {
        for (number, caller) in callers.iter_mut().enumerate() {
            caller.send(&format!("client {number} round {round}\n"));
        }
        for (number, caller) in callers.iter_mut().enumerate() {
            assert_eq!(caller.line(), format!("client {number} round {round}"));
        }
    }
    assert_eq!(hall.fleet.clients(), CLIENTS);
    let mut by_worker = [0; 3];
    for caller in &mut callers {
        let who = caller.ask("!who");
        by_worker[who.rsplit(' ').next().unwrap().parse::<usize>().unwrap()] += 1;
    }
    assert_eq!(by_worker, [CLIENTS / 3; 3]);
    drop(callers);
    eventually("all have left", || hall.fleet.clients() == 0);
}

#[test]
fn a_client_is_known_by_its_address() {
    let hall = Hall::open(settings(1), 2000);
    let mut caller = hall.connect();
    let near = caller.stream().get_ref().local_addr().unwrap();
    let expected = format!("{near} 127.0.0.1:{} 0", hall.settings.port);
    assert_eq!(caller.ask("!who"), expected);
    assert_eq!(hall.fleet.listening(), [format!("127.0.0.1:{}", hall.settings.port)]);
}

#[test]
fn a_unix_socket_serves_too_and_goes_with_the_fleet() {
    let path = std::env::temp_dir().join(format!("weir-worker-{}", std::process::id()));
    let text = path.to_str().unwrap().to_owned();
    let hall = Hall::open(Settings { port: 0, unixsocket: text.clone(), ..settings(2) }, 2100);
    let mut stream = UnixStream::connect(&path).unwrap();
    stream.write_all(b"!who\n!quit\n").unwrap();
    let mut all = String::new();
    stream.read_to_string(&mut all).unwrap();
    assert_eq!(all, format!("{text}:0 {text}:0 0\n"));
    hall.fleet.stop().unwrap();
    assert!(!path.exists());
}

#[test]
fn what_a_guest_has_said_is_heard_though_it_left_at_once() {
    let hall = Hall::open(settings(1), 2150);
    for _ in 0..500 {
        let (tell, told) = std::sync::mpsc::channel();
        let peer = Peer { address: "host".into(), local: "host:0".into(), fd: -1 };
        let guest = hall.fleet.entrance().enter(peer, None, Farewell::HangUp);
        let promise = Promise::new(move |reply| tell.send(reply).unwrap());
        guest.say(b"+executed\r\n".to_vec(), 0, promise);
        drop(guest);
        assert_eq!(told.recv().unwrap().as_deref(), Some(&b"+executed\r\n"[..]));
        hall.await_log("closed 0");
    }
}

#[test]
fn one_client_too_many_is_told_so() {
    let hall = Hall::open(Settings { maxclients: 2, ..settings(2) }, 2200);
    let mut first = hall.connect();
    assert_eq!(first.ask("one"), "one");
    let mut second = hall.connect();
    assert_eq!(second.ask("two"), "two");
    assert_eq!(hall.connect().line(), "-ERR max number of clients reached");
    assert_eq!(hall.stats.workers[0].rejected_connections.get(), 1);
    drop(first);
    eventually("the place is free", || hall.fleet.clients() == 1);
    assert_eq!(hall.connect().ask("three"), "three");
    let more = Settings { maxclients: 5, ..hall.settings.clone() };
    hall.fleet.broadcast(&more.into());
    eventually("the new bound holds", || {
        let mut callers = [hall.connect(), hall.connect(), hall.connect()];
        callers.iter_mut().all(|caller| caller.ask("more") == "more")
    });
}

#[test]
fn a_port_in_use_is_an_error_before_anything_starts() {
    let hall = Hall::open(settings(1), 2300);
    let (ground, log, _) = ground(&hall.settings, 2350);
    let error = Fleet::start_with(ground, 8, |place, now| Echo::new(&place, now)).err().unwrap();
    assert!(matches!(error, StartError::Listen { .. }));
    let text = error.to_string();
    assert!(text.contains(&hall.settings.port.to_string()) && text.contains("in use"), "{text}");
    assert!(log.is_empty());
    assert_eq!(hall.connect().ask("still here"), "still here");
}

#[test]
fn mail_reaches_other_workers_the_host_and_back() {
    let hall = Hall::open(settings(3), 2400);
    let mut caller = hall.connect();
    let from = |mail: Mail| match mail {
        Mail::Answer { worker, .. } => worker.0,
        other => panic!("the host is told {other:?}"),
    };
    for worker in [2, 1, 0, 2] {
        caller.send(&format!("!mail {worker}\n"));
        assert_eq!(from(hall.mail.recv_timeout(Duration::from_secs(10)).unwrap()), worker);
    }
    for worker in 0..3 {
        let question = Mail::Ask { from: Asker::Host, ticket: 1, question: Question::Shards };
        hall.fleet.send(WorkerId(worker), question);
        assert_eq!(from(hall.mail.recv_timeout(Duration::from_secs(10)).unwrap()), worker);
    }
}

#[test]
fn a_slow_reader_gets_all_and_holds_up_nobody() {
    const BYTES: usize = 30 << 20;
    let hall = Hall::open(settings(1), 2500);
    let mut slow = hall.connect();
    slow.send(&format!("!big {BYTES}\nafter\n"));
    let mut other = hall.connect();
    for round in 0..100 {
        assert_eq!(other.ask(&format!("round {round}")), format!("round {round}"));
    }
    let mut all = vec![0; BYTES];
    slow.stream().read_exact(&mut all).unwrap();
    assert!(all.iter().all(|byte| *byte == b'x'));
    assert_eq!(slow.line(), "after");
}

#[test]
fn a_client_that_is_closed_after_its_replies_gets_them_all_even_if_it_sends_no_more() {
    const BYTES: usize = 8 << 20;
    let hall = Hall::open(settings(1), 2600);
    let mut caller = hall.connect();
    caller.send(&format!("!big {BYTES}\n!quit\n"));
    caller.stream().get_ref().shutdown(Shutdown::Write).unwrap();
    let mut all = Vec::new();
    caller.stream().read_to_end(&mut all).unwrap();
    assert_eq!(all.len(), BYTES);
    hall.await_log("closed 0");
    let mut caller = hall.connect();
    assert_eq!(caller.ask("!drop"), "");
    eventually("it is gone", || hall.fleet.clients() == 0);
}

#[test]
fn the_end_of_a_client_that_is_not_read_is_noticed() {
    let hall = Hall::open(settings(1), 2700);
    let mut caller = hall.connect();
    assert_eq!(caller.ask("!hold\nheld"), "held");
    drop(caller);
    hall.await_log("closed 0");
    // The same with bytes that were sent after it was held: they are left alone, and it is closed
    // as soon as nobody is there to be answered. That costs no turns while it lasts.
    let mut caller = hall.connect();
    assert_eq!(caller.ask("!hold\nheld"), "held");
    caller.send("unread\n");
    caller.stream().get_ref().shutdown(Shutdown::Write).unwrap();
    let mut other = hall.connect();
    assert_eq!(other.ask("a turn"), "a turn");
    let before = hall.stats.workers[0].turns.get();
    other.send("!timer 50000\n");
    other.line();
    assert!(hall.stats.workers[0].turns.get() - before < 10, "it spins");
    assert_eq!(hall.fleet.clients(), 2);
}

#[test]
fn timers_are_kept_to_well_under_a_millisecond() {
    let hall = Hall::open(settings(1), 2800);
    let mut caller = hall.connect();
    let mut late: Vec<u64> =
        (0..21).map(|_| caller.ask("!timer 500").parse::<u64>().unwrap() - 500).collect();
    late.sort_unstable();
    // The best of them: the others say how busy the machine is. Rounded up to a millisecond, all
    // would be 500 late.
    assert!(late[0] < 400, "{late:?}");
}

#[test]
fn links_connect_by_number_by_name_and_by_path() {
    let hall = Hall::open(settings(2), 2900);
    let shard = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = shard.local_addr().unwrap().port();
    let path = std::env::temp_dir().join(format!("weir-shard-{}", std::process::id()));
    let unix = UnixListener::bind(&path).unwrap();
    for address in [format!("127.0.0.1:{port}"), format!("localhost:{port}")] {
        let mut caller = hall.connect();
        assert_eq!(caller.ask(&format!("!link {address}")), "opened", "{address}");
        let (mut stream, _) = shard.accept().unwrap();
        stream.write_all(b"hello\n").unwrap();
        assert_eq!(caller.line(), "hello");
        caller.send("!say and to you\n");
        let mut heard = [0; 11];
        stream.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"and to you\n");
        drop(stream);
        assert_eq!(caller.line(), "failed: it closed the connection");
    }
    let mut caller = hall.connect();
    assert_eq!(caller.ask(&format!("!link unix:{}", path.display())), "opened");
    let (mut stream, _) = unix.accept().unwrap();
    // The last words of a shard are heard, though nothing can be written to it any more.
    stream.write_all(b"last words\n").unwrap();
    drop(stream);
    caller.send("!say too late\n");
    assert_eq!(caller.line(), "last words");
    assert!(caller.line().starts_with("failed: "));
    std::fs::remove_file(path).unwrap();
}

#[test]
fn a_link_that_cannot_be_made_says_why() {
    let hall = Hall::open(settings(1), 3000);
    let port = settings(1).port;
    let mut caller = hall.connect();
    // Longer than a label of a name may be, so nobody has to be asked.
    let impossible = "x".repeat(64);
    for (address, why) in [
        (format!("127.0.0.1:{port}"), "refused"),
        (format!("localhost:{port}"), "refused"),
        (format!("{impossible}:1"), "x is unknown"),
        ("unix:/nowhere/at/all".to_owned(), "No such file"),
    ] {
        let answer = caller.ask(&format!("!link {address}"));
        assert!(answer.starts_with("failed: ") && answer.contains(why), "{address}: {answer}");
    }
    assert_eq!(caller.ask("all is well"), "all is well");
}

#[test]
fn a_panic_is_told_with_its_place_and_the_rest_can_still_be_stopped() {
    let hall = Hall::open(settings(3), 3100);
    let mut callers: Vec<Caller> = (0..3).map(|_| hall.connect()).collect();
    callers.iter_mut().for_each(|caller| assert_eq!(caller.ask("hello"), "hello"));
    callers[1].send("!panic\n");
    let line = hall.await_log("panicked");
    assert!(line.contains("weir-1") && line.contains("echo.rs"), "{line}");
    assert!(line.contains("as ordered"), "{line}");
    assert_eq!(callers[1].line(), "", "its clients see the end");
    assert_eq!(callers[2].ask("hello"), "hello");
    hall.fleet.stop().unwrap();
    assert_eq!(callers[2].line(), "");
}
