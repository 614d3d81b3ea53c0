//! RESP as the fakes read and write it: written by itself, so that a mistake in Weir's own reader
//! isn't made twice.

use weir::resp::Version;

/// A reply, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    Simple(String),
    Error(String),
    Int(i64),
    Bulk(Vec<u8>),
    /// RESP2's nothing.
    Nil,
    /// RESP2's nothing in place of an array.
    NilArray,
    /// RESP3's nothing.
    Null,
    /// A verbatim string without its format.
    Text(Vec<u8>),
    Array(Vec<Reply>),
    Map(Vec<Reply>),
}

impl Reply {
    /// The only version in which it can be said; none if it is the same in both.
    pub fn version(&self) -> Option<Version> {
        match self {
            Self::Nil | Self::NilArray => Some(Version::Resp2),
            Self::Null | Self::Text(_) | Self::Map(_) => Some(Version::Resp3),
            Self::Array(items) => items.iter().find_map(Self::version),
            Self::Simple(_) | Self::Error(_) | Self::Int(_) | Self::Bulk(_) => None,
        }
    }

    pub fn is_nil(&self) -> bool {
        matches!(self, Self::Nil | Self::NilArray | Self::Null)
    }

    /// What a map, or the array that stands for one, says under `name`.
    pub fn field(&self, name: &str) -> Option<&Self> {
        let (Self::Map(items) | Self::Array(items)) = self else {
            return None;
        };
        let named = |pair: &&[Self]| matches!(&pair[0], Self::Bulk(key) if key == name.as_bytes());
        items.chunks_exact(2).find(named).map(|pair| &pair[1])
    }
}

fn line(bytes: &[u8]) -> Option<(&str, usize)> {
    let end = bytes.windows(2).position(|pair| pair == b"\r\n")?;
    Some((std::str::from_utf8(&bytes[..end]).unwrap_or("?"), end + 2))
}

/// The first reply in `bytes` and how long it is; `Ok(None)` if it isn't whole.
pub fn read_reply(bytes: &[u8]) -> Result<Option<(Reply, usize)>, String> {
    let Some((head, mut at)) = line(bytes) else {
        return Ok(None);
    };
    let bad = || format!("not a reply: {head:?}");
    let rest = head.get(1..).ok_or_else(bad)?;
    let number = || rest.parse::<i64>().map_err(|_| bad());
    let reply = match bytes[0] {
        b'+' => Reply::Simple(rest.to_owned()),
        b'-' => Reply::Error(rest.to_owned()),
        b':' => Reply::Int(number()?),
        b'$' if rest == "-1" => Reply::Nil,
        b'*' if rest == "-1" => Reply::NilArray,
        b'_' if rest.is_empty() => Reply::Null,
        b'$' | b'=' => {
            let len = usize::try_from(number()?).map_err(|_| bad())?;
            if bytes.len() < at + len + 2 {
                return Ok(None);
            }
            let body = bytes[at..at + len].to_vec();
            at += len + 2;
            if &bytes[at - 2..at] != b"\r\n" {
                return Err("a bulk without its line end".to_owned());
            }
            match (bytes[0], body.strip_prefix(b"txt:")) {
                (b'$', _) => Reply::Bulk(body),
                (_, Some(text)) => Reply::Text(text.to_vec()),
                (_, None) => return Err(bad()),
            }
        }
        b'*' | b'%' => {
            let mut items = Vec::new();
            for _ in 0..number()? * if bytes[0] == b'%' { 2 } else { 1 } {
                let Some((item, len)) = read_reply(&bytes[at..])? else {
                    return Ok(None);
                };
                items.push(item);
                at += len;
            }
            if bytes[0] == b'%' { Reply::Map(items) } else { Reply::Array(items) }
        }
        _ => return Err(bad()),
    };
    Ok(Some((reply, at)))
}

/// The first multibulk request in `bytes` and how long it is; none if it isn't whole.
pub fn read_request(bytes: &[u8]) -> Option<(Vec<Vec<u8>>, usize)> {
    let (head, mut at) = line(bytes)?;
    let count = head.strip_prefix('*').and_then(|count| count.parse().ok());
    let count: usize = count.unwrap_or_else(|| panic!("Weir sent what is no request: {head:?}"));
    let mut args = Vec::with_capacity(count);
    for _ in 0..count {
        let (head, used) = line(&bytes[at..])?;
        let len = head.strip_prefix('$').and_then(|len| len.parse().ok());
        let len: usize = len.unwrap_or_else(|| panic!("Weir sent what is no bulk: {head:?}"));
        at += used;
        if bytes.len() < at + len + 2 {
            return None;
        }
        args.push(bytes[at..at + len].to_vec());
        at += len + 2;
    }
    Some((args, at))
}

/// A request in multibulk form.
pub fn request(args: &[Vec<u8>]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        bulk(&mut out, arg);
    }
    out
}

pub fn bulk(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(format!("${}\r\n", bytes.len()).as_bytes());
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

pub fn int(out: &mut Vec<u8>, number: i64) {
    out.extend_from_slice(format!(":{number}\r\n").as_bytes());
}

pub fn value(out: &mut Vec<u8>, version: Version, value: Option<&Vec<u8>>) {
    match (value, version) {
        (Some(value), _) => bulk(out, value),
        (None, Version::Resp2) => out.extend_from_slice(b"$-1\r\n"),
        (None, Version::Resp3) => out.extend_from_slice(b"_\r\n"),
    }
}

/// A text for people.
pub fn text(out: &mut Vec<u8>, version: Version, text: &[u8]) {
    if version == Version::Resp2 {
        return bulk(out, text);
    }
    out.extend_from_slice(format!("={}\r\ntxt:", text.len() + 4).as_bytes());
    out.extend_from_slice(text);
    out.extend_from_slice(b"\r\n");
}

/// The hash slot of a key, by its definition: CRC16/XMODEM of what the first braces enclose, or of
/// the whole key.
pub fn slot(key: &[u8]) -> u16 {
    let open = key.iter().position(|&byte| byte == b'{');
    let tag = open.and_then(|open| {
        let close = key[open + 1..].iter().position(|&byte| byte == b'}')?;
        (close > 0).then(|| &key[open + 1..open + 1 + close])
    });
    let mut crc = 0u16;
    for &byte in tag.unwrap_or(key) {
        crc ^= u16::from(byte) << 8;
        for _ in 0..8 {
            crc = if crc & 0x8000 != 0 { (crc << 1) ^ 0x1021 } else { crc << 1 };
        }
    }
    crc % 16_384
}

/// The last slot of each of `shards` even parts, in order.
fn ends(shards: usize) -> impl Iterator<Item = u16> {
    let per_shard = 16_384_f64 / shards as f64;
    // As `redis-cli --cluster create` does it: each boundary is rounded by itself.
    (1..=shards).map(move |n| (n as f64 * per_shard - 1.0).round() as u16)
}

/// The shard of a key where the slots are split evenly over `shards`, in order.
pub fn shard_of(key: &[u8], shards: usize) -> usize {
    let slot = slot(key);
    ends(shards).position(|end| slot <= end).unwrap_or(shards - 1)
}

/// First and last slot of each of `shards` even parts.
pub fn ranges(shards: usize) -> Vec<(u16, u16)> {
    let firsts = std::iter::once(0).chain(ends(shards).map(|end| end + 1));
    firsts.zip(ends(shards)).collect()
}
