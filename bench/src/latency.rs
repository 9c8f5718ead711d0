//! Latency histograms.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// One ns to two minutes, to 0.1 % (three significant digits).
const MAX: u64 = 120_000_000_000;
const DIGITS: u8 = 3;

/// Counts durations given in ns; longer ones count as the longest.
#[derive(Clone, Debug)]
pub struct Latency(Histogram<u64>);

/// In ms; all 0 if nothing was counted.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Quantiles {
    pub count: u64,
    pub mean: f64,
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
}

impl Default for Latency {
    fn default() -> Self {
        Self(Histogram::new_with_max(MAX, DIGITS).expect("constant bounds are valid"))
    }
}

impl Latency {
    pub fn record(&mut self, ns: u64) {
        self.0.saturating_record(ns);
    }

    pub fn clear(&mut self) {
        self.0.reset();
    }

    pub fn quantiles(&self) -> Quantiles {
        let ms = |ns: u64| ns as f64 / 1e6;
        let at = |quantile| ms(self.0.value_at_quantile(quantile));
        Quantiles {
            count: self.0.len(),
            mean: if self.0.is_empty() { 0.0 } else { self.0.mean() / 1e6 },
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: ms(self.0.max()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_one_percent() {
        let mut latency = Latency::default();
        (1..=10_000).for_each(|i| latency.record(i * 1000));
        let quantiles = latency.quantiles();
        assert_eq!(quantiles.count, 10_000);
        for (is, should) in [
            (quantiles.p50, 5.0),
            (quantiles.p90, 9.0),
            (quantiles.p99, 9.9),
            (quantiles.p999, 9.99),
            (quantiles.max, 10.0),
            (quantiles.mean, 5.0),
        ] {
            assert!((is / should - 1.0).abs() < 0.01, "{is} is not about {should}");
        }
    }

    #[test]
    fn empty_and_beyond_the_end() {
        let mut latency = Latency::default();
        assert_eq!(latency.quantiles().p99, 0.0);
        latency.record(u64::MAX);
        assert!(latency.quantiles().max >= 120_000.0);
        latency.clear();
        assert_eq!(latency.quantiles().count, 0);
    }
}
