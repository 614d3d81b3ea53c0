//! What was measured: medians of the rounds, and ratios.
//!
//! A ratio is taken within a round, in which the two were measured one right after the other, and
//! the median is of these ratios: what else the machine does changes from minute to minute and hits
//! both alike.

use std::collections::HashMap;

use crate::load::Served;
use crate::memory::Memory;
use crate::rows::Row;
use crate::ways::Way;

/// One run of a row by one way.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Sample {
    Load {
        served: Served,
        /// Microseconds of processor time per command, of what stands between.
        between_us: f64,
        /// The same of the primaries.
        primary_us: f64,
    },
    Mixed {
        served: Served,
        /// What the other client got done per second, if there was one.
        beside: Option<f64>,
    },
    Memory(Memory),
}

impl Sample {
    pub(crate) fn served(&self) -> Option<Served> {
        match self {
            Sample::Load { served, .. } | Sample::Mixed { served, .. } => Some(*served),
            Sample::Memory(_) => None,
        }
    }

    pub(crate) fn rate(&self) -> Option<f64> {
        self.served().map(|served| served.per_second)
    }
}

pub(crate) type Figure = fn(&Sample) -> Option<f64>;

pub(crate) const RATE: Figure = Sample::rate;
pub(crate) const MEDIAN: Figure = |sample| Some(sample.served()?.median_ms);
pub(crate) const P99: Figure = |sample| Some(sample.served()?.p99_ms);
pub(crate) const P999: Figure = |sample| sample.served()?.p999_ms;
pub(crate) const MAX: Figure = |sample| Some(sample.served()?.max_ms);
pub(crate) const BETWEEN: Figure = |sample| match sample {
    Sample::Load { between_us, .. } => Some(*between_us),
    _ => None,
};
pub(crate) const PRIMARY: Figure = |sample| match sample {
    Sample::Load { primary_us, .. } => Some(*primary_us),
    _ => None,
};
pub(crate) const BESIDE: Figure = |sample| match sample {
    Sample::Mixed { beside, .. } => *beside,
    _ => None,
};
pub(crate) const SESSION_BYTES: Figure = |sample| match sample {
    Sample::Memory(memory) => Some(memory.bytes_per_session),
    _ => None,
};
pub(crate) const SESSIONS: Figure = |sample| match sample {
    Sample::Memory(memory) => Some(memory.sessions as f64),
    _ => None,
};

/// All samples: of a row and a way, one per round.
#[derive(Debug, Default)]
pub(crate) struct Results {
    samples: HashMap<(&'static str, Way), Vec<Sample>>,
    /// In the order in which they came.
    ways: Vec<Way>,
}

impl Results {
    pub(crate) fn add(&mut self, row: &Row, way: Way, sample: Sample) {
        self.samples.entry((row.name, way)).or_default().push(sample);
        if !self.ways.contains(&way) {
            self.ways.push(way);
        }
    }

    /// All ways that anything was measured by.
    pub(crate) fn ways(&self) -> impl Iterator<Item = Way> + '_ {
        self.ways.iter().copied()
    }

    /// The figure in each round; empty if there is none.
    pub(crate) fn each(&self, row: &Row, way: Way, figure: Figure) -> Vec<f64> {
        let samples = self.samples.get(&(row.name, way)).map_or(&[][..], Vec::as_slice);
        samples.iter().filter_map(figure).collect()
    }

    pub(crate) fn figure(&self, row: &Row, way: Way, figure: Figure) -> Option<f64> {
        median(self.each(row, way, figure))
    }

    pub(crate) fn ratio(&self, row: &Row, (way, to): (Way, Way), figure: Figure) -> Option<f64> {
        ratio(&self.each(row, way, figure), &self.each(row, to, figure))
    }
}

/// The median of the rounds' ratios.
pub(crate) fn ratio(figures: &[f64], to: &[f64]) -> Option<f64> {
    median(figures.iter().zip(to).map(|(figure, base)| figure / base).collect())
}

/// The middle one, or the mean of the two in the middle; none of none, nor of what is no number.
pub(crate) fn median(mut figures: Vec<f64>) -> Option<f64> {
    figures.sort_by(f64::total_cmp);
    let (lower, upper) = (figures.len().checked_sub(1)? / 2, figures.len() / 2);
    Some((figures[lower] + figures[upper]) / 2.0).filter(|figure| figure.is_finite())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A run in which nothing else is of interest.
    pub(crate) fn load(per_second: f64, between_us: f64, primary_us: f64) -> Sample {
        let served = Served {
            count: 1,
            per_second,
            median_ms: 1.0,
            p99_ms: 2.0,
            p999_ms: None,
            max_ms: 3.0,
        };
        Sample::Load { served, between_us, primary_us }
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(vec![f64::NAN]), None);
    }

    #[test]
    fn a_ratio_is_of_one_round() {
        let row = &crate::rows::ROWS[0];
        let mut results = Results::default();
        // The machine became slower meanwhile: each round says the same nevertheless.
        for (endpoint, direct) in [(10.0, 20.0), (1.0, 2.0), (4.0, 8.0)] {
            results.add(row, Way::Endpoint, load(endpoint, 0.0, 0.0));
            results.add(row, Way::Direct, load(direct, 0.0, 0.0));
        }
        assert_eq!(results.ratio(row, (Way::Endpoint, Way::Direct), RATE), Some(0.5));
        assert_eq!(results.figure(row, Way::Endpoint, RATE), Some(4.0));
        assert_eq!(results.figure(row, Way::Nutcracker, RATE), None);
        assert_eq!(results.figure(row, Way::Endpoint, P999), None);
    }
}
