//! One unit, from beginning to end: on servers of its own, and over a test that hangs.

use std::io;

use lab::servers::Server;

use crate::bed::{Bed, Side, Way};
use crate::player::{End, OUTSIDE, Outcome, Play, Test};
use crate::skips::{Expect, Skip};
use crate::suite::Suite;

/// After so many tests of one unit that hang or end the run, the rest of it is given up.
const STUCK_MAX: usize = 5;

/// What all runs have in common.
pub(crate) struct Runs {
    pub(crate) server: Server,
    pub(crate) suite: Suite,
}

impl Runs {
    /// Plays a unit as this way is to be tested, and tells what came of each test.
    ///
    /// A test that hangs has failed, and the unit is played again without it, so that the tests
    /// behind it are judged as well. A bare server plays all; where Weir is, what the list says is
    /// left out.
    pub(crate) fn play(
        &self,
        unit: &str,
        way: Way,
        side: Side,
        skips: &[&Skip],
    ) -> io::Result<Vec<Test>> {
        let mut stuck: Vec<Test> = Vec::new();
        let mut without: Vec<String> = skips
            .iter()
            .filter(|skip| skip.expect == Expect::Omitted && side == Side::Weir)
            .map(|skip| skip.name().to_owned())
            .collect();
        loop {
            let (mut tests, end) = self.play_once(unit, way, side, &without)?;
            let culprit = tests.last().filter(|_| end == End::Stuck).cloned();
            let Some(culprit) = culprit else {
                tests.append(&mut stuck);
                return Ok(tests);
            };
            let hopeless = culprit.name == OUTSIDE || stuck.len() + 1 == STUCK_MAX;
            if hopeless {
                tests.append(&mut stuck);
                return Ok(tests);
            }
            without.push(culprit.name.clone());
            stuck.push(culprit);
        }
    }

    fn play_once(
        &self,
        unit: &str,
        way: Way,
        side: Side,
        without: &[String],
    ) -> io::Result<(Vec<Test>, End)> {
        let bed = Bed::start(&self.server, way, side);
        let tree = self.suite.copy(&self.server, way, side)?;
        let (port, options) = (bed.port(), way.suite_options());
        let play = Play { tree: tree.path(), port, unit, options, without };
        let (mut tests, end) = play.run()?;
        if let Some(text) = bed.fallen() {
            tests.push(Test { name: OUTSIDE.into(), outcome: Outcome::Failed(text) });
        }
        Ok((tests, end))
    }
}
