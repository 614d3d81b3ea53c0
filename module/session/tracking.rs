//! CLIENT TRACKING of one session.
//!
//! ```text
//!   CLIENT TRACKING ON OPTIN     CLIENT CACHING YES     GET k
//!   |                            |                      |
//!   every connection that the    kept here              CLIENT CACHING YES, GET k
//!   session has to a shard                              on the connection to the shard of k
//! ```
//!
//! A shard remembers by connection who has read what. So a session that tracks has connections of
//! its own, each of which is told the same; what is told to a new one is made from what is here.

use std::collections::BTreeSet;

use crate::ids::LinkId;
use crate::resp::{Request, write};

/// What a client has asked its shards to tell it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tracking {
    /// BCAST: of every key with one of the prefixes, whether it was read or not.
    pub bcast: bool,
    /// OPTIN: only of keys read by a command behind CLIENT CACHING YES.
    pub optin: bool,
    /// OPTOUT: not of keys read by a command behind CLIENT CACHING NO.
    pub optout: bool,
    /// NOLOOP: not of what the client itself changes.
    pub noloop: bool,
    /// PREFIX; none means every key.
    pub prefixes: BTreeSet<Vec<u8>>,
    /// CLIENT CACHING was said, for the next command: the connections that know it already.
    pub caching: Option<Vec<LinkId>>,
}

/// What a CLIENT TRACKING asks for, as far as the endpoint has to know it.
#[derive(Debug, PartialEq, Eq)]
pub enum Wish {
    /// Whether these options go together is for a shard to say.
    On(Tracking),
    /// No more.
    Off,
    /// With invalidations for another client.
    Redirect,
    /// It can't be read.
    Invalid,
}

impl Tracking {
    /// Reads `CLIENT TRACKING ON|OFF [REDIRECT id] [PREFIX prefix ...] [BCAST] [OPTIN] [OPTOUT]
    /// [NOLOOP]`. Source: redis `networking.c`, `clientCommand`.
    pub fn read(request: &Request<'_>) -> Wish {
        let mut told = Self::default();
        let mut redirect = false;
        let mut at = 3;
        while let Some(option) = request.get(at) {
            let is = |name: &str| option.eq_ignore_ascii_case(name.as_bytes());
            match request.get(at + 1) {
                Some(_) if is("redirect") => {
                    redirect = true;
                    at += 1;
                }
                Some(prefix) if is("prefix") => {
                    told.prefixes.insert(prefix.to_vec());
                    at += 1;
                }
                _ if is("bcast") => told.bcast = true,
                _ if is("optin") => told.optin = true,
                _ if is("optout") => told.optout = true,
                _ if is("noloop") => told.noloop = true,
                _ => return Wish::Invalid,
            }
            at += 1;
        }
        match request.arg(2) {
            on if on.eq_ignore_ascii_case(b"on") && redirect => Wish::Redirect,
            on if on.eq_ignore_ascii_case(b"on") => Wish::On(told),
            off if off.eq_ignore_ascii_case(b"off") => Wish::Off,
            _ => Wish::Invalid,
        }
    }

    /// Options replace those of before, prefixes are added to them. Source: redis `tracking.c`,
    /// `enableTracking`.
    pub fn joined_to(mut self, before: Option<&Self>) -> Self {
        let known = before.map(|before| &before.prefixes);
        self.prefixes.extend(known.into_iter().flatten().cloned());
        self
    }

    /// Appends the request that asks for all of it.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut words: Vec<&[u8]> = vec![b"CLIENT", b"TRACKING", b"ON"];
        for prefix in &self.prefixes {
            words.extend([b"PREFIX".as_slice(), prefix]);
        }
        let options = self.options().map(|(set, _, word)| set.then_some(word.as_bytes()));
        words.extend(options.into_iter().flatten());
        write::request(out, &words);
    }

    /// Each option: whether it is set, and its name in CLIENT TRACKINGINFO and in a request.
    pub fn options(&self) -> [(bool, &'static str, &'static str); 4] {
        [
            (self.bcast, "bcast", "BCAST"),
            (self.optin, "optin", "OPTIN"),
            (self.optout, "optout", "OPTOUT"),
            (self.noloop, "noloop", "NOLOOP"),
        ]
    }

    /// What is to be said in front of the next command on a connection, once.
    pub fn caching_word(&mut self, link: LinkId) -> Option<&'static str> {
        let told = self.caching.as_mut().filter(|told| !told.contains(&link))?;
        told.push(link);
        Some(if self.optin { "YES" } else { "NO" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Slab;
    use crate::resp::{Parsed, Parser};

    fn with_request<T>(line: &str, then: impl FnOnce(&Request<'_>) -> T) -> T {
        let mut bytes = Vec::new();
        write::request(&mut bytes, &line.split(' ').collect::<Vec<_>>());
        let mut parser = Parser::default();
        assert!(matches!(parser.parse(&bytes), Parsed::Complete { .. }));
        then(&Request { bytes: &bytes, args: parser.args() })
    }

    fn read(line: &str) -> Wish {
        with_request(line, Tracking::read)
    }

    #[test]
    fn what_is_told_to_a_new_connection_is_what_was_said() {
        for line in [
            "CLIENT TRACKING ON",
            "CLIENT TRACKING ON OPTIN NOLOOP",
            "CLIENT TRACKING on prefix a prefix b bcast",
        ] {
            let Wish::On(told) = read(line) else { panic!("{line}") };
            let mut bytes = Vec::new();
            told.write(&mut bytes);
            let mut parser = Parser::default();
            assert!(matches!(parser.parse(&bytes), Parsed::Complete { .. }));
            let again = Tracking::read(&Request { bytes: &bytes, args: parser.args() });
            assert_eq!(again, Wish::On(told), "{line}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_told_apart() {
        assert_eq!(read("CLIENT TRACKING OFF BCAST"), Wish::Off);
        assert_eq!(read("CLIENT TRACKING ON REDIRECT 7"), Wish::Redirect);
        for line in ["MAYBE", "ON FOO", "ON PREFIX", "ON REDIRECT", "OFF FOO"] {
            assert_eq!(read(&format!("CLIENT TRACKING {line}")), Wish::Invalid, "{line}");
        }
    }

    #[test]
    fn prefixes_add_up_and_options_do_not() {
        let before = Tracking { noloop: true, prefixes: [b"a".to_vec()].into(), ..told("b") };
        let after = told("c").joined_to(Some(&before));
        assert!(!after.noloop);
        assert_eq!(after.prefixes, [b"a".to_vec(), b"c".to_vec()].into());
    }

    fn told(prefix: &str) -> Tracking {
        let prefixes = [prefix.as_bytes().to_vec()].into();
        Tracking { bcast: true, prefixes, ..Tracking::default() }
    }

    #[test]
    fn caching_is_said_once_to_each_connection() {
        let mut links = Slab::<LinkId, ()>::default();
        let (a, b) = (links.insert(()), links.insert(()));
        let mut tracking = Tracking { optin: true, ..Tracking::default() };
        assert_eq!(tracking.caching_word(a), None);
        tracking.caching = Some(Vec::new());
        assert_eq!(tracking.caching_word(a), Some("YES"));
        assert_eq!((tracking.caching_word(b), tracking.caching_word(a)), (Some("YES"), None));
    }
}
