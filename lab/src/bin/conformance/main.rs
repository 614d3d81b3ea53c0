//! `make conformance`: Redis's own tests, where Weir serves and where it is idle.
//!
//! ```text
//!                            +---> bare server
//!   tests of one unit  ------+---> endpoint ---> one shard
//!                            +---> endpoint ---> three shards
//!                            +---> the host's own port ---> one shard
//!
//!                            +---> servers that the suite starts
//!   tests of one unit  ------+---> the same, with the module loaded and idle
//! ```
//!
//! The suite can be run against a server that it hasn't started. Every unit is: on a bare server,
//! and through an endpoint, each of which is started for it alone; those about data on the host's
//! own port as well. What passes on the bare server must pass there too, but for the tests in
//! `tests/conformance/skip.txt`, which says why of each. And a server that has loaded the module
//! and doesn't use it must be as good as one that hasn't.

mod bed; //     whom the tests talk to
mod judge; //   bare against Weir
mod options; // what a person can ask for
mod player; //  one unit against one server
mod run; //     one unit, come what may
mod skips; //   the list of exceptions
mod suite; //   where the tests are
mod table; //   what came of it all
mod tcl; //     the language of the tests

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use lab::servers::{Flavor, Server, repository};
use lab::timed;

use bed::{Side, Way};
use judge::{NOT_RUN, Problem, Verdict};
use options::{Options, USAGE};
use player::{Outcome, Test};
use run::Runs;
use skips::Skips;
use suite::Suite;
use table::Verdicts;

/// How many lines of what the suite says of a failed test are shown.
const LINES_SHOWN: usize = 4;

fn main() -> ExitCode {
    let Some(options) = Options::read(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match run_all(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// One thing to be done.
struct Job {
    unit: String,
    way: Way,
}

/// Whether all is as it should be.
fn run_all(options: &Options) -> io::Result<bool> {
    let runs = Runs { server: Server::of(Flavor::Redis), suite: Suite::find()? };
    let skips = Skips::load(&repository().join("tests/conformance/skip.txt"))?;
    let jobs = jobs(options, &runs.suite)?;
    let mut verdicts = Verdicts::new();
    let next = AtomicUsize::new(0);
    let (results, received) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..options.jobs {
            let (results, next, jobs) = (results.clone(), &next, &jobs);
            let (runs, skips) = (&runs, &skips);
            scope.spawn(move || {
                while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if results.send((job, do_job(job, runs, skips, options))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(results);
        for (job, result) in received {
            let told = |error| io::Error::other(format!("{}: {error}", job.unit));
            let (verdict, times) = result.map_err(told)?;
            if verdict.bare > 0 || !verdict.problems.is_empty() {
                tell(job, &verdict, times);
                verdicts.insert((job.unit.clone(), job.way), verdict);
            }
        }
        Ok::<(), io::Error>(())
    })?;
    table::print(&verdicts, &options.ways);
    let failed: usize = verdicts.values().map(|verdict| verdict.problems.len()).sum();
    match failed {
        0 => println!("What passes on a bare server passes with Weir."),
        _ => println!("{failed} tests are not as they should be; they are named above."),
    }
    Ok(failed == 0)
}

fn jobs(options: &Options, suite: &Suite) -> io::Result<Vec<Job>> {
    let mut jobs = Vec::new();
    for unit in suite.units()? {
        let ways = options.ways.iter().filter(|way| options.wants(&unit, **way));
        jobs.extend(ways.map(|way| Job { unit: unit.clone(), way: *way }));
    }
    if jobs.is_empty() { Err(io::Error::other("there is no such unit")) } else { Ok(jobs) }
}

/// How long the unit took on the bare server, and with Weir.
type Times = [Duration; 2];

fn do_job(
    job: &Job,
    runs: &Runs,
    skips: &Skips,
    options: &Options,
) -> io::Result<(Verdict, Times)> {
    let Job { unit, way } = job;
    let skips = skips.of(unit, *way);
    let (bare, bare_time) = timed(|| runs.play(unit, *way, Side::Bare, &[]));
    let bare = bare?;
    // Most units start servers of their own, so nothing of them can be run here.
    if !bare.iter().any(|test| test.outcome == Outcome::Passed) {
        return Ok((Verdict::default(), [bare_time; 2]));
    }
    let (weir, time) = timed(|| runs.play(unit, *way, Side::Weir, &skips));
    let weir = weir?;
    for (side, tests) in [("bare", &bare), ("weir", &weir)] {
        write_details(options, job, side, tests)?;
    }
    Ok((judge::judge(&bare, &weir, &skips), [bare_time, time]))
}

/// Says what came of a unit, as soon as it is known.
fn tell(job: &Job, verdict: &Verdict, times: Times) {
    let Job { unit, way } = job;
    let Verdict { bare, passed, skipped, problems } = verdict;
    println!(
        "{unit:<28} {way:<9} {passed:>4} of {bare:>4} passed, {skipped:>3} skipped, {:>3} failed \
         {:>6.1} s and {:>6.1} s",
        problems.len(),
        times[0].as_secs_f64(),
        times[1].as_secs_f64(),
    );
    let not_run = problems.iter().filter(|problem| problem.text == NOT_RUN).count();
    if not_run > 0 {
        println!("    {not_run} tests {NOT_RUN}");
    }
    for Problem { test, text } in problems.iter().filter(|problem| problem.text != NOT_RUN) {
        println!("    {test}");
        for line in text.lines().take(LINES_SHOWN) {
            println!("        {}", line.chars().take(200).collect::<String>());
        }
    }
}

/// Writes what there is to say of each test that failed, in full.
fn write_details(options: &Options, job: &Job, side: &str, tests: &[Test]) -> io::Result<()> {
    let Some(folder) = &options.details else { return Ok(()) };
    let name = format!("{}-{}-{side}", job.unit, job.way).replace(['/', ' '], "-");
    let mut text = String::new();
    for test in tests {
        let _ = match &test.outcome {
            Outcome::Passed => writeln!(text, "passed  {}", test.name),
            Outcome::Failed(why) => writeln!(text, "FAILED  {}\n{why}\n", test.name),
        };
    }
    fs::create_dir_all(folder)?;
    fs::write(folder.join(name), text)
}
