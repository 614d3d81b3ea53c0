//! What a person can ask of `make faults`.

use std::path::PathBuf;
use std::time::Duration;

use lab::servers::Flavor;

use crate::bed::Kind;
use crate::ledger::Side;

pub(crate) const USAGE: &str = "\
usage: faults [--upstream KIND] [--flavor NAME] [--failovers N | --seconds N] [--seed N] [--short]
              [--writers N] [--side endpoint|bare|both] [--restart-host] [--no-network]
              [--gap-max MS] [--picture FILE] [--host-log FILE]
  --upstream KIND    static, sentinel or cluster: who looks after the shards; static
  --flavor NAME      valkey or redis: of all servers; valkey
  --failovers N      ends after so many
  --seconds N        ends after so long instead; 60
  --seed N           of the schedule of faults; the same one gives the same faults in the same order
  --short            what CI runs: a minute in all
  --writers N        how many there are on each side; 4
  --side SIDE        who writes: the endpoint's clients, a bare client library's, or both; both
  --restart-host     the host is killed and started again, too; its clients are then disconnected
  --no-network       all servers on 127.0.0.1, and no partitions
  --gap-max MS       fails if writes fail for longer after a failover; told only, if not given
  --picture FILE     where the time line goes; target/faults-KIND-FLAVOR.svg
  --host-log FILE    where a copy of the host's log goes";

/// What a run ends after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Until {
    Failovers(usize),
    Time(Duration),
}

/// What was asked for.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) kind: Kind,
    pub(crate) flavor: Flavor,
    pub(crate) until: Until,
    pub(crate) seed: u64,
    pub(crate) writers: usize,
    pub(crate) sides: Vec<Side>,
    pub(crate) restart_host: bool,
    pub(crate) network: bool,
    pub(crate) gap_max: Option<Duration>,
    pub(crate) picture: Option<PathBuf>,
    pub(crate) host_log: Option<PathBuf>,
}

impl Options {
    /// None if it can't be made sense of.
    pub(crate) fn read(mut args: impl Iterator<Item = String>) -> Option<Options> {
        let mut options = Options {
            kind: Kind::Static,
            flavor: Flavor::Valkey,
            until: seconds(60),
            seed: 1,
            writers: 4,
            sides: Side::EACH.to_vec(),
            restart_host: false,
            network: true,
            gap_max: None,
            picture: None,
            host_log: None,
        };
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--upstream" => options.kind = Kind::named(&args.next()?)?,
                "--flavor" => {
                    let (name, known) = (args.next()?, [Flavor::Valkey, Flavor::Redis]);
                    options.flavor = known.into_iter().find(|flavor| flavor.name() == name)?;
                }
                "--failovers" => options.until = Until::Failovers(args.next()?.parse().ok()?),
                "--seconds" => options.until = seconds(args.next()?.parse().ok()?),
                "--short" => options.until = seconds(40),
                "--seed" => options.seed = args.next()?.parse().ok()?,
                "--writers" => options.writers = args.next()?.parse().ok()?,
                "--side" => {
                    let name = args.next()?;
                    let named = |side: &Side| name == "both" || name == side.option();
                    options.sides = Side::EACH.into_iter().filter(named).collect();
                }
                "--restart-host" => options.restart_host = true,
                "--no-network" => options.network = false,
                "--gap-max" => {
                    options.gap_max = Some(Duration::from_millis(args.next()?.parse().ok()?));
                }
                "--picture" => options.picture = Some(args.next()?.into()),
                "--host-log" => options.host_log = Some(args.next()?.into()),
                _ => return None,
            }
        }
        // Nobody fails static shards over: that would have no end.
        let has_end = options.kind != Kind::Static || matches!(options.until, Until::Time(_));
        (has_end && !options.sides.is_empty()).then_some(options)
    }
}

fn seconds(number: u64) -> Until {
    Until::Time(Duration::from_secs(number))
}
