//! The file of the second factor's secrets, and the codes that come of it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use ftps_gateway::policy::{CodeFlaw, RequiredFor, SecondFactor, Secrets};

/// Larger files are legal and slow to mutate.
const LONGEST: usize = 4096;
/// All that a line may be told. Nothing else can be in it, and so no secret.
const FLAWS: [&str; 10] = [
    "the user stands there a second time. Take one of the two out.",
    "has no colon. Write user:SECRET, in base32.",
    "the digits are no number. Write user:SECRET:6:30.",
    "the period is no number of seconds. Write user:SECRET:6:30.",
    "has more than user:SECRET:digits:period. Take the rest out.",
    "has no user. Write user:SECRET.",
    "has a blank between its user and the colon. Take it out.",
    "the period is not between 15 and 300 seconds. Write what the user's app shows, mostly 30.",
    "the secret is not base32. Write letters A to Z and digits 2 to 7.",
    "the secret has less than 128 bits (26 letters), or the digits are not 6 to 8. Give the user a new secret.",
];

/// A line of the file, read by hand.
struct Entry {
    key: Vec<u8>,
    digits: u32,
    period: u64,
}

/// RFC 4648 §6, without padding.
fn base32(letters: &str) -> Vec<u8> {
    let (mut bytes, mut held, mut bits) = (Vec::new(), 0u32, 0);
    for letter in letters.chars().filter(|letter| !letter.is_whitespace() && *letter != '=') {
        let value = match letter.to_ascii_uppercase() {
            letter @ 'A'..='Z' => u32::from(letter) - u32::from('A'),
            letter @ '2'..='7' => u32::from(letter) - u32::from('2') + 26,
            letter => panic!("{letter} is no letter of base32"),
        };
        held = (held << 5 | value) & 0xFFFF;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes.push((held >> bits).to_le_bytes()[0]);
        }
    }
    bytes
}

impl Entry {
    /// RFC 6238 §4.2, RFC 4226 §5.3.
    fn code(&self, period: u64) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &self.key);
        let tag = hmac::sign(&key, &period.to_be_bytes());
        let tag = tag.as_ref();
        let at = usize::from(tag[19] & 15);
        let number = u32::from_be_bytes([tag[at] & 0x7F, tag[at + 1], tag[at + 2], tag[at + 3]]);
        format!("{:0width$}", number % 10u32.pow(self.digits), width = self.digits as usize)
    }
}

/// Everybody in a file that was taken.
fn entries(text: &str) -> HashMap<&str, Entry> {
    let lines = text
        .trim_start_matches('\u{feff}')
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    let entry = |line| {
        let fields: Vec<&str> = str::split(line, ':').collect();
        let number = |at: usize, otherwise| fields.get(at).map_or(otherwise, |field| field.parse().unwrap_or(0));
        let digits = u32::try_from(number(2, 6)).unwrap_or(0);
        (fields[0], Entry { key: base32(fields[1]), digits, period: number(3, 30) })
    };
    lines.map(entry).collect()
}

/// Any text is a file of secrets or a list of lines that are wrong, told without what is in them. The codes of a file are
/// those of the RFC, each counts once, and nothing else does.
pub fn totp(bytes: &[u8]) {
    let Some((time, text)) = bytes.split_first_chunk::<8>() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    if text.len() > LONGEST {
        return;
    }
    let secrets = match Secrets::parse(text) {
        Ok(secrets) => secrets,
        Err(flaws) => {
            assert!(!flaws.is_empty(), "a file is refused without a word");
            for flaw in flaws {
                let told = flaw.strip_prefix("line ").and_then(|flaw| flaw.split_once(": "));
                let Some((number, what)) = told else { panic!("no line is named") };
                assert!(number.parse().is_ok_and(|number| (1..=text.lines().count()).contains(&number)), "{number}");
                assert!(FLAWS.contains(&what), "more is told than what is wrong");
            }
            return;
        }
    };
    let entries = entries(text);
    assert_eq!(secrets.len(), entries.len());
    let factor = SecondFactor::new(secrets, RequiredFor::Users(Vec::new()), 1, Arc::default());
    let now = Duration::from_secs(u64::from_be_bytes(*time));
    assert_eq!(factor.check(b"", b"000000", now), Err(CodeFlaw::NoSecret));
    for (user, entry) in entries {
        assert!(factor.concerns(user.as_bytes()));
        assert!((6..=8).contains(&entry.digits) && (15..=300).contains(&entry.period) && entry.key.len() >= 16);
        let period = now.as_secs() / entry.period;
        let code = entry.code(period);
        let given = format!("se:same:{code}");
        assert_eq!(factor.split(user.as_bytes(), given.as_bytes()), Some((&b"se:same"[..], code.as_bytes())));
        let near = [period.saturating_sub(1), period.saturating_add(1)].map(|period| entry.code(period));
        // Each is another than the right one, at least in its length.
        for wrong in [&code[1..], &format!("{code}0"), &code.replace(&code[..1], "x")] {
            assert_eq!(factor.check(user.as_bytes(), wrong.as_bytes(), now), Err(CodeFlaw::Wrong));
        }
        // Before the first period has passed there is nothing that could be told from "never".
        if period == 0 {
            continue;
        }
        assert_eq!(factor.check(user.as_bytes(), code.as_bytes(), now), Ok(()), "the code of period {period}");
        if !near.contains(&code) {
            assert_eq!(factor.check(user.as_bytes(), code.as_bytes(), now), Err(CodeFlaw::Used));
        }
    }
}
