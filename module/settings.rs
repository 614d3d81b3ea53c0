//! One row per option.
//!
//! ```text
//!            the rows below
//!                  |
//!      +-----------+------------+---------------------------+
//!      v           v            v                           v
//!  Settings   OPTIONS:      host/config.rs registers     README's table
//!  (a plain   name, kind,   one module config per row    is checked row
//!   struct)   bounds, help  and answers CONFIG GET/SET   by row by a test
//! ```
//!
//! To add an option is to add a row here and to read the field where it matters. A [`Settings`] is
//! a snapshot: whoever is given one keeps it until the next is sent, and a change by `CONFIG SET`
//! reaches the workers as a new snapshot, never as a field that changes under their hands.
//!
//! What one option alone must satisfy is in its row. What several must satisfy together, and what a
//! range can't say, is in [`Settings::check`]. The text of `upstream` is understood by
//! `shards::Upstream`; here it is only a text.

use std::fmt;
use std::time::Duration;

/// What a number counts. It decides how a user may write it and how it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Things: a port, threads, clients.
    Count,
    /// May be written as `64mb`.
    Bytes,
    Milliseconds,
    Seconds,
}

/// What kind of value an option takes, and its default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Text {
        default: &'static str,
    },
    /// `min` and `max` are allowed themselves.
    Number {
        default: i64,
        min: i64,
        max: i64,
        unit: Unit,
    },
    /// One of these words, in any case.
    Choice {
        default: &'static str,
        words: &'static [&'static str],
    },
}

/// When an option may be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Only when the module is loaded: `CONFIG SET` is refused.
    AtLoad,
    /// At any time; it holds from the next event on.
    Live,
}

/// Whether an option's value may be seen by whoever reads logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secrecy {
    Open,
    /// The host keeps it out of its log and of SLOWLOG.
    Secret,
}

/// One option, as a user meets it. The host puts `weir.` before the name.
#[derive(Clone, Copy, Debug)]
pub struct OptionRow {
    pub name: &'static str,
    pub kind: Kind,
    pub change: Change,
    pub secrecy: Secrecy,
    help: &'static str,
    load: fn(&Settings) -> Value,
    store: fn(&mut Settings, &Value),
}

/// The value of an option, whatever its field's type is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Text(String),
    /// In the unit of the option's row.
    Number(i64),
}

/// Makes [`Settings`] and [`OPTIONS`] of the rows. The documentation of a field is the help of its
/// option.
macro_rules! options {
    ($(
        $(#[doc = $help:literal])+
        $field:ident: $type:ty, $name:literal, $kind:expr, $change:ident, $secrecy:ident;
    )*) => {
        /// A snapshot of all options. [`Settings::default`] has every row's default.
        #[derive(Clone, PartialEq, Eq)]
        pub struct Settings {
            $($(#[doc = $help])+ pub $field: $type,)*
        }

        impl Default for Settings {
            fn default() -> Self {
                Self { $($field: <$type as Field>::of(&default_value($kind), $kind),)* }
            }
        }

        /// All options, in the order in which documentation lists them.
        pub static OPTIONS: &[OptionRow] = &[$(
            OptionRow {
                name: $name,
                kind: $kind,
                change: Change::$change,
                secrecy: Secrecy::$secrecy,
                help: concat!($($help),+),
                load: |settings| settings.$field.value($kind),
                store: |settings, value| settings.$field = <$type as Field>::of(value, $kind),
            },
        )*];
    };
}

/// A text option.
const fn text(default: &'static str) -> Kind {
    Kind::Text { default }
}

/// A numeric option; `min` and `max` are allowed themselves.
const fn number(default: i64, min: i64, max: i64, unit: Unit) -> Kind {
    Kind::Number { default, min, max, unit }
}

/// An option that is `yes` or `no`.
const fn yes_or_no(default: &'static str) -> Kind {
    Kind::Choice { default, words: &["yes", "no"] }
}

const MB: i64 = 1024 * 1024;
const GB: i64 = 1024 * MB;
/// Longer than any outage that a client would sit out.
const HOUR_MS: i64 = 3_600_000;

options! {
    /// The shards behind the endpoint: `static://host:port,host:port,...`, the primary of each;
    /// `sentinel://host:port,host:port/name,name`, the masters of these Sentinels; or
    /// `cluster://host:port,host:port`, a Redis Cluster, by some of its nodes. Except in a cluster,
    /// the 16384 hash slots are split evenly in that order, unless static shards name their own:
    /// `host:port=0-5460+7000`. While clients are served, only addresses may change.
    upstream: String, "upstream", text(""), Live, Open;
    /// Addresses on which clients are served, separated by spaces.
    bind: String, "bind", text("127.0.0.1"), AtLoad, Open;
    /// The endpoint's TCP port. 0: no TCP.
    port: u16, "port", number(6399, 0, 65_535, Unit::Count), AtLoad, Open;
    /// Path of a Unix socket on which clients are served too. Empty: none.
    unixsocket: String, "unixsocket", text(""), AtLoad, Open;
    /// Worker threads. One is enough until it keeps a processor core busy.
    threads: u16, "threads", number(1, 1, 64, Unit::Count), AtLoad, Open;
    /// The user as whom Weir itself logs in to the shards. Empty: the default user.
    shard_user: String, "shard-user", text(""), Live, Open;
    /// The password of `shard-user`. Empty: no login.
    shard_password: String, "shard-password", text(""), Live, Secret;
    /// The user as whom Weir logs in to Sentinels. Empty: the default user.
    sentinel_user: String, "sentinel-user", text(""), Live, Open;
    /// The password of `sentinel-user`. Empty: no login.
    sentinel_password: String, "sentinel-password", text(""), Live, Secret;
    /// Whether clients of the host's own port get the database too: what they say about data goes
    /// to the shards, as on the endpoint's port, and only administration stays with the host.
    /// `no`: they get the host's own data, and the database by `WEIR.DO` and its kin.
    intercept: bool, "intercept", yes_or_no("yes"), AtLoad, Open;
    /// The user as whom clients of the host's own port, and modules, are logged in to the shards;
    /// what each of these clients may do is the host's ACL's affair. Empty: the default user.
    intercept_user: String, "intercept-user", text(""), Live, Open;
    /// The password of `intercept-user`. Empty: no login.
    intercept_password: String, "intercept-password", text(""), Live, Secret;
    /// Client connections that the endpoint serves at a time; one more is told so and closed.
    maxclients: u32, "maxclients", number(10_000, 1, 1_000_000, Unit::Count), Live, Open;
    /// A client that sends nothing for so long is closed, unless it waits for a reply. 0: never.
    timeout: Duration, "timeout", number(0, 0, i32::MAX as i64, Unit::Seconds), Live, Open;
    /// TCP keep-alive probes to clients and shards begin after so long in silence. 0: none.
    tcp_keepalive: Duration, "tcp-keepalive", number(300, 0, 32_767, Unit::Seconds), Live, Open;
    /// How long a connection to a shard may take to open before it counts as failed.
    connect_timeout: Duration, "connect-timeout",
        number(1_000, 1, HOUR_MS, Unit::Milliseconds), Live, Open;
    /// How long a command that was not sent yet waits for its shard to come back before its client
    /// gets an error. 0: no wait.
    failover_timeout: Duration, "failover-timeout",
        number(2_000, 0, HOUR_MS, Unit::Milliseconds), Live, Open;
    /// A shard that owes Weir's own questions an answer for so long counts as dead: its connections
    /// are closed and opened again.
    shard_timeout: Duration, "shard-timeout",
        number(15_000, 100, HOUR_MS, Unit::Milliseconds), Live, Open;
    /// How often each primary is asked who its replicas are and how far they have come.
    poll_interval: Duration, "poll-interval",
        number(1_000, 10, HOUR_MS, Unit::Milliseconds), Live, Open;
    /// How many replicas each shard should have: what ALL and MAJORITY of `WEIR.WAIT` and
    /// `WEIR.WAITAOF` are counted of. 0: as many as Sentinels or a cluster's nodes name, or as Weir
    /// has ever seen there, whichever is more.
    replicas: u32, "replicas", number(0, 0, 1_000, Unit::Count), Live, Open;
    /// Who answers commands that only read keys of one shard: its primary, one of its replicas, or
    /// any of them. Where no replica is fresh enough (`replica-max-lag`), and for what the client
    /// itself has just written, it is the primary. A client may choose for itself: READONLY,
    /// READWRITE.
    read_from: ReadFrom, "read-from",
        Kind::Choice { default: "primary", words: ReadFrom::WORDS }, Live, Open;
    /// How far a replica may be behind its primary for clients to read from it.
    replica_max_lag: Duration, "replica-max-lag",
        number(1_000, 10, HOUR_MS, Unit::Milliseconds), Live, Open;
    /// Connections to one shard that clients may have to themselves at a time: in transactions, in
    /// commands that wait, and for large values. One more client gets an error. It must leave room
    /// below the shard's own `maxclients`.
    shard_pinned_max: u32, "shard-pinned-max",
        number(8_000, 1, 1_000_000, Unit::Count), Live, Open;
    /// How much of one request is held in memory where it can't be passed on as it arrives. A
    /// larger one gets an error.
    request_max: u64, "request-max", number(64 * MB, MB, GB, Unit::Bytes), Live, Open;
    /// Replies that one client may leave unread before Weir stops to read its requests. A client
    /// that sends a whole pipeline before it reads needs room for all its replies.
    client_output_max: u64, "client-output-max",
        number(64 * MB, 64 * 1024, GB, Unit::Bytes), Live, Open;
    /// How much one client's replies may hold in memory while those of earlier commands are
    /// awaited, from another shard. From half of it on, the shard's connection is not read for a
    /// while; a reply for which there is no room then becomes an error.
    reply_held_max: u64, "reply-held-max", number(64 * MB, MB, GB, Unit::Bytes), Live, Open;
    /// A client that takes nothing of a reply, while others on the same shard connection queue
    /// behind it, is closed after so long.
    client_stall_timeout: Duration, "client-stall-timeout",
        number(1_000, 10, HOUR_MS, Unit::Milliseconds), Live, Open;
    /// A client that leaves so much of its channels' messages unread is closed; a message that is
    /// larger closes all who would get it.
    pubsub_output_max: u64, "pubsub-output-max",
        number(32 * MB, 64 * 1024, GB, Unit::Bytes), Live, Open;

    // TLS. Names and defaults are those of stock servers; the shards' side is ours.

    /// The endpoint's TCP port for clients that speak TLS, beside or instead of `port`. 0: no TLS.
    tls_port: u16, "tls-port", number(0, 0, 65_535, Unit::Count), AtLoad, Open;
    /// The endpoint's certificate: a file in PEM, followed by those of intermediate authorities if
    /// there are any.
    tls_cert_file: String, "tls-cert-file", text(""), Live, Open;
    /// The private key of `tls-cert-file`: a file in PEM, not encrypted.
    tls_key_file: String, "tls-key-file", text(""), Live, Open;
    /// The certificate that Weir shows to shards, if it isn't `tls-cert-file`.
    tls_client_cert_file: String, "tls-client-cert-file", text(""), Live, Open;
    /// The private key of `tls-client-cert-file`.
    tls_client_key_file: String, "tls-client-key-file", text(""), Live, Open;
    /// The authorities that sign the certificates of clients and of shards: a file in PEM with one
    /// or more.
    tls_ca_cert_file: String, "tls-ca-cert-file", text(""), Live, Open;
    /// Whether a client must show a certificate that `tls-ca-cert-file` vouches for. `optional`: it
    /// need not show one, but one that it shows must be good.
    tls_auth_clients: AuthClients, "tls-auth-clients",
        Kind::Choice { default: "yes", words: AuthClients::WORDS }, Live, Open;
    /// The versions that clients and shards may speak, separated by spaces: `TLSv1.2`, `TLSv1.3`.
    /// Empty: both.
    tls_protocols: String, "tls-protocols", text(""), Live, Open;
    /// Whether Weir speaks TLS with the shards (not over Unix sockets). Their certificates must be
    /// signed by `tls-ca-cert-file`.
    shard_tls: bool, "shard-tls", yes_or_no("no"), AtLoad, Open;
    /// Whether Weir speaks TLS with the Sentinels. Their certificates are judged as those of
    /// shards.
    sentinel_tls: bool, "sentinel-tls", yes_or_no("no"), AtLoad, Open;
    /// Whether a shard's certificate must also name the host, or IP address, by which `upstream`
    /// calls it. `no`: any certificate of the authority will do, as between stock servers; so the
    /// authority should sign nobody else's.
    shard_tls_verify_name: bool, "shard-tls-verify-name", yes_or_no("no"), Live, Open;
}

/// Who answers reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadFrom {
    /// The primary.
    Primary,
    /// A replica.
    Replica,
    /// The primary or a replica.
    Any,
}

impl ReadFrom {
    const WORDS: &'static [&'static str] = &["primary", "replica", "any"];
}

impl Field for ReadFrom {
    fn of(value: &Value, _: Kind) -> Self {
        match value {
            Value::Text(word) if word == "replica" => Self::Replica,
            Value::Text(word) if word == "any" => Self::Any,
            _ => Self::Primary,
        }
    }
    fn value(&self, _: Kind) -> Value {
        Value::Text(Self::WORDS[*self as usize].to_owned())
    }
}

/// What is asked of a client that speaks TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthClients {
    /// A certificate, and a good one.
    Yes,
    /// Nothing.
    No,
    /// If it shows a certificate, a good one.
    Optional,
}

impl AuthClients {
    const WORDS: &'static [&'static str] = &["yes", "no", "optional"];
}

impl Field for AuthClients {
    fn of(value: &Value, _: Kind) -> Self {
        match value {
            Value::Text(word) if word == "no" => Self::No,
            Value::Text(word) if word == "optional" => Self::Optional,
            _ => Self::Yes,
        }
    }
    fn value(&self, _: Kind) -> Value {
        Value::Text(Self::WORDS[*self as usize].to_owned())
    }
}

impl Field for bool {
    fn of(value: &Value, _: Kind) -> Self {
        matches!(value, Value::Text(word) if word == "yes")
    }
    fn value(&self, _: Kind) -> Value {
        Value::Text(if *self { "yes" } else { "no" }.to_owned())
    }
}

/// How a field's type holds an option's value.
trait Field {
    /// `value` is of this kind and within its bounds.
    fn of(value: &Value, kind: Kind) -> Self;
    fn value(&self, kind: Kind) -> Value;
}

impl Field for String {
    fn of(value: &Value, _: Kind) -> Self {
        match value {
            Value::Text(text) => text.clone(),
            Value::Number(number) => number.to_string(),
        }
    }
    fn value(&self, _: Kind) -> Value {
        Value::Text(self.clone())
    }
}

/// The number in `value` as `T`: its row's bounds fit in `T`, which a test proves for all rows.
fn narrow<T: TryFrom<i64> + Default>(value: &Value) -> T {
    match value {
        Value::Number(number) => T::try_from(*number).unwrap_or_default(),
        Value::Text(_) => T::default(),
    }
}

macro_rules! number_field {
    ($($type:ty),*) => {$(
        impl Field for $type {
            fn of(value: &Value, _: Kind) -> Self {
                narrow(value)
            }
            fn value(&self, _: Kind) -> Value {
                Value::Number(i64::try_from(*self).unwrap_or(i64::MAX))
            }
        }
    )*};
}
number_field!(u16, u32, u64);

impl Field for Duration {
    fn of(value: &Value, kind: Kind) -> Self {
        match kind {
            Kind::Number { unit: Unit::Seconds, .. } => Self::from_secs(narrow(value)),
            _ => Self::from_millis(narrow(value)),
        }
    }
    fn value(&self, kind: Kind) -> Value {
        let number = match kind {
            Kind::Number { unit: Unit::Seconds, .. } => u128::from(self.as_secs()),
            _ => self.as_millis(),
        };
        Value::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

/// All options by name; a secret shows only whether it is set.
impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut all = f.debug_map();
        for row in OPTIONS {
            match (row.secrecy, row.get(self)) {
                (Secrecy::Secret, Value::Text(text)) if !text.is_empty() => {
                    all.entry(&row.name, &format_args!("(secret)"))
                }
                (_, Value::Text(text)) => all.entry(&row.name, &text),
                (_, Value::Number(number)) => all.entry(&row.name, &number),
            };
        }
        all.finish()
    }
}

fn default_value(kind: Kind) -> Value {
    match kind {
        Kind::Text { default } => Value::Text(default.to_owned()),
        Kind::Number { default, .. } => Value::Number(default),
        Kind::Choice { default, .. } => Value::Text(default.to_owned()),
    }
}

impl OptionRow {
    /// The row of `name` (without `weir.`), in any case: the host's configs have no case either.
    pub fn find(name: &str) -> Option<&'static Self> {
        OPTIONS.iter().find(|row| row.name.eq_ignore_ascii_case(name))
    }

    /// What the option does: sentences for a user, on one line.
    pub fn help(&self) -> &'static str {
        self.help.trim_start()
    }

    /// What the option is in `settings`.
    pub fn get(&self, settings: &Settings) -> Value {
        (self.load)(settings)
    }

    /// Sets the option in `settings`.
    ///
    /// # Errors
    /// The value is of another kind or out of the row's bounds; the text says which, for a user.
    /// `settings` is then as it was.
    pub fn set(&self, settings: &mut Settings, value: &Value) -> Result<(), String> {
        match (self.kind, value) {
            (Kind::Text { .. }, Value::Text(text)) => {
                if text.contains(['\0', '\r', '\n']) {
                    return Err("must be one line, without a NUL".to_owned());
                }
            }
            (Kind::Number { min, max, .. }, Value::Number(number)) => {
                if !(min..=max).contains(number) {
                    return Err(format!("must be between {min} and {max}"));
                }
            }
            (Kind::Choice { words, .. }, Value::Text(text)) => {
                let word = words.iter().find(|word| word.eq_ignore_ascii_case(text));
                let word = word.ok_or_else(|| not_one_of(words))?;
                (self.store)(settings, &Value::Text((*word).to_owned()));
                return Ok(());
            }
            (Kind::Choice { words, .. }, Value::Number(_)) => return Err(not_one_of(words)),
            (Kind::Text { .. }, Value::Number(_)) => return Err("must be a text".to_owned()),
            (Kind::Number { .. }, Value::Text(_)) => return Err("must be a number".to_owned()),
        }
        (self.store)(settings, value);
        Ok(())
    }
}

/// Source: redis `config.c`, `boolConfigSet` and `enumConfigSet`.
fn not_one_of(words: &[&str]) -> String {
    match words {
        ["yes", "no"] => "argument must be 'yes' or 'no'".to_owned(),
        _ => format!("argument(s) must be one of the following: {}", words.join(", ")),
    }
}

/// The longest path of a Unix socket, in bytes. Source: `sun_path` in `sys/un.h`, less its NUL.
const UNIX_PATH_MAX: usize = 107;

impl Settings {
    /// The addresses of `bind`.
    pub fn bind_addresses(&self) -> impl Iterator<Item = &str> {
        self.bind.split_ascii_whitespace()
    }

    /// What options must satisfy together.
    ///
    /// # Errors
    /// A sentence for the log or for who said `CONFIG SET`: which options, what is wrong, what to
    /// do.
    pub fn check(&self) -> Result<(), String> {
        if self.upstream.trim().is_empty() {
            return Err("weir.upstream is not set: say where the shards are, for example \
                 weir.upstream static://10.0.0.1:6379,10.0.0.2:6379"
                .to_owned());
        }
        let doors = self.port != 0 || self.tls_port != 0 || !self.unixsocket.is_empty();
        if !doors && !self.intercept {
            return Err(
                "weir.port is 0 and weir.unixsocket is empty: no client could connect; set \
                        one of them, or weir.tls-port, or weir.intercept to yes"
                    .to_owned(),
            );
        }
        if (self.port != 0 || self.tls_port != 0) && self.bind_addresses().next().is_none() {
            return Err("weir.bind is empty: name at least one address, or set weir.port and \
                        weir.tls-port to 0 to serve on the Unix socket only"
                .to_owned());
        }
        if self.unixsocket.len() > UNIX_PATH_MAX {
            return Err(format!(
                "weir.unixsocket is {} bytes long; the path of a Unix socket has at most \
                 {UNIX_PATH_MAX}",
                self.unixsocket.len()
            ));
        }
        for (user, password, name) in [
            (&self.shard_user, &self.shard_password, "shard"),
            (&self.intercept_user, &self.intercept_password, "intercept"),
        ] {
            if !user.is_empty() && password.is_empty() {
                return Err(format!(
                    "weir.{name}-user is set but weir.{name}-password is not: a login takes both"
                ));
            }
        }
        if self.shard_timeout <= self.poll_interval {
            return Err(format!(
                "weir.shard-timeout ({} ms) must be longer than weir.poll-interval ({} ms), or a \
                 healthy shard would count as dead",
                self.shard_timeout.as_millis(),
                self.poll_interval.as_millis()
            ));
        }
        self.check_tls()
    }

    /// What TLS needs. Whether the files are good is found out when they are read (`os/tls`).
    fn check_tls(&self) -> Result<(), String> {
        if self.tls_port != 0 && self.tls_port == self.port {
            return Err("weir.tls-port and weir.port are the same port: TLS needs one of its own"
                .to_owned());
        }
        if self.tls_port != 0 {
            if self.tls_cert_file.is_empty() {
                return Err(
                    "weir.tls-cert-file is not set: weir.tls-port needs a certificate".to_owned()
                );
            }
            if self.tls_key_file.is_empty() {
                return Err("weir.tls-key-file is not set: weir.tls-port needs the certificate's \
                            private key"
                    .to_owned());
            }
            if self.tls_auth_clients != AuthClients::No && self.tls_ca_cert_file.is_empty() {
                return Err("weir.tls-ca-cert-file is not set: clients' certificates can't be \
                            verified; set it, or weir.tls-auth-clients to no"
                    .to_owned());
            }
        }
        let dials = [(self.shard_tls, "shard"), (self.sentinel_tls, "sentinel")];
        if let Some((_, whom)) = dials.into_iter().find(|(dials, _)| *dials)
            && self.tls_ca_cert_file.is_empty()
        {
            return Err(format!(
                "weir.tls-ca-cert-file is not set: weir.{whom}-tls needs it to verify the {whom}s' \
                 certificates"
            ));
        }
        if self.tls_client_cert_file.is_empty() != self.tls_client_key_file.is_empty() {
            return Err("weir.tls-client-cert-file and weir.tls-client-key-file go together: set \
                        both or neither"
                .to_owned());
        }
        Ok(())
    }

    /// The certificate that is shown to shards, and its key: the client's own, or else the
    /// endpoint's, as stock servers do it.
    pub fn tls_client_pair(&self) -> Option<TlsPair<'_>> {
        let own = TlsPair {
            cert: ("weir.tls-client-cert-file", &self.tls_client_cert_file),
            key: ("weir.tls-client-key-file", &self.tls_client_key_file),
        };
        [own, self.tls_server_pair()].into_iter().find(|pair| !pair.cert.1.is_empty())
    }

    /// The certificate that is shown to clients, and its key.
    pub fn tls_server_pair(&self) -> TlsPair<'_> {
        TlsPair {
            cert: ("weir.tls-cert-file", &self.tls_cert_file),
            key: ("weir.tls-key-file", &self.tls_key_file),
        }
    }

    /// Whether all options about TLS are as in `other`, so that no file need be read anew.
    pub fn same_tls(&self, other: &Self) -> bool {
        OPTIONS
            .iter()
            .filter(|row| {
                ["tls-", "shard-tls", "sentinel-tls"]
                    .iter()
                    .any(|begin| row.name.starts_with(begin))
            })
            .all(|row| row.get(self) == row.get(other))
    }
}

/// A certificate and its private key: each with the option that names the file, and the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TlsPair<'a> {
    /// The certificate, with its chain.
    pub cert: (&'static str, &'a str),
    /// The private key.
    pub key: (&'static str, &'a str),
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A setting that `check` accepts.
    fn good() -> Settings {
        Settings { upstream: "static://127.0.0.1:6379".to_owned(), ..Settings::default() }
    }

    #[test]
    fn each_option_has_one_row() {
        for (index, row) in OPTIONS.iter().enumerate() {
            let again = OPTIONS[index + 1..].iter().any(|other| other.name == row.name);
            assert!(!again, "two rows for {}", row.name);
        }
    }

    #[test]
    fn each_default_is_within_its_bounds_and_in_the_default_settings() {
        let defaults = Settings::default();
        for row in OPTIONS {
            let default = default_value(row.kind);
            assert_eq!(row.set(&mut defaults.clone(), &default), Ok(()), "{}", row.name);
            assert_eq!(row.get(&defaults), default, "{}", row.name);
            assert!(row.help().ends_with('.'), "{} has no sentence", row.name);
        }
    }

    #[test]
    fn each_bound_fits_in_its_field() {
        for row in OPTIONS {
            let Kind::Number { min, max, .. } = row.kind else { continue };
            for edge in [min, max] {
                let mut settings = Settings::default();
                assert_eq!(row.set(&mut settings, &Value::Number(edge)), Ok(()));
                assert_eq!(row.get(&settings), Value::Number(edge), "{}", row.name);
            }
        }
    }

    #[test]
    fn a_value_out_of_bounds_changes_nothing() {
        for row in OPTIONS {
            let Kind::Number { min, max, .. } = row.kind else { continue };
            for beyond in [min - 1, max + 1] {
                let mut settings = good();
                let refusal = row.set(&mut settings, &Value::Number(beyond));
                assert_eq!(refusal, Err(format!("must be between {min} and {max}")));
                assert_eq!(settings, good());
            }
        }
    }

    #[test]
    fn a_value_of_another_kind_or_of_two_lines_is_refused() {
        let mut settings = good();
        let row = OptionRow::find("PORT").expect("names have no case");
        assert!(row.set(&mut settings, &Value::Text("x".to_owned())).is_err());
        let row = OptionRow::find("bind").expect("a row");
        assert!(row.set(&mut settings, &Value::Number(1)).is_err());
        assert!(row.set(&mut settings, &Value::Text("a\nb".to_owned())).is_err());
        assert_eq!(settings, good());
    }

    #[test]
    fn units_reach_the_fields() {
        let mut settings = Settings::default();
        for (name, number) in [("timeout", 17), ("poll-interval", 17)] {
            let row = OptionRow::find(name).expect("a row");
            row.set(&mut settings, &Value::Number(number)).expect("within bounds");
        }
        assert_eq!(settings.timeout, Duration::from_secs(17));
        assert_eq!(settings.poll_interval, Duration::from_millis(17));
    }

    #[test]
    fn a_choice_is_one_of_its_words_in_any_case() {
        let mut settings = good();
        let row = OptionRow::find("tls-auth-clients").expect("a row");
        assert_eq!(row.get(&settings), Value::Text("yes".to_owned()));
        for (word, choice) in [
            ("Optional", AuthClients::Optional),
            ("NO", AuthClients::No),
            ("yes", AuthClients::Yes),
        ] {
            assert_eq!(row.set(&mut settings, &Value::Text(word.to_owned())), Ok(()));
            assert_eq!(settings.tls_auth_clients, choice);
            assert_eq!(row.get(&settings), Value::Text(word.to_lowercase()));
        }
        let refusal = row.set(&mut settings, &Value::Text("maybe".to_owned())).expect_err("no");
        assert_eq!(refusal, "argument(s) must be one of the following: yes, no, optional");
        let row = OptionRow::find("shard-tls").expect("a row");
        assert_eq!(row.set(&mut settings, &Value::Text("YES".to_owned())), Ok(()));
        assert!(settings.shard_tls);
        let refusal = row.set(&mut settings, &Value::Number(1)).expect_err("no");
        assert_eq!(refusal, "argument must be 'yes' or 'no'");
    }

    #[test]
    fn changes_of_tls_are_told_from_others() {
        let other = Settings { timeout: Duration::from_secs(1), ..good() };
        assert!(good().same_tls(&other));
        let renewed = Settings { tls_key_file: "new".to_owned(), ..good() };
        assert!(!good().same_tls(&renewed));
        let renewed = Settings { shard_tls_verify_name: true, ..good() };
        assert!(!good().same_tls(&renewed));
    }

    #[test]
    fn a_secret_is_not_shown() {
        let settings = Settings { shard_password: "sesam".to_owned(), ..good() };
        let text = format!("{settings:?}");
        assert!(text.contains("\"shard-password\": (secret)"), "{text}");
        assert!(text.contains("\"port\": 6399") && !text.contains("sesam"), "{text}");
    }

    #[test]
    fn each_broken_combination_is_named() {
        type BreakIt = fn(&mut Settings);
        let cases: [(&str, BreakIt); 14] = [
            ("weir.upstream", |s| s.upstream = " ".to_owned()),
            ("weir.port", |s| (s.port, s.intercept) = (0, false)),
            ("weir.bind", |s| s.bind = "  ".to_owned()),
            ("weir.unixsocket", |s| s.unixsocket = "x".repeat(108)),
            ("weir.shard-user", |s| s.shard_user = "weir".to_owned()),
            ("weir.intercept-user", |s| s.intercept_user = "weir".to_owned()),
            ("weir.shard-timeout", |s| s.poll_interval = s.shard_timeout),
            ("weir.tls-port", |s| s.tls_port = s.port),
            ("weir.tls-cert-file", |s| s.tls_port = 1),
            ("weir.tls-key-file", |s| (s.tls_port, s.tls_cert_file) = (1, "c".to_owned())),
            ("weir.tls-ca-cert-file", |s| {
                (s.tls_port, s.tls_cert_file, s.tls_key_file) = (1, "c".to_owned(), "k".to_owned());
            }),
            ("weir.tls-ca-cert-file", |s| s.shard_tls = true),
            ("weir.tls-ca-cert-file", |s| s.sentinel_tls = true),
            ("weir.tls-client-cert-file", |s| s.tls_client_key_file = "k".to_owned()),
        ];
        assert_eq!(good().check(), Ok(()));
        for (option, break_it) in cases {
            let mut settings = good();
            break_it(&mut settings);
            let text = settings.check().expect_err(option);
            assert!(text.starts_with(option), "{text}");
        }
    }
}
