//! The edge of real servers: settings as their configs, loads that are refused and why, unloading,
//! and the commands that the module adds.

#![cfg(feature = "host")]
#![allow(clippy::expect_used, reason = "a test")]

use std::net::TcpListener;

use lab::client::{Value, ok, simple};
use lab::cluster::Shards;
use lab::host::{Host, Plan};
use lab::procfs;
use lab::servers::{Server, both, module_path};

/// Nobody listens there: the endpoint loads all the same.
const NOBODY: &str = "static://127.0.0.1:1,127.0.0.1:2";

fn plan(server: &Server) -> Plan {
    Host::of(server).upstream(NOBODY).line("enable-module-command yes")
}

fn config(host: &Host, name: &str) -> String {
    let reply = host.host_client().call(&["CONFIG", "GET", name]);
    reply.items().get(1).map_or_else(String::new, Value::text)
}

#[track_caller]
fn assert_refused(reply: &Value, why: &str) {
    let text = reply.error_text().unwrap_or_else(|| panic!("not refused: {reply:?}"));
    assert!(text.contains(why), "{text}");
}

#[test]
fn settings_are_configs_of_the_server() {
    for server in both() {
        let host = plan(&server).line("weir.request-max 32mb").start();
        let mut client = host.host_client();
        assert_eq!(config(&host, "weir.request-max"), "33554432");
        assert_eq!(config(&host, "weir.threads"), "1");

        let set = ["CONFIG", "SET", "weir.timeout", "5", "weir.reply-held-max", "8mb"];
        assert_eq!(client.call(&set), ok());
        assert_eq!(config(&host, "weir.timeout"), "5");
        assert_eq!(config(&host, "weir.reply-held-max"), "8388608");

        let refused = client.command("CONFIG SET weir.timeout 7 weir.poll-interval 20000");
        assert_refused(&refused, "weir.shard-timeout (15000 ms) must be longer");
        assert_eq!(config(&host, "weir.timeout"), "5", "all or nothing");
        assert_eq!(config(&host, "weir.poll-interval"), "1000");
        assert_refused(&client.command("CONFIG SET weir.port 1"), "immutable");
        assert_refused(&client.command("CONFIG SET weir.timeout -1"), "between 0 and");

        assert_eq!(client.command("CONFIG REWRITE"), ok());
        host.restart();
        assert_eq!(config(&host, "weir.timeout"), "5");
        assert_eq!(config(&host, "weir.upstream"), NOBODY);
    }
}

#[test]
fn what_could_never_work_is_refused_with_a_reason() {
    for server in both() {
        let cases = [
            (Host::of(&server), "weir.upstream is not set"),
            (Host::of(&server).upstream("10.0.0.1:6379"), "weir.upstream: "),
            (Host::of(&server).upstream("static://10.0.0.1:x"), "weir.upstream: "),
            (plan(&server).line("weir.threads 100"), "between 1 and 64"),
            (
                plan(&server).line("weir.port 0").line("weir.intercept no"),
                "weir.port is 0 and weir.unixsocket is empty",
            ),
            (plan(&server).line(format!("weir.unixsocket {}", "x".repeat(108))), "at most 107"),
            (plan(&server).line("weir.bind 127.0.0.1.1"), "127.0.0.1.1"),
        ];
        for (plan, why) in cases {
            let log = plan.try_start().expect_err(why).0;
            assert!(log.contains(why), "no '{why}' in:\n{log}");
        }
    }
}

#[test]
fn a_port_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("a bound socket").port();
    for server in both() {
        let host = plan(&server).start();
        let mut client = host.host_client();
        assert_eq!(client.command("MODULE UNLOAD weir"), ok());
        assert!(load(&host, port).error_text().is_some());
        let why = format!("can't listen on 127.0.0.1:{port}: Address already in use");
        assert!(host.log().contains(&why), "no '{why}' in:\n{}", host.log());
        // A load that failed leaves nothing in the way of the next.
        assert_eq!(load(&host, host.endpoint_port()), ok());
    }
}

fn load(host: &Host, port: u16) -> Value {
    let (path, port) = (module_path(), port.to_string());
    let path = path.to_str().expect("a path of this checkout");
    let settings = ["CONFIG", "weir.upstream", NOBODY, "CONFIG", "weir.port", &port];
    host.host_client().call(&[&["MODULE", "LOADEX", path], &settings[..]].concat())
}

#[test]
fn unloading_and_loading_again_leaves_nothing_behind() {
    for server in both() {
        let host = plan(&server).line("weir.threads 3").start();
        let mut client = host.host_client();
        assert_eq!(client.command("MODULE UNLOAD weir"), ok());
        let left = || {
            let threads = procfs::threads(host.pid());
            assert!(!threads.iter().any(|name| name.starts_with("weir")), "{threads:?}");
            procfs::descriptors(host.pid()).len()
        };
        let before = left();
        for _ in 0..3 {
            assert_eq!(load(&host, host.endpoint_port()), ok());
            assert_eq!(host.client().command("PING"), simple("PONG"));
            assert!(load(&host, host.endpoint_port()).error_text().is_some(), "loaded twice");
            assert_eq!(host.client().command("PING"), simple("PONG"));
            assert_eq!(client.command("MODULE UNLOAD weir"), ok());
            lab::eventually("descriptors are as before", || left() <= before);
        }
        assert!(host.log().contains("a module of this name is loaded already"));
        assert!(client.command("CONFIG GET weir.*").items().is_empty());
    }
}

#[test]
fn the_shards_are_shown() {
    for server in both() {
        let shards = Shards::of(&server).shards(2).replicas(1).start();
        let host = Host::of(&server).upstream(shards.upstream()).line("weir.threads 2").start();
        let mut client = host.host_client();
        lab::eventually("all is up", || {
            let views = client.command("WEIR.SHARDS");
            views.items().iter().all(|view| {
                let replicas = view.field("replicas").items();
                view.field("state").text() == "up" && replicas.len() == 1
            })
        });
        let views = client.command("WEIR.SHARDS");
        let slots: Vec<_> = views.items().iter().map(|view| view.field("slots").text()).collect();
        assert_eq!(slots, ["0-8191", "8192-16383"]);
        for (number, view) in views.items().iter().enumerate() {
            assert_eq!(view.field("shard").int(), number as i64);
            assert_eq!(view.field("primary").text(), shards.primary(number).address());
            assert!(view.field("generation").int() >= 1);
            let replica = &view.field("replicas").items()[0];
            assert_eq!(replica.field("address").text(), shards.replica(number, 0).address());
            assert_eq!(replica.field("state").text(), "online");
        }
        let info = host.info_weir();
        assert_eq!(info.part("weir_shard1", "state"), Some("up"));
        assert_eq!(info.int("weir_threads"), 2);
    }
}

#[test]
fn the_clients_are_listed() {
    for server in both() {
        let host = plan(&server).line("weir.threads 2").start();
        let mut one = host.client();
        assert_eq!(one.command("CLIENT SETNAME one"), ok());
        let _other = host.client();
        let lines = host.host_client().command("WEIR.CLIENTS").text();
        assert!(lines.lines().any(|line| line.contains(" name=one ")), "{lines}");
    }
}

#[test]
fn a_client_that_may_not_wait_is_told_so() {
    for server in both() {
        // The host's own MULTI and EVAL.
        let host = plan(&server).line("weir.intercept no").start();
        let mut client = host.host_client();
        assert_eq!(client.command("MULTI"), ok());
        client.command("WEIR.SHARDS");
        client.command("WEIR.CLIENTS");
        for reply in client.command("EXEC").items() {
            assert_refused(reply, "can't be used inside MULTI");
        }
        let script = ["EVAL", "return redis.call('WEIR.SHARDS')", "0"];
        assert_refused(&client.call(&script), "not allowed from script");
        assert_refused(&client.command("WEIR.SHARDS x"), "wrong number of arguments");
        assert_eq!(client.command("PING"), simple("PONG"));
    }
}
