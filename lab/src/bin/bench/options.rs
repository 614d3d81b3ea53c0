//! What a person can ask of `make bench`.

use std::env;
use std::path::PathBuf;

use lab::servers::{Flavor, repository};

use crate::rows::{Bed, ROWS, Row};
use crate::ways::{Peer, Way};

pub(crate) const USAGE: &str = "\
usage: bench [--only NAME,...] [--ways NAME,...] [--rounds N] [--seconds S] [--out DIR]
             [--primary-port N] [--before FILE] [--redis]
  --only NAME,...   the rows to measure; a name that is none stands for all that begin so
  --ways NAME,...   of direct, nutcracker, endpoint, threads-2 (an endpoint with weir.threads 2),
                    host-port, floor (who answers by itself, with one read and one write), and
                    the names of peers. If nothing is said: direct, nutcracker, endpoint and all
                    peers; set-p1, get-p1, set-p16 and get-p16 by threads-2 and floor, too, and
                    get-c1-p100, get-1k, get-16k and mget-10 by floor
  --rounds N        how often each row is measured by each way; ROUNDS=N does the same; 5. Memory
                    is looked at once
  --seconds S       how long each measurement takes, about; 1
  --out DIR         where results.md and the plots go; target/bench
  --primary-port N  the port of the primary of the first rows, for peers to be in front of;
                    BENCH_PRIMARY_PORT=N does the same
  --before FILE     another build of the module, to be measured beside this one
  --redis           Redis for all servers and for the load, instead of Valkey
environment:
  BENCH_PEERS=NAME=HOST:PORT:PID,...   other proxies, which stand in front of the primary's port
                    and run on this machine: in all rows with one primary";

/// What was asked for.
#[derive(Debug)]
pub(crate) struct Options {
    only: Vec<String>,
    /// None: as the usage says.
    ways: Option<Vec<Way>>,
    peers: Vec<Way>,
    pub(crate) rounds: usize,
    pub(crate) seconds: f64,
    pub(crate) out: PathBuf,
    pub(crate) primary_port: Option<u16>,
    pub(crate) before: Option<PathBuf>,
    pub(crate) flavor: Flavor,
}

impl Options {
    /// Reads the arguments, and of the environment what `variable` gives.
    ///
    /// # Errors
    /// What of it can't be made sense of.
    pub(crate) fn read(
        mut args: impl Iterator<Item = String>,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Options, String> {
        let variable = |name: &str| variable(name).filter(|text| !text.trim().is_empty());
        let peers = Peer::read_all(&variable("BENCH_PEERS").unwrap_or_default())
            .map_err(|error| format!("BENCH_PEERS: {error}"))?;
        let mut options = Options {
            only: Vec::new(),
            ways: None,
            // They are wanted to the end of the process.
            peers: peers.into_iter().map(|peer| Way::Peer(Box::leak(Box::new(peer)))).collect(),
            rounds: variable("ROUNDS").map_or(Ok(5), |text| number("ROUNDS", &text))?,
            seconds: 1.0,
            out: target().join("bench"),
            primary_port: None,
            before: None,
            flavor: Flavor::Valkey,
        };
        let mut port = variable("BENCH_PRIMARY_PORT").map(|text| ("BENCH_PRIMARY_PORT", text));
        let mut ways = None;
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{arg} what?"));
            match arg.as_str() {
                "--only" => options.only = value()?.split(',').map(str::to_owned).collect(),
                "--ways" => ways = Some(value()?),
                "--rounds" => options.rounds = number("--rounds", &value()?)?,
                "--seconds" => options.seconds = number("--seconds", &value()?)?,
                "--out" => options.out = value()?.into(),
                "--primary-port" => port = Some(("--primary-port", value()?)),
                "--before" => options.before = Some(value()?.into()),
                "--redis" => options.flavor = Flavor::Redis,
                _ => return Err(format!("{arg}: no such option")),
            }
        }
        options.primary_port = port.map(|(name, text)| number(name, &text)).transpose()?;
        options.ways = ways.map(|names| options.named(&names)).transpose()?;
        options.checked()
    }

    fn checked(self) -> Result<Options, String> {
        let unknown = |name: &&String| !ROWS.iter().any(|row| row.name.starts_with(name.as_str()));
        if let Some(name) = self.only.iter().find(unknown) {
            return Err(format!("--only {name}: no row begins so"));
        }
        if self.rounds == 0 || !self.seconds.is_finite() || self.seconds <= 0.0 {
            return Err("rounds and seconds must be more than nothing".into());
        }
        if self.primary_port == Some(0) {
            return Err("the primary's port can't be 0".into());
        }
        if self.rows().iter().all(|row| self.ways(row).is_empty()) {
            return Err("none of these rows can be measured by any of these ways".into());
        }
        Ok(self)
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

    /// Those of one bed.
    pub(crate) fn rows_of(&self, bed: Bed) -> Vec<&'static Row> {
        self.rows().into_iter().filter(|row| row.bed == bed).collect()
    }

    /// The ways to measure this row by.
    pub(crate) fn ways(&self, row: &Row) -> Vec<Way> {
        let all = [Way::Direct, Way::Nutcracker, Way::Endpoint];
        let all = || all.iter().chain(&self.peers).chain(row.more).copied().collect();
        let before = self.before.as_ref().map(|_| Way::Before);
        let ways: Vec<Way> = self.ways.clone().unwrap_or_else(all);
        ways.into_iter().chain(before).filter(|way| row.takes(*way)).collect()
    }

    fn named(&self, names: &str) -> Result<Vec<Way>, String> {
        // Only `--before` says where that is.
        let named = Way::NAMED.into_iter().filter(|way| *way != Way::Before);
        let known: Vec<Way> = named.chain(self.peers.iter().copied()).collect();
        let mut ways = Vec::new();
        for name in names.split(',') {
            let way = known.iter().find(|way| way.name() == name);
            let way = way.ok_or_else(|| format!("--ways {name}: no such way"))?;
            if !ways.contains(way) {
                ways.push(*way);
            }
        }
        Ok(ways)
    }
}

fn number<T: std::str::FromStr>(name: &str, text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{name} {text}: no such number"))
}

/// Where cargo puts what it builds.
fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| repository().join("target"), PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(args: &str, environment: &[(&str, &str)]) -> Result<Options, String> {
        let value = |name: &str| environment.iter().find(|(known, _)| *known == name);
        Options::read(args.split_whitespace().map(str::to_owned), |name| {
            value(name).map(|(_, value)| (*value).to_owned())
        })
    }

    fn row(name: &str) -> &'static Row {
        ROWS.iter().find(|row| row.name == name).expect("there is such a row")
    }

    #[test]
    fn a_row_has_the_ways_that_make_sense() {
        let peers = [("BENCH_PEERS", "other=127.0.0.1:7000:1")];
        let names = |options: &Options, name: &str| {
            let ways = options.ways(row(name));
            ways.iter().map(|way| way.name()).collect::<Vec<_>>().join(" ")
        };
        let all = read("", &peers).unwrap();
        assert_eq!(names(&all, "set-p1"), "direct nutcracker endpoint other threads-2 floor");
        assert_eq!(names(&all, "mget-10"), "direct nutcracker endpoint other floor");
        assert_eq!(names(&all, "get-p100"), "direct nutcracker endpoint other");
        assert_eq!(names(&all, "set-p16-two"), "direct nutcracker endpoint");
        assert_eq!(names(&all, "wait-c1"), "direct endpoint");
        assert_eq!(names(&all, "memory-idle"), "direct nutcracker endpoint");
        let some = read("--ways endpoint,other,endpoint,floor", &peers).unwrap();
        assert_eq!(names(&some, "get-p100"), "endpoint other floor");
        assert_eq!(names(&some, "wait-c1"), "endpoint");
        let before = read("--ways direct --before x.so", &[]).unwrap();
        assert_eq!(names(&before, "set-p1"), "direct before");
    }

    #[test]
    fn rows_are_found_by_name_and_by_how_names_begin() {
        let names = |args| {
            let options = read(args, &[]).unwrap();
            options.rows().iter().map(|row| row.name).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(names("--only set-p16"), "set-p16");
        assert_eq!(names("--only wait-,mget"), "mget-10 wait-c1 wait-c50 wait-c500");
        assert_eq!(names("").split(' ').count(), ROWS.len());
    }

    #[test]
    fn the_environment_is_read_and_arguments_go_first() {
        let options = read("", &[("ROUNDS", "2"), ("BENCH_PRIMARY_PORT", "7000")]).unwrap();
        assert_eq!((options.rounds, options.primary_port), (2, Some(7000)));
        let environment = [("ROUNDS", ""), ("BENCH_PRIMARY_PORT", "7000")];
        let options = read("--primary-port 7001", &environment).unwrap();
        assert_eq!((options.rounds, options.primary_port), (5, Some(7001)));
    }

    #[test]
    fn what_makes_no_sense_is_told() {
        for (args, environment, what) in [
            ("--only nothing", ("", ""), "--only nothing"),
            ("--ways nowhere", ("", ""), "--ways nowhere"),
            ("--ways before", ("", ""), "--ways before"),
            ("--rounds", ("", ""), "--rounds what?"),
            ("--rounds 0", ("", ""), "more than nothing"),
            ("--seconds x", ("", ""), "--seconds x"),
            ("--fast", ("", ""), "--fast"),
            ("--primary-port 70000", ("", ""), "--primary-port 70000"),
            ("--only wait-c1 --ways nutcracker", ("", ""), "none of these rows"),
            ("", ("ROUNDS", "many"), "ROUNDS many"),
            ("", ("BENCH_PEERS", "nobody"), "BENCH_PEERS: 'nobody'"),
        ] {
            let error = read(args, &[environment]).expect_err(args);
            assert!(error.contains(what), "{args}: {error}");
        }
    }
}
