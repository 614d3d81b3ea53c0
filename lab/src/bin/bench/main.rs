//! `make bench`: the same load on a primary, on nutcracker and on the endpoint.
//!
//! ```text
//!   benchmark program --+-----------------------------> primary     direct
//!                       +--> nutcracker --------------> primary
//!                       +--> endpoint (in its host) --> primary
//! ```
//!
//! For each row of work (`rows.rs`) the ways take turns, round after round, and each round begins
//! with another one. Beside what the clients see stands what it cost: the processor time of the
//! proxy and of the primary, per command, as the kernel counts it. That is the figure to trust on a
//! machine that does other things too: those change the throughput, but hardly the work per
//! command.

mod bed; //     the servers, and the ways to them
mod load; //    load, and what it was served with
mod noise; //   what else the machine did meanwhile
mod options; // what a person can ask for
mod poll; //    which of many sockets can be read
mod rows; //    what is measured
mod run; //     one measurement
mod table; //   what came of it all

use std::collections::HashMap;
use std::io;
use std::process::ExitCode;

use lab::servers::Server;

use bed::{Servers, Way};
use noise::Noise;
use options::{Options, USAGE};
use rows::{Bed, ROWS, Row};
use run::Run;
use table::{Results, Sample};

fn main() -> ExitCode {
    let Some(options) = Options::read(std::env::args().skip(1)) else {
        eprintln!("{USAGE}\nrows:");
        for row in ROWS {
            eprintln!("  {:<20} {}", row.name, row.text);
        }
        return ExitCode::from(2);
    };
    let mut results = Results::default();
    for bed in [Bed::Plain, Bed::Replicated, Bed::Durable] {
        let rows: Vec<&Row> = options.rows().into_iter().filter(|row| row.bed == bed).collect();
        if rows.is_empty() {
            continue;
        }
        println!("{}", bed.text());
        if let Err(error) = measure_bed(&options, bed, &rows, &mut results) {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    }
    println!("Medians of {} rounds of about {} s each.", options.rounds, options.seconds);
    results.print(&options.rows());
    ExitCode::SUCCESS
}

/// All rounds of the rows of one bed.
fn measure_bed(
    options: &Options,
    bed: Bed,
    rows: &[&Row],
    results: &mut Results,
) -> io::Result<()> {
    let server = Server::of(options.flavor);
    let servers = Servers::start(&server, bed, &options.ways, options.before.as_deref());
    let noise = Noise::new(&servers);
    let mut rates = HashMap::new();
    for round in 0..options.rounds {
        for row in rows {
            let mut ways = options.ways.clone();
            ways.rotate_left(round % options.ways.len());
            for way in ways {
                let Some(port) = servers.port(way) else { continue };
                let seconds = options.seconds.max(row.seconds_min);
                let run = Run { server: &server, servers: &servers, row, way, port, seconds };
                let rate = rates.entry((row.name, way)).or_insert(0.0);
                let sample = run.measure(rate).map_err(|error| {
                    io::Error::other(format!("{} by way of {way}: {error}", row.text))
                })?;
                tell(round, row, way, &sample);
                results.add(row, way, sample);
            }
        }
    }
    println!("  other programs meanwhile: {:.0}% of the machine\n", noise.share(&servers) * 100.0);
    Ok(())
}

fn tell(round: usize, row: &Row, way: Way, sample: &Sample) {
    let Sample { served, between_us, primary_us } = sample;
    println!(
        "  {} {:<20} {way:<11} {:>9.0}/s  p50 {:>8.3} ms  p99 {:>8.3} ms  \
         proxy {between_us:>6.2} us  primary {primary_us:>6.2} us",
        round + 1,
        row.name,
        served.per_second,
        served.median_ms,
        served.p99_ms,
    );
}
