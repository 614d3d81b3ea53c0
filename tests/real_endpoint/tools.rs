//! The servers' own tools, as an operator uses them.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use lab::client::{encode_into, ok};
use lab::servers;

use super::Database;

/// Runs a tool against the endpoint, with this on its standard input, and gives what it prints.
#[track_caller]
fn run(program: PathBuf, database: &Database, args: &[&str], input: &[u8]) -> String {
    let port = database.host.endpoint_port().to_string();
    // A tool that waits for ever ends the test, and isn't left behind.
    let mut child = Command::new("timeout")
        .arg("60")
        .arg(&program)
        .args(["-h", "127.0.0.1", "-p", &port])
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let output = std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input).unwrap());
        child.wait_with_output().unwrap()
    });
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{} {args:?}:\n{text}\n{errors}", program.display());
    text
}

#[test]
fn the_command_line_client_works() {
    for server in servers::both() {
        let database = Database::start(&server, 2);
        let cli = |args: &[&str], input: &[u8]| run(server.cli(), &database, args, input);
        assert_eq!(cli(&["SET", "k", "v w"], b""), "OK\n");
        assert_eq!(cli(&["GET", "k"], b""), "v w\n");
        assert_eq!(cli(&["-2", "MGET", "k", "l"], b""), "v w\n\n");
        assert_eq!(cli(&[], b"INCR n\nINCR n\nMGET n k\n"), "1\n2\n2\nv w\n");
        assert!(cli(&["NOSUCH"], b"").starts_with("ERR unknown command 'NOSUCH'"));
        assert_eq!(cli(&["--eval", "/dev/null"], b"").trim(), "");
        assert_eq!(cli(&["-r", "3", "PING"], b""), "PONG\nPONG\nPONG\n");
        assert!(cli(&["INFO", "server"], b"").contains("tcp_port"));
        assert_eq!(database.client().command("FLUSHALL"), ok());

        let mut commands = Vec::new();
        for number in 0..20_000 {
            encode_into(
                &mut commands,
                &["SET", &format!("mass:{number}"), &"x".repeat(number % 100)],
            );
        }
        let told = cli(&["--pipe"], &commands);
        assert!(told.contains("errors: 0, replies: 20000"), "{told}");
        assert_eq!(cli(&["DBSIZE"], b""), "20000\n");

        let mut keys: Vec<String> = cli(&["--scan"], b"").lines().map(str::to_owned).collect();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), 20_000);
        let some = cli(&["--scan", "--pattern", "mass:1999?"], b"");
        assert_eq!(some.lines().count(), 10, "{some}");
        let big = cli(&["--bigkeys"], b"");
        assert!(big.contains("Sampled 20000 keys in the keyspace!"), "{big}");
        assert!(big.contains("has 99 bytes"), "{big}");
        let memory = cli(&["--memkeys"], b"");
        assert!(memory.contains("Sampled 20000 keys in the keyspace!"), "{memory}");
    }
}

#[test]
fn the_benchmark_runs() {
    for server in servers::both() {
        let database = Database::with(&server, 2, &["weir.threads 2"]);
        for pipeline in ["1", "16", "100"] {
            let args =
                ["-t", "set,get,incr,lpush,mset", "-n", "5000", "-c", "20", "-r", "1000", "-q"];
            let told =
                run(server.benchmark(), &database, &[&args[..], &["-P", pipeline]].concat(), b"");
            for test in ["SET", "GET", "INCR", "LPUSH", "MSET (10 keys)"] {
                let line = told.split(['\n', '\r']).find(|line| {
                    line.starts_with(&format!("{test}: ")) && line.contains("requests per second")
                });
                assert!(line.is_some(), "no {test} in:\n{told}");
            }
        }
    }
}
