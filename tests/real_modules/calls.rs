//! What other modules, scripts and transactions may say on the host's own port: it acts on the
//! host's own data, or is refused, and never ends in an assertion of the server.

use lab::client::{Client, Value, bulk, ok};
use lab::cluster::Shards;
use lab::process::Proc;
use lab::servers;

use super::{Stage, compile};

/// What Weir's own commands say where nobody can be made to wait.
const CANT_WAIT: &str = "has to wait for an answer";

fn stage(server: &servers::Server, intercept: &str) -> Stage {
    Stage::with(server, Shards::of(server).replicas(0), compile::probe(), |host| {
        host.line(format!("weir.intercept {intercept}"))
    })
}

/// A call by a module with these flags; the command as words with blanks between.
fn call(client: &mut Client, flags: &str, command: &str) -> Value {
    let words: Vec<&str> = ["PROBE.CALL", flags].into_iter().chain(command.split(' ')).collect();
    client.call(&words)
}

#[track_caller]
fn assert_refused(told: &Value, why: &str) {
    assert!(told.error_text().is_some_and(|text| text.contains(why)), "{told:?}");
}

#[test]
fn what_a_module_calls_is_the_hosts_own() {
    for server in servers::both() {
        let stage = stage(&server, "yes");
        let client = &mut stage.host.host_client();
        assert_eq!(client.command("SET k shards"), ok());
        for flags in ["", "E", "CE", "3E", "!E"] {
            assert_eq!(call(client, flags, "SET k host"), ok(), "{flags}");
            assert_eq!(call(client, flags, "GET k"), bulk("host"), "{flags}");
        }
        assert_eq!(call(client, "", "RPUSH l 1"), Value::Int(1));
        assert_eq!(call(client, "", "BLPOP l 1").items().len(), 2);
        // Nobody is there who could wait.
        assert!(call(client, "E", "BLPOP l 0").is_nil());
        assert!(call(client, "E", "WAIT 1 0").error_text().is_none());
        assert_eq!(client.command("PROBE.LATER SET k"), ok());
        lab::eventually("it is done later", || call(client, "", "GET k") == bulk("later"));
        assert_eq!(client.command("GET k"), bulk("shards"));
        assert_eq!(client.command("EXISTS l"), Value::Int(0));
        assert_eq!(client.command("PROBE.SAY GET k").text(), "string 6 shards");
    }
}

#[test]
fn a_module_cant_make_weirs_commands_wait() {
    for server in servers::both() {
        let stage = stage(&server, "yes");
        let client = &mut stage.host.host_client();
        for flags in ["E", "CE", "3E", "!E"] {
            for command in
                ["WEIR.DO GET k", "WEIR.PASS GET k", "WEIR.SHARDS", "WEIR.CLIENTS", "WEIR.DO"]
            {
                let told = call(client, flags, command);
                let why = if command == "WEIR.DO" { "wrong number" } else { CANT_WAIT };
                assert_refused(&told, why);
            }
            assert_eq!(call(client, flags, "WEIR.RELOAD"), ok());
        }
        for command in ["WEIR.DO GET k", "WEIR.PASS GET k", "WEIR.SHARDS"] {
            let told = call(client, "SE", command);
            assert!(told.error_text().is_some(), "as a script: {told:?}");
            let told = call(client, "SME", command);
            assert!(told.error_text().is_some(), "{told:?}");
        }
        // With leave to wait the server makes a promise, which nobody redeems here.
        assert_refused(&call(client, "KE", "WEIR.DO GET k"), "weir.h");
        assert_eq!(call(client, "KE", "WEIR.SHARDS").text(), "a promise");
        assert_eq!(call(client, "KE", "BLPOP nothing 0").text(), "a promise");
        assert_eq!(client.command("PING").text(), "PONG");
        assert_eq!(client.command("WEIR.SHARDS").items().len(), 2);
    }
}

#[test]
fn scripts_of_the_host_are_refused_what_waits() {
    for server in servers::both() {
        let stage = stage(&server, "yes");
        let client = &mut stage.host.host_client();
        assert_eq!(client.command("SET k shards"), ok());
        let mut script = |text: &str| client.call(&["PROBE.CALL", "E", "EVAL", text, "0"]);
        assert_eq!(script("return redis.call('SET', 'k', 'host')"), ok());
        assert_eq!(script("return redis.call('GET', 'k')"), bulk("host"));
        assert_eq!(script("return redis.call('PROBE.CALL', 'E', 'GET', 'k')"), bulk("host"));
        assert!(script("return redis.call('BLPOP', 'l', 0)").is_nil());
        for command in ["WEIR.DO', 'GET', 'k", "WEIR.PASS', 'GET', 'k", "WEIR.SHARDS"] {
            let told = script(&format!("return redis.call('{command}')"));
            assert!(told.error_text().is_some(), "{command}: {told:?}");
            let told = script(&format!("return redis.call('PROBE.CALL', 'E', '{command}')"));
            assert!(told.error_text().is_some(), "{command}: {told:?}");
        }
        // On the port itself a script is the shards'.
        let script = "return redis.call('GET', KEYS[1])";
        assert_eq!(client.call(&["EVAL", script, "1", "k"]), bulk("shards"));
    }
}

/// Commands of modules stay with the host, also of those that were there first.
#[test]
fn a_module_that_was_there_before_keeps_its_commands() {
    for server in servers::both() {
        let shards = Shards::of(&server).replicas(0).start();
        let host = Proc::of(&server)
            .line(format!("loadmodule {} alone", compile::probe().display()))
            .line(format!("loadmodule {}", servers::module_path().display()))
            .line(format!("weir.upstream {}", shards.upstream()))
            .lines(&["weir.port 0", "enable-module-command yes"])
            .start();
        let client = &mut host.client();
        assert_eq!(client.command("SET k shards"), ok());
        assert_eq!(call(client, "E", "SET k host"), ok());
        assert_eq!(call(client, "E", "GET k"), bulk("host"));
        assert_eq!(client.command("MODULE UNLOAD probe"), ok());
        assert_refused(&call(client, "E", "GET k"), "unknown command");
        assert_eq!(client.command("GET k"), bulk("shards"));
        assert_eq!(client.command("MODULE UNLOAD weir"), ok());
        assert_eq!(client.command("GET k"), bulk("host"));
    }
}

/// In a transaction of the port all is the shards', which know no module of the host.
#[test]
fn transactions_of_the_port_are_the_shards() {
    for server in servers::both() {
        let stage = stage(&server, "yes");
        let client = &mut stage.host.host_client();
        assert_eq!(client.command("MULTI"), ok());
        assert_eq!(client.command("INCR n").text(), "QUEUED");
        assert_refused(&client.command("PROBE.CALL E GET k"), "unknown command");
        assert!(client.command("EXEC").is_error("EXECABORT"));
        assert_eq!(client.command("PROBE.CALL E INCR n"), Value::Int(1));
        assert_eq!(client.command("EXISTS n"), Value::Int(0));
        let told = call(client, "E", "MULTI");
        assert!(told == ok() || told.error_text().is_some(), "{told:?}");
        assert_eq!(call(client, "E", "INCR n").error_text(), None);
        assert_eq!(client.command("SET n 7"), ok());
    }
}

/// Without the filter the host's port is the host's, scripts and transactions too.
#[test]
fn without_the_filter_they_are_the_hosts() {
    for server in servers::both() {
        let stage = stage(&server, "no");
        let client = &mut stage.host.host_client();
        assert_eq!(client.command("SET k host"), ok());
        assert_eq!(client.command("WEIR.DO SET k shards"), ok());
        assert_eq!(call(client, "E", "GET k"), bulk("host"));
        for command in ["WEIR.DO', 'GET', 'k", "WEIR.PASS', 'GET', 'k", "WEIR.SHARDS"] {
            let script = format!("return redis.call('{command}')");
            let told = client.call(&["EVAL", &script, "0"]);
            assert!(told.error_text().is_some(), "{command}: {told:?}");
        }
        assert_eq!(client.command("MULTI"), ok());
        for command in
            ["WEIR.DO GET k", "WEIR.PASS GET k", "WEIR.SHARDS", "WEIR.RELOAD", "GET k", "BLPOP l 0"]
        {
            assert_eq!(client.command(command).text(), "QUEUED");
        }
        for command in ["GET k", "WEIR.DO GET k", "WEIR.SHARDS"] {
            assert_eq!(call(client, "E", command).text(), "QUEUED");
        }
        let told = client.command("EXEC");
        let told = told.items();
        for refused in [0, 1, 2, 7, 8] {
            assert_refused(&told[refused], CANT_WAIT);
        }
        assert_eq!(told[3..5], [ok(), bulk("host")]);
        assert!(told[5].is_nil());
        assert_eq!(told[6], bulk("host"));
        assert_eq!(client.command("WEIR.DO GET k"), bulk("shards"));
        assert_eq!(client.command("PROBE.SAY GET k").text(), "string 6 shards");
    }
}
