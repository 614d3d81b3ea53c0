//! `docs/reference.md` says what the tables of settings and statistics say: it is made of them.
//! `UPDATE=1 cargo test --test settings_reference` writes it anew.

use std::fmt::Write;
use std::path::Path;
use std::{env, fs};

use weir::settings::{Change, Kind, OPTIONS, OptionRow, Secrecy, Unit};
use weir::stats::{self, Row, SHARD_ROWS, WORKER_ROWS};

const FILE: &str = "docs/reference.md";

#[test]
fn the_reference_is_what_the_tables_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE);
    let expected = reference();
    if env::var_os("UPDATE").is_some() {
        fs::create_dir_all(path.parent().expect("it is in a folder")).expect("a folder");
        fs::write(&path, &expected).expect("a writable checkout");
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == expected,
        "{FILE} is not what the tables say: UPDATE=1 cargo test --test settings_reference"
    );
}

fn reference() -> String {
    let mut out = String::from(
        "# Reference\n\n\
         Made of the tables in `module/settings.rs` and `module/stats.rs`; a test holds it to \
         them.\n\n\
         ## Settings\n\n\
         Each is a config of the server that loads the module: a line of its configuration file, \
         an option of its command line (`--weir.port 6399`), or `CONFIG GET` and, if live, \
         `CONFIG SET`.\n\n\
         | setting | default | range | live | |\n|---|---|---|---|---|\n",
    );
    for row in OPTIONS {
        setting(&mut out, row);
    }
    out.push_str(
        "\n## INFO weir\n\n\
         Sections `weir_endpoint` (version, addresses, sizes), `weir_stats` and `weir_shards`. In \
         `weir_stats`, for all workers together, each with `weir_` before its name:\n\n",
    );
    counters(&mut out, WORKER_ROWS);
    out.push_str("\nIn `weir_shards`, one line for each shard, `weir_shard<number>`:\n\n");
    counters(&mut out, SHARD_ROWS);
    out
}

fn setting(out: &mut String, row: &OptionRow) {
    let (default, range) = match row.kind {
        Kind::Text { default: "" } => (String::new(), String::new()),
        Kind::Text { default } => (format!("`{default}`"), String::new()),
        Kind::Choice { default, words } => (default.to_owned(), words.join(", ")),
        Kind::Number { default, min, max, unit } => {
            (amount(default, unit), format!("{} .. {}", amount(min, unit), amount(max, unit)))
        }
    };
    let live = if row.change == Change::Live { "yes" } else { "at load" };
    let secret = if row.secrecy == Secrecy::Secret { " Not shown in logs." } else { "" };
    let (name, help) = (row.name, row.help());
    writeln!(out, "| `weir.{name}` | {default} | {range} | {live} | {help}{secret} |")
        .expect("a string takes all");
}

/// A number as one would write it.
fn amount(number: i64, unit: Unit) -> String {
    const KB: i64 = 1024;
    match unit {
        Unit::Count => number.to_string(),
        Unit::Milliseconds => format!("{number} ms"),
        Unit::Seconds => format!("{number} s"),
        Unit::Bytes => match number {
            n if n >= KB * KB * KB => format!("{}gb", n / (KB * KB * KB)),
            n if n >= KB * KB => format!("{}mb", n / (KB * KB)),
            n => format!("{}kb", n / KB),
        },
    }
}

fn counters<S>(out: &mut String, rows: &[Row<S>]) {
    out.push_str("| field | kind | |\n|---|---|---|\n");
    for row in rows {
        let kind = match row.kind {
            stats::Kind::Counter => "counter",
            stats::Kind::Gauge => "gauge",
            stats::Kind::Highest => "the highest of all workers",
        };
        writeln!(out, "| `{}` | {kind} | {} |", row.name, row.help()).expect("a string takes all");
    }
}
