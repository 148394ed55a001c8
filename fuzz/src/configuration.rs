//! `gateway.yaml`.

use ftps_gateway::config::parse;

/// Larger files are legal and slow to mutate.
const LONGEST: usize = 4096;

/// Any text is a configuration or a list of problems, each of which can be printed on one line and says what to do. So can
/// advice.
pub fn config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if text.len() > LONGEST {
        return;
    }
    let problems = match parse(text, "fuzz.yaml") {
        Ok(settings) => {
            let advice = settings.advice().into_iter().map(|advice| advice.to_string());
            advice.for_each(|line| assert!(!line.chars().any(char::is_control), "advice does not print: {line:?}"));
            return;
        }
        Err(problems) => problems,
    };
    let shown = problems.to_string();
    assert!(!shown.is_empty(), "a configuration is refused without a word");
    for line in shown.lines() {
        assert!(line.starts_with("fuzz.yaml:"), "a problem is not one line, or does not name its file: {line:?}");
        assert!(!line.chars().any(char::is_control), "a problem does not print: {line:?}");
    }
}
