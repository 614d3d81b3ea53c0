//! The least that anybody who serves these clients has to do.
//!
//! ```text
//!   client --bytes--> one read --> how many commands? --> one write --> client
//! ```
//!
//! No command is understood and no shard is asked: each is answered by the same bytes. What that
//! costs is what the kernel takes for one read and one write per client and turn, below which no
//! proxy comes that serves clients by sockets of this kind. It runs in a process of its own, this
//! program started again, so that its processor time is counted like a proxy's.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use lab::child::Child;
use lab::client::encode;
use lab::ports;

use crate::poll::Poll;

/// The first argument that makes this program a floor; the port and the reply follow it.
pub(crate) const ARGUMENT: &str = "--serve-as-floor";

/// What is read at once: a pipeline of small commands whole, and a large value in one piece.
const READ: usize = 64 * 1024;

/// How long it may take to answer for the first time.
const PATIENCE: Duration = Duration::from_secs(10);

/// A running floor. Dropping it ends it.
pub(crate) struct Floor {
    child: Child,
    port: u16,
}

impl Floor {
    /// Starts one that answers each command so.
    ///
    /// # Errors
    /// If it doesn't.
    pub(crate) fn start(reply: &str) -> io::Result<Floor> {
        let port = ports::free();
        let mut command = Command::new(std::env::current_exe()?);
        command.args([ARGUMENT, &port.to_string(), reply]).stdin(Stdio::null());
        let floor = Floor { child: Child::spawn(command)?, port };
        let answers = || {
            let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
            stream.set_read_timeout(Some(PATIENCE)).ok()?;
            stream.write_all(&encode(&["PING"])).ok()?;
            let mut got = vec![0; reply.len()];
            stream.read_exact(&mut got).ok()?;
            (got == reply.as_bytes()).then_some(())
        };
        match lab::within(PATIENCE, answers) {
            // Else somebody else had the port, and says the same.
            Some(()) if floor.child.ended().is_none() => Ok(floor),
            _ => Err(io::Error::other(format!("the floor on port {port} doesn't answer"))),
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn pid(&self) -> i32 {
        self.child.pid()
    }
}

/// Is one, for as long as nothing fails.
///
/// # Errors
/// What failed, be it the arguments.
pub(crate) fn serve_by(mut args: impl Iterator<Item = String>) -> io::Result<()> {
    let port = args.next().and_then(|text| text.parse::<u16>().ok());
    let (port, reply) = port
        .zip(args.next())
        .ok_or_else(|| io::Error::other(format!("{ARGUMENT} needs a port and a reply")))?;
    serve(&TcpListener::bind((Ipv4Addr::LOCALHOST, port))?, reply.as_bytes())
}

/// A turn reads from all clients who have sent something, and then writes to each of them: who was
/// answered at once would be awake while the others are still read, and the next turn the smaller.
fn serve(listener: &TcpListener, reply: &[u8]) -> io::Result<()> {
    const LISTENER: usize = usize::MAX;
    let mut poll = Poll::new()?;
    poll.add(listener, LISTENER)?;
    let mut clients: Vec<Option<TcpStream>> = Vec::new();
    let mut replies: Vec<u8> = Vec::new();
    let mut piece = vec![0; READ];
    let (mut new, mut owed) = (Vec::new(), Vec::new());
    loop {
        for token in poll.wait(PATIENCE)? {
            if token == LISTENER {
                let (client, _) = listener.accept()?;
                client.set_nodelay(true)?;
                new.push(client);
                continue;
            }
            let Some(client) = &mut clients[token] else { continue };
            match client.read(&mut piece) {
                // Closing it ends its being watched.
                Ok(0) | Err(_) => clients[token] = None,
                Ok(got) => owed.push((token, commands(&piece[..got]) * reply.len())),
            }
        }
        for client in new.drain(..) {
            poll.add(&client, clients.len())?;
            clients.push(Some(client));
        }
        for (token, length) in owed.drain(..) {
            while replies.len() < length {
                replies.extend_from_slice(reply);
            }
            let Some(client) = &mut clients[token] else { continue };
            if length > 0 && client.write_all(&replies[..length]).is_err() {
                clients[token] = None;
            }
        }
    }
}

/// Each command begins with one such byte, and nothing that the load sends has another one.
fn commands(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte == b'*').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_has_its_reply_however_it_comes() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        // It ends with the process.
        std::thread::spawn(move || serve(&listener, b"+OK\r\n"));
        let mut client = TcpStream::connect(address).expect("it listens");
        client.set_read_timeout(Some(PATIENCE)).expect("no zero");
        let commands = encode(&["SET", "k", "v"]).repeat(3);
        for part in [&commands[..10], &commands[10..]] {
            client.write_all(part).expect("it reads");
        }
        let mut got = [0; 15];
        client.read_exact(&mut got).expect("three replies");
        assert_eq!(&got, b"+OK\r\n+OK\r\n+OK\r\n");
    }
}
