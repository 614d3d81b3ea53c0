//! What a server says of itself, from the text of `INFO server replication persistence cluster`.
//!
//! Lines of `name:value`; those that nobody here needs are passed over, and one that is needed and isn't
//! there, or says something else than it should, is an error that names it.

use std::fmt;

/// One INFO.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// `run_id`: a process's own, for its lifetime.
    pub run_id: String,
    /// What an operator would call it: `redis 8.0.6`, `valkey 8.1.1`.
    pub version: String,
    /// `role`.
    pub role: Role,
    /// `master_replid`.
    pub replid: String,
    /// `master_replid2`; zeros if there is none.
    pub replid2: String,
    /// `master_repl_offset`, in bytes.
    pub offset: u64,
    /// `second_repl_offset`; none where the server says -1.
    pub second_offset: Option<u64>,
    /// `repl_backlog_active`.
    pub backlog_active: bool,
    /// `aof_enabled`.
    pub aof_enabled: bool,
    /// `loading`: it reads its data from disk, and refuses most commands.
    pub loading: bool,
    /// `cluster_enabled`.
    pub cluster_enabled: bool,
    /// `connected_slaves`, those that are still being synchronised included.
    pub connected_replicas: i64,
    /// `slave0`, `slave1`, ...
    pub replicas: Vec<Replica>,
}

/// What a server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// `master`.
    Primary,
    /// `slave`: of another server.
    Replica,
}

/// One replica, as its primary sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replica {
    /// `ip:port`; a v6 address in brackets.
    pub address: String,
    /// Whether it gets the stream of writes; if not, it is still being synchronised, and isn't counted.
    pub online: bool,
    /// The offset up to which it last said to have the stream, in bytes.
    pub offset: u64,
    /// Seconds since it last said so; -1 if it never did.
    pub lag: i64,
}

/// Why a text is no report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReportError {
    /// A field that every server since 7.2 has isn't there.
    Missing(&'static str),
    /// A field says something that it should not be able to.
    Bad {
        /// Which.
        field: &'static str,
        /// What it says.
        value: String,
    },
    /// The text isn't UTF-8.
    NotText,
}

impl fmt::Display for ReportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(field) => write!(f, "its INFO has no {field}"),
            Self::Bad { field, value } => write!(f, "its INFO says {field}:{value}"),
            Self::NotText => write!(f, "its INFO is not text"),
        }
    }
}

impl std::error::Error for ReportError {}

impl Report {
    /// Reads the text of an INFO reply, without the RESP around it.
    pub fn parse(info: &[u8]) -> Result<Self, ReportError> {
        let text = std::str::from_utf8(info).map_err(|_| ReportError::NotText)?;
        let fields = Fields { text };
        let role = match fields.need("role")? {
            "master" => Role::Primary,
            "slave" | "replica" => Role::Replica,
            other => return Err(bad("role", other)),
        };
        Ok(Self {
            run_id: fields.need("run_id")?.to_owned(),
            version: fields.version()?,
            role,
            replid: fields.need("master_replid")?.to_owned(),
            replid2: fields.need("master_replid2")?.to_owned(),
            offset: fields.number("master_repl_offset")?,
            second_offset: match fields.need("second_repl_offset")? {
                "-1" => None,
                _ => Some(fields.number("second_repl_offset")?),
            },
            backlog_active: fields.flag("repl_backlog_active")?,
            aof_enabled: fields.flag("aof_enabled")?,
            loading: fields.flag("loading")?,
            cluster_enabled: fields.flag("cluster_enabled")?,
            connected_replicas: fields.number("connected_slaves")?,
            replicas: fields.replicas()?,
        })
    }

    /// Replicas that get the stream of writes, and are counted by WAIT.
    pub fn online(&self) -> i64 {
        self.replicas.iter().map(|replica| i64::from(replica.online)).sum()
    }
}

/// The lines of an INFO.
struct Fields<'a> {
    text: &'a str,
}

impl<'a> Fields<'a> {
    fn all(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.text.lines().filter_map(|line| line.trim_end().split_once(':'))
    }

    fn get(&self, field: &str) -> Option<&'a str> {
        self.all().find(|&(name, _)| name == field).map(|(_, value)| value)
    }

    fn need(&self, field: &'static str) -> Result<&'a str, ReportError> {
        self.get(field).ok_or(ReportError::Missing(field))
    }

    fn number<N: std::str::FromStr>(&self, field: &'static str) -> Result<N, ReportError> {
        let value = self.need(field)?;
        value.parse().map_err(|_| bad(field, value))
    }

    fn flag(&self, field: &'static str) -> Result<bool, ReportError> {
        match self.need(field)? {
            "0" => Ok(false),
            "1" => Ok(true),
            other => Err(bad(field, other)),
        }
    }

    /// Valkey tells its own name and version beside the version of Redis that it is compatible with.
    fn version(&self) -> Result<String, ReportError> {
        match (self.get("server_name"), self.get("valkey_version")) {
            (Some(name), Some(version)) => Ok(format!("{name} {version}")),
            _ => Ok(format!("redis {}", self.need("redis_version")?)),
        }
    }

    /// `slave0:ip=10.0.0.7,port=6379,state=online,offset=117,lag=0` and so on; newer servers add more.
    fn replicas(&self) -> Result<Vec<Replica>, ReportError> {
        let numbered = |name: &str| {
            let number = name.strip_prefix("slave").or_else(|| name.strip_prefix("replica"));
            number.is_some_and(|n| !n.is_empty() && n.bytes().all(|byte| byte.is_ascii_digit()))
        };
        let lines = self.all().filter(|&(name, _)| numbered(name));
        lines.map(|(_, value)| Replica::parse(value).ok_or_else(|| bad("slave", value))).collect()
    }
}

impl Replica {
    fn parse(value: &str) -> Option<Self> {
        let pairs = || value.split(',').filter_map(|pair| pair.split_once('='));
        let get = |field: &str| pairs().find(|&(name, _)| name == field).map(|(_, value)| value);
        let (ip, port) = (get("ip")?, get("port")?);
        let address =
            if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") };
        Some(Self {
            address,
            online: get("state")? == "online",
            offset: get("offset")?.parse().ok()?,
            lag: get("lag")?.parse().ok()?,
        })
    }
}

fn bad(field: &'static str, value: &str) -> ReportError {
    ReportError::Bad { field, value: value.to_owned() }
}
