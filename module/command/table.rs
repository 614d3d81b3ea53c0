//! All commands that a server has.

use std::collections::HashMap;
use std::fmt;

use super::error::CommandError;
use super::flags::Flags;
use super::keys::{Begin, Find, KeySpec};
use super::names::Names;
use super::policy::{RequestPolicy, ResponsePolicy};
use super::spec::Spec;
use crate::limits;
use crate::resp::{Request, Value};

/// A command's or subcommand's place in its [`CommandTable`].
#[derive(Default, Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SpecId(u16);

impl SpecId {
    /// As an index into tables kept beside the [`CommandTable`], by the order of
    /// [`CommandTable::specs`].
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// Why bytes are no [`CommandTable`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TableError {
    /// Not one complete RESP2 reply.
    NotAReply,
    /// Another reply than an array, such as the error that is quoted.
    NotCommands(String),
    /// One command's description is not as it should be.
    BadCommand {
        /// Its name, or its place if that is what's wrong.
        which: String,
    },
    /// More than [`limits::COMMANDS_MAX`].
    TooMany(usize),
}

impl fmt::Display for TableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAReply => write!(f, "the reply to COMMAND is not one complete RESP2 reply"),
            Self::NotCommands(got) => write!(f, "the reply to COMMAND is no array: {got}"),
            Self::BadCommand { which } => {
                write!(f, "the reply to COMMAND describes {which} in a way unknown to Weir")
            }
            Self::TooMany(count) => {
                let most = limits::COMMANDS_MAX;
                write!(f, "the reply to COMMAND has {count} commands; at most {most} are possible")
            }
        }
    }
}

impl std::error::Error for TableError {}

/// All commands and subcommands that a server has.
#[derive(Clone, Debug)]
pub struct CommandTable {
    specs: Vec<Spec>,
    /// The commands.
    names: Names,
    /// The subcommands, by their container's place.
    subnames: HashMap<u16, Names>,
}

impl CommandTable {
    /// Reads a RESP2 reply to `COMMAND`.
    pub fn from_reply(reply: &[u8]) -> Result<Self, TableError> {
        let value = match Value::parse(reply) {
            Some((value, used)) if used == reply.len() => value,
            _ => return Err(TableError::NotAReply),
        };
        let Value::Array(commands) = &value else {
            return Err(TableError::NotCommands(match &value {
                Value::Error(text) => String::from_utf8_lossy(text).into_owned(),
                other => format!("{other:?}"),
            }));
        };
        let mut specs = Vec::with_capacity(commands.len() * 2);
        for (place, command) in commands.iter().enumerate() {
            read_command(command, &mut specs).ok_or_else(|| TableError::BadCommand {
                which: name_of(command).unwrap_or_else(|| format!("command {place}")),
            })?;
        }
        Self::of(specs)
    }

    /// Adds the commands and subcommands of `other` that are missing here, as those of a shard with
    /// modules that the host doesn't have. Says how many there were.
    pub fn merge_in(&mut self, other: &Self) -> Result<usize, TableError> {
        let missing: Vec<Spec> =
            other.specs.iter().filter(|spec| self.named(&spec.name).is_none()).cloned().collect();
        let count = missing.len();
        if count > 0 {
            *self = Self::of(self.specs.iter().cloned().chain(missing).collect())?;
        }
        Ok(count)
    }

    fn of(mut specs: Vec<Spec>) -> Result<Self, TableError> {
        if specs.len() > limits::COMMANDS_MAX {
            return Err(TableError::TooMany(specs.len()));
        }
        for (place, spec) in (0u16..).zip(&mut specs) {
            spec.id = SpecId(place);
        }
        let commands = (0u16..).zip(&specs).filter(|(_, spec)| spec.subcommand_name().is_none());
        let names = Names::new(commands.map(|(place, spec)| (place, &*spec.name)));
        let mut members: HashMap<u16, Vec<u16>> = HashMap::new();
        for (place, spec) in (0u16..).zip(&specs) {
            let container = spec.subcommand_name().and_then(|_| {
                names.find(spec.command_name().as_bytes(), |at| &specs[usize::from(at)].name)
            });
            if let Some(container) = container {
                members.entry(container).or_default().push(place);
            }
        }
        let own_name =
            |place: u16| (place, specs[usize::from(place)].subcommand_name().unwrap_or(""));
        let subnames = members
            .iter()
            .map(|(&container, places)| {
                (container, Names::new(places.iter().map(|&p| own_name(p))))
            })
            .collect();
        for &container in members.keys() {
            specs[usize::from(container)].container = true;
        }
        Ok(Self { specs, names, subnames })
    }

    /// The command that `request` is, if it is one and has the right number of arguments.
    pub fn check(&self, request: &Request<'_>) -> Result<SpecId, CommandError> {
        self.check_head(request, request.len())
    }

    /// As [`CommandTable::check`] for a request of which only the first arguments are there yet,
    /// but which will have `total`. A subcommand that isn't there yet is unknown.
    pub fn check_head(&self, head: &Request<'_>, total: usize) -> Result<SpecId, CommandError> {
        let id = self.find(head.get(0).unwrap_or_default(), head.get(1))?;
        if self.spec(id).takes(total) { Ok(id) } else { Err(CommandError::WrongArity(id)) }
    }

    /// The command called `name`, or its subcommand called `sub` if it is one that has any. Source:
    /// redis `server.c`, `lookupCommandLogic`.
    pub fn find(&self, name: &[u8], sub: Option<&[u8]>) -> Result<SpecId, CommandError> {
        let place = self
            .names
            .find(name, |place| &self.specs[usize::from(place)].name)
            .ok_or(CommandError::UnknownCommand)?;
        let Some(sub) = sub.filter(|_| self.specs[usize::from(place)].container) else {
            return Ok(SpecId(place));
        };
        let own_name =
            |place: u16| self.specs[usize::from(place)].subcommand_name().unwrap_or_default();
        self.subnames
            .get(&place)
            .and_then(|names| names.find(sub, own_name))
            .map(SpecId)
            .ok_or(CommandError::UnknownSubcommand)
    }

    /// The spec with a full name such as `get` or `config|get`.
    pub fn named(&self, full_name: &str) -> Option<&Spec> {
        let (name, sub) = match full_name.split_once('|') {
            Some((name, sub)) => (name, Some(sub)),
            None => (full_name, None),
        };
        let id = self.find(name.as_bytes(), sub.map(str::as_bytes)).ok()?;
        // A name that has no subcommands is found whatever subcommand is asked for.
        Some(self.spec(id)).filter(|spec| spec.subcommand_name().is_some() == sub.is_some())
    }

    /// The spec at a place that this table gave out.
    pub fn spec(&self, id: SpecId) -> &Spec {
        &self.specs[id.index()]
    }

    /// All commands and subcommands, in the order of their [`SpecId::index`].
    pub fn specs(&self) -> &[Spec] {
        &self.specs
    }
}

/// No request has more arguments; and any such number can be negated.
const ARITY_MAX: u64 = limits::REQUEST_ARGS_MAX.unsigned_abs();

fn name_of(command: &Value) -> Option<String> {
    let name = command.as_array()?.first()?.as_bytes()?;
    String::from_utf8(name.to_vec()).ok()
}

/// One command and then its subcommands. Source of the layout: redis `server.c`,
/// `addReplyCommandInfo`.
fn read_command(command: &Value, specs: &mut Vec<Spec>) -> Option<()> {
    let [_, arity, flags, _first, _last, _step, _categories, tips, key_specs, subcommands, ..] =
        command.as_array()?
    else {
        return None;
    };
    let name = name_of(command)?;
    let flags = flags.as_array()?.iter().filter_map(Value::as_bytes).map(Flags::named);
    let flags = flags.fold(Flags::NONE, |all, flag| all | flag);
    let key_specs = key_specs.as_array()?.iter().map(read_key_spec).collect::<Option<Vec<_>>>()?;
    let arity = arity.as_int().filter(|arity| arity.abs_diff(0) <= ARITY_MAX)?;
    specs.push(Spec::new(name.into(), arity, flags, key_specs, read_tips(tips)?));
    subcommands.as_array()?.iter().try_for_each(|sub| read_command(sub, specs))
}

fn read_tips(tips: &Value) -> Option<(RequestPolicy, ResponsePolicy)> {
    let (mut request, mut response) = Default::default();
    for tip in tips.as_array()?.iter().filter_map(Value::as_bytes) {
        if let Some(name) = tip.strip_prefix(b"request_policy:") {
            request = RequestPolicy::named(name);
        } else if let Some(name) = tip.strip_prefix(b"response_policy:") {
            response = ResponsePolicy::named(name);
        }
    }
    Some((request, response))
}

fn read_key_spec(spec: &Value) -> Option<KeySpec> {
    let flags = field(spec, b"flags")?.as_array()?;
    let has = |flag: &[u8]| flags.iter().any(|value| value.as_bytes() == Some(flag));
    Some(KeySpec {
        begin: read_begin(field(spec, b"begin_search")?)?,
        find: read_find(field(spec, b"find_keys")?)?,
        not_key: has(b"not_key"),
        incomplete: has(b"incomplete"),
    })
}

fn read_begin(begin: &Value) -> Option<Begin> {
    let of = field(begin, b"spec")?;
    Some(match field(begin, b"type")?.as_bytes()? {
        b"index" => Begin::Index(number(of, b"index")?),
        b"keyword" => Begin::Keyword {
            word: field(of, b"keyword")?.as_bytes()?.into(),
            from: field(of, b"startfrom")?.as_int().filter(|&from| from != 0)?,
        },
        _ => Begin::Unknown,
    })
}

fn read_find(find: &Value) -> Option<Find> {
    let of = field(find, b"spec")?;
    Some(match field(find, b"type")?.as_bytes()? {
        b"range" => Find::Range {
            last: field(of, b"lastkey")?.as_int()?,
            step: number(of, b"keystep").filter(|&step| step > 0)?,
            limit: number(of, b"limit")?,
        },
        b"keynum" => Find::KeyNum {
            at: number(of, b"keynumidx")?,
            first: number(of, b"firstkey")?,
            step: number(of, b"keystep").filter(|&step| step > 0)?,
        },
        _ => Find::Unknown,
    })
}

/// What follows `name` in a flat list of names and values.
fn field<'a>(pairs: &'a Value, name: &[u8]) -> Option<&'a Value> {
    let mut pairs = pairs.as_array()?.chunks_exact(2);
    pairs.find(|pair| pair[0].as_bytes() == Some(name)).map(|pair| &pair[1])
}

/// A place or a distance in a request: not so large that adding two of them could overflow.
fn number(pairs: &Value, name: &[u8]) -> Option<usize> {
    let number = field(pairs, name)?.as_int()?;
    usize::try_from(number).ok().filter(|_| number <= limits::REQUEST_ARGS_MAX)
}
