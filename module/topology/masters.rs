//! Where the primaries of Sentinels' masters are.
//!
//! ```text
//!   SENTINEL MASTERS                       each master's config epoch   \
//!   SENTINEL GET-MASTER-ADDR-BY-NAME ..    where its primary is now     / one Sentinel's word
//!                                                                          |
//!   the words of all Sentinels  --the highest epoch--> what is known <-----+
//! ```
//!
//! Sentinels may contradict each other for a while: the one that leads a failover knows of the new
//! primary first, one that is cut off doesn't hear of it. Each failover has a config epoch of its
//! own, which the Sentinels number among themselves, so the word with the highest is the newest. A
//! lower one than is known is believed only of most of the Sentinels: then somebody has made them
//! forget the master and told them anew. Source: redis `sentinel.c`,
//! `sentinelGetCurrentMasterAddress` and `sentinelProcessHelloMessage`.

use crate::resp::Value;
use crate::shards::{Address, ShardMap};

/// What one Sentinel says of one master.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// Where its primary is.
    pub address: Address,
    /// Since which failover.
    pub epoch: u64,
}

/// What all Sentinels say of all masters, and what is believed.
#[derive(Clone, Debug)]
pub struct Masters {
    names: Vec<String>,
    known: Vec<Option<Word>>,
    sentinels: Vec<Sentinel>,
}

#[derive(Clone, Debug)]
struct Sentinel {
    /// By master.
    epochs: Vec<Option<u64>>,
    /// By master: how many replicas it knows, whether they are up or not.
    replicas: Vec<u32>,
    words: Vec<Option<Word>>,
}

impl Sentinel {
    /// One that has said nothing of so many masters.
    fn silent(masters: usize) -> Self {
        Self { epochs: vec![None; masters], replicas: vec![0; masters], words: vec![None; masters] }
    }
}

impl Masters {
    /// These masters, of which nothing is known yet.
    pub fn new(names: Vec<String>, sentinels: usize) -> Self {
        let known = vec![None; names.len()];
        let sentinels = vec![Sentinel::silent(names.len()); sentinels];
        Self { names, known, sentinels }
    }

    /// Other Sentinels are asked from now on: of each, which it was before, if it was any.
    pub fn ask_others(&mut self, before: &[Option<usize>]) {
        let was = |number: &Option<usize>| self.sentinels.get((*number)?).cloned();
        let silent = || Sentinel::silent(self.names.len());
        self.sentinels = before.iter().map(|b| was(b).unwrap_or_else(silent)).collect();
    }

    /// How many replicas each master should have, in the order of their shards: a Sentinel forgets
    /// none by itself (source: redis `sentinel.c`, SENTINEL RESET).
    pub fn replicas(&self) -> Vec<u32> {
        let most = |master| self.sentinels.iter().map(|said| said.replicas[master]).max();
        (0..self.names.len()).map(|master| most(master).unwrap_or(0)).collect()
    }

    /// The masters' names, in the order of their shards.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// A Sentinel can't be asked any more: its word doesn't count.
    pub fn gone(&mut self, sentinel: usize) {
        if let Some(said) = self.sentinels.get_mut(sentinel) {
            *said = Sentinel::silent(self.names.len());
        }
    }

    /// A Sentinel's reply to SENTINEL MASTERS. Returns whether it was one.
    pub fn told_masters(&mut self, sentinel: usize, reply: &Value) -> bool {
        let (Some(masters), Some(said)) = (reply.as_array(), self.sentinels.get_mut(sentinel))
        else {
            return false;
        };
        said.epochs.fill(None);
        for fields in masters.iter().filter_map(Value::as_array) {
            let field = |name: &str| {
                let mut pairs = fields.chunks_exact(2);
                let pair = pairs.find(|pair| pair[0].as_bytes() == Some(name.as_bytes()))?;
                std::str::from_utf8(pair[1].as_bytes()?).ok()
            };
            let number = field("name").and_then(|name| self.names.iter().position(|n| n == name));
            if let Some(number) = number {
                said.epochs[number] = field("config-epoch").and_then(|epoch| epoch.parse().ok());
                let replicas = field("num-slaves").and_then(|count| count.parse().ok());
                said.replicas[number] = replicas.unwrap_or(0);
            }
        }
        true
    }

    /// Its reply to SENTINEL GET-MASTER-ADDR-BY-NAME of a master. Returns whether something else is
    /// believed now.
    pub fn told_address(&mut self, sentinel: usize, master: usize, reply: &Value) -> bool {
        let Some(said) = self.sentinels.get_mut(sentinel) else {
            return false;
        };
        let (Some(&epoch), Some(word)) = (said.epochs.get(master), said.words.get_mut(master))
        else {
            return false;
        };
        let address = address_of(reply);
        *word = epoch.zip(address).map(|(epoch, address)| Word { address, epoch });
        self.decide(master)
    }

    fn decide(&mut self, master: usize) -> bool {
        let words = || self.sentinels.iter().filter_map(|said| said.words[master].as_ref());
        let Some(best) = words().max_by_key(|word| word.epoch) else {
            return false;
        };
        let said = |word: &Word| words().filter(|other| *other == word).count();
        let believed = match &self.known[master] {
            None => true,
            // Two addresses of one epoch: what is known stays as long as somebody says it.
            Some(known) if best.epoch == known.epoch => said(known) == 0,
            Some(known) => best.epoch > known.epoch || 2 * said(best) > self.sentinels.len(),
        };
        if !believed {
            return false;
        }
        let best = best.clone();
        let before = self.known[master].replace(best.clone());
        before.is_none_or(|before| before.address != best.address)
    }

    /// What is believed.
    pub fn map(&self) -> ShardMap {
        let known = self.known.iter().map(|word| word.as_ref().map(|word| word.address.clone()));
        ShardMap::of_masters(self.names.iter().cloned().zip(known).collect())
    }

    /// Whether it is known of all masters where their primaries are.
    pub fn is_complete(&self) -> bool {
        self.known.iter().all(Option::is_some)
    }
}

/// `[host, port]`.
fn address_of(reply: &Value) -> Option<Address> {
    let [host, port] = reply.as_array()? else {
        return None;
    };
    let text = |value: &Value| Some(std::str::from_utf8(value.as_bytes()?).ok()?.to_owned());
    let (host, port) = (text(host)?, text(port)?.parse::<u16>().ok()?);
    (!host.is_empty() && port != 0).then_some(Address::Tcp { host, port })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::Bulk(text.as_bytes().to_vec())
    }

    fn masters_reply(masters: &[(&str, u64)]) -> Value {
        let of = |(name, epoch): &(&str, u64)| {
            let epoch = epoch.to_string();
            let words = [
                "ip",
                "10.0.0.9",
                "name",
                *name,
                "config-epoch",
                epoch.as_str(),
                "num-slaves",
                "2",
            ];
            Value::Array(words.iter().map(|word| bulk(word)).collect())
        };
        Value::Array(masters.iter().map(of).collect())
    }

    fn tell(masters: &mut Masters, sentinel: usize, epoch: u64, port: u16) -> bool {
        assert!(masters.told_masters(sentinel, &masters_reply(&[("b", 7), ("a", epoch)])));
        let address = Value::Array(vec![bulk("10.0.0.1"), bulk(&port.to_string())]);
        masters.told_address(sentinel, 0, &address)
    }

    fn primary(masters: &Masters) -> String {
        let map = masters.map();
        let (_, shard) = map.shards().next().unwrap();
        shard.address.as_ref().map_or_else(|| "?".to_owned(), ToString::to_string)
    }

    #[test]
    fn the_newest_word_counts() {
        let mut masters = Masters::new(vec!["a".to_owned(), "b".to_owned()], 3);
        assert_eq!(primary(&masters), "?");
        assert!(tell(&mut masters, 0, 1, 6379));
        assert!(!tell(&mut masters, 1, 1, 6379));
        assert!(tell(&mut masters, 2, 2, 6380), "who leads a failover knows first");
        assert!(!tell(&mut masters, 0, 1, 6379), "others don't know yet");
        assert!(!tell(&mut masters, 0, 2, 6380));
        assert_eq!(primary(&masters), "10.0.0.1:6380");
        assert!(!masters.is_complete(), "nobody was asked about the other");
        assert_eq!(masters.replicas(), [2, 2]);
    }

    #[test]
    fn one_that_is_cut_off_is_not_believed_even_if_it_is_the_only_one() {
        let mut masters = Masters::new(vec!["a".to_owned()], 3);
        tell(&mut masters, 0, 5, 6380);
        masters.gone(0);
        assert!(!tell(&mut masters, 1, 4, 6379));
        assert_eq!(primary(&masters), "10.0.0.1:6380");
        assert!(tell(&mut masters, 2, 4, 6379), "most say so: they were set up anew");
        assert_eq!(primary(&masters), "10.0.0.1:6379");
    }

    #[test]
    fn what_is_known_stays_while_somebody_says_it() {
        let mut masters = Masters::new(vec!["a".to_owned()], 2);
        tell(&mut masters, 0, 5, 6379);
        assert!(!tell(&mut masters, 1, 5, 6380));
        assert!(tell(&mut masters, 0, 5, 6380));
    }

    #[test]
    fn what_is_no_answer_changes_nothing() {
        let mut masters = Masters::new(vec!["a".to_owned()], 1);
        tell(&mut masters, 0, 1, 6379);
        assert!(!masters.told_masters(0, &Value::Error(b"NOAUTH".to_vec())));
        assert!(!masters.told_address(0, 0, &Value::Nil));
        assert!(!masters.told_address(0, 9, &Value::Nil));
        assert!(!masters.told_masters(7, &masters_reply(&[("a", 9)])), "nobody asked it");
        assert_eq!(primary(&masters), "10.0.0.1:6379");
    }
}
