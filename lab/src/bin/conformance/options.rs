//! What a person can ask of `make conformance`.

use std::path::PathBuf;

pub(crate) const USAGE: &str = "\
usage: conformance [--part] [--units NAME,...] [--shards N,...] [--jobs N] [--details FOLDER]
  --part             what CI runs: all units but the longest
  --units NAME,...   these alone; a name stands for all that begin so
  --shards N,...     endpoints of so many shards; 1,3
  --jobs N           how many units are run at the same time; as many as there are processors
  --details FOLDER   writes what the suite said of each test that failed to files in there";

/// What was asked for.
pub(crate) struct Options {
    pub(crate) part: bool,
    units: Vec<String>,
    pub(crate) shards: Vec<usize>,
    pub(crate) jobs: usize,
    pub(crate) details: Option<PathBuf>,
}

impl Options {
    /// None if it can't be made sense of.
    pub(crate) fn read(mut args: impl Iterator<Item = String>) -> Option<Options> {
        let jobs = std::thread::available_parallelism().map_or(1, usize::from);
        let mut options =
            Options { part: false, units: Vec::new(), shards: vec![1, 3], jobs, details: None };
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--part" => options.part = true,
                "--units" => options.units = args.next()?.split(',').map(str::to_owned).collect(),
                "--shards" => {
                    let counts = args.next()?;
                    let counts = counts.split(',').map(|count| count.parse().ok());
                    options.shards = counts.collect::<Option<_>>()?;
                }
                "--jobs" => options.jobs = args.next()?.parse().ok()?,
                "--details" => options.details = Some(args.next()?.into()),
                _ => return None,
            }
        }
        (options.jobs > 0 && !options.shards.contains(&0)).then_some(options)
    }

    /// Whether a unit was asked for, as far as names go.
    pub(crate) fn wants(&self, unit: &str) -> bool {
        self.units.is_empty() || self.units.iter().any(|name| unit.starts_with(name.as_str()))
    }
}
