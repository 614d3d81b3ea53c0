//! One server: its folder, port, log, life and death.
//!
//! A server gets a folder of its own, with its configuration, its log and its data in it, and a
//! port that stays the same however often it is killed and started again, since that is what its
//! replicas and Weir know of it. What it prints before it can log, and what a module prints when it
//! dies, goes to the log as well.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::child::Child;
use crate::client::{Client, Value};
use crate::folder::Folder;
use crate::network::Place;
use crate::ports;
use crate::servers::{Flavor, Server};

/// How long a server may take to answer its first PING: with a module and a large append-only file
/// on a busy machine.
const START: Duration = Duration::from_secs(30);

/// How often another port is tried when somebody else was quicker.
const PORTS_TRIED: u32 = 20;

/// A server to be: see [`Proc::of`].
#[derive(Clone, Debug)]
pub struct Plan {
    server: Server,
    place: Place,
    port: Option<u16>,
    lines: Vec<String>,
    arguments: Vec<String>,
}

impl Plan {
    /// A line of configuration.
    #[must_use]
    pub fn line(mut self, line: impl Into<String>) -> Plan {
        self.lines.push(line.into());
        self
    }

    /// More lines of configuration.
    #[must_use]
    pub fn lines<L: AsRef<str>>(mut self, lines: &[L]) -> Plan {
        self.lines.extend(lines.iter().map(|line| line.as_ref().to_owned()));
        self
    }

    /// An argument of the program, after the file with the configuration.
    #[must_use]
    pub fn argument(mut self, argument: impl Into<String>) -> Plan {
        self.arguments.push(argument.into());
        self
    }

    /// Where it runs; on 127.0.0.1 if nothing is said.
    #[must_use]
    pub fn place(mut self, place: Place) -> Plan {
        self.place = place;
        self
    }

    /// Its port; one that is free if nothing is said.
    #[must_use]
    pub fn port(mut self, port: u16) -> Plan {
        self.port = Some(port);
        self
    }

    /// Starts it.
    ///
    /// # Panics
    /// If it doesn't answer within half a minute; with the end of its log.
    #[track_caller]
    pub fn start(self) -> Proc {
        let program = self.server.program.clone();
        match self.try_start() {
            Ok(started) => started,
            Err(NotStarted(log)) => panic!("{} did not start:\n{log}", program.display()),
        }
    }

    /// Like [`Plan::start`], for a configuration that a server is expected to refuse.
    pub fn try_start(self) -> Result<Proc, NotStarted> {
        if let Some(port) = self.port {
            return self.start_on(port);
        }
        for _ in 1..PORTS_TRIED {
            match self.start_on(ports::free()) {
                Err(NotStarted(log)) if log.contains("Failed listening on port") => {}
                other => return other,
            }
        }
        self.start_on(ports::free())
    }

    fn start_on(&self, port: u16) -> Result<Proc, NotStarted> {
        let folder = Folder::new();
        let mut config = format!(
            "bind {}\nport {port}\ndir {}\nsave \"\"\nenable-debug-command local\n\
             repl-diskless-sync-delay 0\n",
            self.place.ip(),
            folder.path().display()
        );
        if !self.place.is_local() {
            config.push_str("protected-mode no\n");
        }
        for line in &self.lines {
            config.push_str(line);
            config.push('\n');
        }
        let started = Proc { plan: self.clone(), port, child: Mutex::new(None), folder };
        fs::write(started.path("server.conf"), config)
            .map_err(|error| NotStarted(format!("server.conf: {error}")))?;
        started.try_run().map(|()| started)
    }
}

/// A running server, or one that was killed and can be started again.
///
/// All methods take `&self`, so that a test can kill a server while its other threads use it.
#[derive(Debug)]
pub struct Proc {
    plan: Plan,
    port: u16,
    child: Mutex<Option<Child>>,
    // After `child`: fields are dropped in this order, and the server goes before its folder.
    folder: Folder,
}

/// Why a server did not start: the end of its log.
#[derive(Debug)]
pub struct NotStarted(pub String);

impl Proc {
    /// The plan of a server: 127.0.0.1, a free port, no snapshots.
    pub fn of(server: &Server) -> Plan {
        Plan {
            server: server.clone(),
            place: Place::local(),
            port: None,
            lines: Vec::new(),
            arguments: Vec::new(),
        }
    }

    /// Starts a server with these lines of configuration added to the lab's own.
    ///
    /// # Panics
    /// If it doesn't answer within half a minute; with the end of its log.
    #[track_caller]
    pub fn start<L: AsRef<str>>(server: &Server, lines: &[L]) -> Proc {
        Proc::of(server).lines(lines).start()
    }

    /// Like [`Proc::start`], for a configuration that a server is expected to refuse.
    pub fn try_start<L: AsRef<str>>(server: &Server, lines: &[L]) -> Result<Proc, NotStarted> {
        Proc::of(server).lines(lines).try_start()
    }

    /// Kills the server if it runs, and starts it again: same port, folder and configuration.
    ///
    /// # Panics
    /// If it doesn't answer within half a minute; with the end of its log.
    #[track_caller]
    pub fn restart(&self) {
        self.kill9();
        if let Err(NotStarted(log)) = self.try_run() {
            panic!("{} did not start again:\n{log}", self.plan.server.program.display());
        }
    }

    /// Runs the program and waits until it is this one, and no stranger on the same port, that
    /// answers.
    fn try_run(&self) -> Result<(), NotStarted> {
        let log = self.path("log");
        let program = &self.plan.server.program;
        let fail = |error| NotStarted(format!("{}: {error}", program.display()));
        let output = File::options().create(true).append(true).open(log).map_err(fail)?;
        let mut command = self.plan.place.command(program);
        command
            .arg(self.path("server.conf"))
            .args(&self.plan.arguments)
            .current_dir(self.folder.path())
            .stdin(std::process::Stdio::null())
            .stdout(output.try_clone().map_err(fail)?)
            .stderr(output);
        let child = Child::spawn(command).map_err(fail)?;
        let pid = child.pid().to_string();
        let answers = || {
            let mut client = Client::try_connect(&self.address()).ok()?;
            let reply = client.try_call(&["INFO", "server"]).ok()?;
            (field_of(&reply.text(), "process_id")? == pid).then_some(())?;
            (client.try_call(&["PING"]).ok()?.error_text().is_none()).then_some(true)
        };
        let up = crate::within(START, || answers().or_else(|| child.ended().map(|_| false)));
        *self.child.lock().unwrap_or_else(PoisonError::into_inner) = Some(child);
        if up == Some(true) { Ok(()) } else { Err(NotStarted(self.log_end())) }
    }

    pub fn flavor(&self) -> Flavor {
        self.plan.server.flavor
    }

    pub fn server(&self) -> &Server {
        &self.plan.server
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where it runs.
    pub fn place(&self) -> &Place {
        &self.plan.place
    }

    /// `127.0.0.1:port`, or where else its place is.
    pub fn address(&self) -> String {
        format!("{}:{}", self.plan.place.ip(), self.port)
    }

    /// Its folder: `server.conf`, `log`, `appendonlydir/`.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The id of the running process; of the last one, if it was killed.
    ///
    /// # Panics
    /// Never: a `Proc` that was started once has one.
    pub fn pid(&self) -> i32 {
        self.with_child(Child::pid)
    }

    /// A new connection to it.
    ///
    /// # Panics
    /// If it doesn't answer.
    #[track_caller]
    pub fn client(&self) -> Client {
        Client::connect(&self.address())
    }

    /// Asks it one thing, on a connection of its own. For a server that may be gone, stopped or cut
    /// off: then this is an error, after a second at most.
    pub fn ask<A: AsRef<[u8]>>(&self, args: &[A]) -> io::Result<Value> {
        Client::try_connect_soon(&self.address(), Duration::from_secs(1))?.try_call(args)
    }

    /// The fields of a section of INFO, of a server that may be gone, stopped or cut off.
    pub fn try_info(&self, section: &str) -> io::Result<Info> {
        match self.ask(&["INFO", section])? {
            Value::Bulk(text) => Ok(Info(String::from_utf8_lossy(&text).into_owned())),
            other => Err(io::Error::other(format!("INFO was answered by {other:?}"))),
        }
    }

    /// `kill -9`, and waits until it is gone.
    pub fn kill9(&self) {
        self.with_child(Child::kill);
    }

    /// Whether the process has ended, by whatever.
    pub fn has_ended(&self) -> bool {
        self.with_child(|child| child.ended().is_some())
    }

    /// SIGSTOP: it keeps its connections and answers nothing.
    pub fn stop(&self) {
        self.with_child(|child| child.signal(libc::SIGSTOP));
    }

    /// SIGCONT.
    pub fn cont(&self) {
        self.with_child(|child| child.signal(libc::SIGCONT));
    }

    /// SIGTERM, and waits until it has ended by itself.
    ///
    /// # Panics
    /// If it hasn't after twenty seconds; with the end of its log.
    #[track_caller]
    pub fn term(&self) -> ExitStatus {
        self.with_child(|child| {
            child.signal(libc::SIGTERM);
            child.wait(Duration::from_secs(20))
        })
        .unwrap_or_else(|| panic!("still there after SIGTERM:\n{}", self.log_end()))
    }

    /// Whether the process exists.
    pub fn is_running(&self) -> bool {
        self.with_child(|child| child.ended().is_none())
    }

    /// All that it has logged, over all its lives.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.path("log")).unwrap_or_default()).into_owned()
    }

    /// The fields of a section of INFO.
    ///
    /// # Panics
    /// If the server doesn't answer.
    #[track_caller]
    pub fn info(&self, section: &str) -> Info {
        Info(self.client().call(&["INFO", section]).text())
    }

    fn with_child<T>(&self, f: impl FnOnce(&Child) -> T) -> T {
        let child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        f(child.as_ref().expect("set by try_run, and never taken out"))
    }

    fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    /// The last lines of its log, indented: enough to see why it ended.
    pub fn log_end(&self) -> String {
        const LINES: usize = 40;
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        let mut end = String::new();
        for line in &lines[lines.len().saturating_sub(LINES)..] {
            let _ = writeln!(end, "    {line}");
        }
        end
    }
}

/// The text of an INFO reply.
#[derive(Clone, Debug)]
pub struct Info(pub String);

impl Info {
    /// The text of a field, or `None` if there is none of that name.
    pub fn get(&self, field: &str) -> Option<&str> {
        field_of(&self.0, field)
    }

    /// The server's own version, "8.0.6": Valkey calls itself a Redis as well, of some 7.2.
    pub fn version(&self) -> &str {
        self.get("valkey_version").or_else(|| self.get("redis_version")).unwrap_or("of no version")
    }

    /// The number in a field.
    ///
    /// # Panics
    /// If there is no such field, or no number in it.
    #[track_caller]
    pub fn int(&self, field: &str) -> i64 {
        let text = self.get(field);
        match text.and_then(|text| text.parse().ok()) {
            Some(number) => number,
            None => panic!("no number '{field}' (it is {text:?}) in:\n{}", self.0),
        }
    }

    /// The numbers or words in a field like `slave0:ip=127.0.0.1,port=1,state=online`.
    pub fn part(&self, field: &str, part: &str) -> Option<&str> {
        self.get(field)?
            .split(',')
            .find_map(|pair| pair.split_once('=').filter(|(k, _)| *k == part).map(|(_, v)| v))
    }
}

fn field_of<'a>(text: &'a str, field: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))
}
