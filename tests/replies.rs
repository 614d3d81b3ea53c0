//! Properties of replies, on random trees of both versions: where they end, in whatever pieces they
//! come, and that RESP3 is read as a stock server says the same in RESP2.

#![allow(clippy::unwrap_used, reason = "a test ends at its first surprise")]

mod scenario;

use scenario::{Random, escape};
use weir::resp::{Scan, Scanner, Value, Version, write};

/// One reply, as it is said in each version.
#[derive(Default)]
struct Said {
    resp2: Vec<u8>,
    resp3: Vec<u8>,
}

impl Said {
    /// A reply of at most `depth` levels.
    fn random(random: &mut Random, depth: usize) -> Self {
        let mut said = Self::default();
        said.add(random, depth);
        said
    }

    fn add(&mut self, random: &mut Random, depth: usize) {
        if random.below(10) == 0 && depth > 0 {
            self.add_attribute(random, depth);
        }
        match random.below(if depth == 0 { 11 } else { 15 }) {
            0 => self.same(|out| write::simple(out, "OK")),
            1 => self.same(|out| write::error(out, "ERR no")),
            2 => {
                let number = [0, 1, -1, i64::MAX, i64::MIN][random.below(5)];
                self.same(|out| write::int(out, number));
            }
            3 | 4 => {
                let bytes = random_bytes(random);
                self.same(|out| write::bulk(out, &bytes));
            }
            5 => self.each(write::null),
            6 => self.same(|out| write::null_array(out, Version::Resp2)),
            7 => {
                let truth = random.below(2) == 0;
                write::int(&mut self.resp2, i64::from(truth));
                self.resp3.extend_from_slice(if truth { b"#t\r\n" } else { b"#f\r\n" });
            }
            8 => {
                let text = ["1.5", "-0.25", "inf", "12345678901234567890"][random.below(4)];
                let kind = if text.contains('8') { '(' } else { ',' };
                write::bulk(&mut self.resp2, text.as_bytes());
                self.resp3.extend_from_slice(format!("{kind}{text}\r\n").as_bytes());
            }
            9 => {
                let text = random_bytes(random);
                self.each(|out, version| write::text(out, version, &text));
            }
            10 => {
                self.resp2.extend_from_slice(b"-ERR two  lines\r\n");
                self.resp3.extend_from_slice(b"!14\r\nERR two\r\nlines\r\n");
            }
            11 => self.add_elements(random, depth, 1, |out, _, count| write::array(out, count)),
            12 => self.add_elements(random, depth, 1, write::set),
            13 => self.add_elements(random, depth, 1, write::push),
            _ => self.add_elements(random, depth, 2, write::map),
        }
    }

    fn same(&mut self, write: impl Fn(&mut Vec<u8>)) {
        self.each(|out, _| write(out));
    }

    fn each(&mut self, write: impl Fn(&mut Vec<u8>, Version)) {
        write(&mut self.resp2, Version::Resp2);
        write(&mut self.resp3, Version::Resp3);
    }

    fn add_elements(
        &mut self,
        random: &mut Random,
        depth: usize,
        width: usize,
        header: fn(&mut Vec<u8>, Version, usize),
    ) {
        let count = random.below(4);
        self.each(|out, version| header(out, version, count));
        for _ in 0..count * width {
            self.add(random, depth - 1);
        }
    }

    /// What RESP3 says in front of a reply, and RESP2 can't.
    fn add_attribute(&mut self, random: &mut Random, depth: usize) {
        let count = random.below(3);
        self.resp3.extend_from_slice(format!("|{count}\r\n").as_bytes());
        for _ in 0..count * 2 {
            let unsaid = Self::random(random, depth - 1);
            self.resp3.extend_from_slice(&unsaid.resp3);
        }
    }
}

fn random_bytes(random: &mut Random) -> Vec<u8> {
    let length = random.below(12);
    (0..length).map(|_| *random.pick(b"ab\r\n$*%_:\0\xff")).collect()
}

#[test]
fn a_reply_is_read_as_resp2_says_it() {
    for seed in 0..3000 {
        let said = Said::random(&mut Random::new(seed), 4);
        for text in [&said.resp2, &said.resp3] {
            let (value, used) = Value::parse(text).unwrap_or_else(|| panic!("{}", escape(text)));
            assert_eq!(used, text.len(), "{}", escape(text));
            let mut written = Vec::new();
            value.write(&mut written);
            assert_eq!(escape(&written), escape(&said.resp2), "{}", escape(text));
        }
    }
}

#[test]
fn a_reply_that_is_cut_off_is_none() {
    for seed in 0..300 {
        let text = Said::random(&mut Random::new(seed), 3).resp3;
        for cut in 0..text.len() {
            assert_eq!(Value::parse(&text[..cut]), None, "{} cut at {cut}", escape(&text));
            let mut scanner = Scanner::default();
            assert!(matches!(scanner.scan(&text[..cut]), Scan::More { .. }), "{}", escape(&text));
        }
    }
}

#[test]
fn replies_in_any_pieces_end_where_they_end() {
    for seed in 0..1000 {
        let mut random = Random::new(seed);
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        for _ in 0..1 + random.below(6) {
            bytes.extend(Said::random(&mut random, 3).resp3);
            ends.push(bytes.len());
        }
        let (mut scanner, mut found) = (Scanner::default(), Vec::new());
        let (mut start, mut filled) = (0, 0);
        while start < bytes.len() {
            match scanner.scan(&bytes[start..filled]) {
                Scan::Done { used } => {
                    start += used;
                    found.push(start);
                }
                Scan::More { used } => {
                    start += used;
                    filled = (filled + 1 + random.below(9)).min(bytes.len());
                }
                Scan::Invalid => panic!("seed {seed}: invalid at {start}: {}", escape(&bytes)),
            }
        }
        assert_eq!(found, ends, "seed {seed}: {}", escape(&bytes));
        assert!(!scanner.in_reply(), "seed {seed}");
    }
}

/// No bytes, however odd, make the parser do anything but give an answer; and what it takes for a
/// reply is one for the scanner too, of the same length.
#[test]
fn mangled_replies_are_read_or_refused() {
    for seed in 0..20_000 {
        let mut random = Random::new(seed);
        let mut bytes = Said::random(&mut random, 3).resp3;
        for _ in 0..1 + random.below(3) {
            let at = random.below(bytes.len());
            bytes[at] = *random.pick(b"$*%~>|=!_#,(:+-019\r\nx");
        }
        if let Some((_, used)) = Value::parse(&bytes) {
            let scanned = Scanner::default().scan(&bytes);
            assert_eq!(scanned, Scan::Done { used }, "{}", escape(&bytes));
        }
    }
}
