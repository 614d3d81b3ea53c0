//! House rules, as tests: who may import whom, where unsafe code and clocks may be, how files look.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The rooms, and what each may import of this crate. ARCHITECTURE.md says why.
const MATRIX: &[(&str, &[&str])] = &[
    ("limits", &[]),
    ("ids", &[]),
    ("text", &[]),
    ("stats", &[]),
    ("resp", &["limits", "ids", "text", "stats"]),
    ("shards", &["limits", "ids", "text", "stats"]),
    ("settings", &["limits", "ids", "text", "stats"]),
    ("command", &["limits", "ids", "text", "stats", "resp"]),
    ("acks", &["limits", "ids", "text", "stats"]),
    ("route", &["limits", "ids", "text", "stats", "resp", "command", "shards"]),
    ("merge", &["limits", "ids", "text", "stats", "resp", "command", "shards"]),
    ("topology", &["limits", "ids", "text", "stats", "resp", "shards"]),
    ("session", &["limits", "ids", "text", "stats", "resp", "merge"]),
    ("pipeline", &["limits", "ids", "text", "stats", "resp"]),
    ("pubsub", &["limits", "ids", "text", "stats", "resp"]),
    (
        "engine",
        &[
            "limits", "ids", "text", "stats", "resp", "shards", "settings", "command", "acks",
            "route", "merge", "topology", "session", "pipeline", "pubsub",
        ],
    ),
    ("os", &["limits", "ids", "text", "stats", "settings", "shards"]),
    (
        "worker",
        &[
            "limits", "ids", "text", "stats", "resp", "settings", "shards", "command", "engine",
            "os",
        ],
    ),
    (
        "host",
        &[
            "limits", "ids", "text", "stats", "settings", "shards", "command", "resp", "engine",
            "os", "worker",
        ],
    ),
];

/// Rooms that may have unsafe code.
const UNSAFE: &[&str] = &["os", "host"];
/// The only file that reads a clock.
const CLOCK: &str = "module/os/clock.rs";
/// A file longer than this is two files.
const LINES_MAX: usize = 800;
const WIDTH_MAX: usize = 100;
/// Pictures and texts, which nobody can break for us, may be this wide.
const LOOSE_WIDTH_MAX: usize = 124;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn files(below: &str, endings: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(below)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if endings.iter().any(|ending| path.to_string_lossy().ends_with(ending)) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn named(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).to_string_lossy().into_owned()
}

/// The room of a file below `module/`.
fn room(name: &str) -> &str {
    let inner = name.strip_prefix("module/").unwrap_or(name);
    inner.split('/').next().unwrap_or(inner).trim_end_matches(".rs")
}

/// The lines of a file that are code, with their numbers: without comments, and without the module
/// of tests, which may use what it likes.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .take_while(|line| !line.starts_with("#[cfg(test)]"))
        .enumerate()
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .map(|(at, line)| (at + 1, line))
}

fn check(name: &str, problems: &[String]) {
    assert!(problems.is_empty(), "{name}:\n{}", problems.join("\n"));
}

#[test]
fn rooms_import_only_what_they_may() {
    let mut problems = Vec::new();
    let mut seen = BTreeSet::new();
    for path in files("module", &[".rs"]) {
        let name = named(&path);
        let room = room(&name).to_owned();
        if room == "lib" {
            continue;
        }
        let Some((_, allowed)) = MATRIX.iter().find(|(known, _)| *known == room) else {
            problems.push(format!("{name}: room {room} is not in the matrix"));
            continue;
        };
        seen.insert(room.clone());
        let text = fs::read_to_string(&path).unwrap();
        for (at, line) in code(&text) {
            for import in line.split("crate::").skip(1) {
                let import: String =
                    import.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                // `use crate::{a, b}` names several rooms at once.
                let several: Vec<String> = if import.is_empty() {
                    let inner = line.split("crate::{").nth(1).unwrap_or_default();
                    inner
                        .split(['{', '}', ',', ';'])
                        .map(|part| part.trim().split("::").next().unwrap_or_default().to_owned())
                        .collect()
                } else {
                    vec![import]
                };
                for import in several {
                    let is_room = MATRIX.iter().any(|(known, _)| *known == import);
                    if is_room && import != room && !allowed.contains(&import.as_str()) {
                        problems.push(format!("{name}:{at}: {room} must not import {import}"));
                    }
                }
            }
        }
    }
    for (known, _) in MATRIX {
        if !seen.contains(*known) {
            problems.push(format!("room {known} of the matrix is not there"));
        }
    }
    check("imports", &problems);
}

#[test]
fn unsafe_code_is_in_two_rooms_and_explained() {
    let mut problems = Vec::new();
    for path in files("module", &[".rs"]) {
        let name = named(&path);
        let text = fs::read_to_string(&path).unwrap();
        for (at, line) in code(&text) {
            let word =
                line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|w| w == "unsafe");
            if word && !UNSAFE.contains(&room(&name)) {
                problems.push(format!("{name}:{at}: unsafe outside of {UNSAFE:?}"));
            }
        }
    }
    let lib = fs::read_to_string(root().join("module/lib.rs")).unwrap();
    let mut forbidden = false;
    for line in lib.lines() {
        if let Some(module) = line.strip_prefix("pub mod ") {
            let module = module.split(';').next().unwrap_or_default();
            if forbidden == UNSAFE.contains(&module) && module != "worker" {
                problems.push(format!("lib.rs: forbid(unsafe_code) is wrong for {module}"));
            }
        }
        if !line.starts_with("#[cfg") {
            forbidden = line == "#[forbid(unsafe_code)]";
        }
    }
    check("unsafe", &problems);
}

#[test]
fn one_file_reads_the_clock() {
    let mut problems = Vec::new();
    for path in files("module", &[".rs"]) {
        let name = named(&path);
        let text = fs::read_to_string(&path).unwrap();
        for (at, line) in code(&text) {
            let reads = ["Instant::now", "SystemTime::now", "clock_gettime"];
            if name != CLOCK && reads.iter().any(|read| line.contains(read)) {
                problems.push(format!("{name}:{at}: only {CLOCK} reads the clock"));
            }
        }
    }
    check("clock", &problems);
}

#[test]
fn files_look_alike() {
    let mut problems = Vec::new();
    let folders = ["module", "tests", "lab", "shim", "examples"];
    for path in folders.iter().flat_map(|folder| files(folder, &[".rs", ".c", ".h"])) {
        let name = named(&path);
        let text = fs::read_to_string(&path).unwrap();
        if name.ends_with(".rs") && !text.starts_with("//!") {
            problems.push(format!("{name}: begins without saying what it is"));
        }
        if name.starts_with("module/") && text.lines().count() > LINES_MAX {
            problems.push(format!("{name}: more than {LINES_MAX} lines"));
        }
        let mut in_picture = false;
        for (at, line) in text.lines().enumerate() {
            let at = at + 1;
            in_picture ^= line.contains("```");
            let loose = in_picture || line.contains('"');
            let width = if loose { LOOSE_WIDTH_MAX } else { WIDTH_MAX };
            if line.chars().count() > width && !line.contains("http") {
                problems.push(format!("{name}:{at}: wider than {WIDTH_MAX}"));
            }
            if line.ends_with(' ') || line.contains('\t') && !name.starts_with("shim") {
                problems.push(format!("{name}:{at}: blanks at the end, or a tab"));
            }
            // Written in two halves, or this line would find itself.
            for word in [concat!("FIX", "ME"), concat!("TO", "DO"), concat!("dbg", "!(")] {
                if line.contains(word) {
                    problems.push(format!("{name}:{at}: {word}"));
                }
            }
        }
    }
    check("files", &problems);
}

#[test]
fn every_scenario_says_why_and_is_run() {
    let mut problems = Vec::new();
    let runners: String = files("tests", &[".rs"])
        .iter()
        .chain(&files("module", &[".rs"]))
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    for path in files("tests/spec", &[".txt"]) {
        let name = named(&path);
        let text = fs::read_to_string(&path).unwrap();
        if !text.starts_with('#') {
            problems.push(format!("{name}: the first line doesn't say why"));
        }
        let room = name.split('/').nth(2).unwrap_or_default();
        if !runners.contains(&format!("spec/{room}")) && !runners.contains(&format!("\"{room}\"")) {
            problems.push(format!("{name}: no runner mentions spec/{room}"));
        }
    }
    check("scenarios", &problems);
}

#[test]
fn every_option_is_in_the_readme() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let missing: Vec<String> = weir::settings::OPTIONS
        .iter()
        .filter(|option| !readme.contains(&format!("`weir.{}`", option.name)))
        .map(|option| format!("weir.{} is not in README.md", option.name))
        .collect();
    check("options", &missing);
}
