//! What a command is: arity, flags, keys and policies, as `COMMAND` tells them.
//!
//! ```text
//!   the reply to COMMAND --CommandTable::from_reply--> [ get | set | config | config|get | ... ]
//!                                                            ^ one Spec each
//!   request: name, subcommand --check--> Spec, or the stock error text
//!   Spec + request            --keys---> which of its arguments are keys
//! ```
//!
//! Servers describe their own commands, so Weir asks and doesn't copy: a command of a newer server
//! or of a module routes without a line of code here. What a server keeps to itself is written by
//! hand in one place each:
//!
//! * the flag `may_replicate`, which servers hide on purpose, in `spec.rs`;
//! * the keys of SORT and MIGRATE, whose place no key spec can describe, in `keys.rs`;
//! * which settings concern the data and not the server that holds it, in `settings.rs`.
//!
//! Names are compared without regard to case, and found without allocation.

mod error;
mod flags;
mod keys;
mod names;
mod policy;
mod settings;
mod sort;
mod spec;
mod table;

pub use error::CommandError;
pub use flags::Flags;
pub use keys::{Begin, Find, KeyRule, KeySpec};
pub use policy::{How, Merge, RequestPolicy, ResponsePolicy};
pub use settings::is_data_setting;
pub use sort::{SortOption, sort_options};
pub use spec::Spec;
pub use table::{CommandTable, SpecId, TableError};
