//! Opening the audit file.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

/// The owner writes, the group reads: auditors are a group.
const MODE: u32 = 0o640;

/// The audit file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("audit_log.path: {path} {what}. {remedy}", path = path.display())]
pub struct AuditFileError {
    path: PathBuf,
    what: String,
    remedy: &'static str,
}

/// The audit file, open for appending.
#[derive(Debug)]
pub struct AuditFile(pub(super) File);

impl AuditFile {
    /// Opens it, and makes it when it is not there.
    ///
    /// # Errors
    /// What is wrong with it, and what to do.
    pub fn open(path: &Path) -> Result<Self, AuditFileError> {
        let problem = |error: io::Error| AuditFileError::new(path, &error);
        let mut file = match made(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => opened(path),
            made => made,
        }
        .map_err(problem)?;
        check_sort(path, &file).map_err(problem)?;
        if ends_in_a_torn_line(path) {
            file.write_all(b"\n").map_err(problem)?;
        }
        Ok(Self(file))
    }

    /// Whether it could be opened, without making or changing anything. A folder that is not there may still be made.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn check(path: &Path) -> Result<(), AuditFileError> {
        let problem = |error: io::Error| AuditFileError::new(path, &error);
        if path.exists() {
            let file = opened(path).map_err(problem)?;
            return check_sort(path, &file).map_err(problem);
        }
        let above = path.ancestors().skip(1).find(|folder| folder.exists() || folder.as_os_str().is_empty());
        match above {
            Some(folder) if !folder.as_os_str().is_empty() && !folder.is_dir() => {
                Err(problem(io::ErrorKind::NotADirectory.into()))
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// Opening a pipe that nobody reads must not wait.
fn opened(path: &Path) -> io::Result<File> {
    let flags = (OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits();
    OpenOptions::new().append(true).custom_flags(flags).open(path)
}

/// One that is not there. The mode is set again: a service's umask is for its keys, and would shut auditors out.
fn made(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().append(true).create_new(true).mode(MODE).open(path)?;
    file.set_permissions(Permissions::from_mode(MODE))?;
    Ok(file)
}

/// A pipe or a terminal loses lines when nobody reads.
fn check_sort(path: &Path, file: &File) -> io::Result<()> {
    let sort = file.metadata()?.file_type();
    if sort.is_file() || sort.is_char_device() {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{} is not a file", path.display())))
}

/// Whoever wrote it last was stopped in the middle of a line: the next one must not go on with it.
fn ends_in_a_torn_line(path: &Path) -> bool {
    let last = || {
        let mut file = File::open(path)?;
        if !file.metadata()?.is_file() {
            return Ok(b'\n');
        }
        file.seek(SeekFrom::End(-1))?;
        let mut last = [b'\n'];
        file.read_exact(&mut last)?;
        Ok::<_, io::Error>(last[0])
    };
    // An empty one has no last byte, and one that may not be read is not looked at.
    last().is_ok_and(|last| last != b'\n')
}

impl AuditFileError {
    fn new(path: &Path, error: &io::Error) -> Self {
        let (what, remedy) = match error.kind() {
            io::ErrorKind::NotFound => (
                "lies in a folder that is not there".to_owned(),
                "Make the folder for the user that the gateway runs as.",
            ),
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => (
                format!("cannot be opened: {error}"),
                "Let the user that the gateway runs as write the file, and make files in its folder.",
            ),
            io::ErrorKind::IsADirectory => ("is a folder".to_owned(), "Write the path of a file."),
            io::ErrorKind::NotADirectory => ("lies below a file".to_owned(), "Write the path of a file in a folder."),
            io::ErrorKind::InvalidInput => ("is not a file".to_owned(), "Write the path of a file."),
            _ => (format!("cannot be opened: {error}"), "Make it a file that can be written."),
        };
        Self { path: path.to_owned(), what, remedy }
    }
}
