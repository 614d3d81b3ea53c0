//! As much of Tcl as its tests say to the program that runs them: lists, as text.

/// The elements of a list.
///
/// Words are separated by white space; braces keep a word as it is, quotes and backslashes as a
/// person would expect. What is no list at all gives whatever words can be made out.
pub(crate) fn list(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = text.chars().peekable();
    loop {
        while rest.next_if(|c| c.is_ascii_whitespace()).is_some() {}
        match rest.peek() {
            None => return words,
            Some('{') => {
                rest.next();
                words.push(braced(&mut rest));
            }
            Some('"') => {
                rest.next();
                words.push(word(&mut rest, |c| c == '"'));
                rest.next();
            }
            Some(_) => words.push(word(&mut rest, |c| c.is_ascii_whitespace())),
        }
    }
}

type Chars<'a> = std::iter::Peekable<std::str::Chars<'a>>;

/// Up to the brace that closes the one before; a backslash hides the brace behind it, and stays.
fn braced(rest: &mut Chars<'_>) -> String {
    let mut word = String::new();
    let mut depth = 1;
    while let Some(c) = rest.next() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            break;
        }
        word.push(c);
        if c == '\\' {
            word.extend(rest.next());
        }
    }
    word
}

/// Up to a character that ends it, which is left where it is.
fn word(rest: &mut Chars<'_>, ends: impl Fn(char) -> bool) -> String {
    let mut word = String::new();
    while let Some(c) = rest.next_if(|c| !ends(*c)) {
        if c == '\\' {
            word.extend(escaped(rest));
        } else {
            word.push(c);
        }
    }
    word
}

/// What stands behind a backslash.
fn escaped(rest: &mut Chars<'_>) -> Option<char> {
    let digits = |rest: &mut Chars<'_>, radix, most| {
        let mut number = None;
        for _ in 0..most {
            let Some(digit) = rest.peek().and_then(|c| c.to_digit(radix)) else { break };
            rest.next();
            number = Some(number.unwrap_or(0) * radix + digit);
        }
        number.and_then(char::from_u32)
    };
    if rest.peek()?.is_digit(8) {
        return digits(rest, 8, 3);
    }
    match rest.next()? {
        'n' => Some('\n'),
        't' => Some('\t'),
        'r' => Some('\r'),
        'a' => Some('\x07'),
        'b' => Some('\x08'),
        'f' => Some('\x0c'),
        'v' => Some('\x0b'),
        'x' => digits(rest, 16, 2).or(Some('x')),
        'u' => digits(rest, 16, 4).or(Some('u')),
        other => Some(other),
    }
}

#[cfg(test)]
mod tests {
    use super::list;

    #[test]
    fn words_are_what_tcl_makes_of_them() {
        let cases: &[(&str, &[&str])] = &[
            ("", &[]),
            ("ok {a b} 12", &["ok", "a b", "12"]),
            ("  ok\t{}  0 ", &["ok", "", "0"]),
            ("err {a {b} \\} c}", &["err", "a {b} \\} c"]),
            (r"err a\ b\{\n\x41\101 c", &["err", "a b{\nAA", "c"]),
            (r#"err "a b\" c" d"#, &["err", "a b\" c", "d"]),
            ("err {open", &["err", "open"]),
            ("err \\", &["err", ""]),
        ];
        for (text, expected) in cases {
            assert_eq!(list(text), *expected, "{text:?}");
        }
    }
}
