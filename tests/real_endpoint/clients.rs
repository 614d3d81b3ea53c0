//! Clients of the endpoint: what they are told of themselves and of each other, and how they come
//! in.

use std::collections::BTreeSet;
use std::time::Duration;

use lab::client::{Client, Value, error, ok, simple};
use lab::servers;

use super::Database;

/// What CLIENT LIST or CLIENT INFO says in `field` of a line.
#[track_caller]
fn field<'a>(line: &'a str, field: &str) -> &'a str {
    let found =
        line.split_whitespace().find_map(|word| word.strip_prefix(field)?.strip_prefix('='));
    found.unwrap_or_else(|| panic!("no {field} in {line}"))
}

fn line_of(list: &str, id: i64) -> Option<&str> {
    list.lines().find(|line| field(line, "id") == id.to_string())
}

#[test]
fn clients_of_all_workers_are_listed_and_killed() {
    for server in servers::both() {
        let database = Database::with(&server, 2, &["weir.threads 2"]);
        // One after the other, so that each worker gets half of them.
        let mut clients: Vec<Client> = (0..6).map(|_| database.client()).collect();
        let ids: Vec<i64> = clients.iter_mut().map(|c| c.command("CLIENT ID").int()).collect();
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 6, "{ids:?}");
        assert_eq!(clients[4].command("CLIENT SETNAME victim"), ok());
        assert!(clients[4].command("GET k").is_nil());

        let list = clients[0].command("CLIENT LIST").text();
        assert_eq!(list.lines().count(), 6, "{list}");
        let order: Vec<i64> = list.lines().map(|l| field(l, "id").parse().unwrap()).collect();
        assert!(order.is_sorted(), "{list}");
        let victim = line_of(&list, ids[4]).unwrap();
        assert_eq!((field(victim, "name"), field(victim, "cmd")), ("victim", "get"));
        assert_eq!(field(line_of(&list, ids[0]).unwrap(), "cmd"), "client|list");
        let some = clients[0].call(&["CLIENT", "LIST", "ID", &ids[1].to_string(), "999"]).text();
        assert_eq!(some.lines().count(), 1, "{some}");
        assert_eq!(clients[0].command("CLIENT LIST TYPE normal").text().lines().count(), 6);
        assert_eq!(clients[0].command("CLIENT LIST TYPE pubsub").text(), "");

        // Each way to kill, across workers.
        let address = field(victim, "addr").to_owned();
        assert_eq!(clients[0].call(&["CLIENT", "KILL", &address]), ok());
        clients[4].assert_closed();
        assert_eq!(clients[0].call(&["CLIENT", "KILL", &address]), error("ERR No such client"));
        let five = ids[5].to_string();
        assert_eq!(clients[0].call(&["CLIENT", "KILL", "ID", &five]).int(), 1);
        clients[5].assert_closed();
        assert_eq!(clients[0].call(&["CLIENT", "KILL", "ID", &five]).int(), 0);
        let local = database.host.endpoint();
        assert_eq!(
            clients[0].call(&["CLIENT", "KILL", "LADDR", &local, "TYPE", "normal"]).int(),
            3
        );
        for client in &mut clients[1..4] {
            client.assert_closed();
        }
        assert_eq!(clients[0].command("CLIENT LIST").text().lines().count(), 1);
        // Oneself, who reads the answer first.
        assert_eq!(clients[0].command("CLIENT KILL SKIPME no").int(), 1);
        clients[0].assert_closed();
    }
}

#[test]
fn a_client_is_told_of_itself() {
    for server in servers::both() {
        let database = Database::start(&server, 2);
        let mut client = database.client();
        let id = client.command("CLIENT ID").int();
        for line in [
            "CLIENT SETNAME me",
            "CLIENT SETINFO LIB-NAME lab",
            "CLIENT SETINFO lib-ver 1.2",
            "CLIENT NO-EVICT on",
            "CLIENT NO-TOUCH on",
        ] {
            assert_eq!(client.command(line), ok(), "{line}");
        }
        let info = client.command("CLIENT INFO").text();
        assert_eq!(field(&info, "id"), id.to_string());
        assert_eq!(field(&info, "name"), "me");
        assert_eq!((field(&info, "lib-name"), field(&info, "lib-ver")), ("lab", "1.2"));
        assert_eq!(field(&info, "laddr"), database.host.endpoint());
        assert_eq!((field(&info, "flags"), field(&info, "cmd")), ("eT", "client|info"));
        // The fields are those of a stock server; it may have more.
        let stock = database.shards.primary(0).client().command("CLIENT INFO").text();
        let names = |line: &str| -> BTreeSet<String> {
            line.split_whitespace().filter_map(|w| Some(w.split_once('=')?.0.to_owned())).collect()
        };
        let unknown: Vec<_> = names(&info).difference(&names(&stock)).cloned().collect();
        assert!(unknown.is_empty(), "{unknown:?}");

        assert_eq!(client.command("RESET"), simple("RESET"));
        assert_eq!(client.command("CLIENT GETNAME"), Value::NilBulk);
        assert_eq!(client.command("CLIENT ID").int(), id);
        let info = client.command("CLIENT INFO").text();
        assert_eq!((field(&info, "lib-name"), field(&info, "lib-ver")), ("lab", "1.2"));

        let hello = client.command("HELLO 2 SETNAME again");
        assert_eq!(hello.field("proto").int(), 2);
        assert_eq!(hello.field("id").int(), id);
        assert_eq!(hello.field("mode").text(), "standalone");
        assert_eq!(hello.field("role").text(), "master");
        assert_eq!(hello.field("server").text(), server.flavor.name());
        assert_eq!(client.command("CLIENT GETNAME").text(), "again");
        let stock = database.shards.primary(0).client().command("HELLO");
        assert_eq!(hello.field("version"), stock.field("version"));
        assert!(client.command("HELLO 4").is_error("NOPROTO"));
        assert_eq!(client.command("HELLO 3").field("proto").int(), 3);

        client.send_raw(b"QUIT\r\nPING\r\n");
        assert_eq!(client.read(), ok());
        client.assert_closed();
    }
}

#[test]
fn replies_are_left_out_where_the_client_wants_none() {
    for server in servers::both() {
        let database = Database::start(&server, 2);
        let mut client = database.client();
        client.send_raw(
            b"PING 1\r\nCLIENT REPLY SKIP\r\nPING 2\r\nPING 3\r\n\
              CLIENT REPLY SKIP\r\nSET k v\r\nGET k\r\n\
              CLIENT REPLY OFF\r\nSET k w\r\nMSET a 1 b 2 c 3\r\nNOSUCH\r\nPING\r\nCLIENT LIST\r\n\
              CLIENT REPLY ON\r\nGET k\r\nMGET a b c\r\n",
        );
        let replies: Vec<Value> = (0..6).map(|_| client.read()).collect();
        let expected = b"$1\r\n1\r\n$1\r\n3\r\n$1\r\nv\r\n+OK\r\n$1\r\nw\r\n*3\r\n$1\r\n1\r\n$1\r\n2\r\n$1\r\n3\r\n";
        let got: Vec<u8> = replies.iter().flat_map(Value::encode).collect();
        assert_eq!(got, expected, "{replies:?}");
        assert!(client.is_silent(Duration::from_millis(20)));
    }
}

#[test]
fn clients_come_in_by_every_door() {
    for server in servers::both() {
        let socket = std::env::temp_dir().join(format!(
            "weir-door-{}-{}.sock",
            std::process::id(),
            server.flavor
        ));
        let path = socket.to_str().unwrap();
        let database = Database::with(
            &server,
            2,
            &["weir.bind 127.0.0.1 127.0.0.2 -::1", &format!("weir.unixsocket {path}")],
        );
        let port = database.host.endpoint_port();
        for address in [format!("127.0.0.1:{port}"), format!("127.0.0.2:{port}"), path.to_owned()] {
            let mut client = Client::connect(&address);
            assert_eq!(client.call(&["SET", "door", &address]), ok());
            assert_eq!(client.command("GET door").text(), address);
            let info = client.command("CLIENT INFO").text();
            let here = if address.starts_with('/') { format!("{path}:0") } else { address };
            assert_eq!(field(&info, "laddr"), here);
        }
        database.host.term();
        assert!(!socket.exists(), "the socket goes with the host");
    }
}

#[test]
fn one_client_too_many_is_told_so() {
    for server in servers::both() {
        let database = Database::with(&server, 2, &["weir.maxclients 5", "weir.threads 2"]);
        let mut clients: Vec<Client> = Vec::new();
        lab::eventually("the client that looked whether it is up has gone", || {
            clients = (0..5).map(|_| database.client()).collect();
            clients
                .iter_mut()
                .all(|client| client.try_call(&["PING"]).is_ok_and(|r| r == simple("PONG")))
        });
        for _ in 0..3 {
            let mut refused = database.client();
            assert_eq!(refused.read(), error("ERR max number of clients reached"));
            refused.assert_closed();
        }
        assert_eq!(clients[0].command("SET k v"), ok());
        clients.pop();
        lab::eventually("there is a place again", || {
            database.client().try_call(&["PING"]).is_ok_and(|reply| reply == simple("PONG"))
        });
        let mut host = database.host.host_client();
        assert_eq!(host.command("CONFIG SET weir.maxclients 20"), ok());
        lab::eventually("there are more places", || {
            let more: Vec<Client> = (0..10).map(|_| database.client()).collect();
            more.into_iter().all(|mut c| c.try_call(&["PING"]).is_ok_and(|r| r == simple("PONG")))
        });
        assert!(database.host.info_weir().int("weir_rejected_connections") >= 3);
    }
}

#[test]
fn an_idle_client_is_closed_where_the_operator_wants_it() {
    for server in servers::both() {
        let database = Database::with(&server, 2, &["weir.timeout 1"]);
        let mut idle = database.client();
        assert_eq!(idle.command("SET k v"), ok());
        idle.assert_closed();
    }
}
