//! Who the primaries and replicas are, and what changed.
//!
//! ```text
//!   INFO server replication persistence cluster
//!        |
//!        v
//!     Report -- with the History counted on --> Change
//!                                                 SameHistory    go on
//!                                                 NewHistory     reopen all, prove what can be
//!                                                 NotPrimary     nothing here is to be trusted
//! ```
//!
//! Every connection to a shard is greeted with this INFO, and every round ends with it, because
//! only the server itself can tell whether the data behind an address is still what it was. A
//! **history** is named by two ids: the run id says that it is the same process, and the
//! replication id that its data went on from its own: a server that was demoted and promoted again
//! has a new one, and never gets the old one back.
//!
//! Where the primaries are is told by Sentinels ([`Masters`]) or by the nodes of a Redis Cluster
//! ([`Members`]); what is believed of that is a [`crate::shards::ShardMap`].

mod masters;
mod members;
mod nodes;
mod report;

pub use masters::{Masters, Word};
pub use members::{Members, Told};
pub use nodes::{Node, View, ViewError};
pub use report::{Replica, Report, ReportError, Role};

/// The name of one unbroken history of one primary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    /// `run_id`: which process.
    pub run_id: String,
    /// `master_replid`: which line of data.
    pub replid: String,
}

/// What a new report says about the history that was counted on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It goes on.
    SameHistory,
    /// It has ended, and another one is here.
    NewHistory {
        /// If the new history knows the old one as its own past: the offset from which on they
        /// differ (`second_repl_offset`). What the old one had below it, the new one has.
        proof: Option<u64>,
    },
    /// The server is no primary: its data is another's, and its counts are about nobody's writes.
    NotPrimary,
}

impl History {
    /// The history that a report belongs to, if it is a primary's.
    pub fn of(report: &Report) -> Option<Self> {
        match report.role {
            Role::Primary => {
                Some(Self { run_id: report.run_id.clone(), replid: report.replid.clone() })
            }
            Role::Replica => None,
        }
    }

    /// What `report` says about this history.
    ///
    /// The proof needs no more than `master_replid2`: a server keeps its former id there when it is
    /// promoted, whichever server it is. The same process with another replication id and no such
    /// trace has made or freed its backlog; its data went on, but it doesn't prove it.
    pub fn change(&self, report: &Report) -> Change {
        if report.role == Role::Replica {
            return Change::NotPrimary;
        }
        if report.run_id == self.run_id && report.replid == self.replid {
            return Change::SameHistory;
        }
        let known = report.replid2 == self.replid;
        Change::NewHistory { proof: report.second_offset.filter(|_| known) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(run_id: &str, replid: &str, replid2: &str, second: &str, role: &str) -> Report {
        let text = format!(
            "run_id:{run_id}\r\nredis_version:8.0.6\r\nrole:{role}\r\nconnected_slaves:0\r\n\
             master_replid:{replid}\r\nmaster_replid2:{replid2}\r\nmaster_repl_offset:100\r\n\
             second_repl_offset:{second}\r\nrepl_backlog_active:1\r\naof_enabled:0\r\nloading:0\r\n\
             cluster_enabled:0\r\n"
        );
        Report::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_history_is_a_process_and_a_line_of_data() {
        let history = History { run_id: "r1".into(), replid: "a".into() };
        let change = |run_id, replid, replid2, second, role| {
            history.change(&report(run_id, replid, replid2, second, role))
        };
        assert_eq!(change("r1", "a", "0", "-1", "master"), Change::SameHistory);
        let promoted = Change::NewHistory { proof: Some(88) };
        assert_eq!(change("r2", "b", "a", "88", "master"), promoted);
        assert_eq!(change("r1", "b", "a", "88", "master"), promoted);
        let unproven = Change::NewHistory { proof: None };
        assert_eq!(change("r1", "b", "0", "-1", "master"), unproven, "a backlog was made or freed");
        assert_eq!(change("r2", "b", "c", "88", "master"), unproven);
        assert_eq!(change("r2", "a", "0", "-1", "master"), unproven, "restarted, with the id kept");
        assert_eq!(change("r1", "a", "0", "-1", "slave"), Change::NotPrimary);
        assert_eq!(change("r2", "b", "a", "88", "slave"), Change::NotPrimary);
    }

    #[test]
    fn a_replica_has_no_history_of_its_own() {
        assert_eq!(History::of(&report("r1", "a", "0", "-1", "slave")), None);
        assert!(History::of(&report("r1", "a", "0", "-1", "master")).is_some());
    }
}
