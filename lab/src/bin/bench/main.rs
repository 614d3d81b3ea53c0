//! `make bench`: the same load on a primary, on other proxies and on the endpoint.
//!
//! ```text
//!   benchmark program --+-----------------------------> primary     direct
//!   or clients in here  +--> nutcracker --------------> primary
//!                       +--> endpoint (in its host) --> primary
//!                       +--> peer (BENCH_PEERS) ------> primary
//!                       +--> floor                                  who answers by itself
//! ```
//!
//! For each row of work (`rows.rs`) the ways take turns, round after round, and each round begins
//! with another one. Beside what the clients see stands what it cost: the processor time of the
//! proxy and of the primary, per command, as the kernel counts it. That is the figure to trust on a
//! machine that does other things too: those change the throughput, but hardly the work per
//! command.
//!
//! Rows about memory are measured once, each way by servers of its own.

mod bed; //      the servers, and the ways to them
mod estimate; // how long it all will take
mod floor; //    the least that anybody has to do who serves clients
mod load; //     load, and what it was served with
mod memory; //   what a session takes of its server's memory
mod mixed; //    one client's latency beside another one's load
mod noise; //    what else the machine did meanwhile
mod options; //  what a person can ask for
mod paced; //    a load of so many commands per second
mod picture; //  what came of it all, as plots
mod poll; //     which of many sockets can be read
mod report; //   what came of it all, as tables
mod results; //  medians of the rounds, and ratios
mod rows; //     what is measured
mod run; //      one measurement
mod standing; // the endpoint against the best of others
mod table; //    a table in Markdown
mod ways; //     the ways' names, and other people's proxies

use std::collections::HashMap;
use std::fs;
use std::io;
use std::process::ExitCode;

use lab::servers::Server;

use bed::Servers;
use noise::Noise;
use options::{Options, USAGE};
use results::{Results, Sample};
use rows::{Bed, ROWS, Row, Work};
use run::Run;
use ways::Way;

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1).peekable();
    if args.next_if(|arg| arg == floor::ARGUMENT).is_some() {
        return told(floor::serve_by(args));
    }
    match Options::read(args, |name| std::env::var(name).ok()) {
        Ok(options) => told(bench(&options)),
        Err(error) => {
            eprintln!("{error}\n{USAGE}\nrows:");
            for row in ROWS {
                eprintln!("  {:<20} {}", row.name, row.text);
            }
            ExitCode::from(2)
        }
    }
}

fn told(result: io::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// All beds, and what came of them.
fn bench(options: &Options) -> io::Result<()> {
    fs::create_dir_all(&options.out)
        .map_err(|error| io::Error::other(format!("{}: {error}", options.out.display())))?;
    println!("This will take about {}.\n", estimate::text(estimate::whole(options)));
    let mut results = Results::default();
    let mut notes = Vec::new();
    let measured = Bed::EACH.into_iter().try_for_each(|bed| {
        let rows = options.rows_of(bed);
        let rows = rows.into_iter().filter(|row| !options.ways(row).is_empty()).collect::<Vec<_>>();
        if rows.is_empty() {
            return Ok(());
        }
        println!("{}", bed.text());
        let note = match bed {
            Bed::Memory => measure_memory(options, &rows, &mut results)?,
            _ => Some(measure_bed(options, bed, &rows, &mut results)?),
        };
        if let Some(note) = note {
            println!("  {note}");
            notes.push(format!("{}: {note}", bed.text()));
        }
        println!();
        Ok(())
    });
    // What was measured until something failed is worth showing.
    let shown = match results.ways().next() {
        Some(_) => show(options, &results, &notes),
        None => Ok(()),
    };
    measured.and(shown)
}

/// Writes the tables and the plots to files, and prints the tables.
fn show(options: &Options, results: &Results, notes: &[String]) -> io::Result<()> {
    let tables = report::tables(results, &options.rows());
    let mut text = format!(
        "# What the endpoint costs\n\n`make bench` on {} with {} processors: medians of {} {} \
         of about {} s each.\n\n",
        options.flavor,
        std::thread::available_parallelism().map_or(1, |count| count.get()),
        options.rounds,
        if options.rounds == 1 { "round" } else { "rounds" },
        options.seconds,
    );
    for note in notes {
        text.push_str(&format!("* {note}\n"));
    }
    text.push_str(&format!("\n{tables}"));
    let (drawn, not_drawn): (Vec<_>, Vec<_>) =
        picture::draw_all(&options.out, results, &options.rows())?
            .into_iter()
            .partition(|(_, drawn)| *drawn);
    for (picture, _) in drawn {
        text.push_str(&format!("![{}]({})\n\n", picture.title, picture.file));
    }
    let file = options.out.join("results.md");
    fs::write(&file, text.trim_end().to_owned() + "\n")
        .map_err(|error| io::Error::other(format!("{}: {error}", file.display())))?;
    print!("{tables}");
    for (picture, _) in not_drawn {
        println!("{} is not drawn: too little was measured for it", picture.file);
    }
    println!("The tables are in {}, and the plots beside it.", file.display());
    Ok(())
}

/// All rounds of the rows of one bed. Returns what else there is to say.
fn measure_bed(
    options: &Options,
    bed: Bed,
    rows: &[&Row],
    results: &mut Results,
) -> io::Result<String> {
    let server = Server::of(options.flavor);
    let mut ways: Vec<Way> = Vec::new();
    for way in rows.iter().flat_map(|row| options.ways(row)) {
        if !ways.contains(&way) {
            ways.push(way);
        }
    }
    let mut servers = Servers::start(&server, bed, &ways, options)?;
    let noise = Noise::new(&servers);
    let mut rates = HashMap::new();
    for round in 0..options.rounds {
        for row in rows {
            let mut ways = options.ways(row);
            let first = round % ways.len();
            ways.rotate_left(first);
            for way in ways {
                let rate = rates.entry((row.name, way)).or_insert(0.0);
                let sample = servers.open(way, row).and_then(|address| {
                    let seconds = options.seconds.max(row.seconds_min);
                    let (server, servers, clients) = (&server, &servers, row.clients);
                    Run { server, servers, row, way, address, seconds, clients }.measure(rate)
                });
                let sample = sample.map_err(|error| failed(row, way, &error))?;
                tell(round, row, way, &sample);
                results.add(row, way, sample);
            }
        }
    }
    Ok(format!("other programs had {:.0}% of the machine meanwhile", noise.share(&servers) * 100.0))
}

/// All rows about memory, once. Returns what else there is to say.
fn measure_memory(
    options: &Options,
    rows: &[&Row],
    results: &mut Results,
) -> io::Result<Option<String>> {
    let server = Server::of(options.flavor);
    let mut note = None;
    for row in rows {
        let Work::Sessions(rest) = row.work else { continue };
        let clients = memory::sessions_that_fit(row.clients, rest);
        if clients < row.clients {
            note = Some(format!("{clients} {}: the limit of open files allows no more", row.text));
        }
        for way in options.ways(row) {
            let mut servers = Servers::start(&server, row.bed, &[way], options)?;
            let sample = servers.open(way, row).and_then(|address| {
                let (server, servers) = (&server, &servers);
                let run = Run { server, servers, row, way, address, seconds: 0.0, clients };
                run.measure(&mut 0.0)
            });
            let sample = sample.map_err(|error| failed(row, way, &error))?;
            tell(0, row, way, &sample);
            results.add(row, way, sample);
        }
    }
    Ok(note)
}

fn failed(row: &Row, way: Way, error: &io::Error) -> io::Error {
    io::Error::other(format!("{} by way of {way}: {error}", row.text))
}

fn tell(round: usize, row: &Row, way: Way, sample: &Sample) {
    print!("  {} {:<20} {way:<11} ", round + 1, row.name);
    if let Some(served) = sample.served() {
        print!(
            "{:>9.0}/s  p50 {:>8.3} ms  p99 {:>8.3} ms  ",
            served.per_second, served.median_ms, served.p99_ms
        );
    }
    match sample {
        Sample::Load { between_us, primary_us, .. } => {
            println!("proxy {between_us:>6.2} us  primary {primary_us:>6.2} us");
        }
        Sample::Mixed { served, beside } => {
            let beside = beside.map_or(String::new(), |rate| format!("  beside it {rate:.0}/s"));
            println!("max {:>8.3} ms{beside}", served.max_ms);
        }
        Sample::Memory(memory) => {
            let memory::Memory { sessions, bytes_per_session } = memory;
            println!("{bytes_per_session:>9.0} bytes for each of {sessions} sessions");
        }
    }
}
