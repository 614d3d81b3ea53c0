//! Which channels a pattern matches.
//!
//! `*` any bytes, `?` any one byte, `[abc]`, `[^abc]`, `[a-z]` one of some, `\x` just `x`. A server
//! decides who gets a message; we only count who would, so what a server does with odd patterns
//! (an open bracket, a backslash at the end) is done here too. Source of the rules: redis `util.c`,
//! `stringmatchlen`.

/// Whether `pattern` matches all of `text`. Takes time in proportion to the product of their
/// lengths at most.
pub fn glob_matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    // Where to go on if what follows the last star doesn't fit: the star takes one byte more.
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        let step = match pattern.get(p) {
            Some(b'*') => {
                retry = Some((p + 1, t));
                p += 1;
                continue;
            }
            Some(_) => one(&pattern[p..], text[t]),
            None => None,
        };
        match (step, retry) {
            (Some(length), _) => {
                p += length;
                t += 1;
            }
            (None, Some((star, taken))) => {
                p = star;
                t = taken + 1;
                retry = Some((star, t));
            }
            (None, None) => return false,
        }
    }
    pattern[p..].iter().all(|&byte| byte == b'*')
}

/// Whether the first element of `pattern`, which is no star, matches `byte`; if so, its length.
fn one(pattern: &[u8], byte: u8) -> Option<usize> {
    match *pattern {
        [b'?', ..] => Some(1),
        [b'\\', escaped, ..] => (escaped == byte).then_some(2),
        [b'[', ref set @ ..] => {
            let (found, length) = in_set(set, byte);
            found.then_some(1 + length)
        }
        [plain, ..] => (plain == byte).then_some(1),
        [] => None,
    }
}

/// Whether `byte` is in the set that begins behind a bracket, and how long the set is. One that is
/// not closed ends with the pattern.
fn in_set(set: &[u8], byte: u8) -> (bool, usize) {
    let negated = set.first() == Some(&b'^');
    let mut at = usize::from(negated);
    let mut found = false;
    loop {
        match set[at..] {
            [] => break,
            [b'\\', escaped, ..] => {
                found |= escaped == byte;
                at += 2;
            }
            [b']', ..] => {
                at += 1;
                break;
            }
            [low, b'-', high, ..] => {
                found |= (low.min(high)..=low.max(high)).contains(&byte);
                at += 3;
            }
            [plain, ..] => {
                found |= plain == byte;
                at += 1;
            }
        }
    }
    (found != negated, at)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rules, said without any care for time.
    fn dumb(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern, text) {
            ([], []) => true,
            ([b'*', rest @ ..], _) => {
                dumb(rest, text) || (!text.is_empty() && dumb(pattern, &text[1..]))
            }
            (_, []) | ([], _) => false,
            (_, [byte, left @ ..]) => {
                one(pattern, *byte).is_some_and(|length| dumb(&pattern[length..], left))
            }
        }
    }

    #[test]
    fn the_rules() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("**", "abc", true),
            ("a*c", "abcbc", true),
            ("a*c", "abcb", false),
            ("h?llo", "hello", true),
            ("h?llo", "hllo", false),
            ("h[ae]llo", "hallo", true),
            ("h[^e]llo", "hello", false),
            ("h[^e]llo", "hallo", true),
            ("h[a-c]llo", "hbllo", true),
            ("h[c-a]llo", "hbllo", true),
            ("h[a-c]llo", "hdllo", false),
            (r"h\*llo", "h*llo", true),
            (r"h\*llo", "hello", false),
            (r"[\]]", "]", true),
            (r"[\a-c]", "-", true),
            ("[abc", "b", true),
            ("[abc", "d", false),
            ("a\\", "a\\", true),
            ("[^]x", "ax", true),
            ("news.*.[0-9]", "news.art.7", true),
        ] {
            let matches = glob_matches(pattern.as_bytes(), text.as_bytes());
            assert_eq!(matches, expected, "{pattern} {text}");
        }
    }

    #[test]
    fn all_short_patterns_match_as_the_rules_say() {
        let letters = b"ab*?[]^-\\";
        let texts: Vec<Vec<u8>> = (0..6u32.pow(3))
            .map(|n| {
                let digits = [n % 6, n / 6 % 6, n / 36];
                digits.iter().filter_map(|&d| b"ab]-\\".get(d as usize).copied()).collect()
            })
            .collect();
        let count = letters.len().pow(4);
        for number in 0..count {
            let mut rest = number;
            let pattern: Vec<u8> = (0..4)
                .map(|_| {
                    let letter = letters[rest % letters.len()];
                    rest /= letters.len();
                    letter
                })
                .collect();
            for text in &texts {
                assert_eq!(glob_matches(&pattern, text), dumb(&pattern, text), "{pattern:?}");
            }
        }
    }

    #[test]
    fn many_stars_cost_no_time() {
        let pattern = b"*a".repeat(1000);
        assert!(!glob_matches(&pattern, &b"a".repeat(999)));
    }
}
