//! What is wrong with a configuration, said so that it can be mended at night: where, what, and what to write instead.
//!
//! Invariant: a problem is one line of printable text, whatever stands in the file.

use std::fmt;

/// How much of a value a problem repeats. Longer ones are cut: the line number says where the rest is.
const SHOWN: usize = 60;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The line in the file, from 1, where it can be had.
    pub line: Option<usize>,
    /// The path of the key, like `backends.legacy.servers[0]`. Empty: the file as a whole.
    pub key: String,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub remedy: String,
}

/// Everything that is wrong with one file. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems {
    file: String,
    problems: Vec<Problem>,
}

impl Problems {
    /// Takes the problems of a file and sorts them by line; those without a line come first. Whatever of the file they repeat
    /// prints.
    pub(super) fn new(file: impl Into<String>, mut problems: Vec<Problem>) -> Self {
        for Problem { key, what, remedy, .. } in &mut problems {
            [key, what, remedy].into_iter().for_each(|text| *text = on_one_line(text));
        }
        problems.sort_by_key(|problem| problem.line);
        Self { file: file.into(), problems }
    }

    /// The file they are in.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Each of them, in the order of lines.
    pub fn as_slice(&self) -> &[Problem] {
        &self.problems
    }
}

impl fmt::Display for Problems {
    /// One line a problem: `gateway.yaml:12: backends.legacy.tls: what is wrong. What to do.`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            f.write_str(&self.file)?;
            if let Some(line) = problem.line {
                write!(f, ":{line}")?;
            }
            if !problem.key.is_empty() {
                write!(f, ": {}", problem.key)?;
            }
            write!(f, ": {}. {}", problem.what, problem.remedy)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// A value of the file between quotes: control characters escaped, long ones cut.
pub(super) fn quoted(text: &str) -> String {
    format!("\"{}\"", printable(text))
}

/// As [`quoted`], without the quotes.
pub(super) fn printable(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN).flat_map(escaped).collect();
    if text.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

/// A whole text with what does not print escaped: names and patterns of the file stand in it without quotes of their own.
pub(super) fn on_one_line(text: &str) -> String {
    let stays = |character: char| matches!(character, '"' | '\\');
    text.chars().flat_map(|character| if stays(character) { vec![character] } else { escaped(character) }).collect()
}

/// Letters of any script stay; what moves a cursor or hides text does not.
fn escaped(character: char) -> Vec<char> {
    match character {
        '\'' => vec![character],
        _ => character.escape_debug().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_stand_in_the_order_of_lines_and_fit_one_line_each() {
        let problem =
            |line, key: &str| Problem { line, key: key.into(), what: "is wrong".into(), remedy: "Write: x".into() };
        let problems = Problems::new("g.yaml", vec![problem(Some(9), "b"), problem(Some(2), "a"), problem(None, "")]);
        let expected = "g.yaml: is wrong. Write: x\ng.yaml:2: a: is wrong. Write: x\ng.yaml:9: b: is wrong. Write: x";
        assert_eq!(problems.to_string(), expected);
    }

    #[test]
    fn whatever_a_problem_repeats_prints() {
        let problem = |text: &str| Problem { line: None, key: text.into(), what: text.into(), remedy: text.into() };
        let problems = Problems::new("g.yaml", vec![problem("a\tb\n\"c\" \\n 'ü'")]);
        let shown = r#"a\tb\n"c" \n 'ü'"#;
        assert_eq!(problems.to_string(), format!("g.yaml: {shown}: {shown}. {shown}"));
    }

    #[test]
    fn values_are_shown_short_and_without_control_characters() {
        assert_eq!(quoted("a\n\u{1b}[2J"), r#""a\n\u{1b}[2J""#);
        assert_eq!(quoted("it's ü"), r#""it's ü""#);
        assert_eq!(printable(&"x".repeat(100)).chars().count(), SHOWN + 1);
    }
}
