//! Workers with real sockets and TLS on them, and a small machine in the engine's place.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod certificates;
#[path = "worker/echo.rs"]
mod echo;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, StreamOwned};
use weir::os::thread;
use weir::os::tls::Tls;
use weir::settings::{AuthClients, Settings};

use certificates::{Authority, expired};
use echo::{Hall, eventually, settings};

/// A blocking client.
type Caller = BufReader<StreamOwned<ClientConnection, TcpStream>>;

/// Settings for a free port with TLS and one without, each client asked for a certificate of the
/// authority.
fn secure(authority: &Authority, threads: u16) -> Settings {
    authority.issue("server");
    authority.issue("client");
    let plain = settings(threads);
    Settings {
        tls_port: settings(threads).port,
        tls_cert_file: authority.file("server.crt"),
        tls_key_file: authority.file("server.key"),
        tls_ca_cert_file: authority.file("ca.crt"),
        ..plain
    }
}

fn roots(authority: &Authority) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority.file("ca.crt")).unwrap()).unwrap();
    roots
}

fn pair(
    authority: &Authority,
    name: &str,
) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let cert = CertificateDer::from_pem_file(authority.file(&format!("{name}.crt"))).unwrap();
    let key = PrivateKeyDer::from_pem_file(authority.file(&format!("{name}.key"))).unwrap();
    (vec![cert], key)
}

/// A client that trusts `authority`, with the certificate of `name` if there is a name.
fn connection(authority: &Authority, name: Option<&str>) -> ClientConnection {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots(authority));
    let config = match name {
        None => builder.with_no_client_auth(),
        Some(name) => {
            let (certs, key) = pair(authority, name);
            builder.with_client_auth_cert(certs, key).unwrap()
        }
    };
    ClientConnection::new(Arc::new(config), ServerName::try_from("localhost").unwrap()).unwrap()
}

fn socket(port: u16) -> TcpStream {
    let socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    socket.set_nodelay(true).unwrap();
    socket
}

fn call(hall: &Hall, authority: &Authority, name: Option<&str>) -> Caller {
    let stream = StreamOwned::new(connection(authority, name), socket(hall.settings.tls_port));
    BufReader::with_capacity(64 * 1024, stream)
}

fn send(caller: &mut Caller, text: &str) {
    caller.get_mut().write_all(text.as_bytes()).unwrap();
    caller.get_mut().flush().unwrap();
}

fn line(caller: &mut Caller) -> String {
    let mut line = String::new();
    caller.read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}

fn ask(caller: &mut Caller, text: &str) -> String {
    send(caller, &format!("{text}\n"));
    line(caller)
}

#[test]
fn many_clients_each_get_their_own_bytes_on_both_ports() {
    let authority = Authority::new("many");
    let hall = Hall::open(secure(&authority, 3), 12_000);
    let mut secure: Vec<Caller> =
        (0..300).map(|_| call(&hall, &authority, Some("client"))).collect();
    let mut plain: Vec<_> = (0..300).map(|_| hall.connect()).collect();
    for round in 0..3 {
        for (number, (caller, other)) in secure.iter_mut().zip(&mut plain).enumerate() {
            send(caller, &format!("secure {number} round {round}\n"));
            other.send(&format!("plain {number} round {round}\n"));
        }
        for (number, (caller, other)) in secure.iter_mut().zip(&mut plain).enumerate() {
            assert_eq!(line(caller), format!("secure {number} round {round}"));
            assert_eq!(other.line(), format!("plain {number} round {round}"));
        }
    }
    assert_eq!(hall.fleet.clients(), 600);
    let near = secure[0].get_ref().get_ref().local_addr().unwrap();
    let who = ask(&mut secure[0], "!who");
    assert!(who.starts_with(&format!("{near} 127.0.0.1:{}", hall.settings.tls_port)), "{who}");
    drop((secure, plain));
    eventually("all have left", || hall.fleet.clients() == 0);
    assert!(hall.log.try_iter().all(|line| !line.contains("TLS")));
}

#[test]
fn a_first_request_that_comes_with_the_handshake_is_read() {
    let authority = Authority::new("early");
    let hall = Hall::open(secure(&authority, 1), 12_700);
    for _ in 0..20 {
        let mut tls = connection(&authority, Some("client"));
        let mut socket = socket(hall.settings.tls_port);
        // The request leaves in one segment with the last message of the handshake, and nothing
        // follows it that would wake the worker once more.
        tls.writer().write_all(b"early\n").unwrap();
        while tls.wants_write() || tls.is_handshaking() {
            if tls.wants_write() {
                let mut flight = Vec::new();
                while tls.wants_write() {
                    tls.write_tls(&mut flight).unwrap();
                }
                socket.write_all(&flight).unwrap();
            } else {
                tls.read_tls(&mut socket).unwrap();
                tls.process_new_packets().unwrap();
            }
        }
        let mut caller = BufReader::new(StreamOwned::new(tls, socket));
        assert_eq!(line(&mut caller), "early");
    }
}

#[test]
fn no_bytes_are_left_behind_however_they_are_cut() {
    let authority = Authority::new("cut");
    let hall = Hall::open(secure(&authority, 2), 12_800);
    let mut caller = call(&hall, &authority, Some("client"));
    // Requests of all lengths around a record and around a turn's share, each with nothing behind
    // it: one byte that stays in a buffer is never answered.
    for length in [1, 4_095, 4_096, 16_383, 16_384, 16_385, 65_535, 65_536, 65_537, 300_000] {
        for less in 0..3 {
            let text = "x".repeat(length - length.min(less));
            assert_eq!(ask(&mut caller, &text), text, "{length}");
        }
    }
    // Many records in one segment, and a record in many segments.
    let mut all = String::new();
    for number in 0..5_000 {
        all.push_str(&format!("{number}\n"));
    }
    send(&mut caller, &all);
    for number in 0..5_000 {
        assert_eq!(line(&mut caller), number.to_string());
    }
    let mut flight = Vec::new();
    let stream = caller.get_mut();
    stream.conn.writer().write_all(b"slowly\n").unwrap();
    stream.conn.write_tls(&mut flight).unwrap();
    for byte in flight {
        stream.sock.write_all(&[byte]).unwrap();
        lab::pause(Duration::from_millis(1));
    }
    assert_eq!(line(&mut caller), "slowly");
}

#[test]
fn bytes_that_came_before_a_pause_are_read_after_it() {
    let authority = Authority::new("pause");
    let hall = Hall::open(secure(&authority, 1), 12_850);
    let mut caller = call(&hall, &authority, Some("client"));
    assert_eq!(ask(&mut caller, "hello"), "hello");
    // Around the share of a turn: the worker decrypts more than the machine takes before it says
    // that it wants no more, and when it wants to go on the socket is empty.
    for length in (56 * 1024..90 * 1024).step_by(1_500) {
        let mut text = "!hold\n!timer 3000\n".to_owned();
        let mut lines = 0;
        while text.len() < length {
            text.push_str(&format!("line {lines}\n"));
            lines += 1;
        }
        let stream = caller.get_mut();
        stream.conn.set_buffer_limit(None);
        stream.conn.writer().write_all(text.as_bytes()).unwrap();
        let mut flight = Vec::new();
        while stream.conn.wants_write() {
            stream.conn.write_tls(&mut flight).unwrap();
        }
        stream.sock.write_all(&flight).unwrap();
        let mut seen = 0;
        while seen < lines {
            let said = line(&mut caller);
            // What isn't an echo is the timer's.
            seen += usize::from(said == format!("line {seen}"));
        }
    }
}

#[test]
fn large_replies_pass_and_a_slow_reader_holds_up_nobody() {
    const BYTES: usize = 30 << 20;
    let authority = Authority::new("large");
    let hall = Hall::open(secure(&authority, 1), 12_900);
    let mut slow = call(&hall, &authority, Some("client"));
    send(&mut slow, &format!("!big {BYTES}\nafter\n"));
    let mut other = call(&hall, &authority, Some("client"));
    for round in 0..100 {
        assert_eq!(ask(&mut other, &format!("round {round}")), format!("round {round}"));
    }
    let mut all = vec![0; BYTES];
    slow.read_exact(&mut all).unwrap();
    assert!(all.iter().all(|byte| *byte == b'x'));
    assert_eq!(line(&mut slow), "after");
}

#[test]
fn the_end_of_a_client_is_noticed_and_its_replies_still_reach_it() {
    const BYTES: usize = 8 << 20;
    let authority = Authority::new("end");
    let hall = Hall::open(secure(&authority, 1), 13_000);
    // It says goodbye in TLS alone, and keeps the connection.
    let mut caller = call(&hall, &authority, Some("client"));
    send(&mut caller, &format!("!big {BYTES}\n"));
    caller.get_mut().conn.send_close_notify();
    caller.get_mut().flush().unwrap();
    let mut all = Vec::new();
    // To the end, which is said in TLS too, or this would be an error.
    caller.read_to_end(&mut all).unwrap();
    assert_eq!(all.len(), BYTES);
    hall.await_log("closed 0");
    // It shuts its side of the connection, without a word.
    let mut caller = call(&hall, &authority, Some("client"));
    send(&mut caller, "!big 1000\n");
    caller.get_ref().get_ref().shutdown(Shutdown::Write).unwrap();
    all.clear();
    caller.read_to_end(&mut all).unwrap();
    assert_eq!(all.len(), 1000);
    hall.await_log("closed 0");
    // It is closed by us, and told so.
    let mut caller = call(&hall, &authority, Some("client"));
    assert_eq!(ask(&mut caller, "!drop"), "");
    hall.await_log("closed 0");
    // It goes while it isn't read. Its goodbye is bytes that nobody has asked for.
    let mut caller = call(&hall, &authority, Some("client"));
    assert_eq!(ask(&mut caller, "!hold\nheld"), "held");
    caller.get_mut().conn.send_close_notify();
    caller.get_mut().flush().unwrap();
    drop(caller);
    hall.await_log("closed 0");
    assert_eq!(hall.stats.workers[0].tls_refused.get(), 0);
}

/// What a client is told that tries to get in.
fn refusal(hall: &Hall, authority: &Authority, name: Option<&str>) -> String {
    let mut caller = call(hall, authority, name);
    let asked = caller.get_mut().write_all(b"hello\n").and_then(|()| {
        let mut line = String::new();
        caller.read_line(&mut line).map(|_| line)
    });
    asked.expect_err("it must not get in").to_string()
}

#[test]
fn who_must_not_come_in_is_named_in_the_log() {
    let (ours, foreign) = (Authority::new("ours"), Authority::new("foreign"));
    let hall = Hall::open(secure(&ours, 1), 13_100);
    ours.issue_with("expired", expired);
    foreign.issue("foreign");
    // One who trusts us, though its own certificate is somebody else's.
    for file in ["foreign.crt", "foreign.key"] {
        std::fs::copy(foreign.file(file), ours.file(file)).unwrap();
    }
    for (name, why) in [
        (Some("expired"), "its certificate has expired"),
        (Some("foreign"), "its certificate is not signed by an authority of weir.tls-ca-cert-file"),
        (None, "it has shown no certificate"),
    ] {
        let told = refusal(&hall, &ours, name);
        assert!(told.contains("alert"), "{told}");
        let line = hall.await_log("was refused");
        assert!(line.starts_with("TLS: client 127.0.0.1:"), "{line}");
        assert!(line.ends_with(why), "{line}");
    }
    // One who doesn't trust us.
    let told = refusal(&hall, &foreign, Some("foreign"));
    assert!(told.contains("UnknownIssuer"), "{told}");
    hall.await_log("it does not know the authority of our certificate (alert UnknownCA)");

    let mut plain = socket(hall.settings.tls_port);
    plain.write_all(b"PING\r\n").unwrap();
    assert!(plain.read_to_end(&mut Vec::new()).is_ok());
    hall.await_log("was refused: it does not speak TLS");
    // Nobody is left, and nobody ever was a client.
    eventually("all have left", || hall.fleet.clients() == 0);
    assert_eq!(hall.stats.workers[0].tls_refused.get(), 5);
    assert!(hall.log.try_iter().all(|line| !line.contains("closed")));
}

#[test]
fn tls_on_the_port_without_is_named_in_the_log() {
    let authority = Authority::new("mistaken");
    let hall = Hall::open(secure(&authority, 1), 13_200);
    let stream = socket(hall.settings.port);
    let near = stream.local_addr().unwrap();
    let mut caller = StreamOwned::new(connection(&authority, None), stream);
    assert!(caller.write_all(b"hello\n").is_err());
    hall.await_log(&format!("client {near} was refused: it speaks TLS, and this port doesn't"));
}

#[test]
fn who_says_nothing_is_closed_and_who_only_looks_is_no_news() {
    let authority = Authority::new("silent");
    let hall = Hall::open(secure(&authority, 1), 13_300);
    let mut silent = socket(hall.settings.tls_port);
    let mut halfway = socket(hall.settings.tls_port);
    let mut hello = Vec::new();
    connection(&authority, None).write_tls(&mut hello).unwrap();
    halfway.write_all(&hello[..hello.len() / 2]).unwrap();
    drop(socket(hall.settings.tls_port));
    hall.await_log("it closed the connection during the TLS handshake");
    eventually("the two wait", || hall.fleet.clients() == 2);
    for stream in [&mut silent, &mut halfway] {
        assert_eq!(stream.read(&mut [0; 8]).unwrap(), 0);
    }
    for _ in 0..2 {
        hall.await_log("it has not finished the TLS handshake in 10 seconds");
    }
    eventually("their places are free", || hall.fleet.clients() == 0);
}

#[test]
fn new_handshakes_use_new_certificates_and_old_connections_stay() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let hall = Hall::open(secure(&old, 2), 13_400);
    let mut before: Vec<Caller> = (0..4).map(|_| call(&hall, &old, Some("client"))).collect();
    before.iter_mut().for_each(|caller| assert_eq!(ask(caller, "hello"), "hello"));
    let ports = hall.settings.clone();
    let renewed = Settings { port: ports.port, tls_port: ports.tls_port, ..secure(&new, 2) };
    hall.fleet.renew_tls(&Tls::load(&renewed).unwrap().into());
    eventually("the new authority is trusted", || {
        let mut caller = call(&hall, &new, Some("client"));
        caller.get_mut().write_all(b"hello\n").is_ok()
    });
    // Both workers have read their mail by the time that each has served such a client.
    for _ in 0..4 {
        let mut caller = call(&hall, &new, Some("client"));
        eventually("both know", || caller.get_mut().write_all(b"\n").is_ok());
    }
    let told = refusal(&hall, &old, Some("client"));
    assert!(told.contains("UnknownIssuer"), "{told}");
    before.iter_mut().for_each(|caller| assert_eq!(ask(caller, "still here"), "still here"));
    let relaxed = Settings { tls_auth_clients: AuthClients::No, ..renewed };
    hall.fleet.renew_tls(&Tls::load(&relaxed).unwrap().into());
    eventually("nobody is asked any more", || {
        let mut caller = call(&hall, &new, None);
        let asked = caller.get_mut().write_all(b"hello\n");
        asked.is_ok() && caller.read_line(&mut String::new()).is_ok()
    });
}

/// A shard with TLS: it greets the first who connects with what it was sent, until that one leaves.
fn shard(authority: &Authority, name: &str, ask_client: bool) -> (u16, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = if ask_client {
        let roots = Arc::new(roots(authority));
        let verifier =
            rustls::server::WebPkiClientVerifier::builder_with_provider(roots, provider).build();
        builder.with_client_cert_verifier(verifier.unwrap())
    } else {
        builder.with_no_client_auth()
    };
    let (certs, key) = pair(authority, name);
    let config = Arc::new(builder.with_single_cert(certs, key).unwrap());
    let thread = thread::spawn("shard", move || {
        let (socket, _) = listener.accept().unwrap();
        let tls = rustls::ServerConnection::new(config).unwrap();
        let mut stream = BufReader::new(StreamOwned::new(tls, socket));
        let mut line = String::new();
        while stream.read_line(&mut line).is_ok_and(|bytes| bytes > 0) {
            let reply = format!("shard: {line}");
            if stream.get_mut().write_all(reply.as_bytes()).is_err() {
                return;
            }
            line.clear();
        }
    });
    (port, thread.unwrap())
}

/// A client of a hall whose shards speak TLS, with these settings changed.
fn hall_with_shards(
    authority: &Authority,
    fd_base: i32,
    change: impl FnOnce(&mut Settings),
) -> Hall {
    authority.issue("shard");
    authority.issue("client");
    let mut settings = Settings {
        shard_tls: true,
        tls_ca_cert_file: authority.file("ca.crt"),
        tls_client_cert_file: authority.file("client.crt"),
        tls_client_key_file: authority.file("client.key"),
        ..settings(1)
    };
    change(&mut settings);
    Hall::open(settings, fd_base)
}

#[test]
fn shards_are_spoken_to_in_tls() {
    let authority = Authority::new("shards");
    let hall = hall_with_shards(&authority, 13_500, |_| {});
    for host in ["127.0.0.1", "localhost"] {
        let (port, thread) = shard(&authority, "shard", true);
        let mut caller = hall.connect();
        assert_eq!(caller.ask(&format!("!link {host}:{port}")), "opened");
        let long = "x".repeat(100_000);
        for text in ["hello", &long, "bye"] {
            assert_eq!(caller.ask(&format!("!say {text}")), format!("shard: {text}"));
        }
        drop((caller, hall.connect()));
        assert!(!thread.is_finished(), "the link stays, for nobody has closed it");
    }
}

#[test]
fn a_link_that_can_not_be_made_says_why() {
    let (ours, foreign) = (Authority::new("ours"), Authority::new("foreign"));
    let hall = hall_with_shards(&ours, 13_600, |_| {});
    let link = |port: u16| hall.connect().ask(&format!("!link 127.0.0.1:{port}"));
    ours.issue_with("expired", expired);
    foreign.issue("foreign");
    let (port, thread) = shard(&ours, "expired", false);
    assert_eq!(link(port), "failed: its certificate has expired");
    thread.join().unwrap();
    let (port, thread) = shard(&foreign, "foreign", false);
    let why = link(port);
    assert!(why.contains("not signed by an authority of weir.tls-ca-cert-file"), "{why}");
    thread.join().unwrap();
    // The shard speaks no TLS: it answers in plain text, or takes our hello for nothing.
    let plain = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = plain.local_addr().unwrap().port();
    let shard = thread::spawn("shard", move || {
        let (mut socket, _) = plain.accept().unwrap();
        socket.write_all(b"-ERR unknown command\r\n").unwrap();
        let _ = socket.read(&mut [0; 4096]);
        let (mut socket, _) = plain.accept().unwrap();
        let _ = socket.read_to_end(&mut Vec::new());
    })
    .unwrap();
    assert_eq!(link(port), "failed: it does not speak TLS");
    let why = link(port);
    assert!(why.contains("it did not finish the TLS handshake in time"), "{why}");
    shard.join().unwrap();
    // Nobody is there at all.
    let why = link(1);
    assert!(why.contains("refused"), "{why}");
}

#[test]
fn a_shard_that_wants_a_certificate_of_us_says_so() {
    let authority = Authority::new("wants");
    let hall = hall_with_shards(&authority, 13_700, |settings| {
        settings.tls_client_cert_file.clear();
        settings.tls_client_key_file.clear();
    });
    let (port, thread) = shard(&authority, "shard", true);
    let mut caller = hall.connect();
    let first = caller.ask(&format!("!link 127.0.0.1:{port}"));
    let why = if first == "opened" { caller.line() } else { first };
    assert!(why.contains("it wants a certificate, and we have shown none"), "{why}");
    thread.join().unwrap();
}

#[test]
fn a_shard_that_speaks_tls_unexpectedly_is_named() {
    let hall = Hall::open(settings(1), 13_800);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut caller = hall.connect();
    caller.send(&format!("!link 127.0.0.1:{port}\n"));
    let (mut socket, _) = listener.accept().unwrap();
    assert_eq!(caller.line(), "opened");
    // An alert, as a server gives to who speaks no TLS.
    socket.write_all(&[21, 3, 3, 0, 2, 2, 70]).unwrap();
    assert_eq!(caller.line(), "failed: it speaks TLS: set weir.shard-tls to yes");
}
