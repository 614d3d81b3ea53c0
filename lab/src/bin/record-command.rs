//! Records what each server answers to COMMAND, for the tests that have no server.
//!
//! The bytes are written as they came, so the tests read what a shard really sends.

use std::fs;

use lab::process::Proc;
use lab::servers;

fn main() {
    let folder = servers::repository().join("tests/data");
    fs::create_dir_all(&folder).expect("tests/data can be made");
    for server in servers::both() {
        let running = Proc::start(&server, &[] as &[&str]);
        let reply = running.client().command("COMMAND");
        let file = folder.join(format!("command-{}.resp", server.flavor));
        fs::write(&file, reply.encode()).expect("the file can be written");
        println!("{}: {} commands", file.display(), reply.items().len());
    }
}
