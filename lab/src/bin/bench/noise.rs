//! What else the machine did meanwhile.

use std::mem;
use std::time::{Duration, Instant};

use lab::procfs;

use crate::bed::Servers;

/// Looks at the machine's processors from its making on.
pub(crate) struct Noise {
    since: Instant,
    busy: Duration,
    ours: Duration,
}

impl Noise {
    pub(crate) fn new(servers: &Servers) -> Noise {
        Noise { since: Instant::now(), busy: procfs::machine_busy_time(), ours: ours(servers) }
    }

    /// The share of all processors' time that went to others than us and these servers, 0 to 1.
    pub(crate) fn share(&self, servers: &Servers) -> f64 {
        let busy = procfs::machine_busy_time().saturating_sub(self.busy);
        let ours = ours(servers).saturating_sub(self.ours);
        let processors = std::thread::available_parallelism().map_or(1, |count| count.get());
        let time = self.since.elapsed().as_secs_f64() * processors as f64;
        busy.saturating_sub(ours).as_secs_f64() / time
    }
}

/// Processor time of the servers, of this process, and of the load programs that have ended.
fn ours(servers: &Servers) -> Duration {
    [libc::RUSAGE_SELF, libc::RUSAGE_CHILDREN].map(used).iter().sum::<Duration>()
        + servers.run_time_of_all()
}

fn used(whose: libc::c_int) -> Duration {
    // SAFETY: the structure is plain data, for which zero is valid.
    let mut usage: libc::rusage = unsafe { mem::zeroed() };
    // SAFETY: the pointer is to a whole structure. It can't fail; and zero would be the answer.
    unsafe { libc::getrusage(whose, &raw mut usage) };
    let span = |time: libc::timeval| {
        Duration::from_secs(time.tv_sec as u64) + Duration::from_micros(time.tv_usec as u64)
    };
    span(usage.ru_utime) + span(usage.ru_stime)
}
