//! A temporary folder that goes with its owner.
//!
//! Its name holds the id of the process that made it, so that the folders of a process which was
//! killed are found, and removed, by the next one that makes any.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Once, OnceLock};

const PREFIX: &str = "weir-lab-";
/// Linux's file system in memory, for all users.
const MEMORY: &str = "/dev/shm";

static PARENT: OnceLock<PathBuf> = OnceLock::new();

/// From now on folders are made in memory, if there are so many bytes of it. An fsync takes no
/// time there, however busy the disks are. Says whether there are.
pub fn prefer_memory(bytes: u64) -> bool {
    let free = Command::new("df").args(["--output=avail", "--block-size=1", MEMORY]).output();
    let free = free.ok().and_then(|output| {
        let text = String::from_utf8(output.stdout).ok()?;
        text.lines().nth(1)?.trim().parse::<u64>().ok()
    });
    free.is_some_and(|free| free >= bytes) && PARENT.set(MEMORY.into()).is_ok()
}

/// A folder that is removed, with all that is in it, when this is dropped.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// Makes one that is empty.
    ///
    /// # Panics
    /// If the system's temporary folder can't be written to.
    #[expect(clippy::new_without_default, reason = "making one touches the disk")]
    pub fn new() -> Folder {
        static SWEPT: Once = Once::new();
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let parent = PARENT.get().cloned().unwrap_or_else(std::env::temp_dir);
        SWEPT.call_once(|| {
            sweep(&parent);
            sweep(Path::new(MEMORY));
        });
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = parent.join(format!("{PREFIX}{}-{number}", process::id()));
        fs::create_dir_all(&path)
            .unwrap_or_else(|error| panic!("can't make {}: {error}", path.display()));
        Folder(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A server that was just killed may have a forked child that still writes; what it
        // leaves is swept by the next process.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Removes what dead processes left. A reused process id only puts that off.
fn sweep(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split_once('-'));
        let Some((pid, _)) = owner else { continue };
        if pid.parse::<u32>().is_ok() && !Path::new("/proc").join(pid).exists() {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
