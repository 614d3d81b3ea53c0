//! What Weir made of the tests that pass on a bare server.
//!
//! | bare | with Weir | listed as | verdict |
//! |---|---|---|---|
//! | passed | passed | nothing, varies | passed |
//! | passed | failed, or not run | fails, varies, omitted | skipped |
//! | passed | failed, or not run | nothing | a problem |
//! | passed | passed | fails | a problem: the entry has had its day |
//! | anything else | | | not compared |
//!
//! Tests are told apart by name; of several with one name, the first is compared with the first.

use std::collections::HashMap;

use crate::player::{OUTSIDE, Outcome, Test};
use crate::skips::{Expect, Skip};

/// What is said of a test that passes on the bare server, and of which nothing was heard.
pub(crate) const NOT_RUN: &str = "not run: see what failed before";

/// What was wrong with one test, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) test: String,
    pub(crate) text: String,
}

/// What came of a unit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Passed on the bare server.
    pub(crate) bare: usize,
    /// Passed with Weir, of those.
    pub(crate) passed: usize,
    /// Didn't, as was expected.
    pub(crate) skipped: usize,
    /// Didn't, or did unexpectedly.
    pub(crate) problems: Vec<Problem>,
}

/// Compares the two.
pub(crate) fn judge(bare: &[Test], weir: &[Test], skips: &[&Skip]) -> Verdict {
    let mut came = HashMap::new();
    for (key, test) in numbered(weir) {
        came.insert(key, &test.outcome);
    }
    let mut verdict = Verdict::default();
    let mut stale: Vec<&&Skip> = Vec::new();
    for (key, test) in numbered(bare) {
        if test.outcome != Outcome::Passed {
            came.remove(&key);
            continue;
        }
        verdict.bare += 1;
        let skip = skips.iter().find(|skip| skip.names(&test.name));
        let expect = skip.map(|skip| skip.expect);
        let problem = |text: &str| Problem { test: test.name.clone(), text: text.to_owned() };
        match (came.remove(&key), expect) {
            (Some(Outcome::Passed), Some(Expect::Fails)) => {
                verdict.passed += 1;
                stale.extend(skip.filter(|skip| !stale.contains(skip)));
            }
            (Some(Outcome::Passed), _) => verdict.passed += 1,
            (_, Some(_)) => verdict.skipped += 1,
            (Some(Outcome::Failed(text)), None) => verdict.problems.push(problem(text)),
            (None, None) => verdict.problems.push(problem(NOT_RUN)),
        }
    }
    // What the bare server has never heard of: an error outside of any test.
    for (key, test) in numbered(weir) {
        if let (Some(Outcome::Failed(text)), true) = (came.get(&key), key.0 == OUTSIDE) {
            let skipped = skips.iter().any(|skip| skip.names(&test.name));
            if !skipped {
                let test = test.name.clone();
                verdict.problems.push(Problem { test, text: text.clone() });
            }
        }
    }
    for skip in stale {
        let text = format!("passes, but line {} of the list says that it fails", skip.line);
        verdict.problems.push(Problem { test: skip.name().to_owned(), text });
    }
    verdict
}

/// Each test with its name, and how many of that name came before it.
fn numbered(tests: &[Test]) -> impl Iterator<Item = ((&str, usize), &Test)> {
    let mut before: HashMap<&str, usize> = HashMap::new();
    tests.iter().map(move |test| {
        let count = before.entry(&test.name).or_default();
        *count += 1;
        ((test.name.as_str(), *count - 1), test)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bed::Way;
    use crate::skips::Skips;

    /// `name` has passed, `name!` failed.
    fn came(text: &str) -> Vec<Test> {
        let test = |word: &str| match word.strip_suffix('!') {
            Some(name) => {
                Test { name: name.into(), outcome: Outcome::Failed(format!("{name} is wrong")) }
            }
            None => Test { name: word.into(), outcome: Outcome::Passed },
        };
        text.split_whitespace().map(test).collect()
    }

    fn verdict(bare: &str, endpoint: &str) -> (usize, usize, usize, String) {
        let skips = Skips::read(
            "[any number of shards]\nbecause x\nu\n  fails f\n  varies v\n  omitted o\n",
        );
        let skips = skips.unwrap();
        let Verdict { bare, passed, skipped, problems } =
            judge(&came(bare), &came(endpoint), &skips.of("u", Way::Endpoint(1)));
        let problems =
            problems.into_iter().map(|problem| format!("{}: {}", problem.test, problem.text));
        (bare, passed, skipped, problems.collect::<Vec<_>>().join("; "))
    }

    #[test]
    fn what_passes_bare_must_pass() {
        assert_eq!(verdict("a b", "a b"), (2, 2, 0, String::new()));
        assert_eq!(verdict("a b", "a b!"), (2, 1, 0, "b: b is wrong".into()));
        assert_eq!(verdict("a b", "a").3, "b: not run: see what failed before");
        assert_eq!(verdict("a b!", "a b!"), (1, 1, 0, String::new()));
        assert_eq!(verdict("a b!", "a b"), (1, 1, 0, String::new()));
    }

    #[test]
    fn what_is_listed_must_be_as_listed() {
        assert_eq!(verdict("f v o", "f! v!"), (3, 0, 3, String::new()));
        assert_eq!(verdict("f v o", "f! v"), (3, 1, 2, String::new()));
        let stale = "f: passes, but line 4 of the list says that it fails";
        assert_eq!(verdict("f", "f"), (1, 1, 0, stale.into()));
    }

    #[test]
    fn tests_of_one_name_are_compared_in_order() {
        assert_eq!(verdict("a a", "a a!").3, "a: a is wrong");
        assert_eq!(verdict("a a", "a").3, "a: not run: see what failed before");
    }

    #[test]
    fn an_error_outside_of_any_test_counts() {
        let mut endpoint = came("a");
        endpoint.push(Test { name: OUTSIDE.into(), outcome: Outcome::Failed("gone".into()) });
        let problems = judge(&came("a"), &endpoint, &[]).problems;
        assert_eq!(problems, [Problem { test: OUTSIDE.into(), text: "gone".into() }]);
        let both = judge(&endpoint, &endpoint, &[]);
        assert_eq!(both.problems, []);
    }
}
