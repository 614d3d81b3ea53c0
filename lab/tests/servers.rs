//! The lab itself, on both flavors: what is started answers, stops, comes back, and leaves nothing.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use lab::client::{Client, Value, bulk, ok};
use lab::cluster::{Aof, Shards};
use lab::process::Proc;
use lab::{procfs, servers, timed};

const NO_LINES: [&str; 0] = [];

#[test]
fn a_server_starts_stops_restarts_and_goes() {
    for server in servers::both() {
        let proc = Proc::start(&server, &["appendonly yes", "appendfsync always"]);
        let (folder, pid) = (proc.folder().to_owned(), proc.pid());
        assert_eq!(proc.client().command("SET k v"), ok());

        proc.stop();
        let mut waiting = proc.client();
        waiting.send(&["GET", "k"]);
        assert!(waiting.is_silent(Duration::from_millis(100)));
        proc.cont();
        assert_eq!(waiting.read(), bulk("v"));

        proc.kill9();
        assert!(!proc.is_running());
        waiting.assert_closed();
        proc.restart();
        assert_ne!(proc.pid(), pid);
        assert_eq!(proc.client().command("GET k"), bulk("v"));

        assert!(proc.term().success());
        let pid = proc.pid();
        drop(proc);
        assert!(!folder.exists());
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
    }
}

#[test]
fn a_refused_configuration_is_told_with_the_log() {
    for server in servers::both() {
        let refused = Proc::try_start(&server, &["no-such-line 1"]).expect_err("refused");
        assert!(refused.0.contains("no-such-line"), "{}", refused.0);
    }
}

#[test]
fn replicas_are_online_and_wait_counts_them() {
    for server in servers::both() {
        let shards = Shards::of(&server).shards(2).replicas(2).aof(Aof::Always).start();
        assert_eq!(shards.len(), 2);
        for shard in shards.iter() {
            let mut client = shard.primary.client();
            assert_eq!(client.command("SET k v"), ok());
            assert_eq!(client.command("WAIT 2 5000").int(), 2);
            assert_eq!(client.command("WAITAOF 1 2 5000").ints(), [1, 2]);
            let (primary, replicas) = shard.offsets();
            assert_eq!(replicas, [primary, primary]);
        }
        let expected =
            format!("static://{},{}", shards[0].primary.address(), shards[1].primary.address());
        assert_eq!(shards.upstream(), expected);

        shards.replica(0, 1).stop();
        let mut client = shards.primary(0).client();
        assert_eq!(client.command("SET k w"), ok());
        let (count, time) = timed(|| client.command("WAIT 2 200").int());
        assert_eq!(count, 1);
        assert!(time >= Duration::from_millis(200));
        shards.replica(0, 1).cont();
        shards.primary(1).restart();
        shards.wait_online();
    }
}

#[test]
fn the_client_shows_what_is_on_the_wire() {
    for server in servers::both() {
        let socket = "unixsocket server.sock";
        let proc = Proc::start(&server, &[socket]);
        let path = proc.folder().join("server.sock");
        let mut client = Client::connect(&path.to_string_lossy());
        assert_eq!(client.command("GET none"), Value::NilBulk);
        assert_eq!(client.command("BLPOP none 0.01"), Value::NilArray);
        assert!(client.command("NOSUCH a").is_error("ERR"));
        client.send_raw(b"PING\r\nSET k v\r\nGET k\r\n");
        assert_eq!(
            [client.read(), client.read(), client.read()].map(|v| v.text()),
            ["PONG", "OK", "v"]
        );

        client.call(&["HELLO", "3"]).field("proto");
        assert_eq!(client.command("GET none"), Value::Null);
        client.command("HELLO 2");

        // More than all buffers between the two hold.
        let value = "x".repeat(10_000);
        let sets: Vec<Vec<&str>> = vec![vec!["SET", "k", &value]; 2_000];
        assert!(client.pipeline(&sets).iter().all(|reply| *reply == ok()));
        let gets: Vec<Vec<&str>> = vec![vec!["GET", "k"]; 2_000];
        assert!(client.pipeline(&gets).iter().all(|reply| reply.bytes() == value.as_bytes()));
        client.command("QUIT");
        client.assert_closed();
    }
}

#[test]
fn what_the_kernel_says_about_a_server_is_plausible() {
    for server in servers::both() {
        let proc = Proc::start(&server, &NO_LINES);
        let pid = proc.pid();
        assert!(procfs::resident_bytes(pid) > 1_000_000);
        assert!(procfs::threads(pid).len() > 1);
        let sockets =
            || procfs::descriptors(pid).iter().filter(|(_, to)| to.starts_with("socket:")).count();
        let clients: Vec<Client> = (0..50).map(|_| proc.client()).collect();
        lab::eventually("all connections are accepted", || sockets() > 50);
        drop(clients);
        lab::eventually("all connections are closed", || sockets() < 50);
    }
}

/// The process that is killed in the test below; it is this program again.
#[test]
#[ignore = "ends its process; run by the test below"]
fn victim() {
    let proc = Proc::start(&servers::both()[0], &NO_LINES);
    proc.stop();
    println!("\nserver {} folder {}", proc.pid(), proc.folder().display());
    std::process::abort();
}

#[test]
fn nothing_is_left_of_a_test_that_was_killed() {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["victim", "--exact", "--ignored", "--nocapture"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find_map(|line| line.strip_prefix("server ")).expect("a server ran");
    let (pid, folder) = line.split_once(" folder ").unwrap();
    // In a container there may be nobody who reaps it.
    let status = || fs::read_to_string(Path::new("/proc").join(pid).join("status"));
    lab::eventually("the server has ended", || {
        status().map_or(true, |status| status.contains("State:\tZ"))
    });

    // Its folder goes when the next process makes one.
    let swept = Command::new(std::env::current_exe().unwrap())
        .args(["a_refused_configuration_is_told_with_the_log", "--exact"])
        .output()
        .unwrap();
    assert!(swept.status.success());
    assert!(!Path::new(folder).exists());
}
