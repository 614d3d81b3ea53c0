//! A server with the module in it.

use std::ops::Deref;
use std::path::PathBuf;
use std::time::Duration;

use crate::client::Client;
use crate::network::Place;
use crate::ports;
use crate::process::{Info, NotStarted, Proc};
use crate::servers::{self, Server};

/// A host to be: see [`Host::of`].
#[derive(Clone, Debug)]
pub struct Plan {
    server: Server,
    module: Option<PathBuf>,
    upstream: String,
    lines: Vec<String>,
    place: Place,
}

impl Plan {
    /// The value of `weir.upstream`.
    #[must_use]
    pub fn upstream(mut self, upstream: impl Into<String>) -> Plan {
        self.upstream = upstream.into();
        self
    }

    /// A line of configuration: `weir.threads 2`, or anything that the server knows.
    #[must_use]
    pub fn line(mut self, line: impl Into<String>) -> Plan {
        self.lines.push(line.into());
        self
    }

    /// Another module than the one of this build.
    #[must_use]
    pub fn module(mut self, path: impl Into<PathBuf>) -> Plan {
        self.module = Some(path.into());
        self
    }

    /// Where it runs; on 127.0.0.1 if nothing is said.
    #[must_use]
    pub fn place(mut self, place: Place) -> Plan {
        self.place = place;
        self
    }

    /// Starts it and waits until the endpoint answers.
    ///
    /// # Panics
    /// If it doesn't; with the end of the log.
    #[track_caller]
    pub fn start(self) -> Host {
        let program = self.server.program.clone();
        match self.try_start() {
            Ok(host) => host,
            Err(NotStarted(log)) => panic!("{} did not load Weir:\n{log}", program.display()),
        }
    }

    /// Like [`Plan::start`], for settings that are expected to be refused.
    pub fn try_start(self) -> Result<Host, NotStarted> {
        const PORTS_TRIED: u32 = 5;
        for _ in 1..PORTS_TRIED {
            match self.start_on(ports::free()) {
                Err(NotStarted(log)) if log.contains("ddress already in use") => {}
                other => return other,
            }
        }
        self.start_on(ports::free())
    }

    fn start_on(&self, port: u16) -> Result<Host, NotStarted> {
        let module = self.module.clone().unwrap_or_else(servers::module_path);
        let mut lines = vec![
            format!("loadmodule {}", module.display()),
            "appendonly no".into(),
            format!("weir.upstream \"{}\"", self.upstream),
        ];
        // A test of `weir.port` itself says its own.
        let own = self.lines.iter().find_map(|line| line.strip_prefix("weir.port "));
        let port = own.and_then(|text| text.trim().parse().ok()).unwrap_or(port);
        if own.is_none() {
            lines.push(format!("weir.port {port}"));
        }
        if !self.place.is_local() {
            lines.push(format!("weir.bind {}", self.place.ip()));
        }
        lines.extend(self.lines.iter().cloned());
        let server = Proc::of(&self.server).lines(&lines).place(self.place.clone());
        let host = Host { server: server.try_start()?, port };
        let open = port == 0
            || Client::try_connect_within(&host.endpoint(), Duration::from_secs(20)).is_some();
        if open { Ok(host) } else { Err(NotStarted(host.log())) }
    }
}

/// A running host. It is a [`Proc`] too: `host.kill9()`, `host.log()`, `host.pid()`.
#[derive(Debug)]
pub struct Host {
    server: Proc,
    port: u16,
}

impl Host {
    /// The plan of a host of this kind, with no shards named yet.
    pub fn of(server: &Server) -> Plan {
        Plan {
            server: server.clone(),
            module: None,
            upstream: String::new(),
            lines: Vec::new(),
            place: Place::local(),
        }
    }

    /// Where Weir serves clients: `127.0.0.1:port`, or where else its place is.
    pub fn endpoint(&self) -> String {
        format!("{}:{}", self.server.place().ip(), self.port)
    }

    /// The endpoint's port alone.
    pub fn endpoint_port(&self) -> u16 {
        self.port
    }

    /// A new connection to the endpoint. For one to the host itself: `host.host_client()`.
    ///
    /// # Panics
    /// If it doesn't answer.
    #[track_caller]
    pub fn client(&self) -> Client {
        Client::connect(&self.endpoint())
    }

    /// A new connection to the host's own port.
    ///
    /// # Panics
    /// If it doesn't answer.
    #[track_caller]
    pub fn host_client(&self) -> Client {
        self.server.client()
    }

    /// What Weir says of itself: `INFO weir` of the host.
    ///
    /// # Panics
    /// If the host doesn't answer.
    #[track_caller]
    pub fn info_weir(&self) -> Info {
        self.server.info("weir")
    }

    /// Kills and starts it again, and waits until the endpoint answers.
    ///
    /// # Panics
    /// If it doesn't within twenty seconds.
    #[track_caller]
    pub fn restart(&self) {
        self.server.restart();
        let answers = Client::try_connect_within(&self.endpoint(), Duration::from_secs(20));
        assert!(answers.is_some(), "the endpoint doesn't answer:\n{}", self.log());
    }
}

impl Deref for Host {
    type Target = Proc;

    fn deref(&self) -> &Proc {
        &self.server
    }
}
