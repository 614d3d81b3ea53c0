//! Modules in C, made by the compilers of this machine.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use lab::folder::Folder;
use lab::servers;

/// The compilers of C and C++, with what makes them take a file for that.
pub(crate) const C: &[&str] = &["cc", "-std=c11", "-x", "c"];
pub(crate) const CXX: &[&str] = &["c++", "-std=c++17", "-x", "c++"];

/// A module that was built, in a folder that goes with it.
pub(crate) struct Built {
    pub(crate) path: PathBuf,
    _folder: Folder,
}

/// The module that is made of this file of the repository.
#[track_caller]
pub(crate) fn module(compiler: &[&str], source: &str) -> Built {
    let folder = Folder::new();
    let source = servers::repository().join(source);
    let path = folder.path().join(source.with_extension("so").file_name().unwrap());
    compile(compiler, &["-shared", "-fPIC"], &source, &path);
    Built { path, _folder: folder }
}

/// The module for tests, made once.
pub(crate) fn probe() -> &'static Path {
    static PROBE: OnceLock<Built> = OnceLock::new();
    &PROBE.get_or_init(|| module(C, "tests/modules/probe.c")).path
}

#[track_caller]
fn compile(compiler: &[&str], more: &[&str], source: &Path, to: &Path) {
    let output = Command::new(compiler[0])
        .args(&compiler[1..])
        .args(more)
        .args(["-O1", "-g", "-Wall", "-Wextra", "-Werror", "-pedantic", "-pthread"])
        .arg("-I")
        .arg(servers::repository().join("shim"))
        // The server's header isn't ours to be judged.
        .arg("-isystem")
        .arg(server_header())
        .args([source, "-o".as_ref(), to])
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{compiler:?} {}:\n{errors}", source.display());
}

/// The folder with the server's `redismodule.h`: that of the crate redis-module.
fn server_header() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        // Of this platform only: those of others may never have been fetched.
        let about = cargo(&["-vV"]);
        let platform = about.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
        let metadata = cargo(&["metadata", "--format-version", "1", "--filter-platform", platform]);
        let is_its = |path: &&str| path.contains("/redis-module-") && path.ends_with("/Cargo.toml");
        let manifest = metadata.split('"').find(is_its).expect("the crate redis-module");
        Path::new(manifest).with_file_name("src").join("include")
    })
}

fn cargo(args: &[&str]) -> String {
    let mut cargo = Command::new(env!("CARGO"));
    let output = cargo.args(args).current_dir(servers::repository()).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo {args:?}:\n{errors}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_header_stands_alone_in_every_dialect() {
    let folder = Folder::new();
    let source = folder.path().join("alone.c");
    std::fs::write(&source, "#include \"weir.h\"\n#include \"weir.h\"\n").unwrap();
    for language in [
        ["cc", "-std=c99", "-x", "c"],
        ["cc", "-std=c17", "-x", "c"],
        ["c++", "-std=c++98", "-x", "c++"],
        ["c++", "-std=c++20", "-x", "c++"],
    ] {
        compile(&language, &["-c"], &source, &folder.path().join("alone.o"));
    }
}
