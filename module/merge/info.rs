//! INFO of all shards as of one server.
//!
//! ```text
//!   shard 0   # Keyspace  db0:keys=3,expires=1,avg_ttl=500 --+
//!                                                            +--> db0:keys=8,expires=4,avg_ttl=800
//!   shard 1   # Keyspace  db0:keys=5,expires=3,avg_ttl=900 --+
//!
//!   texts --read--> sections -> fields -> what each shard says --rule by name--> one text
//! ```
//!
//! Whoever reads INFO decides something by it: a client library whether the server is ready, a
//! monitor whether to wake somebody. So a field must be true of the whole, or err on the side on
//! which nobody relies on what isn't there: the smallest number of replicas, AOF only if all have
//! it, an error if any has one. What can't be true of the whole, like one shard's replication
//! offset, isn't shown; a missing field is better than a wrong one. [`rows`] says which rule is
//! whose, and why.
//!
//! Sections and fields keep the order of the shards' texts. What only some shards have is shown,
//! made of what those say; it stands behind what it follows there. Any bytes will do as a text:
//! what is no field is left out.

mod decimal;
mod ordered;
mod rows;

use decimal::{Decimal, human};
use ordered::{Cursor, Ordered};
use rows::Row;

/// What the endpoint itself knows, and puts in place of what a shard says. It is put only where a
/// shard says something: INFO of one section stays INFO of one section.
#[derive(Debug, Default, Clone)]
pub struct Own {
    /// Where clients are served; 0 if on no TCP port.
    pub tcp_port: u16,
    /// The host's process; 0 for unknown: the line is left out.
    pub process_id: u32,
    /// 40 hexadecimal digits that are others after each start; empty for unknown: the line is left
    /// out.
    pub run_id: String,
    /// Unix time in microseconds; 0 for unknown: the line is left out.
    pub wall_usec: u64,
    /// Seconds since clients are served.
    pub uptime_seconds: u64,
    /// Clients now.
    pub connected_clients: u64,
    /// Clients that wait inside a command now.
    pub blocked_clients: u64,
    /// Clients that listen to something.
    pub pubsub_clients: u64,
    /// Channels that somebody listens to.
    pub pubsub_channels: u64,
    /// Patterns that somebody listens to.
    pub pubsub_patterns: u64,
    /// Shard channels that somebody listens to.
    pub pubsubshard_channels: u64,
    /// Clients at most.
    pub maxclients: u64,
    /// Clients ever.
    pub total_connections_received: u64,
    /// Clients that were turned away because there were too many.
    pub rejected_connections: u64,
    /// Clients' commands, each counted once however many shards took part.
    pub total_commands_processed: u64,
    /// Error replies to clients.
    pub total_error_replies: u64,
    /// Bytes from clients.
    pub total_net_input_bytes: u64,
    /// Bytes to clients.
    pub total_net_output_bytes: u64,
    /// Worker threads.
    pub workers: u16,
}

/// How what the shards say becomes what the endpoint says. Rules that need numbers leave the field
/// out where a shard says something else; but what only one shard says needs no arithmetic, and
/// passes as it is.
#[derive(Debug)]
enum Rule {
    /// Left out.
    Drop,
    /// Always this, whatever shards say.
    Fixed(&'static str),
    /// The endpoint's own, if it has one.
    Own(fn(&Own) -> Option<String>),
    /// What the first shard that has the field says.
    First,
    /// What all shards that have the field say; left out if they differ.
    Same,
    /// The first that is not this one, which is what all say if nothing is the matter.
    Except(&'static str),
    /// `1` if all shards, and those without the field too, say `1`; else `0`.
    Every,
    /// `1` if any shard says `1`; else `0`.
    Any,
    /// The lowest version.
    Lowest,
    /// The sum of numbers.
    Sum,
    /// The smallest number.
    Least,
    /// The largest number.
    Most,
    /// The sum of numbers of which 0 means no limit.
    Limit,
    /// The mean, each shard with the weight that its first of these fields gives, less the others.
    Mean(&'static [&'static str]),
    /// The merged field without `_human`, in the form for people.
    Human,
    /// The quotient of two merged fields, 0 by 0.
    Per { what: &'static str, by: &'static str, decimals: u32 },
    /// Each `part=value` of the field by rows of its own.
    Each(&'static [Row]),
}

/// What one shard says of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Said<'a> {
    shard: usize,
    value: &'a [u8],
}

/// The fields of a section, or the parts of a field, each with what shards say in their order.
type Fields<'a> = Ordered<'a, Vec<Said<'a>>>;

/// Appends the INFO text of a server that is made of these shards, whose texts are answers to the
/// same INFO, in the order of the shards.
///
/// A section `# Weir` follows if that INFO was for several sections, or for none that shards know:
/// it may have been for this one.
pub fn merge_info(texts: &[&[u8]], own: &Own, out: &mut Vec<u8>) {
    let mut sections: Ordered<'_, Fields<'_>> = Ordered::default();
    for (shard, text) in texts.iter().enumerate() {
        read(text, shard, &mut sections);
    }
    let begin = out.len();
    for (title, fields) in sections.iter() {
        write_title(title, begin, out);
        let merge = Merge { fields, shards: texts.len(), own, rule_for: &rows::rule_for };
        for (name, said) in fields.iter() {
            if let Some(value) = merge.value(name, said) {
                write_field(name, &value, out);
            }
        }
    }
    if sections.iter().count() != 1 {
        write_title(b"Weir", begin, out);
        for (name, value) in [
            (&b"weir_version"[..], env!("CARGO_PKG_VERSION").to_owned()),
            (b"weir_workers", own.workers.to_string()),
            (b"weir_shards", texts.len().to_string()),
        ] {
            write_field(name, value.as_bytes(), out);
        }
    }
}

/// Adds one shard's text. Lines before the first title are a section with an empty one.
fn read<'a>(text: &'a [u8], shard: usize, sections: &mut Ordered<'a, Fields<'a>>) {
    let mut at = Cursor::default();
    let mut title: &[u8] = b"";
    let mut fields_at = Cursor::default();
    for line in text.split(|&byte| byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if let Some(next) = line.strip_prefix(b"# ") {
            title = next;
            fields_at = Cursor::default();
            sections.tell(&mut at, title);
        } else if let Some((name, value)) = field_of(line) {
            say(sections.tell(&mut at, title), &mut fields_at, name, Said { shard, value });
        }
    }
}

/// A shard that says the same name again isn't heard.
fn say<'a>(fields: &mut Fields<'a>, at: &mut Cursor, name: &'a [u8], said: Said<'a>) {
    let all = fields.tell(at, name);
    if all.last().is_none_or(|last| last.shard != said.shard) {
        all.push(said);
    }
}

/// The name and value of a line, if it is a field. All lines of modules have the same name, and are
/// told apart by what comes next.
fn field_of(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = if line.starts_with(MODULE) { b',' } else { b':' };
    split_at_byte(line, end).filter(|(name, _)| !name.is_empty())
}

const MODULE: &[u8] = b"module:name=";

fn split_at_byte(bytes: &[u8], byte: u8) -> Option<(&[u8], &[u8])> {
    let at = memchr::memchr(byte, bytes)?;
    Some((&bytes[..at], &bytes[at + 1..]))
}

/// As a stock server does, with an empty line in front of all but the first.
fn write_title(title: &[u8], begin: usize, out: &mut Vec<u8>) {
    if title.is_empty() {
        return;
    }
    if out.len() > begin {
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"# ");
    out.extend_from_slice(title);
    out.extend_from_slice(b"\r\n");
}

fn write_field(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name);
    out.push(if name.starts_with(MODULE) { b',' } else { b':' });
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// The fields of one section, or the parts of one field, on their way to one value each.
struct Merge<'m, 'a> {
    fields: &'m Fields<'a>,
    shards: usize,
    own: &'m Own,
    rule_for: &'m dyn Fn(&[u8]) -> &'static Rule,
}

impl Merge<'_, '_> {
    /// The value of the field; none if it is to be left out.
    fn value(&self, name: &[u8], said: &[Said<'_>]) -> Option<Vec<u8>> {
        let mut values = said.iter().map(|said| said.value);
        let first = said.first()?.value;
        let text = |text: &[u8]| Some(text.to_vec());
        match *(self.rule_for)(name) {
            Rule::Drop => None,
            Rule::Fixed(fixed) => text(fixed.as_bytes()),
            Rule::Own(of) => of(self.own).map(String::into_bytes),
            Rule::Every if said.len() < self.shards => text(b"0"),
            Rule::Every => text(if values.all(|value| value == b"1") { b"1" } else { b"0" }),
            Rule::Any => text(if values.any(|value| value == b"1") { b"1" } else { b"0" }),
            _ if said.len() == 1 => text(first),

            Rule::First => text(first),
            Rule::Same if values.all(|value| value == first) => text(first),
            Rule::Same => None,
            Rule::Except(usual) => {
                text(values.find(|&value| value != usual.as_bytes()).unwrap_or(first))
            }
            Rule::Lowest => values.min_by_key(|value| version(value)).and_then(text),
            Rule::Each(rows) => self.parts(rows, said),
            Rule::Human => {
                let bytes = self.merged(name.strip_suffix(b"_human")?)?.bytes()?;
                text(human(bytes).as_bytes())
            }

            Rule::Sum => written(fold(values, Decimal::plus)),
            Rule::Least => written(fold(values, |a, b| Some(if b.is_below(a) { b } else { a }))),
            Rule::Most => written(fold(values, |a, b| Some(if a.is_below(b) { b } else { a }))),
            Rule::Limit => written(fold(values, |a, b| match (a.is_zero(), b.is_zero()) {
                (true, _) => Some(a),
                (_, true) => Some(b),
                _ => a.plus(b),
            })),
            Rule::Mean(weight) => written(self.mean(weight, said)),
            Rule::Per { what, by, decimals } => {
                let by = self.merged(by.as_bytes())?;
                written(self.merged(what.as_bytes())?.per(by, decimals))
            }
        }
    }

    /// Another field's value after merging, if that is a number.
    fn merged(&self, name: &[u8]) -> Option<Decimal> {
        Decimal::parse(&self.value(name, self.fields.get(name)?)?)
    }

    fn mean(&self, weight: &[&str], said: &[Said<'_>]) -> Option<Decimal> {
        let weighted = said.iter().map(|said| {
            let of_this_shard = |field: &&str| {
                let all = self.fields.get(field.as_bytes())?;
                let this = all.iter().find(|other| other.shard == said.shard)?;
                Decimal::parse(this.value)
            };
            let (whole, less) = weight.split_first()?;
            let less = less.iter().map(of_this_shard);
            let weight = less.fold(of_this_shard(whole), |rest, less| rest?.less(less?))?;
            Some((Decimal::parse(said.value)?, weight))
        });
        Decimal::mean(&weighted.collect::<Option<Vec<_>>>()?)
    }

    /// `part=value,part=value` of several shards as of one.
    fn parts(&self, rows: &'static [Row], said: &[Said<'_>]) -> Option<Vec<u8>> {
        let mut fields = Fields::default();
        for said in said {
            let mut at = Cursor::default();
            for part in said.value.split(|&byte| byte == b',') {
                let (name, value) = split_at_byte(part, b'=')?;
                say(&mut fields, &mut at, name, Said { shard: said.shard, value });
            }
        }
        let rule_for = |name: &[u8]| rows::rule_of_part(rows, name);
        let merge =
            Merge { fields: &fields, shards: self.shards, own: self.own, rule_for: &rule_for };
        let mut text = Vec::new();
        for (name, said) in fields.iter() {
            if let Some(value) = merge.value(name, said) {
                if !text.is_empty() {
                    text.push(b',');
                }
                text.extend_from_slice(name);
                text.push(b'=');
                text.extend_from_slice(&value);
            }
        }
        (!text.is_empty()).then_some(text)
    }
}

fn written(number: Option<Decimal>) -> Option<Vec<u8>> {
    Some(number?.to_string().into_bytes())
}

/// All values folded to one, if they are numbers.
fn fold<'a>(
    values: impl Iterator<Item = &'a [u8]>,
    fold: impl Fn(Decimal, Decimal) -> Option<Decimal>,
) -> Option<Decimal> {
    let mut numbers = values.map(Decimal::parse);
    let first = numbers.next()??;
    numbers.try_fold(first, |folded, number| fold(folded, number?))
}

/// The numbers of a version, so that 8.0.10 comes behind 8.0.9.
fn version(text: &[u8]) -> Vec<u64> {
    let number = |part: &[u8]| {
        let digits = part.iter().take_while(|byte| byte.is_ascii_digit());
        digits.fold(0_u64, |n, digit| n.saturating_mul(10).saturating_add(u64::from(digit - b'0')))
    };
    text.split(|&byte| byte == b'.').map(number).collect()
}
