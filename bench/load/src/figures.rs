//! What has been measured: by figure and proxy, one value for each round.

use std::collections::BTreeMap;

use crate::proxy::Kind;

/// All values of a run.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    values: BTreeMap<(String, Kind), Vec<f64>>,
    order: Vec<String>,
}

impl Figures {
    /// One value of one round. Also said at once, for whoever waits.
    pub(crate) fn record(&mut self, figure: &str, kind: Kind, value: f64) {
        println!("{figure:<52} {:<14} {value:>10.3}", kind.name());
        if !self.order.iter().any(|known| known == figure) {
            self.order.push(figure.to_owned());
        }
        self.values.entry((figure.to_owned(), kind)).or_default().push(value);
    }

    /// The figures in the order in which they came.
    pub(crate) fn names(&self) -> &[String] {
        &self.order
    }

    /// All rounds of one figure; none, if it was not measured.
    pub(crate) fn of(&self, figure: &str, kind: Kind) -> &[f64] {
        self.values.get(&(figure.to_owned(), kind)).map_or(&[], Vec::as_slice)
    }
}

/// The value below which `share` of the values lie; 0 of none.
pub(crate) fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let Some(last) = sorted.len().checked_sub(1) else { return 0.0 };
    sorted[((last as f64) * share).round() as usize]
}

/// The value in the middle.
pub(crate) fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_were_measured() {
        let values = [5.0, 1.0, 3.0, 2.0, 4.0];
        assert_eq!([0.0, 0.5, 1.0].map(|share| quantile(&values, share)), [1.0, 3.0, 5.0]);
        assert_eq!(median(&[7.0]), 7.0);
        assert_eq!(quantile(&[], 0.99), 0.0);
    }

    #[test]
    fn rounds_of_one_figure_stand_together() {
        let mut figures = Figures::default();
        figures.record("a", Kind::Gateway, 1.0);
        figures.record("b", Kind::Gateway, 2.0);
        figures.record("a", Kind::Gateway, 3.0);
        assert_eq!(figures.names(), ["a", "b"]);
        assert_eq!(figures.of("a", Kind::Gateway), [1.0, 3.0]);
        assert!(figures.of("a", Kind::Nginx).is_empty());
    }
}
