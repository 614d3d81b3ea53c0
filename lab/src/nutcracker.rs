//! nutcracker (twemproxy), which the benchmark compares with.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::child::Child;
use crate::client::{Client, PATIENCE};
use crate::folder::Folder;
use crate::{ports, servers};

/// A running nutcracker. Dropping it ends it.
#[derive(Debug)]
pub struct Nutcracker {
    port: u16,
    child: Child,
    // After `child`: the process goes before its folder.
    _folder: Folder,
}

impl Nutcracker {
    /// Starts one in front of these servers (`host:port`), each an equal share of a ketama ring.
    ///
    /// All else is as nutcracker has it by itself: one thread, one connection to each server, and
    /// buffers of 16 KiB.
    ///
    /// # Panics
    /// If it isn't installed, or doesn't answer; with what it has logged.
    #[track_caller]
    pub fn start(addresses: &[String]) -> Nutcracker {
        let folder = Folder::new();
        let port = ports::free();
        let mut config = format!(
            "bench:\n  listen: 127.0.0.1:{port}\n  hash: fnv1a_64\n  distribution: ketama\n  \
             redis: true\n  servers:\n"
        );
        for address in addresses {
            config.push_str(&format!("   - {address}:1\n"));
        }
        let (file, log) = (folder.path().join("nutcracker.yml"), folder.path().join("log"));
        fs::write(&file, config).expect("a file can be written in our own folder");
        let output = File::create(&log).expect("a file can be made in our own folder");
        let mut command = Command::new(program());
        command
            .arg("--conf-file")
            .arg(&file)
            // Where the package has it by itself may not be ours to write to.
            .arg("--output")
            .arg(&log)
            .args(["--stats-addr", "127.0.0.1", "--stats-port", &ports::free().to_string()])
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(output);
        let child = Child::spawn(command)
            .unwrap_or_else(|error| panic!("nutcracker doesn't start: {error}"));
        let started = Nutcracker { port, child, _folder: folder };
        let answers = Client::try_connect_within(&started.address(), PATIENCE).is_some();
        assert!(
            answers && started.child.wait(Duration::ZERO).is_none(),
            "nutcracker doesn't answer:\n{}",
            fs::read_to_string(log).unwrap_or_default()
        );
        started
    }

    /// Where it serves clients.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `127.0.0.1:port`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The id of its process.
    pub fn pid(&self) -> i32 {
        self.child.pid()
    }
}

fn program() -> PathBuf {
    let program = servers::repository().join(".servers/nutcracker/nutcracker");
    assert!(program.exists(), "no nutcracker: run `tests/setup/servers.sh bench`");
    program
}
