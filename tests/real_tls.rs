//! TLS on real servers, Valkey and Redis: to clients, as their own tools speak it, and to shards.

#![cfg(feature = "host")]
#![allow(clippy::unwrap_used, reason = "a test ends at its first surprise")]

mod certificates;

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use lab::client::{Client, Value, ok};
use lab::cluster::Shards;
use lab::host::{Host, Plan};
use lab::process::Proc;
use lab::servers::{self, Server};

use certificates::{Authority, expired};

/// A size beyond all buffers on the way.
const LARGE: usize = 50 << 20;

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// An authority with a certificate for the endpoint, one for a client, and some that are no good.
fn authority() -> Authority {
    let authority = Authority::new("ours");
    authority.issue("server");
    authority.issue("client");
    authority.issue_with("expired", expired);
    let foreign = Authority::new("theirs");
    foreign.issue("foreign");
    for file in ["foreign.crt", "foreign.key"] {
        fs::copy(foreign.file(file), authority.file(file)).unwrap();
    }
    authority
}

/// The lines that a host, or with no prefix a shard, needs for TLS on `port`.
fn lines(authority: &Authority, prefix: &str, port: u16) -> Vec<String> {
    vec![
        format!("{prefix}tls-port {port}"),
        format!("{prefix}tls-cert-file {}", authority.file("server.crt")),
        format!("{prefix}tls-key-file {}", authority.file("server.key")),
        format!("{prefix}tls-ca-cert-file {}", authority.file("ca.crt")),
    ]
}

fn with_lines(plan: Plan, lines: Vec<String>) -> Plan {
    lines.into_iter().fold(plan, Plan::line)
}

/// A command line's arguments.
fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

/// Runs a tool with this on its standard input.
fn run(program: &Path, args: &[&str], input: &[u8]) -> Output {
    // A tool that waits for ever ends the test, and isn't left behind.
    let mut child = Command::new("timeout")
        .arg("60")
        .arg(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::thread::scope(|scope| {
        // One that is refused doesn't read its input.
        scope.spawn(move || drop(stdin.write_all(input)));
        child.wait_with_output().unwrap()
    })
}

/// An endpoint with TLS, and who may speak to it.
struct Secured {
    host: Host,
    port: u16,
    authority: Authority,
    server: Server,
}

impl Secured {
    fn start(server: &Server, upstream: &str, more: &[String]) -> Self {
        let (authority, port) = (authority(), free_port());
        let lines = [lines(&authority, "weir.", port), more.to_vec()].concat();
        let host = with_lines(Host::of(server).upstream(upstream), lines).start();
        Self { host, port, authority, server: server.clone() }
    }

    /// What the servers' own client prints, with the certificate of `name` if there is one.
    fn cli(&self, name: Option<&str>, args: &[&str], input: &[u8]) -> Output {
        let (port, ca) = (self.port.to_string(), self.authority.file("ca.crt"));
        let mut all = vec!["-h", "127.0.0.1", "-p", &port, "--tls", "--cacert", &ca];
        let pair = name
            .map(|name| ["crt", "key"].map(|end| self.authority.file(&format!("{name}.{end}"))));
        if let Some([cert, key]) = &pair {
            all.extend(["--cert", cert, "--key", key]);
        }
        run(&self.server.cli(), &[&all, args].concat(), input)
    }

    /// The same for a client that must be served.
    #[track_caller]
    fn served(&self, args: &[&str], input: &[u8]) -> Vec<u8> {
        let output = self.cli(Some("client"), args, input);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {errors}");
        output.stdout
    }

    /// The same for one that must be refused, and what the log says of it.
    #[track_caller]
    fn refused(&self, name: Option<&str>, why: &str) {
        let before = self.host.log().len();
        let output = self.cli(name, &["PING"], b"");
        assert!(!String::from_utf8_lossy(&output.stdout).contains("PONG"), "{name:?} got in");
        self.await_line(before, &["TLS: client 127.0.0.1:", " was refused: ", why]);
    }

    /// Waits for one line of the log, after its first `from` bytes, that has all these parts.
    #[track_caller]
    fn await_line(&self, from: usize, parts: &[&str]) {
        lab::eventually(&format!("a line with {parts:?} in:\n{}", self.host.log_end()), || {
            let log = self.host.log();
            log[from..].lines().any(|line| parts.iter().all(|part| line.contains(part)))
        });
    }

    #[track_caller]
    fn set(&self, settings: &[(&str, &str)]) -> Value {
        let mut args = vec!["CONFIG".to_owned(), "SET".to_owned()];
        for (name, value) in settings {
            args.extend([format!("weir.{name}"), (*value).to_owned()]);
        }
        self.host.host_client().call(&args)
    }
}

#[test]
fn the_tools_of_the_servers_are_served() {
    for server in servers::both() {
        let shards = Shards::of(&server).shards(2).replicas(1).start();
        let secured = Secured::start(&server, &shards.upstream(), &[]);
        assert_eq!(secured.served(&["SET", "k", "v w"], b""), b"OK\n");
        assert_eq!(secured.served(&["GET", "k"], b""), b"v w\n");
        assert_eq!(secured.served(&[], b"INCR n\nWAIT 1 2000\nMGET n k\n"), b"1\n1\n1\nv w\n");
        // The same database without TLS, on the other port.
        assert_eq!(secured.host.client().command("GET n").text(), "1");

        let (file, port) = (|name: &str| secured.authority.file(name), secured.port);
        let args = format!(
            "-h 127.0.0.1 -p {port} --tls --cert {} --key {} --cacert {} \
             -t set,get,mset -n 20000 -c 30 -P 16 -r 1000 -q",
            file("client.crt"),
            file("client.key"),
            file("ca.crt")
        );
        let output = run(&server.benchmark(), &words(&args), b"");
        let told = String::from_utf8_lossy(&output.stdout);
        assert_eq!(told.matches("requests per second").count(), 3, "{told}");
        let info = secured.host.info_weir();
        assert_eq!(info.int("weir_tls_refused"), 0);
        assert!(info.0.contains(&format!("127.0.0.1:{port} (TLS)")), "{}", info.0);
    }
}

#[test]
fn openssl_is_served() {
    for server in servers::both() {
        let shards = Shards::of(&server).shards(2).replicas(0).start();
        let secured = Secured::start(&server, &shards.upstream(), &[]);
        assert_eq!(secured.host.client().command("SET n 1"), ok());
        let (file, port) = (|name: &str| secured.authority.file(name), secured.port);
        for version in ["-tls1_2", "-tls1_3"] {
            let args = format!(
                "s_client {version} -connect 127.0.0.1:{port} -cert {} -key {} -CAfile {} \
                 -verify_return_error -verify_hostname localhost -quiet",
                file("client.crt"),
                file("client.key"),
                file("ca.crt")
            );
            let input = b"*1\r\n$4\r\nPING\r\nGET n\r\nQUIT\r\n";
            let output = run(Path::new("openssl"), &words(&args), input);
            let errors = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.stdout, b"+PONG\r\n$1\r\n1\r\n+OK\r\n", "{errors}");
        }
    }
}

#[test]
fn large_values_pass_in_both_directions_with_tls_on_both_sides() {
    for server in servers::both() {
        let shard = TlsShard::start(&server);
        let secured = shard.endpoint(&server, &[]);
        let value: Vec<u8> = (0..LARGE).map(|n| b'a' + (n % 23) as u8).collect();
        assert_eq!(secured.served(&["-x", "SET", "large"], &value), b"OK\n");
        assert_eq!(secured.served(&["STRLEN", "large"], b""), format!("{LARGE}\n").as_bytes());
        let got = secured.served(&["GET", "large"], b"");
        assert!(got.len() == LARGE + 1 && got[..LARGE] == value[..], "{} bytes", got.len());
        // Several at a time, with others in between.
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| assert_eq!(secured.served(&["GET", "large"], b"").len(), LARGE + 1));
            }
            let mut other = secured.host.client();
            for _ in 0..100 {
                assert_eq!(other.command("STRLEN large").int(), LARGE as i64);
            }
        });
    }
}

#[test]
fn who_must_not_come_in_is_named_in_the_log() {
    for server in servers::both() {
        let secured = Secured::start(&server, "static://127.0.0.1:1", &[]);
        secured.refused(Some("expired"), "its certificate has expired");
        secured.refused(Some("foreign"), "its certificate is not signed by an authority of");
        secured.refused(None, "it has shown no certificate");
        assert_eq!(secured.host.info_weir().int("weir_tls_refused"), 3);

        let before = secured.host.log().len();
        let mut plain = TcpStream::connect(("127.0.0.1", secured.port)).unwrap();
        plain.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        plain.write_all(b"*1\r\n$4\r\nPING\r\n").unwrap();
        assert!(plain.read_to_end(&mut Vec::new()).is_ok(), "it is closed");
        secured.await_line(before, &["TLS: client 127.0.0.1:", "it does not speak TLS"]);
        let port = secured.host.endpoint_port().to_string();
        let output = run(
            Path::new("openssl"),
            &["s_client", "-connect", &format!("127.0.0.1:{port}"), "-quiet"],
            b"",
        );
        assert!(!output.status.success());
        secured.await_line(before, &["client 127.0.0.1:", "it speaks TLS, and this port doesn't"]);

        assert_eq!(secured.set(&[("tls-auth-clients", "optional")]), ok());
        assert_eq!(secured.cli(None, &["PING"], b"").stdout, b"PONG\n");
        secured.refused(Some("expired"), "its certificate has expired");
        assert_eq!(secured.set(&[("tls-auth-clients", "no")]), ok());
        assert_eq!(secured.cli(Some("foreign"), &["PING"], b"").stdout, b"PONG\n");
        assert_eq!(secured.set(&[("tls-auth-clients", "yes")]), ok());
        secured.refused(None, "it has shown no certificate");
    }
}

#[test]
fn certificates_are_renewed_while_it_runs() {
    for server in servers::both() {
        let secured = Secured::start(&server, "static://127.0.0.1:1", &[]);
        let ours = &secured.authority;
        // One that nobody trusts any more, for other files.
        let renewed = Authority::new("renewed");
        renewed.issue("server");
        renewed.issue("client");
        let files = ["server.crt", "server.key", "ca.crt"].map(|file| renewed.file(file));
        let names = ["tls-cert-file", "tls-key-file", "tls-ca-cert-file"];
        let all: Vec<_> = names.into_iter().zip(files.iter().map(String::as_str)).collect();

        let refused = |settings: &[(&str, &str)], why: &str| {
            let text = secured.set(settings).error_text().unwrap();
            assert!(text.contains(why), "{text}");
            assert_eq!(secured.served(&["PING"], b""), b"PONG\n", "the old ones stay");
        };
        refused(&[("tls-cert-file", "/no/such/file")], "weir.tls-cert-file /no/such/file: No such");
        refused(&[("tls-cert-file", "")], "weir.tls-cert-file is not set");
        refused(&all[..1], "is not the key of the certificate in weir.tls-cert-file");
        refused(&[("tls-key-file", &ours.file("server.crt"))], "there is no private key in it");
        refused(&[("tls-protocols", "SSLv3")], "SSLv3 is not served");
        refused(
            &[("tls-auth-clients", "perhaps")],
            "must be one of the following: yes, no, optional",
        );
        let port = secured.host.endpoint_port().to_string();
        refused(&[("tls-port", &port)], "immutable");

        let mut before = secured.host.client();
        assert_eq!(secured.set(&all), ok());
        assert!(
            !secured.cli(Some("client"), &["PING"], b"").status.success(),
            "the old ones are gone"
        );
        for file in ["client.crt", "client.key", "ca.crt"] {
            fs::copy(renewed.file(file), ours.file(file)).unwrap();
        }
        assert_eq!(secured.served(&["PING"], b""), b"PONG\n");
        assert_eq!(before.command("ECHO still").text(), "still");

        // The same names with other files behind them: the server keeps the CONFIG SET to itself.
        renewed.issue_with("server", expired);
        assert_eq!(secured.set(&all), ok());
        assert_eq!(secured.served(&["PING"], b""), b"PONG\n");
        assert_eq!(secured.host.host_client().command("WEIR.RELOAD"), ok());
        let output = secured.cli(Some("client"), &["PING"], b"");
        assert!(!output.status.success(), "the endpoint's certificate has expired");
        renewed.write("server.key", "nonsense");
        let text = secured.host.host_client().command("WEIR.RELOAD").error_text().unwrap();
        assert!(text.contains("there is no private key in it"), "{text}");

        // What is in a key is in no log.
        let key = fs::read_to_string(ours.file("server.key")).unwrap();
        let log = secured.host.log();
        assert!(key.lines().all(|line| line.contains("KEY---") || !log.contains(line)));
    }
}

#[test]
fn what_could_never_work_is_refused_at_load() {
    for server in servers::both() {
        let authority = authority();
        let plan = || Host::of(&server).upstream("static://127.0.0.1:1");
        let good = lines(&authority, "weir.", free_port());
        let cases: [(Vec<String>, &str); 5] = [
            (good[..2].to_vec(), "weir.tls-key-file is not set"),
            (good[..3].to_vec(), "weir.tls-ca-cert-file is not set"),
            (vec!["weir.shard-tls yes".to_owned()], "weir.shard-tls needs it to verify"),
            (
                [&good[..], &["weir.tls-client-cert-file x".to_owned()]].concat(),
                "weir.tls-client-cert-file and weir.tls-client-key-file go together",
            ),
            (
                [&good[..3], &[format!("weir.tls-ca-cert-file {}", authority.file("none"))]]
                    .concat(),
                "none: No such file",
            ),
        ];
        for (lines, why) in cases {
            let log = with_lines(plan(), lines).try_start().unwrap_err().0;
            assert!(log.contains(why), "no '{why}' in:\n{log}");
        }
        // TLS alone is enough.
        let port = free_port();
        let only = [lines(&authority, "weir.", port), vec!["weir.port 0".to_owned()]].concat();
        let host = with_lines(plan(), only).start();
        assert!(host.info_weir().0.contains(&format!("127.0.0.1:{port} (TLS)")));
    }
}

/// A shard that serves TLS, with a replica.
struct TlsShard {
    port: u16,
    authority: Authority,
    replica: Proc,
    primary: Proc,
}

impl TlsShard {
    /// One that wants a certificate of its clients.
    fn start(server: &Server) -> Self {
        let (authority, port) = (authority(), free_port());
        let primary = Proc::start(server, &lines(&authority, "", port));
        let replica = Proc::start(server, &[format!("replicaof 127.0.0.1 {}", primary.port())]);
        let shard = Self { port, authority, replica, primary };
        lab::eventually("the replica is online", || {
            shard.primary.info("replication").part("slave0", "state") == Some("online")
        });
        shard
    }

    fn endpoint(&self, server: &Server, more: &[String]) -> Secured {
        let upstream = format!("static://localhost:{}", self.port);
        let file = |name: &str| self.authority.file(name);
        let mut lines = vec![
            "weir.shard-tls yes".to_owned(),
            format!("weir.tls-client-cert-file {}", file("client.crt")),
            format!("weir.tls-client-key-file {}", file("client.key")),
        ];
        // One authority for both sides.
        let (port, authority) = (free_port(), &self.authority);
        lines.extend(self::lines(authority, "weir.", port));
        lines.extend_from_slice(more);
        let host = with_lines(Host::of(server).upstream(upstream), lines).start();
        let copy = Authority::new("copy");
        for name in ["client.crt", "client.key", "ca.crt"] {
            fs::copy(file(name), copy.file(name)).unwrap();
        }
        Secured { host, port, authority: copy, server: server.clone() }
    }
}

#[test]
fn shards_are_spoken_to_in_tls() {
    for server in servers::both() {
        let shard = TlsShard::start(&server);
        let secured = shard.endpoint(&server, &["weir.shard-tls-verify-name yes".to_owned()]);
        let mut client = secured.host.client();
        let echo = |client: &mut Client| {
            assert_eq!(client.command("SET k v"), ok());
            assert_eq!(client.command("WAIT 1 5000").int(), 1);
            assert_eq!(client.command("GET k").text(), "v");
        };
        echo(&mut client);
        let pipeline: Vec<Vec<String>> = (0..20_000)
            .map(|n| vec!["SET".to_owned(), format!("k{n}"), "x".repeat(n % 500)])
            .collect();
        assert!(client.pipeline(&pipeline).iter().all(|reply| *reply == ok()));
        assert_eq!(shard.primary.client().command("DBSIZE").int(), 20_001);
        // Only TLS connections: the plain port has none of ours.
        let list = shard.primary.client().command("CLIENT LIST").text();
        let weirs = list.lines().filter(|line| line.contains("name=weir"));
        assert!(weirs.clone().count() > 0, "{list}");
        assert!(
            weirs.clone().all(|line| line.contains(&format!("laddr=127.0.0.1:{}", shard.port))),
            "{list}"
        );

        shard.primary.restart();
        lab::eventually("it is found again", || secured.host.client().command("SET k v") == ok());
        assert!(shard.replica.is_running());
    }
}

/// What the endpoint says of its only shard once it has tried to reach it.
#[track_caller]
fn state(host: &Host, why: &str) {
    lab::eventually(&format!("a state with {why} in:\n{}", host.log_end()), || {
        let views = host.host_client().command("WEIR.SHARDS");
        views.items()[0].field("state").text().contains(why)
    });
    assert!(host.log().contains(why), "{}", host.log_end());
}

#[test]
fn a_shard_that_is_not_to_be_trusted_is_not_spoken_to() {
    for server in servers::both() {
        let shard = TlsShard::start(&server);
        let file = |name: &str| shard.authority.file(name);
        let host = |host: &str, lines: &[String]| {
            let upstream = format!("static://{host}:{}", shard.port);
            with_lines(Host::of(&server).upstream(upstream), lines.to_vec()).start()
        };
        let tls = |ca: &str, client: Option<&str>| {
            let mut lines =
                vec!["weir.shard-tls yes".to_owned(), format!("weir.tls-ca-cert-file {ca}")];
            if let Some(client) = client {
                lines.push(format!("weir.tls-client-cert-file {}", file(&format!("{client}.crt"))));
                lines.push(format!("weir.tls-client-key-file {}", file(&format!("{client}.key"))));
            }
            lines
        };
        let other = Authority::new("other");
        let ca = file("ca.crt");
        state(
            &host("127.0.0.1", &tls(&other.file("ca.crt"), Some("client"))),
            "its certificate is not signed by an authority of weir.tls-ca-cert-file",
        );
        let strict =
            [tls(&ca, Some("client")), vec!["weir.shard-tls-verify-name yes".to_owned()]].concat();
        // Its certificate is for `localhost`.
        state(&host("127.0.0.1", &strict), "its certificate is not for it");
        state(
            &host("127.0.0.1", &tls(&ca, None)),
            "it wants a certificate, and we have shown none",
        );
        state(&host("127.0.0.1", &tls(&ca, Some("expired"))), "(alert ");
        // One of the two speaks TLS and the other doesn't.
        state(&host("127.0.0.1", &[]), "before it said anything: does it want TLS?");
        let plain = format!("static://127.0.0.1:{}", shard.primary.port());
        let host = with_lines(Host::of(&server).upstream(plain), tls(&ca, Some("client"))).start();
        state(&host, "it did not finish the TLS handshake in time");
    }
}
