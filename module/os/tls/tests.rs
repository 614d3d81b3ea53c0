//! Two ends in memory, with a wire between them that takes and gives as little as it likes.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fs;
use std::io::{self, IoSlice};

use rcgen::ExtendedKeyUsagePurpose;

use crate::limits::TLS_WRITE_BYTES;
use crate::os::socket::Written;

use super::*;
use certificates::{Authority, expired};

#[path = "../../../tests/certificates/mod.rs"]
mod certificates;

/// Settings for both ends, each with the certificate of this name.
fn settings(authority: &Authority, server: &str, client: &str) -> Settings {
    Settings {
        tls_port: 1,
        shard_tls: true,
        tls_cert_file: authority.file(&format!("{server}.crt")),
        tls_key_file: authority.file(&format!("{server}.key")),
        tls_client_cert_file: authority.file(&format!("{client}.crt")),
        tls_client_key_file: authority.file(&format!("{client}.key")),
        tls_ca_cert_file: authority.file("ca.crt"),
        ..Settings::default()
    }
}

/// One direction of a wire.
#[derive(Default)]
struct Pipe {
    bytes: RefCell<VecDeque<u8>>,
    closed: Cell<bool>,
}

/// One end of a wire, of which the other end's `from` is this one's `to`.
struct End<'a> {
    from: &'a Pipe,
    to: &'a Pipe,
    /// How many bytes the wire holds, and gives at once.
    room: usize,
}

impl Socket for End<'_> {
    fn recv(&self, space: &mut [u8]) -> io::Result<usize> {
        let mut bytes = self.from.bytes.borrow_mut();
        let count = bytes.len().min(space.len()).min(self.room);
        if count == 0 && !self.from.closed.get() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        for (place, byte) in space.iter_mut().zip(bytes.drain(..count)) {
            *place = byte;
        }
        Ok(count)
    }

    fn send(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut bytes = self.to.bytes.borrow_mut();
        let before = bytes.len();
        for byte in pieces.iter().flat_map(|piece| piece.iter()) {
            if bytes.len() == self.room {
                break;
            }
            bytes.push_back(*byte);
        }
        match bytes.len() - before {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            count => Ok(count),
        }
    }
}

#[derive(Default)]
struct Cable {
    up: Pipe,
    down: Pipe,
}

impl Cable {
    fn ends(&self, room: usize) -> (End<'_>, End<'_>) {
        let client = End { from: &self.down, to: &self.up, room };
        let server = End { from: &self.up, to: &self.down, room };
        (client, server)
    }
}

fn name() -> PeerName {
    PeerName::new("localhost").unwrap()
}

/// Shakes hands; on failure says what the server, and then the client, has to say about it.
fn shake(
    (client, client_end): (&mut Channel, &End<'_>),
    (server, server_end): (&mut Channel, &End<'_>),
) -> Result<(), (Option<String>, Option<String>)> {
    loop {
        let of_client = client.shake(client_end).map_err(|error| error.to_string());
        let of_server = server.shake(server_end).map_err(|error| error.to_string());
        match (of_client, of_server) {
            (Ok(true), Ok(true)) => return Ok(()),
            (Ok(_), Ok(_)) => {}
            (Err(of_client), Err(of_server)) => return Err((Some(of_server), Some(of_client))),
            (Ok(_), Err(why)) => {
                // What the client is told is in the alert that was sent.
                let told = client.shake(client_end).err().map(|error| error.to_string());
                let mut space = [0; 16];
                let later =
                    client.read(client_end, &mut space).err().map(|error| error.to_string());
                return Err((Some(why), told.or(later)));
            }
            (Err(why), Ok(_)) => {
                let told = server.shake(server_end).err().map(|error| error.to_string());
                return Err((told, Some(why)));
            }
        }
    }
}

/// Two ends that have shaken hands over a wire with so much room.
fn connected(tls: &Tls, cable: &Cable, room: usize) -> (Channel, Channel) {
    let (mut client, mut server) = (tls.dial(name()).unwrap(), tls.accept().unwrap());
    let (client_end, server_end) = cable.ends(room);
    shake((&mut client, &client_end), (&mut server, &server_end)).unwrap();
    (client, server)
}

fn good() -> (Authority, Tls) {
    let authority = Authority::new("good");
    authority.issue("server");
    authority.issue("client");
    let tls = Tls::load(&settings(&authority, "server", "client")).unwrap();
    (authority, tls)
}

fn failure(server: &Settings, client: &Settings) -> (String, String) {
    let cable = Cable::default();
    let (client_end, server_end) = cable.ends(usize::MAX);
    let mut server = Tls::load(server).unwrap().accept().unwrap();
    let mut client = Tls::load(client).unwrap().dial(name()).unwrap();
    let (server, client) =
        shake((&mut client, &client_end), (&mut server, &server_end)).expect_err("it must fail");
    (server.unwrap_or_default(), client.unwrap_or_default())
}

#[test]
fn bytes_arrive_in_order_over_any_wire() {
    let (_authority, tls) = good();
    // One byte at a time, odd sizes, and more than all buffers on the way.
    for (room, amount) in [(1, 5_000), (17, 50_000), (5_000, 600_000), (1 << 20, 3_000_000)] {
        let cable = Cable::default();
        let (mut client, mut server) = connected(&tls, &cable, room);
        let (client_end, server_end) = cable.ends(room);
        let sent: Vec<u8> =
            (0..amount).map(|n: u32| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let (mut written, mut got) = (0, Vec::new());
        let mut space = vec![0; 3_000];
        while got.len() < sent.len() {
            let rest = &sent[written..];
            let pieces = rest.split_at(rest.len() / 3);
            let result = client.write(&client_end, [pieces.0, pieces.1]).unwrap();
            assert!(result.bytes <= TLS_WRITE_BYTES + 64 * 1024, "a share of a turn");
            assert_eq!(result.full, client.holds());
            written += result.bytes;
            match server.read(&server_end, &mut space) {
                Ok(bytes) => got.extend_from_slice(&space[..bytes]),
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
        }
        assert!(got == sent, "room {room}");
        assert!(!client.holds() && !server.has_more());
    }
}

#[test]
fn what_is_here_though_the_socket_is_empty_is_told() {
    let (_authority, tls) = good();
    let cable = Cable::default();
    let (mut client, mut server) = connected(&tls, &cable, usize::MAX);
    let (client_end, server_end) = cable.ends(usize::MAX);
    client.write(&client_end, [b"a record of ", b"28 bytes and more"]).unwrap();
    assert!(!server.has_more(), "nothing was received yet");
    let mut space = [0; 10];
    assert_eq!(server.read(&server_end, &mut space).unwrap(), 10);
    assert!(cable.up.bytes.borrow().is_empty() && server.has_more());
    assert_eq!(server.read(&server_end, &mut space).unwrap(), 10);
    assert_eq!(server.read(&server_end, &mut space).unwrap(), 9);
    assert!(!server.has_more());
    let nothing = server.read(&server_end, &mut space).unwrap_err();
    assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
}

#[test]
fn a_peer_that_does_not_read_is_felt_and_costs_bounded_memory() {
    let (_authority, tls) = good();
    let cable = Cable::default();
    let (mut client, _server) = connected(&tls, &cable, 100_000);
    let (client_end, _) = cable.ends(100_000);
    let block = vec![7; 1 << 20];
    let first = client.write(&client_end, [&block, &block]).unwrap();
    assert!(first.full && first.bytes <= 100_000 + 64 * 1024, "{first:?}");
    let second = client.write(&client_end, [&block, b""]).unwrap();
    assert_eq!(second, Written { bytes: 0, full: true });
    // Room for a part of what is held is no room for more.
    cable.up.bytes.borrow_mut().drain(..10_000);
    let third = client.write(&client_end, [&block, b""]).unwrap();
    assert_eq!(third, Written { bytes: 0, full: true });
    // A write of nothing moves on what is held.
    cable.up.bytes.borrow_mut().clear();
    assert_eq!(client.write(&client_end, [b"", b""]).unwrap(), Written { bytes: 0, full: false });
}

#[test]
fn the_end_is_told_behind_the_last_byte_and_the_other_direction_stays_open() {
    let (_authority, tls) = good();
    let cable = Cable::default();
    let (mut client, mut server) = connected(&tls, &cable, usize::MAX);
    let (client_end, server_end) = cable.ends(usize::MAX);
    client.write(&client_end, [b"last", b""]).unwrap();
    client.close(&client_end);
    let mut space = [0; 64];
    assert_eq!(server.read(&server_end, &mut space).unwrap(), 4);
    assert!(server.has_more(), "its end is here, and the socket knows nothing of it");
    assert_eq!(server.read(&server_end, &mut space).unwrap(), 0);
    server.write(&server_end, [b"reply", b""]).unwrap();
    assert_eq!(client.read(&client_end, &mut space).unwrap(), 5);
}

#[test]
fn an_end_without_goodbye_is_an_end_and_a_cut_record_is_none_of_its_bytes() {
    let (_authority, tls) = good();
    let cable = Cable::default();
    let (mut client, mut server) = connected(&tls, &cable, usize::MAX);
    let (client_end, server_end) = cable.ends(usize::MAX);
    client.write(&client_end, [b"whole", b""]).unwrap();
    client.write(&client_end, [b"cut off", b""]).unwrap();
    cable.up.bytes.borrow_mut().pop_back();
    cable.up.closed.set(true);
    let mut space = [0; 64];
    assert_eq!(server.read(&server_end, &mut space).unwrap(), 5);
    assert_eq!(server.read(&server_end, &mut space).unwrap(), 0);
}

#[test]
fn bytes_before_a_forged_record_are_read_and_then_the_error() {
    let (_authority, tls) = good();
    let cable = Cable::default();
    let (mut client, mut server) = connected(&tls, &cable, usize::MAX);
    let (client_end, _) = cable.ends(usize::MAX);
    // Longer than what is received at once, so that its end is received with the forged one.
    let good = [1; 5_000];
    client.write(&client_end, [&good, b""]).unwrap();
    client.write(&client_end, [b"forged", b""]).unwrap();
    *cable.up.bytes.borrow_mut().back_mut().unwrap() ^= 1;
    let (_, server_end) = cable.ends(usize::MAX);
    let mut space = [0; 3_000];
    for expected in [3_000, 2_000] {
        assert_eq!(server.read(&server_end, &mut space).unwrap(), expected);
        assert!(server.has_more());
    }
    let error = server.read(&server_end, &mut space).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
}

#[test]
fn a_look_says_whether_there_are_bytes_without_taking_them() {
    let (_authority, tls) = good();
    let cable = Cable::default();
    let (mut client, mut server) = connected(&tls, &cable, usize::MAX);
    let (client_end, server_end) = cable.ends(usize::MAX);
    assert_eq!(server.look(&server_end), 0);
    client.write(&client_end, [b"here", b""]).unwrap();
    assert_eq!(server.look(&server_end), 4);
    assert_eq!(server.look(&server_end), 4);
    let mut space = [0; 64];
    assert_eq!(server.read(&server_end, &mut space).unwrap(), 4);
    // Only a goodbye: bytes for the socket, none for us.
    client.close(&client_end);
    assert_eq!(server.look(&server_end), 0);
    assert!(server.has_more());
}

#[test]
fn each_bad_certificate_of_a_client_is_refused_by_its_name() {
    let (ours, foreign) = (Authority::new("ours"), Authority::new("foreign"));
    ours.issue("server");
    ours.issue("good");
    ours.issue_with("expired", expired);
    ours.issue_with("early", |params| params.not_before = rcgen::date_time_ymd(2200, 1, 1));
    ours.issue_with("shard", |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    foreign.issue("foreign");
    let with = |authority: &Authority, client: &str| Settings {
        tls_ca_cert_file: ours.file("ca.crt"),
        ..settings(authority, "server", client)
    };
    let server = with(&ours, "good");
    let cases = [
        (with(&ours, "expired"), "its certificate has expired"),
        (with(&ours, "early"), "its certificate is not valid yet"),
        (with(&ours, "shard"), "its certificate is for another purpose"),
        (
            Settings {
                tls_client_cert_file: foreign.file("foreign.crt"),
                tls_client_key_file: foreign.file("foreign.key"),
                ..server.clone()
            },
            "its certificate is not signed by an authority of weir.tls-ca-cert-file",
        ),
        (
            Settings {
                tls_port: 0,
                tls_cert_file: String::new(),
                tls_client_cert_file: String::new(),
                ..server.clone()
            },
            "it has shown no certificate",
        ),
    ];
    for (client, why) in cases {
        for protocols in ["TLSv1.2", "TLSv1.3"] {
            let server = Settings { tls_protocols: protocols.to_owned(), ..server.clone() };
            let (text, told) = failure(&server, &client);
            assert!(text.contains(why), "{protocols}: '{text}' instead of '{why}'");
            assert!(told.contains("(alert "), "{protocols}: the client hears '{told}'");
        }
    }
}

#[test]
fn a_client_without_certificate_may_be_allowed() {
    let (ours, foreign) = (Authority::new("optional"), Authority::new("optional-foreign"));
    ours.issue("server");
    foreign.issue("client");
    let bare = Settings {
        tls_port: 0,
        tls_cert_file: String::new(),
        tls_client_cert_file: String::new(),
        ..settings(&ours, "server", "none")
    };
    let with_foreign = Settings {
        tls_client_cert_file: foreign.file("client.crt"),
        tls_client_key_file: foreign.file("client.key"),
        ..bare.clone()
    };
    for (choice, foreign_too) in [(AuthClients::No, true), (AuthClients::Optional, false)] {
        let server = Settings {
            shard_tls: false,
            tls_auth_clients: choice,
            ..settings(&ours, "server", "none")
        };
        for (client, works) in [(&bare, true), (&with_foreign, foreign_too)] {
            let cable = Cable::default();
            let (client_end, server_end) = cable.ends(usize::MAX);
            let mut server = Tls::load(&server).unwrap().accept().unwrap();
            let mut client = Tls::load(client).unwrap().dial(name()).unwrap();
            let shaken = shake((&mut client, &client_end), (&mut server, &server_end));
            assert_eq!(shaken.is_ok(), works, "{choice:?}: {shaken:?}");
        }
    }
}

#[test]
fn a_shard_is_known_by_its_authority_and_by_its_name_if_that_is_wanted() {
    let (ours, foreign) = (Authority::new("shards"), Authority::new("shards-foreign"));
    ours.issue("named");
    ours.issue_with("nameless", |params| params.subject_alt_names.clear());
    ours.issue_with("expired", expired);
    ours.issue("client");
    foreign.issue("named");
    let strict = |settings: Settings| Settings { shard_tls_verify_name: true, ..settings };
    let works = |server: &Settings, client: &Settings| {
        let cable = Cable::default();
        let (client_end, server_end) = cable.ends(usize::MAX);
        let mut server = Tls::load(server).unwrap().accept().unwrap();
        let mut client = Tls::load(client).unwrap().dial(name()).unwrap();
        shake((&mut client, &client_end), (&mut server, &server_end)).unwrap();
    };
    let (named, nameless) =
        (settings(&ours, "named", "client"), settings(&ours, "nameless", "client"));
    works(&named, &strict(named.clone()));
    works(&nameless, &nameless);
    let (_, why) = failure(&nameless, &strict(nameless.clone()));
    assert!(why.contains("its certificate is not for it"), "{why}");
    let (_, why) = failure(&settings(&ours, "expired", "client"), &named);
    assert!(why.contains("its certificate has expired"), "{why}");
    let theirs =
        Settings { tls_auth_clients: AuthClients::No, ..settings(&foreign, "named", "named") };
    let (told, why) = failure(&theirs, &named);
    assert!(why.contains("not signed by an authority of weir.tls-ca-cert-file"), "{why}");
    assert!(told.contains("does not know the authority of our certificate"), "{told}");
}

#[test]
fn who_speaks_no_tls_is_recognised() {
    let (_authority, tls) = good();
    for plain in [&b"*1\r\n$4\r\nPING\r\n"[..], b"PING\r\n", b"GET / HTTP/1.1\r\n"] {
        let cable = Cable::default();
        let (_, server_end) = cable.ends(usize::MAX);
        cable.up.bytes.borrow_mut().extend(plain);
        let mut server = tls.accept().unwrap();
        assert!(!server.touched());
        let error = server.shake(&server_end).unwrap_err();
        assert_eq!(error.to_string(), "it does not speak TLS");
        assert!(server.touched());
    }
    let cable = Cable::default();
    cable.up.closed.set(true);
    let mut server = tls.accept().unwrap();
    let error = server.shake(&cable.ends(1).1).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    assert!(!server.touched());
}

#[test]
fn no_common_version_is_told() {
    let (authority, _) = good();
    let speaking = |version: &str| Settings {
        tls_protocols: version.to_owned(),
        ..settings(&authority, "server", "client")
    };
    let (server, client) = failure(&speaking("TLSv1.3"), &speaking("tlsv1.2"));
    assert!(server.contains("no version or cipher of TLS"), "{server}");
    assert!(client.contains("none of the versions of weir.tls-protocols"), "{client}");
    let error = Tls::load(&speaking("TLSv1.1")).unwrap_err().to_string();
    assert!(error.contains("weir.tls-protocols: TLSv1.1 is not served"), "{error}");
}

#[test]
fn a_file_that_can_not_be_used_is_named_and_never_quoted() {
    let (authority, _) = good();
    let good = settings(&authority, "server", "client");
    let key_text = fs::read_to_string(authority.file("server.key")).unwrap();
    let (half, _) = key_text.split_at(key_text.len() / 2);
    let encrypted = key_text.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    let body = key_text.lines().nth(1).unwrap();
    let broken = key_text.replace(body, &body.replace(body.chars().next().unwrap(), "!"));
    type With = fn(Settings, String) -> Settings;
    let cert: With = |settings, file| Settings { tls_cert_file: file, ..settings };
    let key: With = |settings, file| Settings { tls_key_file: file, ..settings };
    let ca: With = |settings, file| Settings { tls_ca_cert_file: file, ..settings };
    let client_key: With = |settings, file| Settings { tls_client_key_file: file, ..settings };
    let cases = [
        (cert, "weir.tls-cert-file", authority.file("missing"), "No such file"),
        (cert, "weir.tls-cert-file", authority.file("server.key"), "there is no certificate in it"),
        (key, "weir.tls-key-file", authority.file("server.crt"), "there is no private key in it"),
        (
            key,
            "weir.tls-key-file",
            authority.file("client.key"),
            "is not the key of the certificate",
        ),
        (key, "weir.tls-key-file", authority.write("half", half), "a section in it has no end"),
        (
            key,
            "weir.tls-key-file",
            authority.write("encrypted", &encrypted),
            "an encrypted one can't be read",
        ),
        (key, "weir.tls-key-file", authority.write("broken", &broken), "it is not in PEM"),
        (
            ca,
            "weir.tls-ca-cert-file",
            authority.write("empty", ""),
            "there is no certificate in it",
        ),
        (client_key, "weir.tls-client-key-file", authority.file("server.key"), "is not the key of"),
    ];
    for (change, option, file, why) in cases {
        let text = Tls::load(&change(good.clone(), file.clone())).unwrap_err().to_string();
        assert!(text.starts_with(&format!("{option} {file}")), "{text}");
        assert!(text.contains(why), "{text}");
        let secret = key_text.lines().nth(1).unwrap();
        assert!(!text.contains(&secret[..16]), "{text}");
    }
    let text = format!("{:?}", Tls::load(&good).unwrap());
    assert_eq!(text, "Tls { server: true, client: true }");
}

#[test]
fn a_handshake_is_never_resumed() {
    let (_authority, tls) = good();
    for _ in 0..2 {
        let cable = Cable::default();
        let (mut client, mut server) = connected(&tls, &cable, usize::MAX);
        let (client_end, server_end) = cable.ends(usize::MAX);
        // No ticket waits behind the handshake.
        assert!(!server.holds() && cable.down.bytes.borrow().is_empty());
        server.write(&server_end, [b"x", b""]).unwrap();
        assert_eq!(client.read(&client_end, &mut [0; 8]).unwrap(), 1);
        assert_eq!(client.tls.handshake_kind(), Some(rustls::HandshakeKind::Full));
    }
}
