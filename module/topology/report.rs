//! What a server says of itself, from the text of `INFO server replication persistence cluster`.
//!
//! Lines of `name:value`; those that nobody here needs are passed over, and one that is needed and
//! isn't there, or says something else than it should, is an error that names it. The text is gone
//! through once, since every round ends with one.

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
    /// Whether it gets the stream of writes; if not, it is still being synchronised, and isn't
    /// counted.
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
        let fields = Fields::read(info)?;
        let role = match fields.role.need()? {
            "master" => Role::Primary,
            "slave" | "replica" => Role::Replica,
            other => return Err(bad("role", other)),
        };
        Ok(Self {
            run_id: fields.run_id.need()?.to_owned(),
            version: fields.version()?,
            role,
            replid: fields.replid.need()?.to_owned(),
            replid2: fields.replid2.need()?.to_owned(),
            offset: fields.offset.number()?,
            second_offset: match fields.second_offset.need()? {
                "-1" => None,
                _ => Some(fields.second_offset.number()?),
            },
            backlog_active: fields.backlog_active.flag()?,
            aof_enabled: fields.aof_enabled.flag()?,
            loading: fields.loading.flag()?,
            cluster_enabled: fields.cluster_enabled.flag()?,
            connected_replicas: fields.connected_replicas.number()?,
            replicas: fields.replicas,
        })
    }

    /// Replicas that get the stream of writes, and are counted by WAIT.
    pub fn online(&self) -> i64 {
        self.replicas.iter().map(|replica| i64::from(replica.online)).sum()
    }
}

/// One line that may be needed: its name, and what it says if it is there.
struct Field<'a> {
    name: &'static str,
    value: Option<&'a str>,
}

impl<'a> Field<'a> {
    fn named(name: &'static str) -> Self {
        Self { name, value: None }
    }

    fn need(&self) -> Result<&'a str, ReportError> {
        self.value.ok_or(ReportError::Missing(self.name))
    }

    fn number<N: std::str::FromStr>(&self) -> Result<N, ReportError> {
        let value = self.need()?;
        value.parse().map_err(|_| bad(self.name, value))
    }

    fn flag(&self) -> Result<bool, ReportError> {
        match self.need()? {
            "0" => Ok(false),
            "1" => Ok(true),
            other => Err(bad(self.name, other)),
        }
    }
}

/// The lines of an INFO that a report is made of.
struct Fields<'a> {
    run_id: Field<'a>,
    redis_version: Field<'a>,
    valkey_version: Field<'a>,
    server_name: Field<'a>,
    role: Field<'a>,
    replid: Field<'a>,
    replid2: Field<'a>,
    offset: Field<'a>,
    second_offset: Field<'a>,
    backlog_active: Field<'a>,
    aof_enabled: Field<'a>,
    loading: Field<'a>,
    cluster_enabled: Field<'a>,
    connected_replicas: Field<'a>,
    replicas: Vec<Replica>,
}

impl<'a> Fields<'a> {
    fn read(info: &'a [u8]) -> Result<Self, ReportError> {
        let text = std::str::from_utf8(info).map_err(|_| ReportError::NotText)?;
        let mut fields = Self {
            run_id: Field::named("run_id"),
            redis_version: Field::named("redis_version"),
            valkey_version: Field::named("valkey_version"),
            server_name: Field::named("server_name"),
            role: Field::named("role"),
            replid: Field::named("master_replid"),
            replid2: Field::named("master_replid2"),
            offset: Field::named("master_repl_offset"),
            second_offset: Field::named("second_repl_offset"),
            backlog_active: Field::named("repl_backlog_active"),
            aof_enabled: Field::named("aof_enabled"),
            loading: Field::named("loading"),
            cluster_enabled: Field::named("cluster_enabled"),
            connected_replicas: Field::named("connected_slaves"),
            replicas: Vec::new(),
        };
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', info).chain(std::iter::once(info.len())) {
            // Names are short: a plain loop finds their end soonest.
            let colon = info[start..end].iter().position(|&byte| byte == b':');
            if let Some(colon) = colon {
                let (name, value) = (&text[start..start + colon], &text[start + colon + 1..end]);
                fields.take(name, value.trim_end())?;
            }
            start = end + 1;
        }
        Ok(fields)
    }

    /// Takes what one line says, if it is needed.
    fn take(&mut self, name: &str, value: &'a str) -> Result<(), ReportError> {
        let field = match name {
            "run_id" => &mut self.run_id,
            "redis_version" => &mut self.redis_version,
            "valkey_version" => &mut self.valkey_version,
            "server_name" => &mut self.server_name,
            "role" => &mut self.role,
            "master_replid" => &mut self.replid,
            "master_replid2" => &mut self.replid2,
            "master_repl_offset" => &mut self.offset,
            "second_repl_offset" => &mut self.second_offset,
            "repl_backlog_active" => &mut self.backlog_active,
            "aof_enabled" => &mut self.aof_enabled,
            "loading" => &mut self.loading,
            "cluster_enabled" => &mut self.cluster_enabled,
            "connected_slaves" => &mut self.connected_replicas,
            _ => {
                if is_replica(name) {
                    self.replicas.push(Replica::parse(value).ok_or_else(|| bad("slave", value))?);
                }
                return Ok(());
            }
        };
        field.value.get_or_insert(value);
        Ok(())
    }

    /// Valkey tells its own name and version beside the version of Redis that it is compatible
    /// with.
    fn version(&self) -> Result<String, ReportError> {
        match (self.server_name.value, self.valkey_version.value) {
            (Some(name), Some(version)) => Ok(format!("{name} {version}")),
            _ => Ok(format!("redis {}", self.redis_version.need()?)),
        }
    }
}

/// `slave0:ip=10.0.0.7,port=6379,state=online,offset=117,lag=0` and so on; newer servers add more.
fn is_replica(name: &str) -> bool {
    let number = name.strip_prefix("slave").or_else(|| name.strip_prefix("replica"));
    number.is_some_and(|n| !n.is_empty() && n.bytes().all(|byte| byte.is_ascii_digit()))
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

#[cfg(test)]
mod tests {
    use super::*;

    const INFO: &str = "# Server\r\nredis_version:7.2.4\r\nserver_name:valkey\r\n\
        valkey_version:8.0.1\r\nrun_id:r\r\nexecutable:C:\\valkey\r\n\r\n# Replication\r\n\
        role:master\r\nconnected_slaves:2\r\n\
        slave0:ip=10.0.0.7,port=6379,state=online,offset=117,lag=0,type=replica\r\n\
        slave1:ip=::1,port=6380,state=wait_bgsave,offset=0,lag=-1\r\nslave_expires:1\r\n\
        master_replid:a\r\nmaster_replid2:b\r\nmaster_repl_offset:120\r\n\
        second_repl_offset:88\r\nrepl_backlog_active:1\r\n# Persistence\r\nloading:0\r\n\
        aof_enabled:0\r\n# Cluster\r\ncluster_enabled:1";

    #[test]
    fn all_that_is_needed_is_found() {
        let replica = |address: &str, online, offset, lag| Replica {
            address: address.to_owned(),
            online,
            offset,
            lag,
        };
        let report = Report {
            run_id: "r".to_owned(),
            version: "valkey 8.0.1".to_owned(),
            role: Role::Primary,
            replid: "a".to_owned(),
            replid2: "b".to_owned(),
            offset: 120,
            second_offset: Some(88),
            backlog_active: true,
            aof_enabled: false,
            loading: false,
            cluster_enabled: true,
            connected_replicas: 2,
            replicas: vec![
                replica("10.0.0.7:6379", true, 117, 0),
                replica("[::1]:6380", false, 0, -1),
            ],
        };
        assert_eq!(Report::parse(INFO.as_bytes()), Ok(report.clone()));
        // A proxy in between may have other ideas of line ends, and of what comes first.
        let mut lines: Vec<&str> = INFO.lines().collect();
        lines.sort_unstable();
        assert_eq!(Report::parse(lines.join("\n").as_bytes()), Ok(report));
    }

    #[test]
    fn what_is_missing_or_odd_is_named() {
        let without = |line: &str| Report::parse(INFO.replace(line, "").as_bytes());
        assert_eq!(without("run_id:r\r\n"), Err(ReportError::Missing("run_id")));
        assert_eq!(without("loading:0\r\n"), Err(ReportError::Missing("loading")));
        let with = |line: &str, other: &str| Report::parse(INFO.replace(line, other).as_bytes());
        assert_eq!(with("aof_enabled:0", "aof_enabled:2"), Err(bad("aof_enabled", "2")));
        assert_eq!(with("role:master", "role:king"), Err(bad("role", "king")));
        let lag = with("lag=-1", "lag=x");
        assert!(matches!(lag, Err(ReportError::Bad { field: "slave", .. })), "{lag:?}");
        assert_eq!(Report::parse(b"run_id:\xff"), Err(ReportError::NotText));
    }
}
