//! A network that can be cut: each server in a network namespace of its own, all on one bridge.
//!
//! ```text
//!   this process  10.77.0.1   server  10.77.0.2      server  10.77.0.3
//!         |                        | eth0                 | eth0
//!   ======+======== bridge ========+ weir2 ===============+ weir3 ========
//! ```
//!
//! A server is cut off by taking its end on the bridge down, and kept from one other server by
//! telling each a hardware address of the other that nobody has. Either way packets vanish: no
//! reset, no error, as when a cable is pulled. Servers that are killed and started again find the
//! same network, since their namespaces are held by processes of their own.
//!
//! Making a bridge takes a network namespace which nobody else is in, and the right to it: see
//! [`enter`]. Servers that needn't be cut are all at [`Place::local`].

use std::fmt;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use std::{env, fs};

use crate::child::Child;

/// The first three numbers of all addresses, which are known inside the network only.
const PREFIX: &str = "10.77.0";
const BRIDGE: &str = "weirbr";
/// A hardware address that no server has: locally administered, so no maker gives it out.
const NOBODY: &str = "02:00:00:00:00:01";
/// Says that [`enter`] has been here before.
const INSIDE: &str = "WEIR_LAB_NETWORK";

/// Makes this process again, with the same arguments, in a network namespace of its own. It returns
/// at once if that was done before.
///
/// Where the user isn't root the namespace is one of users as well, in which it is.
///
/// # Errors
/// Why there can be none; the process is then what it was.
pub fn enter() -> io::Result<()> {
    if env::var_os(INSIDE).is_some() {
        return Ok(());
    }
    let ways: [&[&str]; 2] = [&["--net"], &["--user", "--map-root-user", "--net"]];
    let mut refusal = io::Error::other("unshare is not there");
    for way in ways {
        // A machine may give a namespace, and no right to do anything in it.
        let probe = format!("ip link add {BRIDGE} type bridge && ip link set lo up");
        match run("unshare", &[way, &["sh", "-c", &probe]].concat()) {
            Ok(()) => {
                let mut again = Command::new("unshare");
                again.args(way).arg(env::current_exe()?).args(env::args_os().skip(1));
                return Err(again.env(INSIDE, "yes").exec());
            }
            Err(error) => refusal = error,
        }
    }
    Err(refusal)
}

/// A bridge, and the places on it. Copies are the same network.
#[derive(Clone, Debug)]
pub struct Network(Arc<Counter>);

#[derive(Debug)]
struct Counter(AtomicU8);

impl Network {
    /// Makes the bridge. This process must have come through [`enter`], and make no other.
    ///
    /// # Errors
    /// What `ip` says, if it can't.
    pub fn new() -> io::Result<Network> {
        if env::var_os(INSIDE).is_none() {
            return Err(io::Error::other("this process is in the machine's own network"));
        }
        ip(&["link", "set", "lo", "up"])?;
        ip(&["link", "add", BRIDGE, "type", "bridge"])?;
        ip(&["addr", "add", &format!("{PREFIX}.1/24"), "dev", BRIDGE])?;
        ip(&["link", "set", BRIDGE, "up"])?;
        Ok(Network(Arc::new(Counter(AtomicU8::new(2)))))
    }

    /// A new place on the bridge, for one server.
    ///
    /// # Panics
    /// If there are 250 already, or the kernel refuses.
    #[track_caller]
    pub fn place(&self) -> Place {
        let number = self.0.0.fetch_add(1, Ordering::Relaxed);
        assert!(number < 254, "the network is full");
        let node = Node::new(number)
            .unwrap_or_else(|error| panic!("no place {number} on the network: {error}"));
        Place { ip: format!("{PREFIX}.{number}"), node: Some(Arc::new(node)) }
    }
}

/// Where a server runs: its address, and the namespace that has it. Copies are the same place.
#[derive(Clone)]
pub struct Place {
    ip: String,
    node: Option<Arc<Node>>,
}

impl Place {
    /// 127.0.0.1, in the network of this process.
    pub fn local() -> Place {
        Place { ip: "127.0.0.1".into(), node: None }
    }

    pub fn ip(&self) -> &str {
        &self.ip
    }

    /// Whether nobody but this machine can reach it.
    pub(crate) fn is_local(&self) -> bool {
        self.node.is_none()
    }

    /// A command that will run here.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let Some(node) = &self.node else { return Command::new(program) };
        let mut command = Command::new("nsenter");
        // It becomes the program, so whoever kills it kills the program.
        command.arg(node.namespace()).arg("--").arg(program);
        command
    }

    /// From now on packets from and to this place vanish.
    ///
    /// # Panics
    /// If the place is on no bridge.
    #[track_caller]
    pub fn cut(&self) {
        self.expect(ip(&["link", "set", &self.node().link, "down"]));
    }

    /// Ends [`Place::cut`].
    ///
    /// # Panics
    /// If the place is on no bridge.
    #[track_caller]
    pub fn join(&self) {
        self.expect(ip(&["link", "set", &self.node().link, "up"]));
    }

    /// From now on packets between these two places vanish, whoever sends them.
    ///
    /// # Panics
    /// If a place is on no bridge.
    #[track_caller]
    pub fn part_from(&self, other: &Place) {
        for (here, there) in [(self, other), (other, self)] {
            let lie = ["neigh", "replace", &there.ip, "lladdr", NOBODY, "dev", "eth0"];
            self.expect(here.node().ip(&[&lie, &["nud", "permanent"][..]].concat()));
            here.node().lies().push(there.ip.clone());
        }
    }

    /// Ends all that [`Place::part_from`] has done here and at the others.
    ///
    /// # Panics
    /// If a place is on no bridge.
    #[track_caller]
    pub fn meet(&self, others: &[&Place]) {
        let pairs = others.iter().flat_map(|other| [(self, *other), (*other, self)]);
        for (here, there) in pairs {
            let lies = &mut *here.node().lies();
            if let Some(at) = lies.iter().position(|ip| *ip == there.ip) {
                lies.swap_remove(at);
                self.expect(here.node().ip(&["neigh", "del", &there.ip, "dev", "eth0"]));
            }
        }
    }

    #[track_caller]
    fn node(&self) -> &Node {
        self.node.as_ref().unwrap_or_else(|| panic!("{} is not on a bridge", self.ip))
    }

    #[track_caller]
    fn expect(&self, result: io::Result<()>) {
        result.unwrap_or_else(|error| panic!("the network around {}: {error}", self.ip));
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.ip)
    }
}

/// A namespace, held by a process that does nothing.
struct Node {
    holder: Child,
    /// Its end on the bridge.
    link: String,
    /// Whose hardware addresses it was told wrongly.
    lies: Mutex<Vec<String>>,
}

impl Node {
    fn new(number: u8) -> io::Result<Node> {
        let mut command = Command::new("unshare");
        command.args(["--net", "sleep", "infinity"]).stdin(Stdio::null());
        let holder = Child::spawn(command)?;
        let ours = fs::read_link("/proc/self/ns/net")?;
        let entered = || {
            let theirs = fs::read_link(format!("/proc/{}/ns/net", holder.pid())).ok();
            theirs.filter(|theirs| *theirs != ours)
        };
        crate::within(Duration::from_secs(5), entered)
            .ok_or_else(|| io::Error::other("unshare has made no network namespace"))?;
        let node = Node { link: format!("weir{number}"), holder, lies: Mutex::default() };
        let (link, pid) = (node.link.as_str(), node.holder.pid().to_string());
        let ends = ["type", "veth", "peer", "name", "eth0", "netns", &pid];
        ip(&[&["link", "add", link], &ends[..]].concat())?;
        ip(&["link", "set", link, "master", BRIDGE, "up"])?;
        node.ip(&["addr", "add", &format!("{PREFIX}.{number}/24"), "dev", "eth0"])?;
        node.ip(&["link", "set", "eth0", "up"])?;
        node.ip(&["link", "set", "lo", "up"])?;
        Ok(node)
    }

    /// For `nsenter`.
    fn namespace(&self) -> String {
        format!("--net=/proc/{}/ns/net", self.holder.pid())
    }

    /// `ip`, inside.
    fn ip(&self, args: &[&str]) -> io::Result<()> {
        run("nsenter", &[&[self.namespace().as_str(), "--", "ip"], args].concat())
    }

    fn lies(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        self.lies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.link)
    }
}

fn ip(args: &[&str]) -> io::Result<()> {
    run("ip", args)
}

/// Runs a program to its end; an error says what it said.
fn run(program: &str, args: &[&str]) -> io::Result<()> {
    // Debian keeps `ip` where only root's path looks.
    let path = env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    let output = Command::new(program)
        .args(args)
        .env("PATH", path)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| io::Error::other(format!("{program}: {error}")))?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("{program} {}: {}", args.join(" "), text.trim())))
}
