//! What the gateway is held to, and whether a run has shown it.

use crate::figures::{Figures, median};
use crate::measure::idle::{HELD, beside, memory, one_more};
use crate::proxy::Kind;

/// One thing to be reached.
#[derive(Debug)]
pub(crate) struct Goal {
    /// In words.
    pub(crate) what: String,
    measured: Measured,
    /// Where it lies.
    pub(crate) bound: Bound,
    /// What keeps it from being met where it is not.
    limit: Option<Limit>,
}

/// What a goal runs up against. Each is told in figures of the same run.
#[derive(Clone, Copy, Debug)]
enum Limit {
    /// The system's part of moving bytes from one connection to another.
    Copying { direction: &'static str, kind: Kind },
    /// The way to the backend and back.
    RoundTrip,
    /// The load has one processor for its client, its asker and its backend.
    LoadsProcessor { direction: &'static str },
    /// Eight streams take turns on the same processor, and push each other out of its caches.
    Turns { direction: &'static str },
    /// Opening and closing connections is the most of a small file, whoever does it.
    Opening,
    /// Open files of a process.
    Descriptors,
    /// A goal in milliseconds, set on another machine.
    Machine,
}

impl Limit {
    fn told(self, figures: &Figures) -> Option<String> {
        let typical = |figure: &str, kind| {
            let values = figures.of(figure, kind);
            (!values.is_empty()).then(|| median(values))
        };
        match self {
            Self::Copying { direction, kind } => {
                let clear = typical(&format!("PROT C {direction}, CPU s/GiB"), Kind::Gateway)?;
                let other = typical(&format!("TLS 1.3 {direction}, CPU s/GiB"), kind)?;
                Some(format!(
                    "Without any TLS (PROT C) the gateway takes {clear:.2} s/GiB, which is {:.2} × {}: the system's copies \
                     of each byte, and its wakeups, of which no program in user space is rid. Under TLS the cipher comes on \
                     top, and the copies of each text inside rustls.",
                    clear / other,
                    kind.name()
                ))
            }
            Self::RoundTrip => {
                let (alone, other) = (typical(NOOP, Kind::Vsftpd)?, typical(NOOP, Kind::ModProxy)?);
                Some(format!(
                    "A NOOP goes to the backend and back, so that the backend's idle time does not run out. vsftpd alone, \
                     which answers itself, takes {:.2} × mod_proxy.",
                    alone / other
                ))
            }
            Self::LoadsProcessor { direction } => {
                let other = typical(&format!("NOOP beside a full {direction} p99, ms"), Kind::ModProxy)?;
                Some(format!(
                    "The load's client, asker and backend share a processor, which is part of this: through mod_proxy, where \
                     each session is a process, it is {other:.1} ms."
                ))
            }
            Self::Turns { direction } => {
                let one = format!("TLS 1.3 {direction}, CPU s/GiB");
                let eight = format!("eight streams {direction}, CPU s/GiB");
                let others = [Kind::Nginx, Kind::Haproxy]
                    .map(|kind| Some(format!("{} {:.2}", kind.name(), typical(&eight, kind)? / typical(&one, kind)?)));
                let [Some(nginx), Some(haproxy)] = others else { return None };
                Some(format!(
                    "Eight streams on one processor push each other out of its caches, and less has come for each when its \
                     turn comes: of the others that have one process for all, {nginx}, {haproxy}."
                ))
            }
            Self::Opening => {
                let (own, other) = (typical(FILE, Kind::Gateway)?, typical(FILE, Kind::ModProxy)?);
                let alone = typical(FILE, Kind::Vsftpd)?;
                Some(format!(
                    "A small file is the opening and closing of two data connections and a resumed handshake: {own:.2} ms \
                     here, {other:.2} through mod_proxy, and {alone:.2} for vsftpd alone, which opens one."
                ))
            }
            Self::Machine => {
                let (own, other) = (typical(SESSION, Kind::Gateway)?, typical(SESSION, Kind::ModProxy)?);
                Some(format!(
                    "The goal was set where mod_proxy took 7.0 ms. Here mod_proxy takes {other:.1} ms, and the gateway {:.3} × \
                     of that.",
                    own / other
                ))
            }
            Self::Descriptors => Some(
                "A session takes two open files of the gateway's process; how many it may have here is below."
                    .to_owned(),
            ),
        }
    }
}

const NOOP: &str = "NOOP p50, µs";
const SESSION: &str = "session, CPU ms";
const FILE: &str = "small file, CPU ms";

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

    /// Why it was missed, if it was and that is known.
    pub(crate) fn why(&self, figures: &Figures) -> Option<String> {
        match self.verdict(figures) {
            Verdict::Missed(_) => self.limit?.told(figures),
            Verdict::Met | Verdict::NotMeasured => None,
        }
    }

    fn limited(self, limit: Limit) -> Self {
        Self { limit: Some(limit), ..self }
    }
}

fn value(what: &str, figure: impl Into<String>, bound: Bound) -> Goal {
    Goal { what: what.to_owned(), measured: Measured::Value(figure.into()), bound, limit: None }
}

fn ratio(what: &str, of: impl Into<String>, to: impl Into<String>, kind: Kind, bound: Bound) -> Goal {
    Goal { what: what.to_owned(), measured: Measured::Ratio(of.into(), to.into(), kind), bound, limit: None }
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
            let goal = ratio(&what, figure.clone(), figure, kind, AtMost(most));
            goals.push(goal.limited(Limit::Copying { direction, kind }));
        }
    }
    for direction in ["down", "up"] {
        let figure = |way: &str| format!("{way} {direction}, CPU s/GiB");
        let against = |what: &str, way: &str, to: &str, kind, most| {
            ratio(&format!("{what} {direction}"), figure(way), figure(to), kind, AtMost(most))
        };
        goals.push(against("TLS on both legs, × TLS on one,", "TLS on both legs", "TLS 1.3", Gateway, 1.6));
        goals.push(against("PROT C, × mod_proxy,", "PROT C", "PROT C", ModProxy, 1.0));
        let eight = against("eight streams, × one,", "eight streams", "TLS 1.3", Gateway, 1.0);
        goals.push(eight.limited(Limit::Turns { direction }));
        goals.push(against("TLS 1.2, × TLS 1.3,", "TLS 1.2", "TLS 1.3", Gateway, 1.1));
    }
    let beside_mod_proxy =
        |what: &str, figure: &str, bound| ratio(&format!("{what}, × mod_proxy"), figure, figure, ModProxy, bound);
    goals.push(beside_mod_proxy("sessions in a second", "sessions, 1/s", AtLeast(10.0)));
    goals.push(beside_mod_proxy("session p99", "session p99, ms", AtMost(1.0 / 12.0)));
    goals.push(value("CPU of a session, ms", SESSION, AtMost(0.7)).limited(Limit::Machine));
    goals.push(beside_mod_proxy("CPU of a small file", FILE, AtMost(0.45)).limited(Limit::Opening));
    goals.push(beside_mod_proxy("NOOP p50", NOOP, AtMost(0.5)).limited(Limit::RoundTrip));
    for direction in ["download", "upload"] {
        let figure = format!("NOOP beside a full {direction} p99, ms");
        let goal = value(&format!("NOOP p99 beside a full {direction}, ms"), figure, AtMost(5.0));
        goals.push(goal.limited(Limit::LoadsProcessor { direction }));
    }
    for limit in ["session down", "session up", "user down", "total up"] {
        let figure = format!("limits.bandwidth.{limit}, % off");
        goals.push(value(&figure, figure.clone(), AtMost(5.0)));
    }
    goals.push(value("memory of 1000 slow downloads, MiB", "1000 slow downloads, MiB", AtMost(64.0)));
    goals.push(value("memory of 1000 slow uploads, MiB", "1000 slow uploads, MiB", AtMost(64.0)));
    goals.push(value("idle sessions held", HELD, AtLeast(20_000.0)).limited(Limit::Descriptors));
    let held = figures.of(HELD, Gateway).first().map_or(0, |held| *held as usize);
    if held > 0 {
        goals.push(value(&format!("memory of each of {held} idle sessions, KiB"), memory(held), AtMost(32.0)));
        let what = format!("a new session's p99 beside {held} idle ones, × beside none");
        goals.push(ratio(&what, beside(held), beside(0), Gateway, AtMost(1.5)));
    }
    if held > 1000 {
        let what = format!("PSS of one more idle session, from 1000 to {held}, × from 100 to 1000");
        goals.push(ratio(&what, one_more(held), one_more(1000), Gateway, AtMost(1.1)));
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
    fn why_a_goal_is_missed_is_told_in_figures_of_the_run_and_only_then() {
        let mut figures = Figures::default();
        let bulk = |figures: &mut Figures, own| {
            figures.record("TLS 1.3 down, CPU s/GiB", Kind::Gateway, own);
            figures.record("TLS 1.3 down, CPU s/GiB", Kind::Nginx, 0.8);
        };
        let why = |figures: &Figures| {
            goals(figures).iter().find(|goal| goal.what == "CPU per byte down, × nginx stream").unwrap().why(figures)
        };
        assert_eq!(why(&figures), None);
        bulk(&mut figures, 0.6);
        assert_eq!(why(&figures), None, "what the reason is told in was not measured");
        figures.record("PROT C down, CPU s/GiB", Kind::Gateway, 0.4);
        let told = why(&figures).unwrap();
        assert!(told.contains("takes 0.40 s/GiB, which is 0.50 × nginx stream"), "{told}");
        bulk(&mut figures, 0.1);
        bulk(&mut figures, 0.1);
        assert_eq!(why(&figures), None);
    }

    #[test]
    fn what_others_take_for_eight_streams_and_small_files_is_told() {
        let mut figures = Figures::default();
        for (kind, one, eight, file) in [
            (Kind::Gateway, 0.5, 0.6, 0.4),
            (Kind::Nginx, 0.8, 1.0, 0.0),
            (Kind::Haproxy, 0.8, 0.9, 0.0),
            (Kind::ModProxy, 1.0, 1.0, 0.6),
            (Kind::Vsftpd, 0.0, 0.0, 0.5),
        ] {
            figures.record("TLS 1.3 up, CPU s/GiB", kind, one);
            figures.record("eight streams up, CPU s/GiB", kind, eight);
            figures.record(FILE, kind, file);
        }
        let why = |what: &str| goals(&figures).iter().find(|goal| goal.what == what).unwrap().why(&figures).unwrap();
        let streams = why("eight streams, × one, up");
        assert!(streams.contains("nginx stream 1.25, HAProxy 1.12"), "{streams}");
        let files = why("CPU of a small file, × mod_proxy");
        assert!(files.contains("0.40 ms here, 0.60 through mod_proxy, and 0.50 for vsftpd alone"), "{files}");
    }

    #[test]
    fn a_goal_in_milliseconds_tells_what_another_takes_on_this_machine() {
        let mut figures = Figures::default();
        figures.record(SESSION, Kind::Gateway, 0.9);
        figures.record(SESSION, Kind::ModProxy, 9.0);
        let why = |figures: &Figures| {
            goals(figures).iter().find(|goal| goal.what == "CPU of a session, ms").unwrap().why(figures)
        };
        let told = why(&figures).unwrap();
        assert!(told.contains("Here mod_proxy takes 9.0 ms, and the gateway 0.100 × of that"), "{told}");
        figures.record(SESSION, Kind::Gateway, 0.1);
        figures.record(SESSION, Kind::Gateway, 0.1);
        assert_eq!(why(&figures), None);
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
