//! `make run`: a database of four stock servers behind one endpoint, and what happens to a write.
//!
//! It starts everything itself, on free ports of 127.0.0.1 and in temporary folders, tells the
//! story (`story.rs`) with the answers and times of this very run, and leaves the database up to be
//! used until Ctrl-C. With `--once` it ends after the story. Nothing stays behind.

mod paper; // how it looks
mod story; // what is shown

use std::panic;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lab::cluster::{Aof, Shards};
use lab::host::Host;
use lab::servers::{Flavor, Server};
use lab::timed;

use story::Story;

const USAGE: &str = "\
usage: run [--once] [--redis]
  --once    end after the demonstration, instead of leaving the database up
  --redis   use Redis for all servers, instead of Valkey";

/// The user has had enough. Whatever was started goes with its owner.
#[derive(Debug)]
struct Interrupted;

fn main() -> ExitCode {
    let (mut once, mut flavor) = (false, Flavor::Valkey);
    for arg in std::env::args().skip(1) {
        match arg.as_str() {
            "--once" => once = true,
            "--redis" => flavor = Flavor::Redis,
            _ => {
                eprintln!("{USAGE}");
                return ExitCode::from(2);
            }
        }
    }
    notice_interrupts();
    // The lab says what went wrong by panicking; here a person reads it, and where in the lab's
    // source it was found is of no use.
    panic::set_hook(Box::new(|what| {
        let text = what.payload_as_str().unwrap_or("something went wrong");
        eprintln!("\n{text}");
    }));
    match panic::catch_unwind(|| run(flavor, once)) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(Interrupted)) => {
            println!("\nAll servers are stopped and their folders removed.");
            ExitCode::from(130)
        }
        Err(_) => ExitCode::FAILURE,
    }
}

fn run(flavor: Flavor, once: bool) -> Result<(), Interrupted> {
    let server = Server::of(flavor);
    println!("Weir: one address in front of a sharded, replicated database of stock servers.\n");
    let (shards, time) =
        timed(|| Shards::of(&server).shards(2).replicas(1).aof(Aof::Always).start());
    let info = shards.primary(0).info("server");
    let version = info.version();
    println!("  4 servers, {flavor} {version}, appendfsync always: up in {}", paper::time(time));
    go_on()?;
    let (host, time) = timed(|| Host::of(&server).upstream(shards.upstream()).start());
    println!("  1 more with libweir.so, the host: up in {}\n", paper::time(time));
    picture(&shards, &host);

    Story::new(&shards, &host.endpoint()).tell(&go_on)?;
    if once {
        println!("\nThat was all. The servers are stopped and their folders removed.");
        return Ok(());
    }
    invite(&server, &shards, &host);
    loop {
        go_on()?;
        assert!(host.is_running(), "the host has ended; the end of its log:\n{}", host.log_end());
        lab::pause(Duration::from_millis(100));
    }
}

/// Who is where, as the endpoint sees it.
fn picture(shards: &Shards, host: &Host) {
    println!("  endpoint {}", host.endpoint());
    let seen = host.host_client().command("WEIR.SHARDS");
    for (number, shard) in shards.iter().enumerate() {
        let slots = seen.items()[number].field("slots").text();
        println!(
            "   +- shard {number}  slots {slots:<12} primary {}  replica {}",
            shard.primary.address(),
            shard.replicas[0].address()
        );
    }
}

fn invite(server: &Server, shards: &Shards, host: &Host) {
    let cli = server.cli();
    let cli = cli.strip_prefix(lab::servers::repository()).unwrap_or(&cli).display();
    println!("\nThe database stays up until Ctrl-C. To use it, from this folder:\n");
    let line = |port: u16, command: &str, what: &str| {
        println!("  {cli} -p {port:<6} {command:<12} {what}");
    };
    line(host.endpoint_port(), "", "the endpoint");
    line(host.port(), "WEIR.SHARDS", "the host: what Weir knows of its shards");
    line(host.port(), "INFO weir", "the host: what Weir has done");
    for (number, shard) in shards.iter().enumerate() {
        line(shard.primary.port(), "", &format!("the primary of shard {number}"));
        line(shard.replicas[0].port(), "", "its replica");
    }
}

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Asked between any two steps, none of which takes longer than about a second.
fn go_on() -> Result<(), Interrupted> {
    if INTERRUPTED.load(Ordering::Relaxed) { Err(Interrupted) } else { Ok(()) }
}

/// Ctrl-C and a polite kill end the run between two steps, so that everything is cleaned up. A
/// second one ends it at once: the kernel takes the servers along, and the next run removes the
/// folders.
fn notice_interrupts() {
    extern "C" fn notice(_signal: libc::c_int) {
        INTERRUPTED.store(true, Ordering::Relaxed);
    }
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        // SAFETY: the structure is plain data, for which zero is valid; the handler does nothing
        // but an atomic store.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = notice as *const () as usize;
            action.sa_flags = libc::SA_RESETHAND | libc::SA_RESTART;
            libc::sigaction(signal, &action, std::ptr::null_mut());
        }
    }
}
