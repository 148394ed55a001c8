//! The file with the secrets of the second factor.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::policy::Secrets;

/// Read, write or enter: for those who are neither owner nor group.
const OTHERS: u32 = 0o007;

/// Reads the secrets.
///
/// # Errors
/// That the file cannot be read, or that others can; or every line that is wrong.
pub(super) fn load(path: &Path) -> Result<Secrets, Vec<String>> {
    let named = |flaw: &str| format!("access.totp.secrets: {}: {flaw}", path.display());
    let problem = |error: std::io::Error| {
        let remedy = match error.kind() {
            ErrorKind::InvalidData => "Write it as text in UTF-8.",
            _ => "Let the user that the gateway runs as read it.",
        };
        vec![named(&format!("cannot be read: {error}. {remedy}"))]
    };
    let mut file = File::open(path).map_err(problem)?;
    if file.metadata().map_err(problem)?.permissions().mode() & OTHERS != 0 {
        let remedy = format!("chmod o= {}", path.display());
        return Err(vec![named(&format!("others can read it, and whoever does has the codes of all. {remedy}"))]);
    }
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(problem)?;
    Secrets::parse(&text).map_err(|flaws| flaws.iter().map(|flaw| named(flaw)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{Permissions, set_permissions, write};

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("totp.secrets");
        assert_eq!(load(&path).unwrap_err().len(), 1);
        write(&path, "bob:GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ\n").unwrap();
        for (mode, good) in [(0o600, true), (0o640, true), (0o644, false), (0o602, false)] {
            set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let loaded = load(&path);
            assert_eq!(loaded.is_ok(), good, "{mode:o}: {loaded:?}");
        }
        write(&path, "bob\nanna:short\n").unwrap();
        set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        let flaws = load(&path).unwrap_err();
        assert_eq!(flaws.len(), 2);
        assert!(flaws[1].starts_with("access.totp.secrets: ") && flaws[1].contains(": line 2: "), "{flaws:?}");
    }
}
