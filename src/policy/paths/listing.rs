//! What a listing is about: options, names, patterns of names, and several of them.
//!
//! Invariant: an option is what every server takes for one, or for a name that leads nowhere.

use super::target::{Reach, Target};
use super::{Start, goes_up};
use crate::ftp::Verb;

/// How many words a listing may have. Each is a path that every rule is asked about, and of a name with more blanks in it
/// nobody has heard.
const MOST_WORDS: usize = 16;

impl Start<'_> {
    /// `LIST -la /x`: what begins with a dash is for the server's `ls`. A server that has none takes it for a name.
    pub(super) fn listing(self, verb: Verb, argument: &[u8]) -> Option<Target> {
        // Blanks in front are everybody's to skip where options stand behind them. Of a name they are a part, to ProFTPD.
        let trimmed = argument.trim_ascii_start();
        let mut rest = if trimmed.is_empty() || trimmed.starts_with(b"-") { trimmed } else { argument };
        let (mut recursive, mut options) = (false, false);
        while rest.starts_with(b"-") {
            let end = rest.iter().position(|byte| *byte == b' ').unwrap_or(rest.len());
            recursive |= lists_below(&rest[..end])?;
            options = true;
            rest = rest.get(end + 1..).unwrap_or_default();
        }
        if options && !rest.is_empty() {
            // With what stands before it, it would be no path from the root, and `..` would lead elsewhere.
            if rest.starts_with(b"/") && goes_up(rest) {
                return None;
            }
        }
        // Pure-FTPd takes away the first letter of what stands behind them: of `NLST -a x/secret` it lists `/secret`. Where
        // nothing stands there, it reads on in what is left of an earlier command.
        if options && verb == Verb::Nlst {
            return None;
        }
        let (path, mut something) = self.listed(if rest.is_empty() { b"." } else { rest })?;
        let mut paths = vec![path];
        // Servers that hand it to a program hand over each word (inetutils), and `ls` takes options behind names, too.
        if rest.contains(&b' ') {
            for word in rest.split(|byte| *byte == b' ').filter(|word| !word.is_empty()) {
                if paths.len() > MOST_WORDS {
                    return None;
                }
                if word.starts_with(b"-") {
                    recursive |= lists_below(word)?;
                }
                let (path, pattern) = self.listed(word)?;
                something |= pattern;
                paths.push(path);
            }
        }
        let reach = match (recursive, something) {
            (true, _) => Reach::Listing,
            (false, true) => Reach::Something,
            (false, false) => Reach::Contents,
        };
        Some(Target { paths, reach })
    }

    /// What a name shows, and whether that is a folder in which a pattern finds something.
    pub(super) fn listed(self, name: &[u8]) -> Option<(Vec<u8>, bool)> {
        let path = self.resolve(name)?;
        let (folder, last) = match name.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => name.split_at(slash + 1),
            None => (&b"."[..], name),
        };
        let has_pattern = |text: &[u8]| text.iter().any(|byte| b"*?[]{}".contains(byte));
        // A pattern in the last name stays in its folder. One elsewhere, or in braces, may lead anywhere.
        // `.*` fits `..` as well, and to some shells `**` is whatever lies below.
        let fits_above = last.starts_with(b".") && has_pattern(last);
        let fits_below = last.windows(2).any(|two| two == b"**");
        if has_pattern(folder) || fits_above || fits_below || last.iter().any(|byte| b"[]{}".contains(byte)) {
            return None;
        }
        if has_pattern(last) { Some((self.resolve(folder)?, true)) } else { Some((path, false)) }
    }
}

/// Whether an option of `ls` may list what is below. `None`: it may be a path, too. ProFTPD and Pure-FTPd end it before the
/// first byte that is no letter and no digit, and begin the name there: `-a..` is `-a ..`.
fn lists_below(option: &[u8]) -> Option<bool> {
    let plain = option.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-');
    plain.then(|| option.contains(&b'R') || option.starts_with(b"--"))
}
