//! Patterns of paths: what they match, what they match for sure, and what they may match.
//!
//! Invariants: where it is not known what a command meets, an `allow` asks what is matched whatever it is, and a `deny`
//! what may be matched by anything. What a pattern says of that is never more, and never less.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use globset::{Glob, GlobBuilder, GlobMatcher};

use super::classes::{Piece, pieces, ranges};
use super::letters::check_classes;

/// Some name. Whether it fits a part of a pattern says nothing, unless that part fits every name.
const ANY_NAME: &[u8] = b"\x01any\x01";

/// A pattern of paths: `*` within a name, `**` across folders.
#[derive(Debug, Clone)]
pub struct PathPattern {
    matcher: GlobMatcher,
    last: Last,
    /// From the root to the last part, or to the first that is not about one name.
    parts: Vec<GlobMatcher>,
    /// Something comes behind `parts` that can match a path of any length.
    open: bool,
}

/// What a pattern says of the last name of a path.
#[derive(Debug, Clone)]
enum Last {
    /// `**`: whatever it is, and whatever is below it.
    Everything,
    /// `*`: whatever it is.
    AnyName,
    /// Something; with any name in its place the pattern is this.
    Some(GlobMatcher),
    /// It cannot be told apart: a slash stands in braces.
    Unclear,
}

impl PathPattern {
    /// Compiles a pattern. It begins at the root.
    ///
    /// # Errors
    /// A text that says what is wrong with it.
    pub fn new(pattern: &str) -> Result<Self, String> {
        if !pattern.starts_with('/') {
            return Err("it does not begin with a slash".into());
        }
        check_parts(pattern)?;
        // Paths are bytes, and a class is about one.
        check_classes(pattern, false)?;
        let glob = |pattern: &str| {
            let pattern = without_slash(pattern)?;
            GlobBuilder::new(&pattern).literal_separator(true).build().map_err(|error| error.kind().to_string())
        };
        let matcher = glob(pattern)?.compile_matcher();
        let (before, last) = pattern.rsplit_once('/').unwrap_or_default();
        let last = match last {
            "**" => Last::Everything,
            "*" => Last::AnyName,
            last if Glob::new(last).is_err() => Last::Unclear,
            _ => Last::Some(glob(&format!("{before}/*"))?.compile_matcher()),
        };
        let mut parts = Vec::new();
        let mut open = false;
        for part in pattern.split('/').skip(1) {
            match glob(part) {
                Ok(part_alone) if part != "**" => parts.push(part_alone.compile_matcher()),
                // Half a pair of braces is no pattern. What is in them may lead anywhere.
                Ok(_) | Err(_) => {
                    open = true;
                    break;
                }
            }
        }
        Ok(Self { matcher, last, parts, open })
    }

    /// It matches this path.
    pub(super) fn matches(&self, path: &[u8]) -> bool {
        fits(&self.matcher, path)
    }

    /// It matches the folder itself, or all that is in it and has no name yet: what lists the folder is about that.
    pub(super) fn matches_folder(&self, folder: &[u8]) -> bool {
        self.matches(folder) || self.matches(&below(folder))
    }

    /// It matches whatever is in the folder, whatever its name.
    pub(super) fn matches_all_in(&self, folder: &[u8]) -> bool {
        match self.last {
            Last::Everything | Last::AnyName => self.matches(&any_in(folder)),
            Last::Some(_) | Last::Unclear => false,
        }
    }

    /// It matches everything below the folder, however deep.
    pub(super) fn matches_all_below(&self, folder: &[u8]) -> bool {
        match self.last {
            Last::Everything => self.matches(&any_in(folder)),
            Last::AnyName | Last::Some(_) | Last::Unclear => false,
        }
    }

    /// It matches something that may be in the folder.
    pub(super) fn may_match_in(&self, folder: &[u8]) -> bool {
        match &self.last {
            Last::Everything | Last::AnyName => self.matches(&any_in(folder)),
            Last::Some(with_any_name) => fits(with_any_name, &any_in(folder)),
            Last::Unclear => true,
        }
    }

    /// It matches something that may be below the folder, however deep.
    pub(super) fn may_match_below(&self, folder: &[u8]) -> bool {
        let mut names = folder.split(|byte| *byte == b'/').filter(|name| !name.is_empty());
        for part in &self.parts {
            match names.next() {
                None => return true,
                Some(name) if !fits(part, name) => return false,
                Some(_) => {}
            }
        }
        self.open
    }
}

/// No path that is compared has an empty part or one of dots. A pattern with one would match nothing, and a `deny` of
/// nothing lets everything pass.
fn check_parts(pattern: &str) -> Result<(), String> {
    if let Some(folder) = pattern.strip_suffix('/')
        && !folder.is_empty()
    {
        let folder = folder.strip_suffix("/**").unwrap_or(folder);
        return Err(format!(
            "it ends with a slash, and no path does; for a folder and what is in it write two, {folder} and {folder}/**"
        ));
    }
    for part in pattern.split('/').skip(1) {
        match part {
            "" if pattern != "/" => return Err("it has two slashes in a row, and no path has".into()),
            "." | ".." => return Err(format!("it has a part `{part}`, and no path has; write where that leads to")),
            _ => {}
        }
    }
    Ok(())
}

/// The pattern whose classes match no slash: `literal_separator` keeps `*` and `?` from it, and no class.
fn without_slash(pattern: &str) -> Result<String, String> {
    let mut text = String::with_capacity(pattern.len() + 1);
    for piece in pieces(pattern) {
        let (sign, body) = match piece {
            Piece::Text(piece) => {
                text.push_str(piece);
                continue;
            }
            Piece::Class { sign, body } => (sign, body),
        };
        if body.contains('/') {
            return Err("a slash stands in brackets".into());
        }
        let (ranges, open) = ranges(body);
        if sign.is_empty() && ranges.iter().any(|(from, to)| (from..=to).contains(&&'/')) {
            return Err(format!("a range in [{body}] has the slash in it"));
        }
        // A dash at the end stays there, where it begins no range.
        let (before, dash) = body.split_at(body.len() - usize::from(open));
        let slash = if sign.is_empty() { "" } else { "/" };
        text.extend(["[", sign, before, slash, dash, "]"]);
    }
    Ok(text)
}

fn fits(matcher: &GlobMatcher, path: &[u8]) -> bool {
    matcher.is_match(OsStr::from_bytes(path))
}

/// A path with a slash behind it.
fn below(path: &[u8]) -> Vec<u8> {
    if path == b"/" { path.to_vec() } else { [path, b"/"].concat() }
}

fn any_in(folder: &[u8]) -> Vec<u8> {
    [&below(folder)[..], ANY_NAME].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> PathPattern {
        PathPattern::new(text).unwrap()
    }

    #[test]
    fn what_is_in_a_folder_is_matched_for_sure_or_perhaps() {
        for (text, all, some) in [
            ("/in/**", true, true),
            ("/in/*", true, true),
            ("/*/**", true, true),
            ("/{in,out}/*", true, true),
            ("/in/**/*", true, true),
            ("/in/[!s]*", false, true),
            ("/in/?????", false, true),
            ("/in/*any*", false, true),
            ("/in/**/*.csv", false, true),
            ("/{in/a,out}", false, true),
            ("/in/*/*", false, false),
            ("/in", false, false),
            ("/out/*", false, false),
            ("/**/secret/**", false, false),
        ] {
            let pattern = pattern(text);
            assert_eq!((pattern.matches_all_in(b"/in"), pattern.may_match_in(b"/in")), (all, some), "{text}");
        }
    }

    #[test]
    fn what_is_below_a_folder_is_matched_for_sure_or_perhaps() {
        for (text, all, some) in [
            ("/in/**", true, true),
            ("/**", true, true),
            ("/in/*", false, true),
            ("/in/*/*", false, true),
            ("/*/x/secret", false, true),
            ("/**/secret/**", false, true),
            ("/{in,out}/secret", false, true),
            ("/{in/a,b}/c", false, true),
            ("/in", false, false),
            ("/*", false, false),
            ("/out/**", false, false),
            ("/[!i]*/**", false, false),
            ("/{out,pub}/secret", false, false),
        ] {
            let pattern = pattern(text);
            assert_eq!((pattern.matches_all_below(b"/in"), pattern.may_match_below(b"/in")), (all, some), "{text}");
        }
    }

    #[test]
    fn what_no_path_can_equal_is_no_pattern() {
        for text in ["/secret/", "/a//b", "//", "/a/../b", "/..", "/a/./b", "/a/."] {
            assert!(PathPattern::new(text).is_err(), "{text}");
        }
        for text in ["/", "/.../a", "/.hidden", "/a..b"] {
            assert!(PathPattern::new(text).is_ok(), "{text}");
        }
    }

    /// A class is about one letter of a name.
    #[test]
    fn no_class_matches_a_slash() {
        for (text, yes, no) in [
            ("/out/part[!0]*", "/out/part1", "/out/part/private"),
            ("/out/part[^0]*", "/out/partx", "/out/part/private"),
            ("/out/part[!]x]*", "/out/part1", "/out/part/private"),
            ("/out/part[!]]*", "/out/part1", "/out/part/private"),
            ("/out/part[!a-]*", "/out/part1", "/out/part/private"),
            ("/out/part[!-a]*", "/out/part1", "/out/part/private"),
            ("/out/part[!.-9]*", "/out/partx", "/out/part/private"),
            ("/out/{x,part[!0]}", "/out/part1", "/out/part/"),
            ("/[!a]ut/x", "/out/x", "//ut/x"),
            ("/out/[!0]", "/out/1", "/out//"),
            ("/out/\\[!0]", "/out/[!0]", "/out/["),
            ("/out/[!]-a]x", "/out/1x", "/out//x"),
            ("/out/[[!]", "/out/[", "/out//"),
        ] {
            let pattern = pattern(text);
            assert!(pattern.matches(yes.as_bytes()) && !pattern.matches(no.as_bytes()), "{text}");
        }
        for text in ["/out/[.-9]x", "/out/[/]x", "/out/[!/]x", "/out/[--z]x", "/{out,[+-0]}"] {
            let told = PathPattern::new(text).unwrap_err();
            assert!(told.contains("slash") || told.contains("range"), "{text}: {told}");
        }
    }

    #[test]
    fn what_may_be_in_a_folder_is_asked_of_its_classes_too() {
        let pattern = pattern("/out/part[!0]/*");
        assert!(pattern.matches_all_in(b"/out/part1") && !pattern.matches_all_in(b"/out/part/"));
        assert!(pattern.may_match_below(b"/out") && !pattern.may_match_below(b"/out/part0"));
    }
}
