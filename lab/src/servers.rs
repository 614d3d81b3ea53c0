//! Where the programs are: both flavors of server, and the module.
//!
//! The servers are links that `make setup` made under `.servers/`; `WEIR_VALKEY_SERVER` and
//! `WEIR_REDIS_SERVER` name others. There is no skipping: a test that needs a server which isn't
//! there fails, and says what to do.

use std::env;
use std::fmt;
use std::path::{Path, PathBuf};

/// The two families of server that Weir works with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavor {
    Valkey,
    Redis,
}

impl Flavor {
    /// As in the names of the programs.
    pub const fn name(self) -> &'static str {
        match self {
            Flavor::Valkey => "valkey",
            Flavor::Redis => "redis",
        }
    }
}

impl fmt::Display for Flavor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One server's programs.
#[derive(Clone, Debug)]
pub struct Server {
    pub flavor: Flavor,
    /// `valkey-server` or `redis-server`.
    pub program: PathBuf,
}

impl Server {
    /// The server of this flavor.
    ///
    /// # Panics
    /// If the machine isn't set up.
    pub fn of(flavor: Flavor) -> Server {
        let variable = format!("WEIR_{}_SERVER", flavor.name().to_uppercase());
        let program = match env::var_os(&variable) {
            Some(path) => PathBuf::from(path),
            None => repository().join(format!(".servers/{flavor}/{flavor}-server")),
        };
        assert!(
            program.exists(),
            "no {flavor}-server at {}: run `make setup`, or name one in {variable}",
            program.display()
        );
        Server { flavor, program }
    }

    /// Its `-cli`, which is beside it.
    pub fn cli(&self) -> PathBuf {
        self.beside("cli")
    }

    /// Its `-benchmark`, which is beside it.
    pub fn benchmark(&self) -> PathBuf {
        self.beside("benchmark")
    }

    fn beside(&self, name: &str) -> PathBuf {
        self.program.with_file_name(format!("{}-{name}", self.flavor))
    }
}

/// Both servers. Whatever is shown on real servers is shown on each.
///
/// # Panics
/// If the machine isn't set up.
pub fn both() -> [Server; 2] {
    [Server::of(Flavor::Valkey), Server::of(Flavor::Redis)]
}

/// The module that belongs to the running program: `WEIR_MODULE`, or the `libweir.so` of the same
/// build.
///
/// Cargo builds it as `deps/libweir.so`, and only puts a link beside `deps/` when the library
/// itself was asked for. A test's own build is thus the newer of the two.
///
/// # Panics
/// If there is none.
pub fn module_path() -> PathBuf {
    if let Some(path) = env::var_os("WEIR_MODULE") {
        return PathBuf::from(path);
    }
    let program = env::current_exe().expect("a running program has a path");
    let changed = |path: &Path| path.metadata().and_then(|data| data.modified()).ok();
    program
        .ancestors()
        .skip(1)
        .take(2)
        .flat_map(|folder| [folder.join("libweir.so"), folder.join("deps/libweir.so")])
        .filter_map(|path| Some((changed(&path)?, path)))
        .max()
        .map(|(_, path)| path)
        .unwrap_or_else(|| {
            panic!(
                "no libweir.so near {}: run `cargo build`, or set WEIR_MODULE",
                program.display()
            )
        })
}

/// The top folder of the repository.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("lab/ is in a folder")
}
