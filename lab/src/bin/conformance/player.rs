//! Plays one unit of the suite against one server.
//!
//! The suite has two halves: a program that runs the tests of a unit, and one that starts it, tells
//! it which unit, and listens to what comes of each test. This is the second half anew, because it
//! knows at any time which test is under way: so a test that hangs is named, and ended.
//!
//! ```text
//!   us                                   tclsh tests/test_helper.tcl --client PORT
//!    |  <------------------- connects -------------|
//!    |  <------------------- ready ----------------|
//!    |--------- run unit/sort -------------------->|
//!    |  <------------------- testing NAME ---------|   and then one of
//!    |  <------------------- ok NAME MS -----------|   passed
//!    |  <------------------- err TEXT -------------|   failed
//!    |  <------------------- done unit/sort -------|
//! ```
//!
//! A message is its length on a line and a Tcl list of that length. Tcl writes each line feed as
//! two bytes, and takes them for one when it reads.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use lab::child::Child;
use lab::ports;

use crate::tcl;

/// How long tclsh may take to start and to connect, on a busy machine.
const START: Duration = Duration::from_secs(30);

/// How long a test may say nothing before it counts as hung. The longest of the suite, without
/// those that are marked as slow, takes half a minute on a machine of two cores that does other
/// things too.
const PATIENCE: Duration = Duration::from_secs(120);

/// How many ports the suite has for the servers that it starts itself. Few run at a time, but it
/// goes round.
const PORTS: u16 = 200;

/// What is said of an error that no test has caught.
pub(crate) const OUTSIDE: &str = "(outside of any test)";

/// What came of one test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Passed,
    /// With what the suite, or we, have to say about it.
    Failed(String),
}

/// One test that was run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Test {
    pub(crate) name: String,
    pub(crate) outcome: Outcome,
}

/// How a unit ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Done,
    /// In the last of its tests, which is among those that failed.
    Stuck,
}

/// Which unit is to be played, and how.
pub(crate) struct Play<'a> {
    /// A copy of the suite that nobody else uses.
    pub(crate) tree: &'a Path,
    /// The server that there is; none if the suite is to start servers itself.
    pub(crate) port: Option<u16>,
    pub(crate) unit: &'a str,
    /// More options of the suite's own: `--cluster-mode`.
    pub(crate) options: &'a [&'a str],
    /// Tests to leave out, by name.
    pub(crate) without: &'a [String],
}

impl Play<'_> {
    /// Plays it, and returns what came of each test, in order.
    ///
    /// # Errors
    /// If there is no tclsh, or it doesn't do what it should before the first test.
    pub(crate) fn run(&self) -> io::Result<(Vec<Test>, End)> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let runner = self.start_runner(listener.local_addr()?.port())?;
        let stream = accept(&listener, &runner)?;
        let mut hall = Hall::new(stream);
        let end = hall.listen(self.unit);
        // It may have helpers of its own, which write or block in the background.
        runner.kill_group();
        let end = end?;
        Ok((hall.tests, end))
    }

    fn start_runner(&self, port: u16) -> io::Result<Child> {
        let output = File::create(self.tree.join("output"))?;
        let mut command = Command::new("tclsh");
        command
            .current_dir(self.tree)
            .arg("tests/test_helper.tcl")
            .args(["--client", &port.to_string()])
            .args(["--single", self.unit, "--durable", "--tags", "-slow"])
            .args(self.options)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output);
        match self.port {
            Some(port) => command.args(["--host", "127.0.0.1", "--port", &port.to_string()]),
            None => command
                .args(["--baseport", &ports::range(PORTS).to_string()])
                .args(["--portcount", &PORTS.to_string()]),
        };
        for name in self.without {
            command.args(["--skiptest", name]);
        }
        Child::spawn(command)
            .map_err(|error| io::Error::other(format!("tclsh (the package tcl): {error}")))
    }
}

fn accept(listener: &TcpListener, runner: &Child) -> io::Result<TcpStream> {
    listener.set_nonblocking(true)?;
    let stream = lab::within(START, || match listener.accept() {
        Ok((stream, _)) => Some(Ok(stream)),
        Err(error) if error.kind() == ErrorKind::WouldBlock => runner
            .ended()
            .map(|status| Err(io::Error::other(format!("tclsh has ended at once: {status}")))),
        Err(error) => Some(Err(error)),
    });
    let stream = stream.unwrap_or_else(|| Err(io::Error::other("tclsh doesn't connect")))?;
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Where the runner's messages are heard.
struct Hall {
    stream: TcpStream,
    /// What was received and not yet taken, with line feeds as Tcl sees them.
    text: Vec<u8>,
    /// The last byte received was a carriage return, which stands for a line feed alone.
    after_return: bool,
    tests: Vec<Test>,
    /// The test under way.
    current: Option<String>,
}

impl Hall {
    fn new(stream: TcpStream) -> Hall {
        Hall { stream, text: Vec::new(), after_return: false, tests: Vec::new(), current: None }
    }

    /// Tells the runner what to do, and listens until it has.
    fn listen(&mut self, unit: &str) -> io::Result<End> {
        loop {
            let message = match self.message() {
                Ok(message) => message,
                Err(error) if self.current.is_none() && self.tests.is_empty() => return Err(error),
                Err(error) => {
                    let text = match error.kind() {
                        ErrorKind::WouldBlock | ErrorKind::TimedOut => {
                            format!("hangs: nothing was heard for {} s", PATIENCE.as_secs())
                        }
                        _ => format!("the program that runs the tests is gone: {error}"),
                    };
                    self.close(Outcome::Failed(text));
                    return Ok(End::Stuck);
                }
            };
            let words = tcl::list(&message);
            let data = words.get(1).cloned().unwrap_or_default();
            match words.first().map_or("", String::as_str) {
                "ready" => {
                    let order = format!("run {unit}");
                    write!(self.stream, "{}\n{order}", order.len())?;
                }
                "testing" => self.current = Some(data),
                "ok" => self.close(Outcome::Passed),
                "err" => self.close(Outcome::Failed(data)),
                "exception" => {
                    self.close(Outcome::Failed(data));
                    return Ok(End::Stuck);
                }
                "done" => return Ok(End::Done),
                _ => {}
            }
        }
    }

    /// What came of the test under way.
    fn close(&mut self, outcome: Outcome) {
        let name = self.current.take().unwrap_or_else(|| OUTSIDE.to_owned());
        self.tests.push(Test { name, outcome });
    }

    fn message(&mut self) -> io::Result<String> {
        let line = loop {
            if let Some(end) = self.text.iter().position(|byte| *byte == b'\n') {
                break self.text.drain(..=end).collect::<Vec<u8>>();
            }
            self.receive()?;
        };
        let length = std::str::from_utf8(&line).ok().and_then(|text| text.trim().parse().ok());
        let length: usize = length.ok_or_else(|| {
            io::Error::other(format!("no length of a message: {}", line.escape_ascii()))
        })?;
        while self.text.len() < length {
            self.receive()?;
        }
        let message: Vec<u8> = self.text.drain(..length).collect();
        Ok(String::from_utf8_lossy(&message).into_owned())
    }

    fn receive(&mut self) -> io::Result<()> {
        let mut bytes = [0; 16 * 1024];
        let count = self.stream.read(&mut bytes)?;
        if count == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        for byte in &bytes[..count] {
            let second = std::mem::replace(&mut self.after_return, *byte == b'\r');
            match byte {
                b'\n' if second => {}
                b'\r' => self.text.push(b'\n'),
                other => self.text.push(*other),
            }
        }
        Ok(())
    }
}
