//! What a person can ask of `make bench`.

use std::path::PathBuf;

use lab::servers::Flavor;

use crate::bed::Way;
use crate::rows::{ROWS, Row};

pub(crate) const USAGE: &str = "\
usage: bench [--only NAME,...] [--ways NAME,...] [--rounds N] [--seconds S]
             [--before FILE] [--redis]
  --only NAME,...   the rows to measure; a name that is none stands for all that begin so
  --ways NAME,...   of direct, nutcracker, endpoint, host-port; the first three, if nothing is
                    said
  --rounds N        how often each row is measured by each way; ROUNDS=N does the same; 3
  --seconds S       how long each measurement takes, about; 1
  --before FILE     another build of the module, to be measured beside this one
  --redis           Redis for all servers and for the load, instead of Valkey";

/// What was asked for.
pub(crate) struct Options {
    only: Vec<String>,
    pub(crate) ways: Vec<Way>,
    pub(crate) rounds: usize,
    pub(crate) seconds: f64,
    pub(crate) before: Option<PathBuf>,
    pub(crate) flavor: Flavor,
}

impl Options {
    /// None if it can't be made sense of.
    pub(crate) fn read(mut args: impl Iterator<Item = String>) -> Option<Options> {
        let rounds = std::env::var("ROUNDS").ok().filter(|text| !text.is_empty());
        let mut options = Options {
            only: Vec::new(),
            ways: vec![Way::Direct, Way::Nutcracker, Way::Endpoint],
            rounds: rounds.map_or(Some(3), |text| text.parse().ok())?,
            seconds: 1.0,
            before: None,
            flavor: Flavor::Valkey,
        };
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--only" => options.only = args.next()?.split(',').map(str::to_owned).collect(),
                "--ways" => {
                    options.ways = args.next()?.split(',').map(way).collect::<Option<_>>()?
                }
                "--rounds" => options.rounds = args.next()?.parse().ok()?,
                "--seconds" => options.seconds = args.next()?.parse().ok()?,
                "--before" => options.before = Some(args.next()?.into()),
                "--redis" => options.flavor = Flavor::Redis,
                _ => return None,
            }
        }
        if options.before.is_some() {
            options.ways.push(Way::Before);
        }
        let sound = options.seconds > 0.0 && options.rounds > 0 && !options.rows().is_empty();
        sound.then_some(options)
    }

    /// The rows to measure.
    pub(crate) fn rows(&self) -> Vec<&'static Row> {
        let exact = |name: &str| ROWS.iter().any(|row| row.name == name);
        let wanted = |row: &Row| {
            self.only.iter().any(|name| match exact(name) {
                true => row.name == name,
                false => row.name.starts_with(name.as_str()),
            })
        };
        ROWS.iter().filter(|row| self.only.is_empty() || wanted(row)).collect()
    }
}

fn way(name: &str) -> Option<Way> {
    [Way::Direct, Way::Nutcracker, Way::Endpoint, Way::HostPort]
        .into_iter()
        .find(|way| way.to_string() == name)
}
