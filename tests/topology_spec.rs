//! Scenarios of `weir::topology`: the text of an INFO, and what is read from it. The long ones were
//! recorded from real servers (empty lines and paths left out).

#![allow(clippy::unwrap_used, reason = "a test ends at its first surprise")]

mod scenario;

use weir::topology::Report;

#[test]
fn scenarios() {
    scenario::run("topology", |input| match Report::parse(input.as_bytes()) {
        Ok(report) => format!("{report:#?}"),
        Err(error) => error.to_string(),
    });
}
