//! One measurement: a row, by one way.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use lab::servers::Server;

use crate::bed::Servers;
use crate::load::{KEYS, LARGE_KEYS, Loops, Program, Served};
use crate::results::Sample;
use crate::rows::{Beside, Command, Row, Work};
use crate::ways::Way;
use crate::{memory, mixed, paced};

/// How many round trips of the benchmark program tell how many commands the wanted time is for.
const ROUND_TRIPS: u64 = 1_000;

/// How long closed loops run before they are looked at.
const WARM_UP: Duration = Duration::from_millis(200);

/// See [`Run::measure`].
pub(crate) struct Run<'a> {
    pub(crate) server: &'a Server,
    pub(crate) servers: &'a Servers,
    pub(crate) row: &'a Row,
    pub(crate) way: Way,
    /// Where the way begins.
    pub(crate) address: SocketAddr,
    /// How long it is to take, about.
    pub(crate) seconds: f64,
    pub(crate) clients: usize,
}

impl Run<'_> {
    /// Measures. `rate` is what the last such run reached, in commands per second, or zero if there
    /// was none; and is what this one reached, afterwards.
    pub(crate) fn measure(&self, rate: &mut f64) -> io::Result<Sample> {
        match self.row.work {
            Work::Commands { command, pipeline, value } => {
                let sample = self.commands(command, pipeline, value, *rate)?;
                *rate = sample.rate().unwrap_or(0.0);
                Ok(sample)
            }
            Work::Acknowledged { wait, together } => self.acknowledged(wait, together),
            Work::Paced(per_second) => {
                let time = Duration::from_secs_f64(self.seconds);
                self.beside(|| paced::run(self.address, self.clients, per_second, time))
            }
            Work::Mixed(beside) => self.mixed(beside),
            Work::Sessions(rest) => {
                let pid = self.servers.serving(self.way);
                memory::measure(self.address, pid, self.clients, rest).map(Sample::Memory)
            }
        }
    }

    fn commands(
        &self,
        command: Command,
        pipeline: u32,
        value: usize,
        rate: f64,
    ) -> io::Result<Sample> {
        let keys = if value > 1024 { LARGE_KEYS } else { KEYS };
        self.servers.fill(keys, value);
        let (server, address, clients) = (self.server, self.address, self.clients);
        let program = Program { server, address, command, clients, pipeline, value, keys };
        let rate = match rate {
            0.0 => program.run(ROUND_TRIPS * u64::from(pipeline))?.per_second,
            known => known,
        };
        self.beside(|| program.run((rate * self.seconds) as u64))
    }

    fn acknowledged(&self, wait: &[&str], together: bool) -> io::Result<Sample> {
        let mut loops = Loops::connect(self.address, self.clients, wait, together)?;
        loops.run(WARM_UP)?;
        self.beside(|| loops.run(Duration::from_secs_f64(self.seconds)))
    }

    /// What processor time goes to the client that is looked at can't be told from what goes to the
    /// other one.
    fn mixed(&self, beside: Beside) -> io::Result<Sample> {
        let mixed = mixed::run(self.address, beside, Duration::from_secs_f64(self.seconds))?;
        Ok(Sample::Mixed { served: mixed.served, beside: mixed.beside })
    }

    /// Runs `load`, and looks what it cost.
    fn beside(&self, load: impl FnOnce() -> io::Result<Served>) -> io::Result<Sample> {
        let before = self.servers.run_time(self.way);
        let served = load()?;
        let after = self.servers.run_time(self.way);
        let per_command = |from: Duration, to: Duration| {
            to.saturating_sub(from).as_secs_f64() * 1e6 / served.count.max(1) as f64
        };
        let (between_us, primary_us) =
            (per_command(before.0, after.0), per_command(before.1, after.1));
        Ok(Sample::Load { served, between_us, primary_us })
    }
}
