//! The second factor: a code that changes with time (RFC 6238), beside the password.
//!
//! Invariants: a code counts once, and so does none that is older than the last one that counted; how long a check takes
//! does not depend on the code; no text made here holds a secret or a code.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use totp_rs::{Algorithm, Builder, Secret, Totp};

use super::route::Glob;
use super::user_name::folded;

/// What a code has without further words (RFC 6238 §4, RFC 4226 §5.3).
const PERIOD: u64 = 30;
const DIGITS: u8 = 6;
const MOST_DIGITS: usize = 8;
/// How long a code may count, in seconds.
const PERIODS: std::ops::RangeInclusive<u64> = 15..=300;

/// The furthest setting for wrong clocks.
pub const MOST_SKEW: usize = 10;
/// How far ahead of its time a code may count at most, in seconds.
const FURTHEST: u64 = MOST_SKEW as u64 * 300;

/// What is asked of whom.
#[derive(Debug, Clone)]
pub struct SecondFactorSettings {
    /// The file of secrets.
    pub secrets: PathBuf,
    /// Who must have a secret. Whoever has one is asked in any case.
    pub required: RequiredFor,
    /// How many periods a client's clock may be wrong, either way.
    pub skew: u64,
}

/// Who does not come in without a second factor.
#[derive(Debug, Clone)]
pub enum RequiredFor {
    /// Every user.
    Everyone,
    /// Users whose name matches one of these; none of them: nobody.
    Users(Vec<Glob>),
}

/// The secrets of users, by their folded names.
#[derive(Clone, Default)]
pub struct Secrets {
    users: HashMap<Vec<u8>, Totp>,
}

/// Codes that have counted: of each user the last one, by the time since 1970 at which its period began, in seconds. It
/// outlives a reload, also one that gives a user another period, and what it keeps outlives the process.
#[derive(Debug, Default)]
pub struct UsedCodes(Mutex<Used>);

#[derive(Debug, Default)]
struct Used {
    last: HashMap<Vec<u8>, u64>,
    version: u64,
}

/// Who is asked for a code, and which codes count.
#[derive(Debug, Clone)]
pub struct SecondFactor {
    secrets: Secrets,
    required: RequiredFor,
    skew: u64,
    used: Arc<UsedCodes>,
}

/// Why a code does not count. The client hears of a wrong password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodeFlaw {
    /// It is not the code of this time.
    Wrong,
    /// It has counted, or a newer one has.
    Used,
    /// The user must have a secret and has none.
    NoSecret,
}

impl Secrets {
    /// Reads `user:BASE32`, `user:BASE32:digits` or `user:BASE32:digits:period`, a line each. Empty lines and those that
    /// begin with `#` are passed over.
    ///
    /// # Errors
    /// Every line that is wrong, by its number and without its secret.
    pub fn parse(text: &str) -> Result<Self, Vec<String>> {
        let (mut users, mut flaws) = (HashMap::new(), Vec::new());
        // An editor's mark (a BOM) would be taken for a part of the first user's name.
        for (at, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match entry(line) {
                Ok((user, totp)) => {
                    if users.insert(folded(user.as_bytes()), totp).is_some() {
                        flaws.push(format!(
                            "line {}: the user stands there a second time. Take one of the two out.",
                            at + 1
                        ));
                    }
                }
                Err(flaw) => flaws.push(format!("line {}: {flaw}", at + 1)),
            }
        }
        if flaws.is_empty() { Ok(Self { users }) } else { Err(flaws) }
    }

    /// How many users have one.
    pub fn len(&self) -> usize {
        self.users.len()
    }

    /// Nobody has one.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }
}

fn entry(line: &str) -> Result<(&str, Totp), &'static str> {
    let mut fields = line.split(':');
    let (user, secret) =
        (fields.next().unwrap_or_default(), fields.next().ok_or("has no colon. Write user:SECRET, in base32.")?);
    let digits = fields
        .next()
        .map_or(Ok(DIGITS), str::parse)
        .map_err(|_| "the digits are no number. Write user:SECRET:6:30.")?;
    let period = fields
        .next()
        .map_or(Ok(PERIOD), str::parse)
        .map_err(|_| "the period is no number of seconds. Write user:SECRET:6:30.")?;
    if fields.next().is_some() {
        return Err("has more than user:SECRET:digits:period. Take the rest out.");
    }
    if user.is_empty() {
        return Err("has no user. Write user:SECRET.");
    }
    // He would never be asked for a code: no client sends the blank.
    if user.ends_with(char::is_whitespace) {
        return Err("has a blank between its user and the colon. Take it out.");
    }
    if !PERIODS.contains(&period) {
        return Err("the period is not between 15 and 300 seconds. Write what the user's app shows, mostly 30.");
    }
    // People copy it in groups of four, and with the padding that base32 has.
    let letters: String = secret.chars().filter(|letter| !letter.is_whitespace()).collect();
    let letters = letters.trim_end_matches('=').to_ascii_uppercase();
    let secret = Secret::try_from_base32(letters)
        .map_err(|_| "the secret is not base32. Write letters A to Z and digits 2 to 7.")?;
    let totp = Builder::new()
        .with_algorithm(Algorithm::SHA1)
        .with_digits(digits)
        .with_step_duration(period)
        .with_secret(secret)
        .build()
        .map_err(|_| "the secret has less than 128 bits (26 letters), or the digits are not 6 to 8. Give the user a new secret.")?;
    Ok((user, totp))
}

impl SecondFactor {
    /// Codes of these secrets. `used`: what has counted so far; what it knows of users without a secret is forgotten.
    pub fn new(secrets: Secrets, required: RequiredFor, skew: u64, used: Arc<UsedCodes>) -> Self {
        used.lock().last.retain(|user, _| secrets.users.contains_key(user));
        Self { secrets, required, skew, used }
    }

    /// Whether this user is asked for a code.
    pub fn concerns(&self, user: &[u8]) -> bool {
        let required = match &self.required {
            RequiredFor::Everyone => true,
            RequiredFor::Users(globs) => globs.iter().any(|glob| glob.matches(user)),
        };
        required || self.secrets.users.contains_key(&folded(user))
    }

    /// The bare password and the code behind its last colon, where there is one.
    pub fn split<'a>(&self, user: &[u8], password: &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
        let at = password.iter().rposition(|byte| *byte == b':')?;
        let (bare, code) = (&password[..at], &password[at + 1..]);
        let fits = match self.secrets.users.get(&folded(user)) {
            Some(totp) => code.len() == usize::from(totp.digits()),
            None => (usize::from(DIGITS)..=MOST_DIGITS).contains(&code.len()),
        };
        (fits && code.iter().all(u8::is_ascii_digit)).then_some((bare, code))
    }

    /// Whether this code counts, at this time since 1970. It does so once.
    ///
    /// # Errors
    /// Why it does not.
    pub fn check(&self, user: &[u8], code: &[u8], now: Duration) -> Result<(), CodeFlaw> {
        let user = folded(user);
        let totp = self.secrets.users.get(&user).ok_or(CodeFlaw::NoSecret)?;
        let present = now.as_secs() / totp.step();
        let mut matching = None;
        // All of them, whichever it is.
        for period in present.saturating_sub(self.skew)..=present.saturating_add(self.skew) {
            let right = totp.generate(period.saturating_mul(totp.step())).to_string();
            if verify_slices_are_equal(right.as_bytes(), code).is_ok() {
                matching = Some(period);
            }
        }
        let period = matching.ok_or(CodeFlaw::Wrong)?;
        let began = period.saturating_mul(totp.step());
        let mut used = self.used.lock();
        if used.last.get(&user).is_some_and(|last| *last >= began) {
            return Err(CodeFlaw::Used);
        }
        used.last.insert(user, began);
        used.version += 1;
        Ok(())
    }
}

impl UsedCodes {
    /// What is to be kept over a restart: users by their folded names, and when the period of their last code began.
    pub fn kept(&self) -> Vec<(Vec<u8>, u64)> {
        self.lock().last.iter().map(|(user, began)| (user.clone(), *began)).collect()
    }

    /// What was kept counts no more, at this time since 1970. What began later than any code can that has counted was
    /// kept by a clock that was wrong: it would shut its user out until then.
    pub fn restore(&self, kept: Vec<(Vec<u8>, u64)>, now: Duration) {
        let latest = now.as_secs().saturating_add(FURTHEST);
        let mut used = self.lock();
        for (user, began) in kept.into_iter().filter(|(_, began)| *began <= latest) {
            let last = used.last.entry(user).or_default();
            *last = began.max(*last);
        }
    }

    /// Another number whenever there is something new to be kept.
    pub fn version(&self) -> u64 {
        self.lock().version
    }

    fn lock(&self) -> MutexGuard<'_, Used> {
        // Every state of the map is a sound one.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secrets of {} users", self.users.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The secret of RFC 6238's appendix B: `12345678901234567890`.
    const SECRET: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";

    fn factor(text: &str, required: RequiredFor) -> SecondFactor {
        SecondFactor::new(Secrets::parse(text).unwrap(), required, 1, Arc::default())
    }

    fn bob() -> SecondFactor {
        factor(
            &format!("# users\n\nbob:{SECRET}:8\nanna: gezd gnbv gy3t qojq gezd gnbv gy3t qojq ==\n"),
            RequiredFor::Users(Vec::new()),
        )
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_codes_of_the_rfc_count() {
        for (time, code) in [
            (59, "94287082"),
            (1111111109, "07081804"),
            (1111111111, "14050471"),
            (1234567890, "89005924"),
            (2000000000, "69279037"),
            (20000000000, "65353130"),
        ] {
            assert_eq!(bob().check(b"bob", code.as_bytes(), at(time)), Ok(()), "{time}");
        }
    }

    #[test]
    fn a_clock_may_be_one_period_wrong_and_not_two() {
        for (time, counts) in [(1, true), (29, true), (31, true), (61, true), (89, true), (90, false), (120, false)] {
            assert_eq!(bob().check(b"bob", b"94287082", at(time)).is_ok(), counts, "{time}");
        }
    }

    #[test]
    fn a_code_counts_once_and_none_older_than_it() {
        let factor = bob();
        let code = |time| factor.secrets.users[&b"bob"[..]].generate(time).to_string();
        assert_eq!(factor.check(b"bob", code(60).as_bytes(), at(60)), Ok(()));
        assert_eq!(factor.check(b"bob", code(60).as_bytes(), at(61)), Err(CodeFlaw::Used));
        assert_eq!(factor.check(b"bob", code(30).as_bytes(), at(61)), Err(CodeFlaw::Used));
        assert_eq!(factor.check(b"bob", code(90).as_bytes(), at(61)), Ok(()));
        // A reload brings a new file and keeps what has counted.
        let again = SecondFactor::new(factor.secrets.clone(), RequiredFor::Everyone, 1, Arc::clone(&factor.used));
        assert_eq!(again.check(b"bob", code(90).as_bytes(), at(95)), Err(CodeFlaw::Used));
        SecondFactor::new(Secrets::default(), RequiredFor::Everyone, 1, Arc::clone(&factor.used));
        assert!(factor.used.kept().is_empty());
    }

    #[test]
    fn another_period_shuts_nobody_out_and_lets_no_code_count_twice() {
        let factor = bob();
        let code = |factor: &SecondFactor, time| factor.secrets.users[&b"bob"[..]].generate(time).to_string();
        let now = 1_800_000_000;
        assert_eq!(factor.check(b"bob", code(&factor, now).as_bytes(), at(now)), Ok(()));
        let secrets = Secrets::parse(&format!("bob:{SECRET}:8:60")).unwrap();
        let slower = SecondFactor::new(secrets, RequiredFor::Everyone, 0, Arc::clone(&factor.used));
        let check = |time| slower.check(b"bob", code(&slower, time).as_bytes(), at(time));
        assert_eq!((check(now), check(now + 60), check(now + 60)), (Err(CodeFlaw::Used), Ok(()), Err(CodeFlaw::Used)));
        let again = SecondFactor::new(factor.secrets.clone(), RequiredFor::Everyone, 0, Arc::clone(&factor.used));
        assert_eq!(again.check(b"bob", code(&again, now + 90).as_bytes(), at(now + 90)), Ok(()));
    }

    #[test]
    fn what_was_kept_counts_no_more_unless_a_clock_was_wrong() {
        let (before, now) = (bob(), 1_800_000_000);
        let code = |time| before.secrets.users[&b"bob"[..]].generate(time).to_string();
        assert_eq!(before.check(b"bob", code(now).as_bytes(), at(now)), Ok(()));
        assert_eq!(before.used.version(), 1);
        let behind = bob();
        behind.used.restore(before.used.kept(), at(now + 20));
        assert_eq!(behind.check(b"bob", code(now).as_bytes(), at(now + 20)), Err(CodeFlaw::Used));
        assert_eq!(behind.check(b"bob", code(now + 30).as_bytes(), at(now + 30)), Ok(()));
        // An older one takes nothing back.
        behind.used.restore(vec![(b"bob".to_vec(), 30)], at(now + 40));
        assert_eq!(behind.check(b"bob", code(now + 30).as_bytes(), at(now + 40)), Err(CodeFlaw::Used));
        let past = bob();
        past.used.restore(before.used.kept(), at(now - 2 * FURTHEST));
        assert!(past.used.kept().is_empty());
    }

    #[test]
    fn what_is_no_code_is_wrong() {
        for code in ["", "9428708", "942870822", "94287083", "94 87082", "+4287082", "９4287082", "abcdefgh"] {
            assert_eq!(bob().check(b"bob", code.as_bytes(), at(59)), Err(CodeFlaw::Wrong), "{code}");
        }
        assert_eq!(bob().check(b"bob", b"9428708\xff", at(59)), Err(CodeFlaw::Wrong));
        assert_eq!(bob().check(b"eve", b"94287082", at(59)), Err(CodeFlaw::NoSecret));
        // anna has six digits of the same secret.
        assert_eq!(bob().check(b"anna", b"287082", at(59)), Ok(()));
    }

    #[test]
    fn the_code_stands_behind_the_last_colon() {
        let factor = bob();
        let split = |user: &str, password: &'static str| {
            let (bare, code) = factor.split(user.as_bytes(), password.as_bytes())?;
            Some((std::str::from_utf8(bare).unwrap(), std::str::from_utf8(code).unwrap()))
        };
        assert_eq!(split("bob", "se:same:94287082"), Some(("se:same", "94287082")));
        assert_eq!(split("bob", ":94287082"), Some(("", "94287082")));
        assert_eq!(split("anna", "sesame:287082"), Some(("sesame", "287082")));
        assert_eq!(split("eve", "sesame:2870820"), Some(("sesame", "2870820")));
        for password in ["sesame", "sesame:", "sesame:28708", "sesame:9428708x", "sesame:287082", "94287082"] {
            assert_eq!(split("bob", password), None, "{password}");
        }
    }

    #[test]
    fn whom_it_concerns() {
        let some = factor(&format!("bob:{SECRET}"), RequiredFor::Users(vec![Glob::new("ext-*").unwrap()]));
        for (user, concerned) in [("bob", true), ("ext-1", true), ("anna", false)] {
            assert_eq!(some.concerns(user.as_bytes()), concerned, "{user}");
        }
        assert!(factor("", RequiredFor::Everyone).concerns(b"anna"));
    }

    /// They are one user to many servers, and one code is for one login.
    #[test]
    fn no_other_spelling_is_without_a_code() {
        let factor = factor(&format!("Bob:{SECRET}:8"), RequiredFor::Users(vec![Glob::new("Ext-*").unwrap()]));
        for user in ["bob", "BOB", " bob ", "ext-1", "EXT-1", " ext-1"] {
            assert!(factor.concerns(user.as_bytes()), "{user}");
        }
        assert_eq!(factor.split(b"bOB", b"x:94287082"), Some((&b"x"[..], &b"94287082"[..])));
        assert_eq!(factor.check(b"BOB", b"94287082", at(59)), Ok(()));
        assert_eq!(factor.check(b" bob", b"94287082", at(59)), Err(CodeFlaw::Used));
        assert_eq!(
            Secrets::parse(&format!("bob:{SECRET}\nBOB:{SECRET}")).unwrap_err(),
            ["line 2: the user stands there a second time. Take one of the two out."]
        );
    }

    /// Where `required` does not have them, they would come in without a code, and nobody would know.
    #[test]
    fn a_user_is_not_missed_for_what_nobody_sees() {
        assert!(factor(&format!("\u{feff}bob:{SECRET}"), RequiredFor::Users(Vec::new())).concerns(b"bob"));
        assert_eq!(
            Secrets::parse(&format!("bob : {SECRET}")).unwrap_err(),
            ["line 1: has a blank between its user and the colon. Take it out."]
        );
    }

    #[test]
    fn every_wrong_line_is_told_by_its_number_and_without_its_secret() {
        let text = format!(
            "bob\n:{SECRET}\nbob:not base 32!\nbob:GEZDGNBV\nbob:{SECRET}:9\nbob:{SECRET}:6:0\nbob:{SECRET}:6:30:1\nbob:{SECRET}\nbob:{SECRET}\n"
        );
        let flaws = Secrets::parse(&text).unwrap_err();
        assert_eq!(flaws.len(), 8, "{flaws:?}");
        for (at, flaw) in flaws.iter().enumerate() {
            let line = if at < 7 { at + 1 } else { 9 };
            assert!(flaw.starts_with(&format!("line {line}: ")), "{flaw}");
            assert!(flaw.contains(". ") && flaw.ends_with('.'), "no remedy: {flaw}");
            assert!(!flaw.contains("GEZ") && !flaw.contains("not base 32!"), "{flaw}");
        }
        assert_eq!(format!("{:?}", Secrets::parse(&format!("bob:{SECRET}")).unwrap()), "Secrets of 1 users");
    }
}
