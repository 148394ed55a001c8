//! What the gateway is held to, and whether a run has shown it.

use crate::figures::{Figures, median};
use crate::measure::idle::{HELD, beside, memory};
use crate::proxy::Kind;

/// One thing to be reached.
#[derive(Debug)]
pub(crate) struct Goal {
    /// In words.
    pub(crate) what: String,
    measured: Measured,
    /// Where it lies.
    pub(crate) bound: Bound,
}

#[derive(Debug)]
enum Measured {
    /// A figure as it is.
    Value(String),
    /// The gateway's figure in units of another, round by round.
    Ratio(String, String, Kind),
}

/// On which side of the number it is good.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

/// What came of a goal.
#[derive(Debug, PartialEq)]
pub(crate) enum Verdict {
    Met,
    /// By this share of the bound it is missed.
    Missed(f64),
    NotMeasured,
}

impl Goal {
    /// The value of each round.
    pub(crate) fn values(&self, figures: &Figures) -> Vec<f64> {
        match &self.measured {
            Measured::Value(figure) => figures.of(figure, Kind::Gateway).to_vec(),
            Measured::Ratio(of, to, kind) => {
                let pairs = figures.of(of, Kind::Gateway).iter().zip(figures.of(to, *kind));
                pairs.filter(|(_, to)| **to > 0.0).map(|(of, to)| of / to).collect()
            }
        }
    }

    /// Judged by the median.
    pub(crate) fn verdict(&self, figures: &Figures) -> Verdict {
        let values = self.values(figures);
        if values.is_empty() {
            return Verdict::NotMeasured;
        }
        let value = median(&values);
        match self.bound {
            Bound::AtMost(most) if value > most => Verdict::Missed(value / most - 1.0),
            Bound::AtLeast(least) if value < least => Verdict::Missed(1.0 - value / least),
            Bound::AtMost(_) | Bound::AtLeast(_) => Verdict::Met,
        }
    }
}

fn value(what: &str, figure: impl Into<String>, bound: Bound) -> Goal {
    Goal { what: what.to_owned(), measured: Measured::Value(figure.into()), bound }
}

fn ratio(what: &str, of: impl Into<String>, to: impl Into<String>, kind: Kind, bound: Bound) -> Goal {
    Goal { what: what.to_owned(), measured: Measured::Ratio(of.into(), to.into(), kind), bound }
}

/// All of them. Which numbers of idle sessions there were depends on the machine, so the figures are asked.
pub(crate) fn goals(figures: &Figures) -> Vec<Goal> {
    use Bound::{AtLeast, AtMost};
    use Kind::{Gateway, ModProxy, Nginx};
    let mut goals = Vec::new();
    for (name, kind, down, up) in [("nginx stream", Nginx, 0.50, 0.60), ("mod_proxy", ModProxy, 0.50, 0.27)] {
        for (direction, most) in [("down", down), ("up", up)] {
            let figure = format!("TLS 1.3 {direction}, CPU s/GiB");
            let what = format!("CPU per byte {direction}, × {name}");
            goals.push(ratio(&what, figure.clone(), figure, kind, AtMost(most)));
        }
    }
    for direction in ["down", "up"] {
        let figure = |way: &str| format!("{way} {direction}, CPU s/GiB");
        let against = |what: &str, way: &str, to: &str, kind, most| {
            ratio(&format!("{what} {direction}"), figure(way), figure(to), kind, AtMost(most))
        };
        goals.push(against("TLS on both legs, × TLS on one,", "TLS on both legs", "TLS 1.3", Gateway, 1.6));
        goals.push(against("PROT C, × mod_proxy,", "PROT C", "PROT C", ModProxy, 1.0));
        goals.push(against("eight streams, × one,", "eight streams", "TLS 1.3", Gateway, 1.0));
        goals.push(against("TLS 1.2, × TLS 1.3,", "TLS 1.2", "TLS 1.3", Gateway, 1.1));
    }
    let beside_mod_proxy =
        |what: &str, figure: &str, bound| ratio(&format!("{what}, × mod_proxy"), figure, figure, ModProxy, bound);
    goals.push(beside_mod_proxy("sessions in a second", "sessions, 1/s", AtLeast(10.0)));
    goals.push(beside_mod_proxy("session p99", "session p99, ms", AtMost(1.0 / 12.0)));
    goals.push(value("CPU of a session, ms", "session, CPU ms", AtMost(0.7)));
    goals.push(beside_mod_proxy("CPU of a small file", "small file, CPU ms", AtMost(0.45)));
    goals.push(beside_mod_proxy("NOOP p50", "NOOP p50, µs", AtMost(0.5)));
    goals.push(value("NOOP p99 beside a full download, ms", "NOOP beside a full download p99, ms", AtMost(5.0)));
    goals.push(value("NOOP p99 beside a full upload, ms", "NOOP beside a full upload p99, ms", AtMost(5.0)));
    for limit in ["session down", "session up", "user down", "total up"] {
        let figure = format!("limits.bandwidth.{limit}, % off");
        goals.push(value(&figure, figure.clone(), AtMost(5.0)));
    }
    goals.push(value("memory of 1000 slow downloads, MiB", "1000 slow downloads, MiB", AtMost(64.0)));
    goals.push(value("memory of 1000 slow uploads, MiB", "1000 slow uploads, MiB", AtMost(64.0)));
    goals.push(value("idle sessions held", HELD, AtLeast(20_000.0)));
    let held = figures.of(HELD, Gateway).first().map_or(0, |held| *held as usize);
    if held > 0 {
        goals.push(value(&format!("memory of each of {held} idle sessions, KiB"), memory(held), AtMost(32.0)));
        let what = format!("a new session's p99 beside {held} idle ones, × beside none");
        goals.push(ratio(&what, beside(held), beside(0), Gateway, AtMost(1.5)));
    }
    if held > 1000 {
        let what = format!("memory of each of {held} idle sessions, × of 1000");
        goals.push(ratio(&what, memory(held), memory(1000), Gateway, AtMost(1.1)));
    }
    goals
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_taken_round_by_round_and_judged_by_its_median() {
        let mut figures = Figures::default();
        for (own, other) in [(1.0, 2.0), (3.0, 3.0), (1.0, 4.0)] {
            figures.record("x", Kind::Gateway, own);
            figures.record("x", Kind::Nginx, other);
        }
        let goal = |bound| ratio("x", "x", "x", Kind::Nginx, bound);
        assert_eq!(goal(Bound::AtMost(0.5)).values(&figures), [0.5, 1.0, 0.25]);
        assert_eq!(goal(Bound::AtMost(0.5)).verdict(&figures), Verdict::Met);
        assert_eq!(goal(Bound::AtMost(0.4)).verdict(&figures), Verdict::Missed(0.5 / 0.4 - 1.0));
        assert_eq!(goal(Bound::AtLeast(1.0)).verdict(&figures), Verdict::Missed(0.5));
    }

    #[test]
    fn what_was_not_measured_is_not_met() {
        let figures = Figures::default();
        for goal in goals(&figures) {
            assert_eq!(goal.verdict(&figures), Verdict::NotMeasured, "{}", goal.what);
        }
    }

    #[test]
    fn the_largest_number_of_idle_sessions_is_what_the_run_reached() {
        let mut figures = Figures::default();
        figures.record(HELD, Kind::Gateway, 9850.0);
        figures.record(&memory(9850), Kind::Gateway, 40.0);
        let goals = goals(&figures);
        let memory = goals.iter().find(|goal| goal.what.contains("each of 9850 idle sessions, KiB")).unwrap();
        assert_eq!(memory.verdict(&figures), Verdict::Missed(0.25));
        let held = goals.iter().find(|goal| goal.what == "idle sessions held").unwrap();
        assert_eq!(held.verdict(&figures), Verdict::Missed(1.0 - 9850.0 / 20_000.0));
    }
}
