//! RESP as the bytes say it, over TCP or a unix socket.
//!
//! Client libraries interpret; a test of a server wants to see what was really sent. So this client
//! says neither HELLO nor anything else by itself, a [`Value`] keeps the difference between any two
//! replies that differ on the wire (`$-1`, `*-1` and `_` are three things), and bytes can be
//! sent that are no command at all.
//!
//! Every read has a time limit, ten seconds unless told otherwise: a test doesn't hang, it fails.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

/// How long a reply may take unless [`Client::patience`] said otherwise.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// How deep replies may nest: far deeper than any server's do, and no stack overflow.
const DEPTH_MAX: usize = 64;

/// One reply of RESP2 or RESP3.
#[derive(Clone, PartialEq)]
pub enum Value {
    /// `+OK`
    Simple(Vec<u8>),
    /// `-ERR ...`
    Error(Vec<u8>),
    /// `:1`
    Int(i64),
    /// `$1` and the bytes
    Bulk(Vec<u8>),
    /// `$-1`
    NilBulk,
    /// `*2` and the values
    Array(Vec<Value>),
    /// `*-1`
    NilArray,
    /// `_`
    Null,
    /// `#t`, `#f`
    Bool(bool),
    /// `,3.14`, as it was written
    Double(Vec<u8>),
    /// `(123`, as it was written
    BigNumber(Vec<u8>),
    /// `!5`
    BulkError(Vec<u8>),
    /// `=8` and `txt:....`
    Verbatim(Vec<u8>),
    /// `%1`
    Map(Vec<(Value, Value)>),
    /// `~1`
    Set(Vec<Value>),
    /// `>2`
    Push(Vec<Value>),
    /// `|1`, and the value that it is about
    Attribute(Vec<(Value, Value)>, Box<Value>),
}

/// `+OK`.
pub fn ok() -> Value {
    simple("OK")
}

/// A simple string.
pub fn simple(text: &str) -> Value {
    Value::Simple(text.into())
}

/// A bulk string.
pub fn bulk(bytes: impl AsRef<[u8]>) -> Value {
    Value::Bulk(bytes.as_ref().to_vec())
}

/// An error, without the `-`.
pub fn error(text: &str) -> Value {
    Value::Error(text.into())
}

impl Value {
    /// The number of an integer reply.
    ///
    /// # Panics
    /// If it is anything else.
    #[track_caller]
    pub fn int(&self) -> i64 {
        let Value::Int(number) = self else { panic!("not an integer: {self:?}") };
        *number
    }

    /// The bytes of any reply that is a string.
    ///
    /// # Panics
    /// If it isn't one. An error is none.
    #[track_caller]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Value::Simple(bytes) | Value::Bulk(bytes) => bytes,
            Value::Verbatim(bytes) => bytes.get(4..).unwrap_or(bytes),
            other => panic!("not a string: {other:?}"),
        }
    }

    /// The same as text.
    ///
    /// # Panics
    /// If it isn't a string.
    #[track_caller]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(self.bytes()).into_owned()
    }

    /// The members of an array, set or push.
    ///
    /// # Panics
    /// If it is anything else.
    #[track_caller]
    pub fn items(&self) -> &[Value] {
        match self {
            Value::Array(items) | Value::Set(items) | Value::Push(items) => items,
            other => panic!("not an array: {other:?}"),
        }
    }

    /// The members of an array of integers, such as WAITAOF's reply.
    ///
    /// # Panics
    /// If it is anything else.
    #[track_caller]
    pub fn ints(&self) -> Vec<i64> {
        self.items().iter().map(Value::int).collect()
    }

    /// What a map, or the flat array that RESP2 has in its place, says under `name`.
    ///
    /// # Panics
    /// If there is no such name.
    #[track_caller]
    pub fn field(&self, name: &str) -> &Value {
        let named =
            |key: &Value| matches!(key, Value::Bulk(b) | Value::Simple(b) if b == name.as_bytes());
        let found = match self {
            Value::Map(pairs) => pairs.iter().find(|(key, _)| named(key)).map(|(_, value)| value),
            flat => flat.items().chunks_exact(2).find(|pair| named(&pair[0])).map(|pair| &pair[1]),
        };
        found.unwrap_or_else(|| panic!("no field '{name}' in {self:?}"))
    }

    /// Whether it is an error whose first word is `code`.
    pub fn is_error(&self, code: &str) -> bool {
        let text = self.error_text();
        text.is_some_and(|text| text.split(' ').next() == Some(code))
    }

    /// The text of an error, or `None`.
    pub fn error_text(&self) -> Option<String> {
        match self {
            Value::Error(text) | Value::BulkError(text) => {
                Some(String::from_utf8_lossy(text).into_owned())
            }
            _ => None,
        }
    }

    /// The bytes that it was read from.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.encode_into(&mut bytes);
        bytes
    }

    fn encode_into(&self, to: &mut Vec<u8>) {
        let line = |to: &mut Vec<u8>, mark: u8, text: &[u8]| {
            to.push(mark);
            to.extend_from_slice(text);
            to.extend_from_slice(b"\r\n");
        };
        let length = |to: &mut Vec<u8>, mark, n: usize| line(to, mark, n.to_string().as_bytes());
        let string = |to: &mut Vec<u8>, mark, bytes: &[u8]| {
            length(to, mark, bytes.len());
            to.extend_from_slice(bytes);
            to.extend_from_slice(b"\r\n");
        };
        let values = |to: &mut Vec<u8>, mark, values: &[Value]| {
            length(to, mark, values.len());
            values.iter().for_each(|value| value.encode_into(to));
        };
        let pairs = |to: &mut Vec<u8>, mark, pairs: &[(Value, Value)]| {
            length(to, mark, pairs.len());
            for (key, value) in pairs {
                key.encode_into(to);
                value.encode_into(to);
            }
        };
        match self {
            Value::Simple(text) => line(to, b'+', text),
            Value::Error(text) => line(to, b'-', text),
            Value::Int(number) => line(to, b':', number.to_string().as_bytes()),
            Value::Bulk(bytes) => string(to, b'$', bytes),
            Value::BulkError(bytes) => string(to, b'!', bytes),
            Value::Verbatim(bytes) => string(to, b'=', bytes),
            Value::NilBulk => line(to, b'$', b"-1"),
            Value::NilArray => line(to, b'*', b"-1"),
            Value::Null => line(to, b'_', b""),
            Value::Bool(yes) => line(to, b'#', if *yes { b"t" } else { b"f" }),
            Value::Double(text) => line(to, b',', text),
            Value::BigNumber(text) => line(to, b'(', text),
            Value::Array(items) => values(to, b'*', items),
            Value::Set(items) => values(to, b'~', items),
            Value::Push(items) => values(to, b'>', items),
            Value::Map(about) => pairs(to, b'%', about),
            Value::Attribute(about, value) => {
                pairs(to, b'|', about);
                value.encode_into(to);
            }
        }
    }

    /// Whether it is one of the three ways to say "nothing".
    pub fn is_nil(&self) -> bool {
        matches!(self, Value::NilBulk | Value::NilArray | Value::Null)
    }
}

/// As a person writes a reply: the wire's own marks, long strings shortened.
impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Simple(text) => write!(f, "+{}", text.escape_ascii()),
            Value::Error(text) => write!(f, "-{}", text.escape_ascii()),
            Value::Int(number) => write!(f, ":{number}"),
            Value::Bulk(bytes) => quoted(f, "", bytes),
            Value::BulkError(bytes) => quoted(f, "!", bytes),
            Value::Verbatim(bytes) => quoted(f, "=", bytes),
            Value::NilBulk => f.write_str("$-1"),
            Value::NilArray => f.write_str("*-1"),
            Value::Null => f.write_str("_"),
            Value::Bool(yes) => f.write_str(if *yes { "#t" } else { "#f" }),
            Value::Double(text) => write!(f, ",{}", text.escape_ascii()),
            Value::BigNumber(text) => write!(f, "({}", text.escape_ascii()),
            Value::Array(items) => f.debug_list().entries(items).finish(),
            Value::Map(pairs) => f.debug_map().entries(pairs.iter().map(|(k, v)| (k, v))).finish(),
            Value::Set(items) => {
                f.write_str("~").and_then(|()| f.debug_list().entries(items).finish())
            }
            Value::Push(items) => {
                f.write_str(">").and_then(|()| f.debug_list().entries(items).finish())
            }
            Value::Attribute(pairs, value) => {
                f.write_str("|")?;
                f.debug_map().entries(pairs.iter().map(|(k, v)| (k, v))).finish()?;
                write!(f, " {value:?}")
            }
        }
    }
}

fn quoted(f: &mut fmt::Formatter<'_>, mark: &str, bytes: &[u8]) -> fmt::Result {
    const SHOWN: usize = 200;
    match bytes.get(..SHOWN) {
        Some(head) if bytes.len() > SHOWN => {
            write!(f, "{mark}\"{}...\" ({} bytes)", head.escape_ascii(), bytes.len())
        }
        _ => write!(f, "{mark}\"{}\"", bytes.escape_ascii()),
    }
}

/// The bytes of a command, as a client library sends it.
pub fn encode<A: AsRef<[u8]>>(args: &[A]) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_into(&mut bytes, args);
    bytes
}

/// Appends the bytes of a command.
pub fn encode_into<A: AsRef<[u8]>>(bytes: &mut Vec<u8>, args: &[A]) {
    bytes.extend_from_slice(format!("*{}\r\n", args.len()).as_bytes());
    for arg in args {
        let arg = arg.as_ref();
        bytes.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        bytes.extend_from_slice(arg);
        bytes.extend_from_slice(b"\r\n");
    }
}

/// One connection.
///
/// The methods without `try_` panic when the connection fails, is closed, or a reply takes longer
/// than the client's patience: in a test there is nothing else to do about it. An error *reply* is
/// a [`Value`] like any other.
#[derive(Debug)]
pub struct Client {
    reader: BufReader<Stream>,
    peer: String,
    patience: Duration,
}

impl Client {
    /// Connects to `host:port`, or to a unix socket if the address begins with a `/`.
    ///
    /// # Panics
    /// If nobody answers there.
    #[track_caller]
    pub fn connect(address: &str) -> Client {
        match Client::try_connect(address) {
            Ok(client) => client,
            Err(error) => panic!("can't connect to {address}: {error}"),
        }
    }

    pub fn try_connect(address: &str) -> io::Result<Client> {
        let stream = if address.starts_with('/') {
            Stream::Unix(UnixStream::connect(address)?)
        } else {
            let stream = TcpStream::connect(address)?;
            stream.set_nodelay(true)?;
            Stream::Tcp(stream)
        };
        stream.set_read_timeout(PATIENCE)?;
        let reader = BufReader::with_capacity(64 * 1024, stream);
        Ok(Client { reader, peer: address.to_owned(), patience: PATIENCE })
    }

    /// Connects to `host:port` within this time, which is also how long each reply may take.
    pub fn try_connect_soon(address: &str, time: Duration) -> io::Result<Client> {
        let address: SocketAddr = address.parse().map_err(io::Error::other)?;
        let stream = TcpStream::connect_timeout(&address, time)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(time))?;
        stream.set_write_timeout(Some(time))?;
        let reader = BufReader::with_capacity(64 * 1024, Stream::Tcp(stream));
        Ok(Client { reader, peer: address.to_string(), patience: time })
    }

    /// How long a reply may take from now on.
    ///
    /// # Panics
    /// If `patience` is zero.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Client {
        self.patience = patience;
        self.set_read_timeout(patience);
        self
    }

    /// Sends a command and waits for its reply.
    #[track_caller]
    pub fn call<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Value {
        let reply = self.try_call(args);
        self.settle(reply)
    }

    pub fn try_call<A: AsRef<[u8]>>(&mut self, args: &[A]) -> io::Result<Value> {
        self.writer().write_all(&encode(args))?;
        self.try_read()
    }

    /// The same for a command without spaces in its arguments: `client.command("SET k v")`.
    #[track_caller]
    pub fn command(&mut self, line: &str) -> Value {
        let args: Vec<&str> = line.split_whitespace().collect();
        self.call(&args)
    }

    /// Sends a command and doesn't wait.
    #[track_caller]
    pub fn send<A: AsRef<[u8]>>(&mut self, args: &[A]) {
        self.send_raw(&encode(args));
    }

    /// Sends bytes, whatever they mean.
    #[track_caller]
    pub fn send_raw(&mut self, bytes: &[u8]) {
        let sent = self.writer().write_all(bytes);
        self.settle(sent);
    }

    /// Waits for the next reply.
    #[track_caller]
    pub fn read(&mut self) -> Value {
        let reply = self.try_read();
        self.settle(reply)
    }

    /// Like [`Client::read`]; `UnexpectedEof` means that the peer has closed the connection.
    pub fn try_read(&mut self) -> io::Result<Value> {
        read_value(&mut self.reader, DEPTH_MAX)
    }

    /// Sends commands as one pipeline and returns their replies.
    ///
    /// Sends while it reads, so a pipeline may be longer than all buffers on its way.
    #[track_caller]
    pub fn pipeline<A: AsRef<[u8]>>(&mut self, commands: &[Vec<A>]) -> Vec<Value> {
        let mut bytes = Vec::new();
        for command in commands {
            encode_into(&mut bytes, command);
        }
        self.pipeline_raw(&bytes, commands.len())
    }

    /// Sends bytes and returns the `replies` that come back.
    #[track_caller]
    pub fn pipeline_raw(&mut self, bytes: &[u8], replies: usize) -> Vec<Value> {
        let mut writer = self.split();
        let received: io::Result<Vec<Value>> = thread::scope(|scope| {
            // If this fails then so does the reading, which is what gets reported.
            scope.spawn(move || writer.write_all(bytes));
            (0..replies).map(|_| self.try_read()).collect()
        });
        self.settle(received)
    }

    /// A second handle to write with, for a thread that sends while another one reads.
    ///
    /// # Panics
    /// If there are no descriptors left.
    #[track_caller]
    pub fn split(&self) -> impl Write + Send + 'static {
        let copy = self.reader.get_ref().try_clone();
        self.settle(copy)
    }

    /// Whether nothing at all arrives for `time`: the connection is open, and the server owes a
    /// reply or has nothing to say.
    #[track_caller]
    pub fn is_silent(&mut self, time: Duration) -> bool {
        if !self.reader.buffer().is_empty() {
            return false;
        }
        self.set_read_timeout(time);
        let silent = match self.reader.fill_buf() {
            Ok(_) => false,
            Err(error) => is_timeout(&error),
        };
        self.set_read_timeout(self.patience);
        silent
    }

    /// Says that nothing more will be sent; replies can still be read.
    #[track_caller]
    pub fn end(&mut self) {
        let ended = match self.reader.get_ref() {
            Stream::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Stream::Unix(stream) => stream.shutdown(Shutdown::Write),
        };
        self.settle(ended);
    }

    /// All that still comes, to the end of the connection.
    ///
    /// # Panics
    /// If the peer doesn't close it.
    #[track_caller]
    pub fn read_to_end(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self.reader.read_to_end(&mut bytes) {
            // A peer that closes a connection whose bytes it has not read all, resets it.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
            other => self.settle(other.map(|_| ())),
        }
        bytes
    }

    /// Waits for the next reply, and takes its bytes slowly: `piece` of them, a pause, and so on.
    #[track_caller]
    pub fn read_slowly(&mut self, piece: usize, pause: Duration) -> Value {
        let mut slow = Slow { inner: &mut self.reader, piece, pause, taken: 0 };
        let reply = read_value(&mut slow, DEPTH_MAX);
        self.settle(reply)
    }

    /// Waits for the peer to close the connection.
    ///
    /// # Panics
    /// If anything else arrives, or nothing for as long as the client's patience.
    #[track_caller]
    pub fn assert_closed(&mut self) {
        match self.reader.fill_buf() {
            Ok([]) => {}
            Ok(bytes) => {
                panic!("{} was to close, and says \"{}\"", self.peer, bytes.escape_ascii())
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
            Err(error) => panic!("{} was to close the connection: {error}", self.peer),
        }
    }

    /// Sends PING until it is answered by PONG; for a server that is starting. `None` if it wasn't
    /// within `time`.
    pub fn try_connect_within(address: &str, time: Duration) -> Option<Client> {
        let start = Instant::now();
        crate::within(time, || {
            let left = time.saturating_sub(start.elapsed()).max(Duration::from_millis(10));
            let mut client = Client::try_connect(address).ok()?.patience(left);
            let reply = client.try_call(&["PING"]).ok()?;
            (reply == simple("PONG")).then(|| client.patience(PATIENCE))
        })
    }

    fn writer(&mut self) -> &mut Stream {
        self.reader.get_mut()
    }

    #[track_caller]
    fn set_read_timeout(&mut self, time: Duration) {
        let set = self.reader.get_ref().set_read_timeout(time);
        self.settle(set);
    }

    #[track_caller]
    fn settle<T>(&self, result: io::Result<T>) -> T {
        match result {
            Ok(value) => value,
            Err(error) if is_timeout(&error) => {
                panic!("{} has sent no reply for {:?}", self.peer, self.patience)
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                panic!("{} has closed the connection", self.peer)
            }
            Err(error) => panic!("{}: {error}", self.peer),
        }
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// Reads one value.
fn read_value(reader: &mut impl BufRead, depth: usize) -> io::Result<Value> {
    let line = read_line(reader)?;
    let (&mark, rest) = line.split_first().ok_or_else(|| malformed(&line))?;
    let number = || std::str::from_utf8(rest).ok().and_then(|text| text.parse::<i64>().ok());
    let depth = depth.checked_sub(1).ok_or_else(|| malformed(b"a reply that nests too deeply"))?;
    if let b'$' | b'*' | b'!' | b'=' | b'%' | b'~' | b'>' | b'|' = mark {
        let length = number().ok_or_else(|| malformed(&line))?;
        return match (mark, usize::try_from(length)) {
            (b'$', Err(_)) if length == -1 => Ok(Value::NilBulk),
            (b'*', Err(_)) if length == -1 => Ok(Value::NilArray),
            (_, Err(_)) => Err(malformed(&line)),
            (b'$', Ok(length)) => read_bytes(reader, length).map(Value::Bulk),
            (b'!', Ok(length)) => read_bytes(reader, length).map(Value::BulkError),
            (b'=', Ok(length)) => read_bytes(reader, length).map(Value::Verbatim),
            (b'*', Ok(length)) => read_values(reader, length, depth).map(Value::Array),
            (b'~', Ok(length)) => read_values(reader, length, depth).map(Value::Set),
            (b'>', Ok(length)) => read_values(reader, length, depth).map(Value::Push),
            (b'%', Ok(length)) => read_pairs(reader, length, depth).map(Value::Map),
            (_, Ok(length)) => {
                let about = read_pairs(reader, length, depth)?;
                Ok(Value::Attribute(about, Box::new(read_value(reader, depth)?)))
            }
        };
    }
    match (mark, rest) {
        (b'+', text) => Ok(Value::Simple(text.to_vec())),
        (b'-', text) => Ok(Value::Error(text.to_vec())),
        (b':', _) => number().map(Value::Int).ok_or_else(|| malformed(&line)),
        (b'_', b"") => Ok(Value::Null),
        (b'#', b"t") => Ok(Value::Bool(true)),
        (b'#', b"f") => Ok(Value::Bool(false)),
        (b',', text) => Ok(Value::Double(text.to_vec())),
        (b'(', text) => Ok(Value::BigNumber(text.to_vec())),
        _ => Err(malformed(&line)),
    }
}

fn read_values(reader: &mut impl BufRead, count: usize, depth: usize) -> io::Result<Vec<Value>> {
    (0..count).map(|_| read_value(reader, depth)).collect()
}

fn read_pairs(
    reader: &mut impl BufRead,
    count: usize,
    depth: usize,
) -> io::Result<Vec<(Value, Value)>> {
    (0..count).map(|_| Ok((read_value(reader, depth)?, read_value(reader, depth)?))).collect()
}

/// A line without its CR LF.
fn read_line(reader: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    reader.read_until(b'\n', &mut line)?;
    match line.strip_suffix(b"\r\n") {
        Some(text) => Ok(text.to_vec()),
        None if line.last() == Some(&b'\n') => Err(malformed(&line)),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

fn read_bytes(reader: &mut impl BufRead, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    reader.read_exact(&mut bytes)?;
    let mut end = [0; 2];
    reader.read_exact(&mut end)?;
    if end == *b"\r\n" { Ok(bytes) } else { Err(malformed(&end)) }
}

fn malformed(bytes: &[u8]) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("no RESP: \"{}\"", bytes.escape_ascii()))
}

/// A reader that pauses after each piece.
struct Slow<'a> {
    inner: &'a mut BufReader<Stream>,
    piece: usize,
    pause: Duration,
    taken: usize,
}

impl Read for Slow<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.inner.fill_buf()?;
        let taken = bytes.len().min(buffer.len());
        buffer[..taken].copy_from_slice(&bytes[..taken]);
        self.consume(taken);
        Ok(taken)
    }
}

impl BufRead for Slow<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.inner.fill_buf()
    }

    fn consume(&mut self, bytes: usize) {
        self.inner.consume(bytes);
        self.taken += bytes;
        if self.taken >= self.piece {
            self.taken = 0;
            crate::pause(self.pause);
        }
    }
}

/// Either kind of socket.
#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    fn set_read_timeout(&self, time: Duration) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.set_read_timeout(Some(time)),
            Stream::Unix(stream) => stream.set_read_timeout(Some(time)),
        }
    }

    fn try_clone(&self) -> io::Result<Stream> {
        match self {
            Stream::Tcp(stream) => stream.try_clone().map(Stream::Tcp),
            Stream::Unix(stream) => stream.try_clone().map(Stream::Unix),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.read(buffer),
            Stream::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.write(bytes),
            Stream::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(bytes: &[u8]) -> io::Result<Value> {
        read_value(&mut &bytes[..], DEPTH_MAX)
    }

    #[test]
    fn every_type_is_told_from_every_other() {
        let cases: [(&[u8], Value); 14] = [
            (b"+OK\r\n", ok()),
            (b"-ERR no\r\n", error("ERR no")),
            (b":-7\r\n", Value::Int(-7)),
            (b"$4\r\na\r\nb\r\n", bulk("a\r\nb")),
            (b"$-1\r\n", Value::NilBulk),
            (b"*-1\r\n", Value::NilArray),
            (b"_\r\n", Value::Null),
            (b"#f\r\n", Value::Bool(false)),
            (b",1.50\r\n", Value::Double(b"1.50".to_vec())),
            (b"=5\r\ntxt:x\r\n", Value::Verbatim(b"txt:x".to_vec())),
            (b"*2\r\n:1\r\n*0\r\n", Value::Array(vec![Value::Int(1), Value::Array(vec![])])),
            (b"%1\r\n+a\r\n:1\r\n", Value::Map(vec![(simple("a"), Value::Int(1))])),
            (b">1\r\n+m\r\n", Value::Push(vec![simple("m")])),
            (
                b"|1\r\n+a\r\n:1\r\n:2\r\n",
                Value::Attribute(vec![(simple("a"), Value::Int(1))], Box::new(Value::Int(2))),
            ),
        ];
        for (bytes, value) in &cases {
            assert_eq!(&parse(bytes).unwrap(), value);
            assert_eq!(&value.encode(), bytes);
        }
    }

    #[test]
    fn what_is_no_reply_is_an_error_and_not_a_hang() {
        let kind = |bytes| parse(bytes).unwrap_err().kind();
        for bytes in [&b"?x\r\n"[..], b"\r\n", b":x\r\n", b"$-2\r\n", b"+a\n", b"$1\r\nabc"] {
            assert_eq!(kind(bytes), io::ErrorKind::InvalidData, "{}", bytes.escape_ascii());
        }
        for bytes in [&b""[..], b"+OK", b"$5\r\nab", b"*2\r\n:1\r\n"] {
            assert_eq!(kind(bytes), io::ErrorKind::UnexpectedEof, "{}", bytes.escape_ascii());
        }
        let deep = b"*1\r\n".repeat(10_000);
        assert_eq!(kind(&deep), io::ErrorKind::InvalidData);
    }

    #[test]
    fn fields_are_found_in_maps_and_in_flat_arrays() {
        let flat = Value::Array(vec![bulk("shard"), Value::Int(1), bulk("state"), bulk("up")]);
        assert_eq!(flat.field("state").text(), "up");
        let map = Value::Map(vec![(bulk("shard"), Value::Int(1))]);
        assert_eq!(map.field("shard").int(), 1);
    }
}
