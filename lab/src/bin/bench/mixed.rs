//! How long one client waits that asks for little, beside one that asks for much.
//!
//! ```text
//!   this thread   GET, its reply, GET, its reply, ...                 each is timed
//!   another one   10,000 commands, their replies, 10,000 commands...  or 100 MB to and fro
//! ```
//!
//! Whoever asks one thing after the other has always one under way when the 100 MB begin. So there
//! is also a row with many clients, which ask at times of their own.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use lab::client::encode;

use crate::load::Served;
use crate::paced;
use crate::rows::Beside;

/// Commands in one pipeline of the client that sends many.
const PIPELINE: usize = 10_000;
/// The value of the client that sends a large one.
const LARGE: usize = 100_000_000;

/// The clients of the row with many, and how much they ask for together.
pub(crate) const MANY: usize = 50;
const MANY_PER_SECOND: u32 = 1_000;

/// How long either client may be without an answer: longer than any that a run should show.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long the other one is at work before this one's answers are timed.
const WARM_UP: Duration = Duration::from_millis(300);

/// What the one client saw, and how much the other one got done.
pub(crate) struct Mixed {
    pub(crate) served: Served,
    /// Of the other one, if there is one: commands per second, or bytes per second.
    pub(crate) beside: Option<f64>,
}

/// Lets both do their work for this time.
///
/// # Errors
/// What either of them met with.
pub(crate) fn run(address: SocketAddr, beside: Beside, time: Duration) -> io::Result<Mixed> {
    if beside == Beside::Nothing {
        return Ok(Mixed { served: one_by_one(address, time, || false)?, beside: None });
    }
    let enough = AtomicBool::new(false);
    thread::scope(|scope| {
        let other = scope.spawn(|| disturb(address, beside, &enough));
        let served = match beside {
            Beside::LargeOfMany => paced::run(address, MANY, MANY_PER_SECOND, time),
            _ => one_by_one(address, time, || other.is_finished()),
        };
        enough.store(true, Ordering::Relaxed);
        let beside = other.join().map_err(|_| io::Error::other("the other client panicked"))??;
        Ok(Mixed { served: served?, beside: Some(beside) })
    })
}

/// GETs, one after the other; `alone` says that the other client has given up.
fn one_by_one(address: SocketAddr, time: Duration, alone: impl Fn() -> bool) -> io::Result<Served> {
    let mut client = Wire::connect(address)?;
    client.ask(&encode(&["SET", "bench:small", "xxx"]), b"+OK\r\n")?;
    let get = encode(&["GET", "bench:small"]);
    let start = Instant::now();
    let mut times = Vec::new();
    let mut since = Duration::ZERO;
    while since < WARM_UP + time && !alone() {
        client.ask(&get, b"$3\r\nxxx\r\n")?;
        let now = start.elapsed();
        if since >= WARM_UP {
            times.push(now - since);
        }
        since = now;
    }
    Ok(Served::of(&mut times, since.saturating_sub(WARM_UP)))
}

/// Is the other client until it is enough; says what it got done per second.
fn disturb(address: SocketAddr, beside: Beside, enough: &AtomicBool) -> io::Result<f64> {
    let mut client = Wire::connect(address)?;
    let start = Instant::now();
    let mut done = 0;
    let going_on = || !enough.load(Ordering::Relaxed);
    match beside {
        Beside::Nothing => {}
        Beside::Pipelines => {
            let (mut commands, mut replies) = (Vec::new(), Vec::new());
            for key in 0..PIPELINE / 2 {
                let key = format!("bench:pipeline:{key}");
                commands.extend(encode(&["SET", key.as_str(), "xxx"]));
                commands.extend(encode(&["GET", key.as_str()]));
                replies.extend_from_slice(b"+OK\r\n$3\r\nxxx\r\n");
            }
            while going_on() {
                client.ask_at_once(&commands, &replies)?;
                done += PIPELINE;
            }
        }
        Beside::Large | Beside::LargeOfMany => {
            let value = "x".repeat(LARGE);
            let set = encode(&["SET", "bench:large", value.as_str()]);
            let get = encode(&["GET", "bench:large"]);
            let mut reply = format!("${LARGE}\r\n").into_bytes();
            reply.extend_from_slice(value.as_bytes());
            reply.extend_from_slice(b"\r\n");
            while going_on() {
                client.ask(&set, b"+OK\r\n")?;
                client.ask(&get, &reply)?;
                done += 2 * LARGE;
            }
        }
    }
    Ok(done as f64 / start.elapsed().as_secs_f64())
}

/// A connection whose replies are known beforehand: looking at them costs next to nothing.
struct Wire {
    reader: BufReader<TcpStream>,
}

impl Wire {
    fn connect(address: SocketAddr) -> io::Result<Wire> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Wire { reader: BufReader::with_capacity(256 * 1024, stream) })
    }

    /// Sends all, and then reads.
    fn ask(&mut self, commands: &[u8], replies: &[u8]) -> io::Result<()> {
        self.reader.get_mut().write_all(commands)?;
        self.expect(replies)
    }

    /// Reads while it sends: who is asked need not take all before any is read.
    fn ask_at_once(&mut self, commands: &[u8], replies: &[u8]) -> io::Result<()> {
        let mut writer = self.reader.get_ref().try_clone()?;
        thread::scope(|scope| {
            let sent = scope.spawn(move || writer.write_all(commands));
            let read = self.expect(replies);
            if read.is_err() {
                // So that the other thread doesn't wait for somebody who is not reading any more.
                let _ = self.reader.get_ref().shutdown(std::net::Shutdown::Both);
            }
            read.and(sent.join().map_err(|_| io::Error::other("the writer panicked"))?)
        })
    }

    fn expect(&mut self, mut replies: &[u8]) -> io::Result<()> {
        while !replies.is_empty() {
            let got = self.reader.fill_buf()?;
            let length = got.len().min(replies.len());
            if length == 0 {
                return Err(io::Error::other("a client was disconnected"));
            }
            if got[..length] != replies[..length] {
                let shown = got[..length.min(100)].escape_ascii();
                return Err(io::Error::other(format!("an unexpected reply: \"{shown}\"")));
            }
            self.reader.consume(length);
            replies = &replies[length..];
        }
        Ok(())
    }
}
