//! One measurement: a row, by one way.

use std::io;
use std::time::Duration;

use lab::servers::Server;

use crate::bed::{Servers, Way};
use crate::load::{KEYS, LARGE_KEYS, Loops, Program, Served};
use crate::rows::{Row, Work};
use crate::table::Sample;

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
    pub(crate) port: u16,
    /// How long it is to take, about.
    pub(crate) seconds: f64,
}

impl Run<'_> {
    /// Measures. `rate` is what the last such run reached, in commands per second, or zero if there
    /// was none; and is what this one reached, afterwards.
    pub(crate) fn measure(&self, rate: &mut f64) -> io::Result<Sample> {
        let sample = match self.row.work {
            Work::Commands { set, pipeline, value } => {
                self.commands(set, pipeline, value, *rate)?
            }
            Work::Acknowledged { wait, together } => self.acknowledged(wait, together)?,
        };
        *rate = sample.served.per_second;
        Ok(sample)
    }

    fn commands(&self, set: bool, pipeline: u32, value: usize, rate: f64) -> io::Result<Sample> {
        let keys = if value > 1024 { LARGE_KEYS } else { KEYS };
        self.servers.fill(keys, value);
        let (server, port, clients) = (self.server, self.port, self.row.clients);
        let program = Program { server, port, set, clients, pipeline, value, keys };
        let rate = match rate {
            0.0 => program.run(ROUND_TRIPS * u64::from(pipeline))?.per_second,
            known => known,
        };
        self.beside(|| program.run((rate * self.seconds) as u64))
    }

    fn acknowledged(&self, wait: &[&str], together: bool) -> io::Result<Sample> {
        let address = format!("127.0.0.1:{}", self.port);
        let mut loops = Loops::connect(&address, self.row.clients, wait, together)?;
        loops.run(WARM_UP)?;
        self.beside(|| loops.run(Duration::from_secs_f64(self.seconds)))
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
        Ok(Sample { served, between_us, primary_us })
    }
}
