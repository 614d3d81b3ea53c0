//! Listeners: where clients come in, and how many may.
//!
//! All are bound before any thread starts, so that a port in use is an error of the start and not a
//! line in a log. Worker 0 accepts, and deals the clients out to all workers in turn.
//!
//! `bind` is understood as a stock server understands its own: words of addresses, `*` for all of
//! IPv4, `::*` for all of IPv6, and a `-` before one that may be missing on this machine.

use std::fmt;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::engine::Peer;
use crate::limits;
use crate::os::address::RawAddress;
use crate::os::fds::{FdSpace, NoRoom};
use crate::os::socket::{Listener, Stream};
use crate::os::tls::BadTls;
use crate::settings::Settings;

/// Why a fleet could not start. Each text is a whole line for an operator.
#[derive(Debug)]
pub enum StartError {
    /// Neither a port nor a Unix socket is configured, or none of `bind`'s addresses exists here.
    NoListener,
    /// A listener could not be bound.
    Listen {
        /// Which.
        address: String,
        /// Why.
        error: io::Error,
    },
    /// A file or option about TLS can't be used.
    Tls(BadTls),
    /// Even one client would be one too many.
    Descriptors(NoRoom),
    /// The system has no more threads, memory or descriptors.
    System {
        /// What could not be made.
        what: &'static str,
        /// Why.
        error: io::Error,
    },
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoListener => write!(
                f,
                "there is nothing to listen on: set weir.port, weir.tls-port or weir.unixsocket, \
                 and weir.bind to an address of this machine"
            ),
            Self::Listen { address, error } => {
                write!(f, "can't listen on {address}: {error}")
            }
            Self::Tls(bad) => bad.fmt(f),
            Self::Descriptors(room) => room.fmt(f),
            Self::System { what, error } => write!(f, "can't make {what}: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

/// A listener and what there is to know about it.
#[derive(Debug)]
pub(super) struct Door {
    pub(super) listener: Listener,
    /// Its path, if it is a Unix socket: the address of all its clients, who have none of their
    /// own.
    pub(super) unix: Option<UnixPath>,
    /// Clients who come in here speak TLS.
    pub(super) secure: bool,
}

/// A Unix socket's path, which goes when the listener goes, unless somebody else's socket has taken
/// its place.
#[derive(Debug)]
pub(super) struct UnixPath {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl UnixPath {
    fn new(path: &Path) -> io::Result<Self> {
        let meta = fs::symlink_metadata(path)?;
        Ok(Self { path: path.to_owned(), device: meta.dev(), inode: meta.ino() })
    }
}

impl Drop for UnixPath {
    fn drop(&mut self) {
        let still_ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|meta| meta.dev() == self.device && meta.ino() == self.inode);
        if still_ours {
            // If it can't be removed, the next start finds a socket that nobody listens on, and
            // removes it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Binds all that the settings name.
///
/// # Errors
/// The first that fails; what was bound before is closed.
pub(super) fn bind_all(space: FdSpace, settings: &Settings) -> Result<Vec<Door>, StartError> {
    let mut doors = Vec::new();
    for (port, secure) in [(settings.port, false), (settings.tls_port, true)] {
        for word in settings.bind_addresses().filter(|_| port != 0) {
            bind_word(space, word, port, secure, &mut doors)?;
        }
    }
    if !settings.unixsocket.is_empty() {
        let path = Path::new(&settings.unixsocket);
        let door = bind_unix(space, path)
            .map_err(|error| StartError::Listen { address: path.display().to_string(), error })?;
        doors.push(door);
    }
    // On purpose it is only where the host's own port brings clients.
    let wanted = settings.port != 0 || settings.tls_port != 0 || !settings.intercept;
    if doors.is_empty() && wanted { Err(StartError::NoListener) } else { Ok(doors) }
}

fn bind_word(
    space: FdSpace,
    word: &str,
    port: u16,
    secure: bool,
    doors: &mut Vec<Door>,
) -> Result<(), StartError> {
    let (host, optional) = match word.strip_prefix('-') {
        Some(host) => (host, true),
        None => (word, false),
    };
    let failed = |address: String, error| StartError::Listen { address, error };
    let addresses: Vec<SocketAddr> = match host {
        "*" => vec![(Ipv4Addr::UNSPECIFIED, port).into()],
        "::*" => vec![(Ipv6Addr::UNSPECIFIED, port).into()],
        name => (name, port)
            .to_socket_addrs()
            .map_err(|error| failed(format!("{name} port {port}"), error))?
            .collect(),
    };
    for address in addresses {
        match Listener::bind(space, &address.into(), limits::LISTEN_BACKLOG) {
            Ok(listener) => doors.push(Door { listener, unix: None, secure }),
            Err(error) if optional && is_not_here(&error) => {}
            Err(error) => return Err(failed(address.to_string(), error)),
        }
    }
    Ok(())
}

/// Whether this machine doesn't have the address, or not even its family.
fn is_not_here(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EADDRNOTAVAIL | libc::EAFNOSUPPORT | libc::EPROTONOSUPPORT)
    )
}

fn bind_unix(space: FdSpace, path: &Path) -> io::Result<Door> {
    let address = RawAddress::unix(path)?;
    remove_stale(space, path, &address)?;
    let listener = Listener::bind(space, &address, limits::LISTEN_BACKLOG)?;
    Ok(Door { listener, unix: Some(UnixPath::new(path)?), secure: false })
}

/// A server that was killed leaves its socket behind. It is removed, but only if it is one, and
/// nobody listens on it.
fn remove_stale(space: FdSpace, path: &Path, address: &RawAddress) -> io::Result<()> {
    let meta = match fs::symlink_metadata(path) {
        Ok(meta) => meta,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !meta.file_type().is_socket() {
        return Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "there is something of that name that is no socket",
        ));
    }
    match Stream::connect(space, address) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        // It answers, or its queue is full, or we may not speak to it.
        _ => Err(io::Error::from(io::ErrorKind::AddrInUse)),
    }
}

/// The listeners, in the hands of worker 0. The other workers have an empty one.
#[derive(Debug, Default)]
pub(super) struct Reception {
    pub(super) doors: Vec<Door>,
    /// How many clients may be connected, over all workers.
    pub(super) clients_max: usize,
}

/// A client's place among `maxclients`, free again when it is dropped.
#[derive(Debug)]
pub(super) struct Ticket {
    taken: Arc<AtomicUsize>,
}

impl Ticket {
    /// A place, if fewer than `max` are taken. Only one thread takes places.
    pub(super) fn take(taken: &Arc<AtomicUsize>, max: usize) -> Option<Self> {
        if taken.load(Ordering::Relaxed) >= max {
            return None;
        }
        taken.fetch_add(1, Ordering::Relaxed);
        Some(Self { taken: Arc::clone(taken) })
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A client on its way from the listener to its worker.
#[derive(Debug)]
pub(super) struct Newcomer {
    pub(super) stream: Stream,
    pub(super) peer: Peer,
    pub(super) ticket: Ticket,
    /// It speaks TLS.
    pub(super) secure: bool,
}

impl Door {
    /// Who a client is that came in here.
    pub(super) fn peer(&self, stream: &Stream, address: &RawAddress) -> Peer {
        let fd = stream.fd().raw();
        if let Some(unix) = &self.unix {
            // As stock servers write it: the path for both ends, and a port of zero.
            let text = format!("{}:0", unix.path.display());
            return Peer { address: text.clone(), local: text, fd };
        }
        let text = |address: Option<SocketAddr>| {
            // A client that is gone already has no address any more.
            address.map_or_else(|| "?:0".to_owned(), |address| address.to_string())
        };
        let local = stream.local_address().ok().and_then(|local| local.internet());
        Peer { address: text(address.internet()), local: text(local), fd }
    }

    /// What an operator calls it.
    pub(super) fn name(&self) -> String {
        match &self.unix {
            Some(unix) => unix.path.display().to_string(),
            None => {
                let address = self.listener.address().ok().and_then(|address| address.internet());
                let name = address.map_or_else(|| "?".to_owned(), |address| address.to_string());
                if self.secure { name + " (TLS)" } else { name }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;

    fn space() -> FdSpace {
        FdSpace::new(1100).unwrap()
    }

    fn settings(bind: &str, port: u16, unixsocket: &str) -> Settings {
        Settings {
            bind: bind.to_owned(),
            port,
            unixsocket: unixsocket.to_owned(),
            ..Settings::default()
        }
    }

    fn free_port() -> u16 {
        TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
    }

    fn socket_path(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("weir-listener-{}-{name}", std::process::id()))
    }

    #[test]
    fn several_addresses_are_bound_and_missing_ones_may_be_optional() {
        let port = free_port();
        let doors =
            bind_all(space(), &settings("127.0.0.1 127.0.0.2 -192.0.2.1", port, "")).unwrap();
        let names: Vec<_> = doors.iter().map(Door::name).collect();
        assert_eq!(names, [format!("127.0.0.1:{port}"), format!("127.0.0.2:{port}")]);
        let error = bind_all(space(), &settings("192.0.2.1", port, "")).unwrap_err().to_string();
        assert!(error.contains(&format!("192.0.2.1:{port}")), "{error}");
    }

    #[test]
    fn tls_has_a_port_of_its_own() {
        let (plain, secure) = (free_port(), free_port());
        let both = Settings { tls_port: secure, ..settings("127.0.0.1", plain, "") };
        let doors = bind_all(space(), &both).unwrap();
        let names: Vec<_> = doors.iter().map(Door::name).collect();
        assert_eq!(names, [format!("127.0.0.1:{plain}"), format!("127.0.0.1:{secure} (TLS)")]);
        drop(doors);
        let only = Settings { port: 0, ..both };
        assert!(bind_all(space(), &only).unwrap().iter().all(|door| door.secure));
    }

    #[test]
    fn a_port_in_use_is_named() {
        let held = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = held.local_addr().unwrap().port();
        let error = bind_all(space(), &settings("127.0.0.1", port, "")).unwrap_err().to_string();
        assert!(error.contains(&format!("can't listen on 127.0.0.1:{port}")), "{error}");
        assert!(error.contains("in use"), "{error}");
    }

    #[test]
    fn no_door_is_an_error_unless_clients_come_by_the_hosts_port() {
        let none = settings("127.0.0.1", 0, "");
        assert!(bind_all(space(), &none).unwrap().is_empty());
        let alone = Settings { intercept: false, ..none };
        let nowhere = settings("", free_port(), "");
        for settings in [alone, nowhere] {
            let nothing = bind_all(space(), &settings).unwrap_err();
            assert!(matches!(nothing, StartError::NoListener));
        }
    }

    #[test]
    fn a_stale_unix_socket_is_replaced_and_a_live_one_is_not() {
        let path = socket_path("stale");
        let text = path.to_str().unwrap();
        let live = UnixListener::bind(&path).unwrap();
        let error = bind_all(space(), &settings("", 0, text)).unwrap_err().to_string();
        assert!(error.contains("in use"), "{error}");
        drop(live);
        assert!(path.exists(), "a killed server leaves it behind");
        let doors = bind_all(space(), &settings("", 0, text)).unwrap();
        UnixStream::connect(&path).unwrap();
        drop(doors);
        assert!(!path.exists());
    }

    #[test]
    fn what_is_no_socket_stays() {
        let path = socket_path("file");
        fs::write(&path, "precious").unwrap();
        assert!(bind_all(space(), &settings("", 0, path.to_str().unwrap())).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn anothers_socket_of_the_same_name_stays() {
        let path = socket_path("taken");
        let doors = bind_all(space(), &settings("", 0, path.to_str().unwrap())).unwrap();
        fs::remove_file(&path).unwrap();
        let other = UnixListener::bind(&path).unwrap();
        drop(doors);
        UnixStream::connect(&path).unwrap();
        drop(other);
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn tickets_come_back() {
        let taken = Arc::new(AtomicUsize::new(0));
        let first = Ticket::take(&taken, 2).unwrap();
        let second = Ticket::take(&taken, 2).unwrap();
        assert!(Ticket::take(&taken, 2).is_none());
        drop(first);
        assert!(Ticket::take(&taken, 2).is_some());
        drop(second);
        assert_eq!(taken.load(Ordering::Relaxed), 0);
    }
}
