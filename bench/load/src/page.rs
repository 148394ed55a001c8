//! `docs/performance.md`, from the figures of one run.

use std::fmt::Write as _;

use crate::figures::{Figures, median};
use crate::goals::{Bound, Verdict, goals};
use crate::machine::Machine;
use crate::proxy::Kind;

/// What one run is, beside its figures.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) machine: Machine,
    pub(crate) rounds: usize,
    /// Less of everything was measured.
    pub(crate) quick: bool,
    /// Who took part, with the version.
    pub(crate) versions: Vec<(Kind, String)>,
    /// What was left out or went wrong, with the reason.
    pub(crate) left_out: Vec<String>,
    pub(crate) figures: Figures,
}

const HEAD: &str = "<!-- Written by `./bench/run` from what that run measured. Never edited by hand. -->

# Performance

This file is written by `./bench/run` from what that very run measured on one machine. No figure is entered by hand. How to run it:
[CONTRIBUTING.md](../CONTRIBUTING.md#how-fast).

- Load and backend run on one processor, the proxy on another, all over loopback. The backend serves from memory and throws uploads
  away, so that what is measured is the proxy.
- Everybody takes turns within each round. A cell is the median of the rounds, with the lowest and the highest behind it. Ratios are
  taken round by round, and their median counts.
- Processor time is user and system time of the proxy's processes and of those they have waited for, from `/proc/<pid>/stat`, in
  steps of 10 ms.
- nginx and HAProxy know no FTP. The same bytes go through them as one TLS connection, with buffers of 64 KiB. vsftpd is no proxy: it
  stands for what a server without any gateway costs.
- Clients resume as real ones do: a session's data connections resume its control connection where the proxy lets them. The suite is
  AES-256-GCM, the certificate ECDSA P-256.
";

/// Rows of one table: figures that begin with one of these words.
const TABLES: [(&str, &str, &[&str]); 6] = [
    (
        "Long transfers",
        "One transfer after the other; eight streams are eight sessions at once.",
        &["TLS 1.3 ", "TLS 1.2 ", "PROT C ", "TLS on both legs ", "eight streams "],
    ),
    (
        "Sessions",
        "TLS, login, a download of 1 KiB, QUIT; 32 at once. Before each, the connections of earlier parts are waited out (TIME_WAIT): their \
         ports make every new connection dearer, whosever it is.",
        &["session"],
    ),
    (
        "One session",
        "Downloads of 1 KiB one after the other, NOOPs one after the other, and NOOPs of one session while another transfers at \
         full speed. The times of NOOP hold the load's own share; \
         the client that transfers gives way to the one that asks (nice 19).",
        &["small ", "NOOP "],
    ),
    (
        "Limits",
        "A limit of 20 MiB a second on one session, or on two together: how far from it the bytes come through, in either \
         direction.",
        &["limits."],
    ),
    (
        "Slow transfers",
        "So many at once, at 40 KiB in a second each: what they take more than the same sessions idle (PSS).",
        &["1000 slow "],
    ),
    (
        "Idle sessions",
        "Logged in, one download of 1 KiB done. PSS is the processes' share of memory. Kernel memory is what slabs (but those of file \
         systems), kernel stacks, page tables and TCP's buffers grow by in the whole system, less what the load's own ends of the connections take. \
         The first hundreds take memory that the sessions before them have left free, and so look like less than they are: whether the cost \
         grows is told by what one more takes, from one number to the next. Others than the gateway have a process for each session, and are measured with a hundred.",
        &["idle sessions", ""],
    ),
];

/// The page.
pub(crate) fn page(run: &Run) -> String {
    let mut page = HEAD.to_owned();
    page += "\n## Goals\n\n";
    goal_table(&mut page, &run.figures);
    let mut left: Vec<_> = run.figures.names().iter().map(String::as_str).collect();
    for (title, text, beginnings) in TABLES {
        let (rows, rest): (Vec<_>, Vec<_>) =
            left.into_iter().partition(|name| beginnings.iter().any(|beginning| name.starts_with(beginning)));
        left = rest;
        if !rows.is_empty() {
            let _ = write!(page, "\n## {title}\n\n{text}\n\n");
            figure_table(&mut page, &run.figures, &rows);
        }
    }
    page += "\n## The run\n\n| | |\n|---|---|\n";
    for (name, value) in run.machine.rows() {
        let _ = writeln!(page, "| {name} | {value} |");
    }
    let quick = if run.quick { ", less of everything (`--quick`)" } else { "" };
    let _ = writeln!(page, "| rounds | {}{quick} |", run.rounds);
    for (kind, version) in &run.versions {
        let _ = writeln!(page, "| {} | {version} |", kind.name());
    }
    if !run.left_out.is_empty() {
        page += "\nLeft out:\n\n";
        for line in &run.left_out {
            let _ = writeln!(page, "- {line}");
        }
    }
    page
}

fn goal_table(page: &mut String, figures: &Figures) {
    *page += "| goal | | measured | |\n|---|---|---|---|\n";
    let mut missed = Vec::new();
    for goal in goals(figures) {
        let bound = match goal.bound {
            Bound::AtMost(most) => format!("≤ {}", number(most)),
            Bound::AtLeast(least) => format!("≥ {}", number(least)),
        };
        let verdict = match goal.verdict(figures) {
            Verdict::Met => "met".to_owned(),
            Verdict::Missed(by) => format!("**not met**, by {} %", number(by * 100.0)),
            Verdict::NotMeasured => "not measured".to_owned(),
        };
        let _ = writeln!(page, "| {} | {bound} | {} | {verdict} |", goal.what, cell(&goal.values(figures)));
        missed.extend(goal.why(figures).map(|why| (goal.what, why)));
    }
    if !missed.is_empty() {
        *page += "\nWhat keeps the gateway from the goals that are not met, as far as this run shows it:\n\n";
        for (what, why) in missed {
            let _ = writeln!(page, "- {what}: {why}");
        }
    }
}

fn figure_table(page: &mut String, figures: &Figures, rows: &[&str]) {
    let kinds: Vec<_> =
        Kind::ALL.into_iter().filter(|kind| rows.iter().any(|row| !figures.of(row, *kind).is_empty())).collect();
    *page += "| |";
    for kind in &kinds {
        let _ = write!(page, " {} |", kind.name());
    }
    let _ = writeln!(page, "\n|---|{}", "---|".repeat(kinds.len()));
    for row in rows {
        let _ = write!(page, "| {row} |");
        for kind in &kinds {
            let _ = write!(page, " {} |", cell(figures.of(row, *kind)));
        }
        page.push('\n');
    }
}

/// Median, and lowest to highest.
fn cell(values: &[f64]) -> String {
    let (low, high) = values.iter().fold((f64::MAX, f64::MIN), |(low, high), &value| (low.min(value), high.max(value)));
    match values {
        [] => "–".to_owned(),
        [only] => number(*only),
        _ if number(low) == number(high) => number(low),
        _ => format!("{} ({}–{})", number(median(values)), number(low), number(high)),
    }
}

/// Three digits that say something.
fn number(value: f64) -> String {
    let whole = value.fract() == 0.0 && value.abs() >= 1.0;
    match value.abs() {
        _ if whole => format!("{value:.0}"),
        size if size >= 99.95 => format!("{value:.0}"),
        size if size >= 9.995 => format!("{value:.1}"),
        size if size >= 0.1 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run() -> Run {
        let mut figures = Figures::default();
        for value in [0.40, 0.42, 0.41] {
            figures.record("TLS 1.3 down, CPU s/GiB", Kind::Gateway, value);
            figures.record("TLS 1.3 down, CPU s/GiB", Kind::Nginx, 1.0);
        }
        figures.record("sessions, 1/s", Kind::Gateway, 1234.5);
        figures.record("9850 idle sessions: memory of each, KiB", Kind::Gateway, 20.0);
        let versions = vec![(Kind::Nginx, "1.22".to_owned())];
        Run {
            machine: Machine::default(),
            rounds: 3,
            quick: false,
            versions,
            left_out: vec!["HAProxy: why".to_owned()],
            figures,
        }
    }

    #[test]
    fn every_figure_is_on_the_page_with_its_spread() {
        let page = page(&run());
        assert!(page.contains("| TLS 1.3 down, CPU s/GiB | 0.41 (0.40–0.42) | 1 |"), "{page}");
        assert!(page.contains("| sessions, 1/s | 1234 |"), "{page}");
        assert!(page.contains("| 9850 idle sessions: memory of each, KiB | 20 |"), "{page}");
        assert!(page.contains("| nginx stream | 1.22 |"), "{page}");
        assert!(page.contains("- HAProxy: why"), "{page}");
    }

    #[test]
    fn goals_are_met_missed_or_not_measured_in_words() {
        let page = page(&run());
        assert!(page.contains("| CPU per byte down, × nginx stream | ≤ 0.50 | 0.41 (0.40–0.42) | met |"), "{page}");
        assert!(page.contains("| sessions in a second, × mod_proxy | ≥ 10 | – | not measured |"), "{page}");
        let mut slow = run();
        slow.figures.record("session, CPU ms", Kind::Gateway, 1.4);
        let page = super::page(&slow);
        assert!(page.contains("| CPU of a session, ms | ≤ 0.70 | 1.40 | **not met**, by 100 % |"), "{page}");
    }

    #[test]
    fn numbers_have_three_digits_that_say_something() {
        let written = [1234.5, 123.4, 12.34, 1.234, 0.1234, 0.01234, 20_000.0, 10.0].map(number);
        assert_eq!(written, ["1234", "123", "12.3", "1.23", "0.12", "0.012", "20000", "10"]);
    }
}
