//! One command or subcommand.

use super::flags::Flags;
use super::keys::{KeyRule, KeySpec};
use super::policy::{RequestPolicy, ResponsePolicy};
use super::table::SpecId;

/// Commands that are no writes and yet may move the replication offset: servers have a flag for
/// them, but leave it out of `COMMAND`. Source: redis `src/commands/*.json`, `MAY_REPLICATE`.
const MAY_REPLICATE: &[&str] = &["eval", "evalsha", "fcall", "pfcount", "publish", "spublish"];

/// One command or subcommand, as the server describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// Its place in its table.
    pub id: SpecId,
    /// `get`, `config|get`; as the server writes it, mostly in lower case.
    pub name: Box<str>,
    /// How many arguments, the name included: exactly so many, or if negative at least.
    pub arity: i64,
    /// Its flags.
    pub flags: Flags,
    /// Where its keys are, as the server says it.
    pub key_specs: Vec<KeySpec>,
    /// How its keys are found.
    pub key_rule: KeyRule,
    /// Which servers it must reach.
    pub request_policy: RequestPolicy,
    /// How their replies become one.
    pub response_policy: ResponsePolicy,
    /// Whether it stands for its subcommands, and is seldom a command itself.
    pub container: bool,
}

impl Spec {
    /// Completes a description by what servers don't tell.
    pub(super) fn new(
        name: Box<str>,
        arity: i64,
        told: Flags,
        key_specs: Vec<KeySpec>,
        (request_policy, response_policy): (RequestPolicy, ResponsePolicy),
    ) -> Self {
        let hidden = MAY_REPLICATE.iter().any(|known| name.eq_ignore_ascii_case(known));
        // Modules can set the hidden flag too. Only of a reading command is it likely enough that
        // they didn't.
        let module = told.any(Flags::MODULE) && !told.any(Flags::READONLY);
        let flags = if hidden || module { told | Flags::MAY_REPLICATE } else { told };
        let key_rule = KeyRule::of(&name, flags, &key_specs);
        Self {
            id: SpecId::default(),
            name,
            arity,
            flags,
            key_specs,
            key_rule,
            request_policy,
            response_policy,
            container: false,
        }
    }

    /// Whether it may change what replicas have: its reply leaves a mark for WAIT.
    pub fn may_write(&self) -> bool {
        self.flags.any(Flags::WRITE | Flags::MAY_REPLICATE)
    }

    /// Whether it changes nothing and is answered at once, so that it may as well be said twice.
    pub fn only_reads(&self) -> bool {
        self.flags.any(Flags::READONLY)
            && !self.flags.any(Flags::WRITE | Flags::MAY_REPLICATE | Flags::BLOCKING)
    }

    /// Whether a replica may answer it as well: it reads keys, and what it says means the same from
    /// any server that has them. A cursor doesn't, nor what a server knows of its own keys; and
    /// scripts are known where they were said.
    pub fn may_be_stale(&self) -> bool {
        const OWN: &[&str] = &["object", "memory", "touch", "eval", "debug"];
        self.only_reads()
            && self.key_rule != KeyRule::None
            && !self.name.ends_with("scan")
            && !OWN.iter().any(|own| self.name.starts_with(own))
    }

    /// Whether a request of `count` arguments, the name included, has the right number of them.
    /// Source: redis `server.c`, `commandCheckArity`.
    pub fn takes(&self, count: usize) -> bool {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        if self.arity > 0 { count == self.arity } else { count >= -self.arity }
    }

    /// The part of the name in front of `|`, or all of it.
    pub fn command_name(&self) -> &str {
        self.name.split_once('|').map_or(&self.name, |(container, _)| container)
    }

    /// The part of the name behind `|`, if it is a subcommand.
    pub fn subcommand_name(&self) -> Option<&str> {
        self.name.split_once('|').map(|(_, own)| own)
    }
}
