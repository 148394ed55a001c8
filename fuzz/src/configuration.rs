//! `gateway.yaml`.

use ftps_gateway::config::parse;

/// Larger files are legal and slow to mutate.
const LONGEST: usize = 4096;

/// Any text is a configuration or a list of problems, each of which can be printed on one line and says what to do.
pub fn config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if text.len() > LONGEST {
        return;
    }
    let Err(problems) = parse(text, "fuzz.yaml") else { return };
    let shown = problems.to_string();
    assert!(!shown.is_empty(), "a configuration is refused without a word");
    for line in shown.lines() {
        assert!(line.starts_with("fuzz.yaml:"), "a problem is not one line, or does not name its file: {line:?}");
        assert!(!line.chars().any(char::is_control), "a problem does not print: {line:?}");
    }
}
