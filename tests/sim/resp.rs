//! RESP as the fakes read and write it: written by itself, so that a mistake in Weir's own reader
//! isn't made twice.

/// A reply, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    Simple(String),
    Error(String),
    Int(i64),
    Bulk(Vec<u8>),
    Nil,
    Array(Vec<Reply>),
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
        b'$' => {
            let len = usize::try_from(number()?).map_err(|_| bad())?;
            if bytes.len() < at + len + 2 {
                return Ok(None);
            }
            let body = bytes[at..at + len].to_vec();
            at += len + 2;
            if &bytes[at - 2..at] != b"\r\n" {
                return Err("a bulk without its line end".to_owned());
            }
            Reply::Bulk(body)
        }
        b'*' => {
            let mut items = Vec::new();
            for _ in 0..number()? {
                let Some((item, len)) = read_reply(&bytes[at..])? else {
                    return Ok(None);
                };
                items.push(item);
                at += len;
            }
            Reply::Array(items)
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

pub fn nil(out: &mut Vec<u8>) {
    out.extend_from_slice(b"$-1\r\n");
}

pub fn value(out: &mut Vec<u8>, value: Option<&Vec<u8>>) {
    match value {
        Some(value) => bulk(out, value),
        None => nil(out),
    }
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

/// The shard of a key where the slots are split evenly over `shards`, in order.
pub fn shard_of(key: &[u8], shards: usize) -> usize {
    let slot = usize::from(slot(key));
    let per_shard = 16_384_f64 / shards as f64;
    // As `redis-cli --cluster create` does it: each boundary is rounded by itself.
    let ends = (1..=shards).map(|n| (n as f64 * per_shard - 1.0).round() as usize);
    ends.clone().position(|end| slot <= end).unwrap_or(shards - 1)
}
