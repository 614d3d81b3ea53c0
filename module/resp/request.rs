//! Requests of clients: multibulk and inline.
//!
//! The parser keeps its place between calls, so a request that arrives in a thousand pieces is read
//! once. It accepts nothing that a stock server would read differently, and says no in the same
//! words (redis `networking.c`, `processMultibulkBuffer` and `processInlineBuffer`), with one
//! exception: the two bytes behind a bulk must be a line end, where a stock server skips them
//! unseen.

use std::ops::Range;

use super::parse_int;
use crate::limits;

/// Where the arguments of one request lie in its bytes. Reused from request to request.
#[derive(Debug, Default, Clone)]
pub struct Args {
    ranges: Vec<(u32, u32)>,
}

impl Args {
    /// How many there are, the command's name included.
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Where argument `index` lies, from the request's first byte.
    pub fn range(&self, index: usize) -> Range<usize> {
        let (start, end) = self.ranges[index];
        start as usize..end as usize
    }

    fn push(&mut self, start: usize, end: usize) {
        // Requests that are held are bounded far below 4 GiB (`limits::REQUEST_BYTES_MAX`).
        self.ranges.push((start as u32, end as u32));
    }
}

/// One complete request, as bytes and the ranges of its arguments.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The bytes from the first of the request on; more may follow behind it.
    pub bytes: &'a [u8],
    /// Where its arguments lie.
    pub args: &'a Args,
}

/// Whether a whole request in RESP is for a command of one of these names, in whatever case.
pub fn is_command(bytes: &[u8], names: &[&str]) -> bool {
    let mut parser = Parser::default();
    matches!(parser.parse(bytes), Parsed::Complete { .. }) && {
        let name = Request { bytes, args: parser.args() }.arg(0);
        names.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
    }
}

impl<'a> Request<'a> {
    /// How many arguments there are, the command's name included.
    pub fn len(&self) -> usize {
        self.args.len()
    }

    /// Whether there are none; the parser never hands out such a request.
    pub fn is_empty(&self) -> bool {
        self.args.is_empty()
    }

    /// Argument `index`; 0 is the command's name.
    pub fn arg(&self, index: usize) -> &'a [u8] {
        &self.bytes[self.args.range(index)]
    }

    /// Argument `index`, if there are so many.
    pub fn get(&self, index: usize) -> Option<&'a [u8]> {
        (index < self.len()).then(|| self.arg(index))
    }
}

/// What a client did wrong on the wire. The text is a stock server's, behind
/// `ERR Protocol error: `; the connection is closed behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProtocolError {
    /// An inline request, or a header line, without an end in 64 KB.
    TooBigInline,
    /// A `*` header without an end in 64 KB.
    TooBigCount,
    /// A `$` header without an end in 64 KB.
    TooBigBulkCount,
    /// A `*` header whose number is none or too large.
    InvalidCount,
    /// A `$` header whose number is none, negative or above 512 MB.
    InvalidBulkLength,
    /// Something else where a `$` must stand.
    ExpectedBulk(u8),
    /// No line end behind a bulk.
    ExpectedLineEnd,
    /// An inline request with a quote that is not closed.
    UnbalancedQuotes,
}

impl ProtocolError {
    /// The whole error text.
    pub fn text(&self) -> String {
        let what = match self {
            Self::TooBigInline => "too big inline request".to_owned(),
            Self::TooBigCount => "too big mbulk count string".to_owned(),
            Self::TooBigBulkCount => "too big bulk count string".to_owned(),
            Self::InvalidCount => "invalid multibulk length".to_owned(),
            Self::InvalidBulkLength => "invalid bulk length".to_owned(),
            Self::ExpectedBulk(got) => {
                let got = if (0x20..0x7f).contains(got) { char::from(*got) } else { ' ' };
                format!("expected '$', got '{got}'")
            }
            Self::ExpectedLineEnd => "expected a line end after the bulk".to_owned(),
            Self::UnbalancedQuotes => "unbalanced quotes in request".to_owned(),
        };
        format!("ERR Protocol error: {what}")
    }
}

/// How far a [`Parser`] got.
#[derive(Debug, PartialEq, Eq)]
pub enum Parsed {
    /// A request of `len` bytes; its arguments are in [`Parser::args`].
    Complete {
        /// Bytes of the request.
        len: usize,
    },
    /// An inline request of `len` bytes; its arguments, unquoted.
    Inline {
        /// Bytes of the request.
        len: usize,
        /// Its arguments; at least one.
        args: Vec<Vec<u8>>,
    },
    /// Nothing to do: an empty line, or a multibulk of no arguments.
    Empty {
        /// Bytes to skip.
        len: usize,
    },
    /// The request is not complete.
    NeedMore,
    /// The client doesn't speak RESP.
    Invalid(ProtocolError),
}

/// Reads one request after the other.
#[derive(Debug, Default)]
pub struct Parser {
    args: Args,
    stage: Stage,
    /// Bytes of the request that need not be looked at again.
    parsed: usize,
    /// Arguments that the header promised.
    promised: usize,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// At the request's first byte.
    #[default]
    Start,
    /// In front of a `$` header.
    Header,
    /// In front of the bytes of a bulk.
    Bulk { len: usize },
}

/// One header line, looked for from `from` on.
enum Line {
    /// Its number and where the next line begins.
    Number(Option<i64>, usize),
    Missing,
}

impl Parser {
    /// The arguments of the request that was complete last, or those read so far.
    pub fn args(&self) -> &Args {
        &self.args
    }

    /// How many arguments the unfinished request will have; 0 if that isn't known yet.
    pub fn promised(&self) -> usize {
        self.promised
    }

    /// The length of the bulk that the unfinished request is in, if it is in one.
    pub fn open_bulk(&self) -> Option<usize> {
        match self.stage {
            Stage::Bulk { len } => Some(len),
            _ => None,
        }
    }

    /// Bytes of the unfinished request that have been read: all in front of them is sound.
    pub fn parsed(&self) -> usize {
        self.parsed
    }

    /// Forgets the request that is being read.
    pub fn reset(&mut self) {
        self.stage = Stage::Start;
        self.parsed = 0;
        self.promised = 0;
        self.args.ranges.clear();
    }

    /// Reads on in `bytes`, which always begin at the request's first byte. After any answer but
    /// [`Parsed::NeedMore`] the next call begins a new request.
    #[must_use]
    pub fn parse(&mut self, bytes: &[u8]) -> Parsed {
        if self.stage == Stage::Start {
            if let Some(len) = self.whole(bytes) {
                return Parsed::Complete { len };
            }
            self.parsed = 0;
            self.promised = 0;
            self.args.ranges.clear();
            match bytes.first() {
                None => return Parsed::NeedMore,
                Some(b'*') => {}
                Some(_) => return inline(bytes),
            }
            match number(bytes, 1) {
                Line::Missing if bytes.len() > limits::INLINE_BYTES_MAX => {
                    return self.invalid(ProtocolError::TooBigCount);
                }
                Line::Missing => return Parsed::NeedMore,
                Line::Number(Some(count), next) if count <= 0 => {
                    return Parsed::Empty { len: next };
                }
                Line::Number(Some(count), next) if count <= limits::REQUEST_ARGS_MAX => {
                    self.promised = usize::try_from(count).unwrap_or(usize::MAX);
                    self.parsed = next;
                    self.stage = Stage::Header;
                }
                Line::Number(..) => return self.invalid(ProtocolError::InvalidCount),
            }
        }
        self.bulks(bytes)
    }

    /// As [`Parser::parse`], if none is unfinished and the next is of the usual kind: all there,
    /// sound, and of short headers. Returns its length. Any other is for [`Parser::parse`].
    pub fn next_whole(&mut self, bytes: &[u8]) -> Option<usize> {
        if self.stage == Stage::Start { self.whole(bytes) } else { None }
    }

    fn whole(&mut self, bytes: &[u8]) -> Option<usize> {
        let (b'*', rest) = bytes.split_first()? else {
            return None;
        };
        let (count, used) = short_number(rest).filter(|&(count, _)| count > 0)?;
        let mut at = 1 + used;
        self.args.ranges.clear();
        for _ in 0..count {
            let (b'$', rest) = bytes.get(at..)?.split_first()? else {
                return None;
            };
            let (len, used) = short_number(rest)?;
            let start = at + 1 + used;
            let end = start + len;
            if bytes.get(end..end + 2)? != b"\r\n" {
                return None;
            }
            self.args.push(start, end);
            at = end + 2;
        }
        self.parsed = at;
        self.promised = count;
        Some(at)
    }

    fn bulks(&mut self, bytes: &[u8]) -> Parsed {
        loop {
            match self.stage {
                Stage::Start | Stage::Header => match bytes.get(self.parsed) {
                    None => return Parsed::NeedMore,
                    Some(b'$') => match number(bytes, self.parsed + 1) {
                        Line::Missing if bytes.len() - self.parsed > limits::INLINE_BYTES_MAX => {
                            return self.invalid(ProtocolError::TooBigBulkCount);
                        }
                        Line::Missing => return Parsed::NeedMore,
                        Line::Number(Some(len), next)
                            if (0..=limits::BULK_BYTES_MAX).contains(&len) =>
                        {
                            self.parsed = next;
                            self.stage =
                                Stage::Bulk { len: usize::try_from(len).unwrap_or(usize::MAX) };
                        }
                        Line::Number(..) => return self.invalid(ProtocolError::InvalidBulkLength),
                    },
                    Some(&other) => return self.invalid(ProtocolError::ExpectedBulk(other)),
                },
                Stage::Bulk { len } => {
                    let end = self.parsed + len;
                    match bytes.get(end..end + 2) {
                        None => return Parsed::NeedMore,
                        Some(b"\r\n") => {}
                        Some(_) => return self.invalid(ProtocolError::ExpectedLineEnd),
                    }
                    self.args.push(self.parsed, end);
                    self.parsed = end + 2;
                    self.stage = Stage::Header;
                    if self.args.len() == self.promised {
                        self.stage = Stage::Start;
                        return Parsed::Complete { len: self.parsed };
                    }
                }
            }
        }
    }

    fn invalid(&mut self, error: ProtocolError) -> Parsed {
        self.reset();
        Parsed::Invalid(error)
    }
}

/// Follows the rest of a request whose begin a [`Parser`] has read, in constant space: for requests
/// too large to be held.
#[derive(Debug, Clone)]
pub struct Follower {
    /// Arguments that have not ended.
    args_left: usize,
    stage: Follow,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Follow {
    Header,
    Bulk(usize),
    LineEnd,
    End,
}

impl Parser {
    /// Hands the unfinished request over: its first [`Parser::parsed`] bytes have been read, the
    /// follower takes what comes behind them. None if it is not known yet how many arguments the
    /// request has.
    pub fn hand_over(&mut self) -> Option<Follower> {
        let stage = match self.stage {
            Stage::Start => return None,
            Stage::Header => Follow::Header,
            Stage::Bulk { len } => Follow::Bulk(len),
        };
        let follower = Follower { args_left: self.promised - self.args.len(), stage };
        self.reset();
        Some(follower)
    }
}

impl Follower {
    /// Whether the request has ended.
    pub fn ended(&self) -> bool {
        self.stage == Follow::End
    }

    /// How many of `bytes` belong to the request, as far as can be told; the rest must be shown
    /// again with more behind it, unless the request has ended.
    pub fn follow(&mut self, bytes: &[u8]) -> Result<usize, ProtocolError> {
        let mut used = 0;
        loop {
            match self.stage {
                Follow::End => return Ok(used),
                Follow::Header => match bytes.get(used) {
                    None => return Ok(used),
                    Some(b'$') => match number(bytes, used + 1) {
                        Line::Missing if bytes.len() - used > limits::INLINE_BYTES_MAX => {
                            return Err(ProtocolError::TooBigBulkCount);
                        }
                        Line::Missing => return Ok(used),
                        Line::Number(Some(len), next)
                            if (0..=limits::BULK_BYTES_MAX).contains(&len) =>
                        {
                            used = next;
                            self.stage = Follow::Bulk(usize::try_from(len).unwrap_or(usize::MAX));
                        }
                        Line::Number(..) => return Err(ProtocolError::InvalidBulkLength),
                    },
                    Some(&other) => return Err(ProtocolError::ExpectedBulk(other)),
                },
                Follow::Bulk(left) => {
                    let here = left.min(bytes.len() - used);
                    used += here;
                    if here < left {
                        self.stage = Follow::Bulk(left - here);
                        return Ok(used);
                    }
                    self.stage = Follow::LineEnd;
                }
                Follow::LineEnd => match bytes.get(used..used + 2) {
                    None => return Ok(used),
                    Some(b"\r\n") => {
                        used += 2;
                        self.args_left -= 1;
                        self.stage = if self.args_left == 0 { Follow::End } else { Follow::Header };
                    }
                    Some(_) => return Err(ProtocolError::ExpectedLineEnd),
                },
            }
        }
    }
}

/// The number in the line that begins at `from`, of which the end is `\r\n`.
fn number(bytes: &[u8], from: usize) -> Line {
    match short_number(&bytes[from..]) {
        Some((number, used)) => Line::Number(i64::try_from(number).ok(), from + used),
        None => any_number(bytes, from),
    }
}

/// The number at the begin of `line` if it has few digits, and where the next line begins. None of
/// any other, or if the line is not all there.
pub(super) fn short_number(line: &[u8]) -> Option<(usize, usize)> {
    let value = |digit: u8| usize::from(digit.wrapping_sub(b'0'));
    let (number, digits) = match *line {
        [a, b'\r', b'\n', ..] if value(a) < 10 => (value(a), 1),
        [a, b, b'\r', b'\n', ..] if value(b) < 10 => (value(a) * 10 + value(b), 2),
        [a, b, c, b'\r', b'\n', ..] if value(b) < 10 && value(c) < 10 => {
            (value(a) * 100 + value(b) * 10 + value(c), 3)
        }
        _ => return None,
    };
    // The first of several is none of those that a server takes if it is a zero.
    (digits == 1 || matches!(line[0], b'1'..=b'9')).then_some((number, digits + 2))
}

fn any_number(bytes: &[u8], from: usize) -> Line {
    let rest = &bytes[from..];
    // A plain loop: a call that starts up vector registers doesn't pay here.
    let Some(cr) = rest.iter().position(|&byte| byte == b'\r') else {
        return Line::Missing;
    };
    match rest.get(cr + 1) {
        None => Line::Missing,
        Some(b'\n') => Line::Number(parse_int(&rest[..cr]), from + cr + 2),
        Some(_) => Line::Number(None, from + cr + 2),
    }
}

fn inline(bytes: &[u8]) -> Parsed {
    let Some(end) = memchr::memchr(b'\n', bytes) else {
        return if bytes.len() > limits::INLINE_BYTES_MAX {
            Parsed::Invalid(ProtocolError::TooBigInline)
        } else {
            Parsed::NeedMore
        };
    };
    if end > limits::INLINE_BYTES_MAX {
        return Parsed::Invalid(ProtocolError::TooBigInline);
    }
    let line = bytes[..end].strip_suffix(b"\r").unwrap_or(&bytes[..end]);
    match split_words(line) {
        None => Parsed::Invalid(ProtocolError::UnbalancedQuotes),
        Some(args) if args.is_empty() => Parsed::Empty { len: end + 1 },
        Some(args) => Parsed::Inline { len: end + 1, args },
    }
}

/// The words of a line, with the quoting of redis-cli and of inline requests: in double quotes the
/// escapes `\n \r \t \b \a \xHH` and `\` before any other byte, in single quotes only `\'`.
/// None if a quote is not closed or something stands right behind a closing one.
/// Source: redis `sds.c`, `sdssplitargs`.
pub fn split_words(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut words = Vec::new();
    let mut at = 0;
    loop {
        while line.get(at).is_some_and(|&byte| is_blank(byte)) {
            at += 1;
        }
        if at >= line.len() {
            return Some(words);
        }
        let mut word = Vec::new();
        while let Some(&byte) = line.get(at) {
            match byte {
                _ if is_blank(byte) || byte == 0 => break,
                b'"' => at = double_quoted(line, at + 1, &mut word)?,
                b'\'' => at = single_quoted(line, at + 1, &mut word)?,
                _ => {
                    word.push(byte);
                    at += 1;
                    continue;
                }
            }
            // A closing quote must be followed by a blank or nothing at all.
            if line.get(at).is_some_and(|&byte| !is_blank(byte)) {
                return None;
            }
        }
        if line.get(at) == Some(&0) {
            // A stock server reads the line as a C string, which ends here.
            words.push(word);
            return Some(words);
        }
        words.push(word);
    }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

fn double_quoted(line: &[u8], mut at: usize, word: &mut Vec<u8>) -> Option<usize> {
    loop {
        match *line.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => {
                let escaped = *line.get(at + 1)?;
                let hex = |offset: usize| {
                    let digit = char::from(*line.get(at + offset)?).to_digit(16)?;
                    u8::try_from(digit).ok()
                };
                if let (b'x', Some(high), Some(low)) = (escaped, hex(2), hex(3)) {
                    word.push(high * 16 + low);
                    at += 4;
                    continue;
                }
                word.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 0x08,
                    b'a' => 0x07,
                    other => other,
                });
                at += 2;
            }
            byte => {
                word.push(byte);
                at += 1;
            }
        }
    }
}

fn single_quoted(line: &[u8], mut at: usize, word: &mut Vec<u8>) -> Option<usize> {
    loop {
        match *line.get(at)? {
            b'\'' => return Some(at + 1),
            b'\\' if line.get(at + 1) == Some(&b'\'') => {
                word.push(b'\'');
                at += 2;
            }
            byte => {
                word.push(byte);
                at += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every request in `bytes`, fed in pieces of `chunk` bytes.
    fn all(bytes: &[u8], chunk: usize) -> Vec<String> {
        let mut parser = Parser::default();
        let (mut start, mut filled, mut out) = (0, 0, Vec::new());
        loop {
            match parser.parse(&bytes[start..filled]) {
                Parsed::Complete { len } => {
                    let request = Request { bytes: &bytes[start..], args: parser.args() };
                    let words: Vec<_> =
                        (0..request.len()).map(|i| request.arg(i).escape_ascii()).collect();
                    out.push(words.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "));
                    start += len;
                }
                Parsed::Inline { len, args } => {
                    let words: Vec<_> = args.iter().map(|a| a.escape_ascii().to_string()).collect();
                    out.push(format!("inline {}", words.join(" ")));
                    start += len;
                }
                Parsed::Empty { len } => start += len,
                Parsed::Invalid(error) => {
                    out.push(error.text());
                    return out;
                }
                Parsed::NeedMore if filled == bytes.len() => return out,
                Parsed::NeedMore => filled = (filled + chunk).min(bytes.len()),
            }
        }
    }

    #[test]
    fn a_command_is_known_by_its_name() {
        assert!(is_command(b"*2\r\n$5\r\nwaTCH\r\n$1\r\nk\r\n", &["exec", "watch"]));
        assert!(!is_command(b"*2\r\n$3\r\nGET\r\n$5\r\nwatch\r\n", &["watch"]));
        assert!(!is_command(b"*1\r\n$7\r\nUNWATCH\r\n", &["watch"]));
        assert!(!is_command(b"*1\r\n$5\r\nWAT", &["watch"]), "it is not whole");
    }

    #[test]
    fn any_chunking_reads_the_same_requests() {
        let bytes = b"*2\r\n$3\r\nGET\r\n$1\r\na\r\nPING\r\n*0\r\n\r\n*-1\r\n*1\r\n$0\r\n\r\n\
            SET \"a b\\x41\\n\" 'c\\'d'\n*2\r\n$1\r\n\r\r\n$2\r\n\r\n\r\n*1\r\n$01\r\n";
        let whole = all(bytes, bytes.len());
        assert_eq!(
            whole,
            [
                "GET a",
                "inline PING",
                "",
                "inline SET a bA\\n c\\'d",
                "\\r \\r\\n",
                "ERR Protocol error: invalid bulk length"
            ]
        );
        for chunk in 1..bytes.len() {
            assert_eq!(all(bytes, chunk), whole, "chunk {chunk}");
        }
    }

    #[test]
    fn errors_are_those_of_a_stock_server() {
        for (bytes, text) in [
            ("*x\r\n", "invalid multibulk length"),
            ("*2147483648\r\n", "invalid multibulk length"),
            ("*1\r\nPING\r\n", "expected '$', got 'P'"),
            ("*1\r\n$-1\r\n", "invalid bulk length"),
            ("*1\r\n$536870913\r\n", "invalid bulk length"),
            ("*1\r\n$1\r\naXY", "expected a line end after the bulk"),
            ("SET \"a\n", "unbalanced quotes in request"),
            ("SET \"a\"b\n", "unbalanced quotes in request"),
        ] {
            assert_eq!(all(bytes.as_bytes(), 1), [format!("ERR Protocol error: {text}")]);
        }
        let long = "x".repeat(limits::INLINE_BYTES_MAX + 1);
        assert_eq!(all(long.as_bytes(), 4096), ["ERR Protocol error: too big inline request"]);
        let long = format!("*{}", "1".repeat(limits::INLINE_BYTES_MAX + 1));
        assert_eq!(all(long.as_bytes(), 4096), ["ERR Protocol error: too big mbulk count string"]);
    }

    #[test]
    fn an_unfinished_request_tells_what_it_will_be() {
        let mut parser = Parser::default();
        let bytes = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1000000\r\nxxx";
        assert_eq!(parser.parse(bytes), Parsed::NeedMore);
        assert_eq!(parser.promised(), 3);
        assert_eq!(parser.args().len(), 2);
        assert_eq!(parser.open_bulk(), Some(1_000_000));
        assert_eq!(parser.parsed(), bytes.len() - 3);
    }

    #[test]
    fn a_request_followed_in_any_chunks_ends_where_it_ends() {
        let bytes = b"*4\r\n$3\r\nSET\r\n$1\r\nk\r\n$10\r\n0123456789\r\n$0\r\n\r\n*1\r\n";
        let end = bytes.len() - 4;
        for known in 5..end {
            for chunk in 1..bytes.len() {
                let mut parser = Parser::default();
                if parser.parse(&bytes[..known]) != Parsed::NeedMore {
                    continue;
                }
                let mut at = parser.parsed();
                let Some(mut follower) = parser.hand_over() else { continue };
                let mut filled = known;
                while !follower.ended() {
                    at += follower.follow(&bytes[at..filled]).unwrap();
                    filled = (filled + chunk).min(bytes.len());
                }
                assert_eq!(at, end, "known {known}, chunk {chunk}");
            }
        }
    }
}
