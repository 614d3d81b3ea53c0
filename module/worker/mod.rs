//! Threads, listeners, mailboxes: what drives the engines.
//!
//! ```text
//!                       host
//!            send, broadcast, stop |         ^ to_host, log
//!   clients                        v         |
//!      |          +--------------- Fleet ----------------+
//!      v          |                                      |
//!   listeners --> worker 0 --newcomers, round robin--> worker 1 ...
//!                 | Mailbox <------ mail ------> Mailbox |       names (resolves host names)
//!                 | Engine                       Engine  |
//!                 | epoll: sessions, links       epoll   |
//!                 +--------------------------------------+
//! ```
//!
//! A worker is one thread, with one engine, one epoll set and one mailbox; nothing else is shared
//! than the count of clients. It goes round and round, one **turn** after the other (`turn.rs`):
//!
//! 1. sleep until something is ready, there is mail, or a timer is due;
//! 2. open the mail; accept clients; read from every readable connection, a bounded share each, and
//!    tell the engine after each read;
//! 3. timers, then `TurnEnd`: what many clients asked for in this turn goes to the shards together;
//! 4. do what the engine asks for; write once to each connection that has something to say;
//! 5. wake each worker that got mail, once, and only if it sleeps.
//!
//! So the cost of a system call is shared by all that a turn brings, and the busier it gets, the
//! more share it.
//!
//! What a failure means is decided here and not in `os/`: a client whose connection fails is
//! closed, a link's failure is told to the engine with a reason for people, a listener without
//! descriptors rests, a panic ends the process on purpose (`guard.rs`).

mod alarm;
mod arrival;
mod connection;
mod dial;
mod fleet;
mod guard;
mod guest;
mod listener;
mod machine;
mod mailbox;
mod names;
mod turn;

pub use fleet::{Fleet, FleetSetup, Ground, Log, Stuck, ToHost};
pub use guard::OnPanic;
pub use guest::{Entrance, Farewell, GuestHandle, Hear, Promise};
pub use listener::StartError;
pub use machine::{Machine, Place};
