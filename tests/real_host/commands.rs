//! `WEIR.DO`, and what the filter leaves alone.

use std::thread;

use lab::client::{bulk, error, ok};
use lab::servers;

use super::Database;

#[test]
fn without_intercept_the_port_is_the_hosts_own() {
    for server in servers::both() {
        let database = Database::start(&server, 1, 1, &["weir.intercept no"]);
        let (mut port, mut endpoint) = (database.port(), database.endpoint());
        assert_eq!(port.command("SET k host"), ok());
        assert_eq!(endpoint.command("SET k shards"), ok());
        assert_eq!(port.command("GET k"), bulk("host"));
        assert_eq!(port.command("WEIR.DO GET k"), bulk("shards"));
        assert_eq!(port.command("WEIR.DO SET k again"), ok());
        assert_eq!(port.command("WEIR.DO WAIT 1 5000").int(), 1);
        assert_eq!(endpoint.command("GET k"), bulk("again"));
        // A transaction of each.
        assert_eq!(port.command("WEIR.DO MULTI"), ok());
        assert_eq!(port.command("WEIR.DO INCR n").text(), "QUEUED");
        assert_eq!(port.command("SET n host"), ok());
        assert_eq!(port.command("WEIR.DO EXEC").ints(), [1]);
        assert_eq!(port.command("GET n"), bulk("host"));
        assert_eq!(port.command("MULTI"), ok());
        assert_eq!(port.command("WEIR.DO GET k").text(), "QUEUED");
        assert!(port.command("EXEC").items()[0].is_error("ERR"));
        let script = ["EVAL", "return redis.pcall('weir.do', 'get', 'k')", "0"];
        assert!(port.call(&script).is_error("ERR"));
        // The host answers for a command that nobody has.
        assert!(port.command("WEIR.DO").is_error("ERR"));
        assert!(port.command("WEIR.DO NOSUCH").is_error("ERR"));
        for refused in ["SUBSCRIBE c", "MONITOR", "HELLO 3", "CLIENT REPLY OFF", "QUIT"] {
            let told = port.command(&format!("WEIR.DO {refused}"));
            assert!(told.is_error("ERR"), "{refused}: {told:?}");
        }
        assert_eq!(port.command("WEIR.DO GET k"), bulk("again"));
    }
}

#[test]
fn the_host_keeps_what_is_about_itself() {
    for server in servers::both() {
        let database = Database::start(&server, 1, 0, &[]);
        let mut port = database.port();
        let process = port.command("INFO server").text();
        assert!(process.contains(&format!("process_id:{}", database.host.pid())), "{process}");
        assert_eq!(port.command("CONFIG SET maxmemory 123mb"), ok());
        assert_eq!(port.command("CONFIG GET maxmemory").items()[1].text(), "128974848");
        assert_eq!(port.command("CLIENT SETNAME me"), ok());
        assert!(port.command("CLIENT LIST").text().contains("name=me"));
        assert!(port.command("CLIENT TRACKING ON").is_error("ERR"));
        assert_eq!(port.command("PING").text(), "PONG");
        assert_eq!(port.command("RESET").text(), "RESET");
        // A transaction that RESET ends is none any more, on either side.
        assert_eq!(port.command("MULTI"), ok());
        assert_eq!(port.command("SET k 1").text(), "QUEUED");
        assert_eq!(port.command("RESET").text(), "RESET");
        assert_eq!(port.command("EXEC"), error("ERR EXEC without MULTI"));
        assert!(port.command("GET k").is_nil());
    }
}

#[test]
fn large_values_and_pipelines_pass_whole() {
    for server in servers::both() {
        let database = Database::start(&server, 1, 0, &[]);
        let mut port = database.port();
        let large: Vec<u8> = (0..20_000_000u32).map(|at| (at % 251) as u8).collect();
        assert_eq!(port.call(&[b"SET".as_slice(), b"large", &large]), ok());
        assert!(port.call(&["GET", "large"]).bytes() == large);
        let commands: Vec<Vec<String>> = (0..5_000)
            .map(|at| ["SET".to_owned(), format!("k{}", at % 100), at.to_string()].to_vec())
            .collect();
        assert!(port.pipeline(&commands).iter().all(|reply| *reply == ok()));
        assert_eq!(port.command("GET k99"), bulk("4999"));
    }
}

#[test]
fn clients_that_come_and_go_leave_nothing_behind() {
    let server = &servers::both()[0];
    let database = Database::start(server, 1, 0, &["weir.threads 2"]);
    thread::scope(|scope| {
        for number in 0..4 {
            let database = &database;
            scope.spawn(move || {
                for round in 0..100 {
                    let mut client = database.port();
                    client.call(&["SET", &format!("k{number}"), &round.to_string()]);
                    if round % 3 == 0 {
                        client.send(&["BLPOP", "nothing", "0"]);
                    }
                }
            });
        }
    });
    super::until("all sessions have ended", || {
        !database.endpoint().command("CLIENT LIST").text().contains("laddr=host:0")
    });
}

#[test]
fn the_server_can_describe_them() {
    for server in servers::both() {
        let database = Database::start(&server, 1, 0, &[]);
        let mut port = database.port();
        let docs = port.call(&["COMMAND", "DOCS", "weir.do", "weir.wait", "weir.waitaof"]);
        let wait = docs.field("weir.wait");
        assert!(wait.field("summary").text().contains("ALL or MAJORITY"), "{wait:?}");
        let names: Vec<String> =
            wait.field("arguments").items().iter().map(|arg| arg.field("name").text()).collect();
        assert_eq!(names, ["replicas", "timeout"]);
        let either = wait.field("arguments").items()[0].field("arguments").items();
        assert_eq!(either.len(), 3, "{either:?}");
        let info = port.call(&["COMMAND", "INFO", "weir.pass"]);
        let flags = format!("{:?}", info.items()[0].items()[2]);
        assert!(flags.contains("no_auth") && flags.contains("blocking"), "{flags}");
        let info = port.call(&["COMMAND", "INFO", "weir.wait"]);
        let categories = format!("{:?}", info.items()[0].items()[6]);
        assert!(categories.contains("@blocking"), "{categories}");
    }
}
