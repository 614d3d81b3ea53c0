//! What a session takes of its server's memory.
//!
//! ```text
//!   some sessions --> resident memory --> many more, which do the same --> resident memory again
//!                          |                                                   |
//!                          +-------------- the difference, per session --------+
//! ```
//!
//! The first ones are there for what the server needs but once. Memory is what the kernel says is
//! resident, of the whole process: so what its allocator keeps for later is in it.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use lab::client::encode;
use lab::procfs;

use crate::rows::Rest;

/// Sessions that are there before the memory is looked at for the first time.
const FIRST: usize = 100;
/// Descriptors that a server, or we, need for other things than sessions.
const SPARE: u64 = 1_000;
/// How long a reply may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the server has after the last session, to do what it does a little later; and sessions
/// that should wait are still waiting then.
const SETTLE: Duration = Duration::from_millis(500);

/// Raises the limit of open files, ours and that of the servers that are started from now on.
/// Returns how many of these sessions fit.
pub(crate) fn sessions_that_fit(wanted: usize, rest: Rest) -> usize {
    // Who waits in a BLPOP has a connection to the shard beside its own.
    let each = if rest == Rest::Blpop { 2 } else { 1 };
    // The host keeps its own port's descriptors apart from the endpoint's.
    let others = 2 * SPARE + each * FIRST as u64;
    let limit = procfs::allow_descriptors(each * wanted as u64 + others, others + 1);
    wanted.min(usize::try_from((limit - others) / each).unwrap_or(wanted))
}

/// Clients that a server must allow for so many sessions.
pub(crate) fn clients_needed(sessions: usize) -> usize {
    sessions + FIRST + SPARE as usize
}

/// What came of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    pub(crate) sessions: usize,
    pub(crate) bytes_per_session: f64,
}

/// Has so many sessions rest so, and looks at the memory of the process that has them.
///
/// # Errors
/// If one of them doesn't rest: it was answered, or disconnected.
pub(crate) fn measure(
    address: SocketAddr,
    pid: i32,
    sessions: usize,
    rest: Rest,
) -> io::Result<Memory> {
    let mut all = Vec::with_capacity(FIRST + sessions);
    for _ in 0..FIRST {
        all.push(session(address, rest)?);
    }
    lab::pause(SETTLE);
    let before = procfs::resident_bytes(pid);
    for _ in 0..sessions {
        all.push(session(address, rest)?);
    }
    lab::pause(SETTLE);
    let after = procfs::resident_bytes(pid);
    for stream in &mut all {
        resting(stream)?;
    }
    Ok(Memory { sessions, bytes_per_session: (after as f64 - before as f64) / sessions as f64 })
}

/// One that has written, and then rests.
fn session(address: SocketAddr, rest: Rest) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(&encode(&["SET", "bench:session", "xxx"]))?;
    let mut reply = [0; 5];
    stream.read_exact(&mut reply)?;
    if &reply != b"+OK\r\n" {
        let reply = reply.escape_ascii();
        return Err(io::Error::other(format!("SET was answered by \"{reply}...\"")));
    }
    match rest {
        Rest::Idle => {}
        Rest::Wait => stream.write_all(&encode(&["WAIT", "1", "0"]))?,
        Rest::Blpop => stream.write_all(&encode(&["BLPOP", "bench:nothing", "0"]))?,
    }
    Ok(stream)
}

fn resting(stream: &mut TcpStream) -> io::Result<()> {
    stream.set_nonblocking(true)?;
    let mut piece = [0; 100];
    match stream.read(&mut piece) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
        Err(error) => Err(error),
        Ok(0) => Err(io::Error::other("a session that should rest was disconnected")),
        Ok(length) => {
            let text = piece[..length].escape_ascii();
            Err(io::Error::other(format!("a session that should rest was told \"{text}\"")))
        }
    }
}
