//! Load, and what it was served with.
//!
//! Commands come from the servers' own benchmark program, which everybody knows. It has no closed
//! loop of two different commands, so for acknowledged writes there is one here: a single thread,
//! any number of connections, each of which has one command under way at any time.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{self, Stdio};
use std::time::{Duration, Instant};

use lab::client::encode;
use lab::servers::Server;

use crate::poll::Poll;
use crate::rows::Command;

/// How many different keys there are, for small values; each run uses as many of them.
pub(crate) const KEYS: usize = 10_000;
/// And for large ones, so that the whole stays far below the memory of any machine.
pub(crate) const LARGE_KEYS: usize = 1_000;

/// What came of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Served {
    pub(crate) count: u64,
    pub(crate) per_second: f64,
    pub(crate) median_ms: f64,
    pub(crate) p99_ms: f64,
    /// The benchmark program doesn't say.
    pub(crate) p999_ms: Option<f64>,
    pub(crate) max_ms: f64,
}

impl Served {
    /// What was answered in these times, one after the other or not.
    pub(crate) fn of(times: &mut [Duration], elapsed: Duration) -> Served {
        times.sort_unstable();
        let milliseconds = |time: Option<&Duration>| time.map(|time| time.as_secs_f64() * 1e3);
        let at = |share: f64| milliseconds(times.get((times.len() as f64 * share) as usize));
        Served {
            count: times.len() as u64,
            per_second: times.len() as f64 / elapsed.as_secs_f64(),
            median_ms: at(0.5).unwrap_or(f64::NAN),
            p99_ms: at(0.99).unwrap_or(f64::NAN),
            p999_ms: at(0.999),
            max_ms: milliseconds(times.last()).unwrap_or(f64::NAN),
        }
    }
}

/// A run of the benchmark program.
pub(crate) struct Program<'a> {
    pub(crate) server: &'a Server,
    pub(crate) address: SocketAddr,
    pub(crate) command: Command,
    pub(crate) clients: usize,
    pub(crate) pipeline: u32,
    pub(crate) value: usize,
    pub(crate) keys: usize,
}

impl Program<'_> {
    /// Sends `count` commands.
    ///
    /// # Errors
    /// If the program can't be started, or says something else than a result.
    pub(crate) fn run(&self, count: u64) -> io::Result<Served> {
        let option = |name: &str, value: u64| [name.to_owned(), value.to_string()];
        let mut command = process::Command::new(self.server.benchmark());
        command
            .args(["-h", &self.address.ip().to_string(), "--csv"])
            .args(option("-p", self.address.port().into()))
            .args(option("-n", count))
            .args(option("-c", self.clients as u64))
            .args(option("-P", self.pipeline.into()))
            .args(option("-d", self.value as u64))
            .args(option("-r", self.keys as u64));
        match self.command {
            Command::Set => command.args(["-t", "set"]),
            Command::Get => command.args(["-t", "get"]),
            // Each of these becomes another key, of those that SET and GET have.
            Command::Mget(keys) => command.arg("MGET").args(vec!["key:__rand_int__"; keys]),
        };
        let output = command.stdin(Stdio::null()).output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        read_csv(&text, count).ok_or_else(|| {
            let errors = String::from_utf8_lossy(&output.stderr);
            io::Error::other(format!("the benchmark program says:\n{text}{errors}"))
        })
    }
}

/// The one result in the program's output. Its columns are: test, commands per second, then
/// milliseconds: average, smallest, median, 95th and 99th percentile, largest.
fn read_csv(text: &str, count: u64) -> Option<Served> {
    let line = text.lines().find(|line| !line.starts_with("\"test\"") && line.contains("\",\""))?;
    let fields: Vec<&str> = line.split(',').map(|field| field.trim_matches('"')).collect();
    let number = |place: usize| fields.get(place)?.parse::<f64>().ok();
    Some(Served {
        count,
        per_second: number(1)?,
        median_ms: number(4)?,
        p99_ms: number(6)?,
        p999_ms: None,
        max_ms: number(7)?,
    })
}

/// Clients that write and have each write acknowledged.
pub(crate) struct Loops {
    poll: Poll,
    clients: Vec<Client>,
    wait: Vec<u8>,
    /// Whether it is sent along with the SET, and not when that is answered.
    together: bool,
    seed: u64,
    times: Vec<Duration>,
}

struct Client {
    stream: TcpStream,
    /// The replies to both commands, as far as they are here.
    replies: Vec<u8>,
    since: Instant,
    /// The second command was sent too.
    waiting: bool,
}

/// How long a client may be without an answer: longer than any that a run should show.
const PATIENCE: Duration = Duration::from_secs(10);

impl Loops {
    /// Connects, and begins.
    pub(crate) fn connect(
        address: SocketAddr,
        clients: usize,
        wait: &[&str],
        together: bool,
    ) -> io::Result<Loops> {
        let mut loops = Loops {
            poll: Poll::new()?,
            clients: Vec::new(),
            wait: encode(wait),
            together,
            seed: 1,
            times: Vec::new(),
        };
        for token in 0..clients {
            let stream = TcpStream::connect(address)?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            loops.poll.add(&stream, token)?;
            let since = Instant::now();
            loops.clients.push(Client { stream, replies: Vec::new(), since, waiting: false });
        }
        for token in 0..clients {
            loops.begin(token)?;
        }
        Ok(loops)
    }

    /// Goes round for `time`, and says how many writes were acknowledged in it, and in what time
    /// each: from the SET that was sent to the acknowledgement that was read.
    pub(crate) fn run(&mut self, time: Duration) -> io::Result<Served> {
        self.times.clear();
        let start = Instant::now();
        let mut last = start;
        while start.elapsed() < time {
            let ready: Vec<usize> = self.poll.wait(time.saturating_sub(start.elapsed()))?.collect();
            for token in ready {
                last = Instant::now();
                self.ready(token)?;
            }
            assert!(last.elapsed() < PATIENCE, "no client was answered for {PATIENCE:?}");
        }
        Ok(Served::of(&mut self.times, start.elapsed()))
    }

    fn begin(&mut self, token: usize) -> io::Result<()> {
        // Knuth's generator: all that is asked of it is that keys differ.
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let key = format!("key:{:012}", (self.seed >> 33) as usize % KEYS);
        let mut bytes = encode(&["SET", key.as_str(), "xxx"]);
        if self.together {
            bytes.extend_from_slice(&self.wait);
        }
        let client = &mut self.clients[token];
        client.replies.clear();
        client.since = Instant::now();
        client.waiting = self.together;
        client.stream.write_all(&bytes)
    }

    fn ready(&mut self, token: usize) -> io::Result<()> {
        let client = &mut self.clients[token];
        let mut piece = [0; 512];
        match client.stream.read(&mut piece) {
            Ok(0) => return Err(io::Error::other("a client was disconnected")),
            Ok(length) => client.replies.extend_from_slice(&piece[..length]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
        if client.replies == b"+OK\r\n" && !client.waiting {
            client.waiting = true;
            return client.stream.write_all(&self.wait);
        }
        match acknowledged(&client.replies) {
            None => Ok(()),
            Some(true) => {
                self.times.push(client.since.elapsed());
                self.begin(token)
            }
            Some(false) => {
                let replies = client.replies.escape_ascii();
                Err(io::Error::other(format!("not acknowledged: \"{replies}\"")))
            }
        }
    }
}

/// Whether a SET and its WAIT or WAITAOF for one replica were answered as they should be; none as
/// long as they aren't yet.
fn acknowledged(replies: &[u8]) -> Option<bool> {
    let line_ends = replies.iter().filter(|&&byte| byte == b'\n').count();
    let second = replies.strip_prefix(b"+OK\r\n");
    // WAITAOF answers with two numbers, of which the last is about replicas.
    let lines = if second.is_some_and(|reply| reply.starts_with(b"*")) { 4 } else { 2 };
    let wrong = second.is_none() && line_ends > 0;
    (wrong || line_ends >= lines).then(|| !wrong && replies.ends_with(b":1\r\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_benchmark_programs_output_is_read() {
        let text = "\"test\",\"rps\",\"avg_latency_ms\",\"min_latency_ms\",\"p50_latency_ms\",\
                    \"p95_latency_ms\",\"p99_latency_ms\",\"max_latency_ms\"\n\
                    \"SET\",\"33818.06\",\"23.411\",\"1.304\",\"22.191\",\"44.127\",\"85.887\",\"106.7\"\n";
        let served = Served {
            count: 7,
            per_second: 33818.06,
            median_ms: 22.191,
            p99_ms: 85.887,
            p999_ms: None,
            max_ms: 106.7,
        };
        assert_eq!(read_csv(text, 7), Some(served));
        let mget = text.replace("\"SET\"", "\"MGET key:__rand_int__ key:__rand_int__\"");
        assert_eq!(read_csv(&mget, 7), Some(served));
        assert_eq!(read_csv("Error: Connection refused\n", 7), None);
    }

    #[test]
    fn percentiles_are_times_that_were_taken() {
        let mut times: Vec<_> = (1..=1000).rev().map(Duration::from_millis).collect();
        let served = Served::of(&mut times, Duration::from_secs(10));
        assert_eq!((served.count, served.per_second), (1000, 100.0));
        assert_eq!((served.median_ms, served.p99_ms), (501.0, 991.0));
        assert_eq!((served.p999_ms, served.max_ms), (Some(1000.0), 1000.0));
        assert!(Served::of(&mut [], Duration::from_secs(1)).max_ms.is_nan());
    }

    #[test]
    fn an_acknowledgement_is_told_from_everything_else() {
        for short in ["", "+O", "+OK\r\n", "+OK\r\n:1\r", "+OK\r\n*2\r\n:1\r\n"] {
            assert_eq!(acknowledged(short.as_bytes()), None, "{short:?}");
        }
        for good in ["+OK\r\n:1\r\n", "+OK\r\n*2\r\n:0\r\n:1\r\n"] {
            assert_eq!(acknowledged(good.as_bytes()), Some(true), "{good:?}");
        }
        for bad in ["-ERR no\r\n", "+OK\r\n:0\r\n", "+OK\r\n*2\r\n:1\r\n:0\r\n"] {
            assert_eq!(acknowledged(bad.as_bytes()), Some(false), "{bad:?}");
        }
    }
}
