//! What a person can ask of `make conformance`.

use std::path::PathBuf;

use crate::bed::Way;
use crate::suite;

pub(crate) const USAGE: &str = "\
usage: conformance [--part] [--units NAME,...] [--ways WAY,...] [--jobs N] [--details FOLDER]
  --part             what CI runs: the endpoint's units but the longest, a few of the host's port
  --units NAME,...   these alone; a name stands for all that begin so
  --ways WAY,...     a number: the endpoint of so many shards; host: the host's own port; idle: a
                     server that has loaded the module and doesn't use it; 1,3,host,idle
  --jobs N           how many units are run at the same time; as many as there are processors
  --details FOLDER   writes what the suite said of each test that failed to files in there";

/// What was asked for.
pub(crate) struct Options {
    part: bool,
    units: Vec<String>,
    pub(crate) ways: Vec<Way>,
    pub(crate) jobs: usize,
    pub(crate) details: Option<PathBuf>,
}

impl Options {
    /// None if it can't be made sense of.
    pub(crate) fn read(mut args: impl Iterator<Item = String>) -> Option<Options> {
        let jobs = std::thread::available_parallelism().map_or(1, usize::from);
        let ways = vec![Way::Endpoint(1), Way::Endpoint(3), Way::Host, Way::Idle];
        let mut options = Options { part: false, units: Vec::new(), ways, jobs, details: None };
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--part" => options.part = true,
                "--units" => options.units = args.next()?.split(',').map(str::to_owned).collect(),
                "--ways" => {
                    options.ways = args.next()?.split(',').map(Way::read).collect::<Option<_>>()?;
                }
                "--jobs" => options.jobs = args.next()?.parse().ok()?,
                "--details" => options.details = Some(args.next()?.into()),
                _ => return None,
            }
        }
        if options.part {
            options.ways.retain(|way| *way != Way::Idle);
        }
        (options.jobs > 0).then_some(options)
    }

    /// Whether a unit is to be played this way.
    pub(crate) fn wants(&self, unit: &str, way: Way) -> bool {
        let named = |names: &[String]| names.iter().any(|name| unit.starts_with(name.as_str()));
        (self.units.is_empty() || named(&self.units)) && suite::plays(unit, way, self.part)
    }
}
