//! A load of so many commands per second, however fast they are answered.
//!
//! The benchmark program asks for as much as it can get, which leaves no core idle: what a command
//! costs then depends on who else has to run. At a pace far below that, each command finds its
//! servers asleep, as most do in production.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use lab::client::encode;

use crate::load::{KEYS, Served};
use crate::poll::Poll;

const OK: &[u8] = b"+OK\r\n";

struct Client {
    stream: TcpStream,
    /// When each command was due that has not been answered.
    due: VecDeque<Instant>,
    /// Bytes of the reply that has begun.
    begun: usize,
}

/// Sends SETs, `per_second` of them for `time`, each by the next of the clients. The time of one is
/// counted from when it was due, so one that is sent late because those before it were slow is not
/// counted as quick.
pub(crate) fn run(
    address: SocketAddr,
    clients: usize,
    per_second: u32,
    time: Duration,
) -> io::Result<Served> {
    let mut poll = Poll::new()?;
    let mut all = Vec::with_capacity(clients);
    for token in 0..clients {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        poll.add(&stream, token)?;
        all.push(Client { stream, due: VecDeque::new(), begun: 0 });
    }
    let total = (f64::from(per_second) * time.as_secs_f64()) as usize;
    let mut times = Vec::with_capacity(total);
    let start = Instant::now();
    let mut sent = 0;
    while times.len() < total {
        let due = start + Duration::from_secs(1) * sent as u32 / per_second;
        if sent < total && Instant::now() >= due {
            let client = &mut all[sent % clients];
            let key = format!("key:{:012}", sent % KEYS);
            client.stream.write_all(&encode(&["SET", key.as_str(), "xxx"]))?;
            client.due.push_back(due);
            sent += 1;
            continue;
        }
        let patience = if sent < total { due - Instant::now() } else { Duration::from_secs(10) };
        let ready: Vec<usize> = poll.wait_precisely(patience)?.collect();
        if ready.is_empty() && sent == total {
            return Err(io::Error::other("a client was not answered for 10 seconds"));
        }
        for token in ready {
            all[token].read(&mut times)?;
        }
    }
    Ok(Served::of(&mut times, start.elapsed()))
}

impl Client {
    fn read(&mut self, times: &mut Vec<Duration>) -> io::Result<()> {
        let mut piece = [0; 512];
        let length = match self.stream.read(&mut piece) {
            Ok(0) => return Err(io::Error::other("a client was disconnected")),
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        for &byte in &piece[..length] {
            if byte != OK[self.begun] {
                let replies = piece[..length].escape_ascii();
                return Err(io::Error::other(format!("a SET is answered with \"{replies}\"")));
            }
            self.begun = (self.begun + 1) % OK.len();
            if self.begun == 0 {
                let due = self.due.pop_front();
                let due = due.ok_or_else(|| io::Error::other("a reply that nobody asked for"))?;
                times.push(due.elapsed());
            }
        }
        Ok(())
    }
}
