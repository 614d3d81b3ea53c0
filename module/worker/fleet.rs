//! All workers of a process: how they start, are spoken to, and end.

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, unbounded};

use crate::command::CommandTable;
use crate::engine::{Engine, Level, Mail, Setup};
use crate::ids::{Time, WorkerId};
use crate::limits;
use crate::os::epoll::Epoll;
use crate::os::eventfd::Bell;
use crate::os::fds::{FdSpace, NoRoom};
use crate::os::tls::Tls;
use crate::os::{clock, thread};
use crate::settings::Settings;
use crate::shards::ShardMap;
use crate::stats::Stats;

use super::guard::{OnPanic, guard_this_thread};
use super::listener::{Door, Reception, StartError, bind_all};
use super::machine::{Machine, Place};
use super::mailbox::{Letter, Mailbox};
use super::names;
use super::turn::{Station, Worker};

/// Where log lines go. It is called on any thread.
pub type Log = Arc<dyn Fn(Level, &str) + Send + Sync>;
/// Where mail for the host goes. It is called on a worker's thread, and must not take long.
pub type ToHost = Arc<dyn Fn(Mail) + Send + Sync>;

/// What a fleet needs of the process that it lives in, whatever machines it drives.
#[derive(Clone)]
pub struct Ground {
    /// The settings to begin with.
    pub settings: Arc<Settings>,
    /// The counters of all workers; worker `n` writes the `n`th.
    pub stats: Stats,
    /// Where log lines go.
    pub log: Log,
    /// Where mail for the host goes.
    pub to_host: ToHost,
    /// Our descriptors are this number and above: beyond what the host's event loop can hold.
    pub fd_base: i32,
    /// What follows a panic.
    pub on_panic: OnPanic,
}

/// What a fleet of engines needs.
#[derive(Clone)]
pub struct FleetSetup {
    /// The settings to begin with.
    pub settings: Arc<Settings>,
    /// The commands to begin with.
    pub table: Arc<CommandTable>,
    /// Which shard has which slots.
    pub map: Arc<ShardMap>,
    /// The counters of all workers.
    pub stats: Stats,
    /// Where log lines go.
    pub log: Log,
    /// Where mail for the host goes.
    pub to_host: ToHost,
    /// Our descriptors are this number and above: beyond what the host's event loop can hold.
    pub fd_base: i32,
}

/// What all threads of a fleet share.
pub(super) struct Shared {
    pub(super) space: FdSpace,
    pub(super) mailboxes: Box<[Mailbox]>,
    pub(super) stats: Stats,
    pub(super) log: Log,
    pub(super) to_host: ToHost,
    /// How many clients are connected, over all workers.
    pub(super) clients: Arc<AtomicUsize>,
    /// How many clients without a socket there have ever been.
    pub(super) guests: AtomicU64,
    /// No letter is read any more.
    pub(super) closed: AtomicBool,
    /// How many descriptors the fleet may need beside those of its clients.
    own_descriptors: usize,
}

impl Shared {
    pub(super) fn mailbox(&self, worker: WorkerId) -> &Mailbox {
        &self.mailboxes[usize::from(worker.0)]
    }

    pub(super) fn send(&self, worker: WorkerId, mail: Mail) {
        if let Some(mailbox) = self.mailboxes.get(usize::from(worker.0)) {
            mailbox.put(Letter::Mail(mail));
            mailbox.wake();
        }
    }

    pub(super) fn workers(&self) -> u16 {
        u16::try_from(self.mailboxes.len()).unwrap_or(u16::MAX)
    }

    /// How many clients may be served: `maxclients`, or as many as the process's limit of open
    /// files leaves room for. The limit is raised if that is allowed, and it is logged if it is too
    /// low.
    pub(super) fn clients_max(&self, settings: &Settings) -> Result<usize, NoRoom> {
        let wanted = settings.maxclients as usize;
        let Err(room) = self.space.room_for(self.own_descriptors + wanted) else {
            return Ok(wanted);
        };
        let clients = room.available.saturating_sub(self.own_descriptors);
        if clients == 0 {
            return Err(room);
        }
        let text = format!("{room}. Until then {clients} clients are served instead of {wanted}.");
        (self.log)(Level::Warning, &text);
        Ok(clients)
    }
}

/// What tells one start of the module from another, as a server's `run_id` does.
fn run_id() -> String {
    // The standard library seeds its hashers from the system's randomness, each start anew.
    let part = || RandomState::new().hash_one(0u8);
    format!("{:016x}{:016x}{:08x}", part(), part(), part() as u32)
}

/// The threads that could not be stopped, by name. Their code has been pinned in memory, so that
/// they can do no harm when the module is unloaded, but what they hold they keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stuck {
    /// For example `weir-0`, or `weir-names` if the system's resolver doesn't come back.
    pub threads: Vec<String>,
}

impl fmt::Display for Stuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "these threads have not stopped in time: {}", self.threads.join(", "))
    }
}

impl std::error::Error for Stuck {}

/// A thread of the fleet.
struct Crew {
    name: String,
    handle: JoinHandle<()>,
    ended: bool,
}

/// The running workers. Dropping it stops them.
pub struct Fleet {
    pub(super) shared: Arc<Shared>,
    crew: Vec<Crew>,
    ends: Receiver<usize>,
    listening: Vec<String>,
}

impl Fleet {
    /// Binds all listeners, then starts `settings.threads` workers, each with an engine of its own.
    ///
    /// # Errors
    /// See [`StartError`]. Nothing is left behind.
    pub fn start(setup: FleetSetup) -> Result<Self, StartError> {
        let FleetSetup { settings, table, map, stats, log, to_host, fd_base } = setup;
        // The one that INFO tells. Source: redis `server.c`, `genRedisInfoString`.
        let port = if settings.port != 0 { settings.port } else { settings.tls_port };
        let ground = Ground {
            settings,
            stats: stats.clone(),
            log,
            to_host,
            fd_base,
            on_panic: OnPanic::Abort,
        };
        let links = map.reckoned() * limits::DESCRIPTORS_PER_SHARD;
        let (process_id, run_id) = (std::process::id(), Arc::<str>::from(run_id()));
        Self::start_with(ground, links, move |place, now| {
            let Place { worker, workers, settings, wall } = place;
            let (table, map, stats) = (Arc::clone(&table), Arc::clone(&map), stats.clone());
            let run_id = Arc::clone(&run_id);
            let setup = Setup {
                worker,
                workers,
                settings,
                table,
                map,
                stats,
                wall,
                port,
                process_id,
                run_id,
            };
            Engine::new(setup, now)
        })
    }

    /// Like [`Fleet::start`], with machines of the caller's making, each of which may need `links`
    /// connections to shards.
    ///
    /// # Errors
    /// See [`StartError`]. Nothing is left behind.
    pub fn start_with<M, F>(ground: Ground, links: usize, make: F) -> Result<Self, StartError>
    where
        M: Machine + 'static,
        F: Fn(Place, Time) -> M + Send + Sync + 'static,
    {
        let space = FdSpace::new(ground.fd_base)
            .map_err(|error| StartError::System { what: "room for descriptors", error })?;
        let tls = Tls::load(&ground.settings).map_err(StartError::Tls)?;
        let doors = bind_all(space, &ground.settings)?;
        let listening = doors.iter().map(Door::name).collect();
        let workers = usize::from(ground.settings.threads.max(1));
        let own_descriptors = doors.len() + workers * (limits::DESCRIPTORS_PER_WORKER + links);
        let mailboxes = (0..workers).map(|_| Bell::new(space).map(Mailbox::new));
        let shared = Arc::new(Shared {
            space,
            mailboxes: mailboxes
                .collect::<Result<_, _>>()
                .map_err(|error| StartError::System { what: "a mailbox", error })?,
            stats: ground.stats.clone(),
            log: Arc::clone(&ground.log),
            to_host: Arc::clone(&ground.to_host),
            clients: Arc::new(AtomicUsize::new(0)),
            guests: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            own_descriptors,
        });
        let clients_max = shared.clients_max(&ground.settings).map_err(StartError::Descriptors)?;
        let (tell_end, ends) = unbounded();
        let mut fleet = Self { shared, crew: Vec::new(), ends, listening };
        // If a thread can't be started, dropping the fleet stops those that were.
        let reception = Reception { doors, clients_max };
        fleet.man(&ground, reception, &Arc::new(tls), tell_end, Arc::new(make))?;
        Ok(fleet)
    }

    fn man<M, F>(
        &mut self,
        ground: &Ground,
        reception: Reception,
        tls: &Arc<Tls>,
        tell_end: Sender<usize>,
        make: Arc<F>,
    ) -> Result<(), StartError>
    where
        M: Machine + 'static,
        F: Fn(Place, Time) -> M + Send + Sync + 'static,
    {
        let (lookups, asked) = mpsc::channel();
        let wall = clock::wall_at_zero();
        let mut reception = Some(reception);
        let workers = self.workers();
        for number in 0..workers {
            let worker = WorkerId(number);
            let place = Place { worker, workers, settings: Arc::clone(&ground.settings), wall };
            let epoll = Epoll::new(self.shared.space)
                .map_err(|error| StartError::System { what: "an epoll set", error })?;
            let station = Station {
                shared: Arc::clone(&self.shared),
                epoll,
                reception: reception.take().unwrap_or_default(),
                tls: Arc::clone(tls),
                lookups: lookups.clone(),
            };
            let make = Arc::clone(&make);
            self.launch(format!("weir-{number}"), ground, &tell_end, move || {
                let machine = make(place.clone(), clock::now());
                Worker::new(place, station, machine).run();
            })?;
        }
        drop(lookups);
        let shared = Arc::clone(&self.shared);
        self.launch("weir-names".to_owned(), ground, &tell_end, move || {
            names::serve(&asked, &shared);
        })
    }

    fn launch(
        &mut self,
        name: String,
        ground: &Ground,
        tell_end: &Sender<usize>,
        body: impl FnOnce() + Send + 'static,
    ) -> Result<(), StartError> {
        let number = self.crew.len();
        let end = End { number, tell: tell_end.clone() };
        let (own_name, log, on_panic) = (name.clone(), Arc::clone(&ground.log), ground.on_panic);
        let handle = thread::spawn(&name, move || {
            let _end = end;
            guard_this_thread(&own_name, &log, on_panic);
            body();
        })
        .map_err(|error| StartError::System { what: "a thread", error })?;
        self.crew.push(Crew { name, handle, ended: false });
        Ok(())
    }

    /// Sends mail to a worker's engine, at once. After [`Fleet::stop`] nobody reads it.
    pub fn send(&self, worker: WorkerId, mail: Mail) {
        self.shared.send(worker, mail);
    }

    /// Sends new settings to all workers.
    pub fn broadcast(&self, settings: &Arc<Settings>) {
        self.send_all(|| Letter::Settings(Arc::clone(settings)));
    }

    /// Has all workers make TLS connections with `tls` from now on.
    pub fn renew_tls(&self, tls: &Arc<Tls>) {
        self.send_all(|| Letter::Tls(Arc::clone(tls)));
    }

    fn send_all(&self, letter: impl Fn() -> Letter) {
        for mailbox in &self.shared.mailboxes {
            mailbox.put(letter());
            mailbox.wake();
        }
    }

    /// How many workers there are.
    pub fn workers(&self) -> u16 {
        self.shared.workers()
    }

    /// How many clients are connected.
    pub fn clients(&self) -> usize {
        self.shared.clients.load(Ordering::Relaxed)
    }

    /// Where clients are served, for people.
    pub fn listening(&self) -> &[String] {
        &self.listening
    }

    /// Stops all threads, closes all that they had open, and removes the Unix socket. It takes a
    /// turn of each worker, and at most [`limits::STOP_MAX`].
    ///
    /// # Errors
    /// The threads that are still there. They are given up.
    pub fn stop(mut self) -> Result<(), Stuck> {
        self.end()
    }

    fn end(&mut self) -> Result<(), Stuck> {
        self.send_all(|| Letter::Stop);
        self.await_ends(clock::now() + limits::STOP_MAX);
        let (ended, stuck): (Vec<_>, Vec<_>) = self.crew.drain(..).partition(|crew| crew.ended);
        for crew in ended {
            // An error is the panic that the guard has told of.
            let _ = crew.handle.join();
        }
        // Clients, and what guests said, that were still on their way to a worker.
        self.shared.closed.store(true, Ordering::SeqCst);
        for mailbox in &self.shared.mailboxes {
            mailbox.clear();
        }
        if stuck.is_empty() {
            return Ok(());
        }
        thread::pin_code();
        Err(Stuck { threads: stuck.into_iter().map(|crew| crew.name).collect() })
    }

    fn await_ends(&mut self, until: Time) {
        while self.crew.iter().any(|crew| !crew.ended) {
            match self.ends.recv_timeout(until.since(clock::now())) {
                Ok(number) => {
                    self.crew[number].ended = true;
                }
                Err(RecvTimeoutError::Timeout) => return,
                // All senders are gone, so all threads are.
                Err(RecvTimeoutError::Disconnected) => {
                    self.crew.iter_mut().for_each(|crew| crew.ended = true);
                }
            }
        }
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        if self.crew.is_empty() {
            return;
        }
        if let Err(stuck) = self.end() {
            (self.shared.log)(Level::Warning, &stuck.to_string());
        }
    }
}

/// Tells that a thread is at its end, however it got there.
struct End {
    number: usize,
    tell: Sender<usize>,
}

impl Drop for End {
    fn drop(&mut self) {
        // Nobody listens if the fleet has given the thread up.
        let _ = self.tell.send(self.number);
    }
}
