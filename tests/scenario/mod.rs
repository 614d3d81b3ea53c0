//! Text scenarios: what goes in, `----`, what must come out.
//!
//! ```text
//!   # Why this case exists.
//!   input
//!   ----
//!   expected
//! ```
//!
//! A file has any number of cases, with an empty line between them; none has one inside. `UPDATE=1`
//! writes what came out in place of what was expected, so that a change of behaviour is read as a
//! change of text.

#![allow(dead_code, unreachable_pub, reason = "each runner uses its own part")]

use std::fs;
use std::path::Path;

/// Runs all cases of `tests/spec/<room>/*.txt` through `check`, which gets a case's input.
pub fn run(room: &str, mut check: impl FnMut(&str) -> String) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/spec").join(room);
    let mut files: Vec<_> =
        fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "no scenarios in {}", folder.display());
    let mut wrong = String::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let updated: Vec<String> = text
            .split("\n\n")
            .map(str::trim_end)
            .filter(|case| !case.is_empty())
            .map(|case| {
                let case = case.trim_start_matches('\n');
                assert!(
                    case.starts_with("# "),
                    "{}: a case without a reason:\n{case}",
                    file.display()
                );
                let (input, expected) = case.split_once("\n----").unwrap_or((case, ""));
                let plain: Vec<&str> = input.lines().filter(|l| !l.starts_with("# ")).collect();
                let got = check(&plain.join("\n"));
                assert!(!got.trim().contains("\n\n"), "an answer with an empty line: {got}");
                if got.trim() != expected.trim() {
                    wrong += &format!(
                        "\n{}:\n{input}\n---- expected{expected}\n---- got\n{got}\n",
                        file.display()
                    );
                }
                format!("{input}\n----\n{}\n", got.trim())
            })
            .collect();
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&file, updated.join("\n")).unwrap();
        }
    }
    if std::env::var_os("UPDATE").is_none() {
        assert!(wrong.is_empty(), "{wrong}\nUPDATE=1 writes what came out");
    }
}

/// The words of a line; in double quotes a word can have blanks, and escapes as in Rust: `\r`,
/// `\n`, `\0`, `\"`, `\\`, `\x7f`.
pub fn words(line: &str) -> Vec<Vec<u8>> {
    let mut bytes = line.bytes().peekable();
    let mut words = Vec::new();
    while let Some(&first) = bytes.peek() {
        if first == b' ' {
            bytes.next();
            continue;
        }
        let quoted = first == b'"';
        if quoted {
            bytes.next();
        }
        let mut word = Vec::new();
        while let Some(byte) = bytes.next_if(|&b| quoted || b != b' ') {
            match byte {
                b'"' if quoted => break,
                b'\\' if quoted => word.push(match bytes.next().unwrap() {
                    b'r' => b'\r',
                    b'n' => b'\n',
                    b'0' => 0,
                    b'x' => {
                        let digits = [bytes.next().unwrap(), bytes.next().unwrap()];
                        u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
                    }
                    other => other,
                }),
                _ => word.push(byte),
            }
        }
        words.push(word);
    }
    words
}

/// Bytes as [`words`] would read them inside quotes.
pub fn escape(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string().replace("\\'", "'")
}

/// A multibulk request of these words.
pub fn request<W: AsRef<[u8]>>(words: &[W]) -> Vec<u8> {
    let mut bytes = Vec::new();
    weir::resp::write::request(&mut bytes, words);
    bytes
}

/// The same numbers for the same seed, on every machine (xorshift64*).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % end
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}
