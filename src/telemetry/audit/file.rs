//! Opening the audit file.

use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::fcntl::OFlag;

/// The owner writes, the group reads: auditors are a group.
const MODE: u32 = 0o640;
/// What opening a file takes on a disk that is there, many times over.
const PATIENCE: Duration = Duration::from_secs(5);

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
pub struct AuditFile {
    pub(super) file: File,
    pub(super) identity: FileIdentity,
}

/// Which file it is, whatever it is called. Good while it is open.
pub(super) type FileIdentity = (u64, u64);

impl AuditFile {
    /// Opens it, and makes it when it is not there. Nothing is written.
    ///
    /// # Errors
    /// What is wrong with it, and what to do. Its disk is not waited for for ever.
    pub fn open(path: &Path) -> Result<Self, AuditFileError> {
        let problem = |error: io::Error| AuditFileError::new(path, &error);
        let (sender, opened) = mpsc::channel();
        let own = path.to_owned();
        // Whoever opens a file of a disk that hangs hangs too, and hears no signal.
        let opener = thread::Builder::new().name("audit-open".into());
        opener
            .spawn(move || {
                // Nobody may wait for it any more; then it is closed.
                let _ = sender.send(open_now(&own));
            })
            .map_err(problem)?;
        opened.recv_timeout(PATIENCE).unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(problem)
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

fn open_now(path: &Path) -> io::Result<AuditFile> {
    let file = match made(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => opened(path)?,
        made => made?,
    };
    check_sort(path, &file)?;
    let metadata = file.metadata()?;
    Ok(AuditFile { file, identity: (metadata.dev(), metadata.ino()) })
}

/// Opening a pipe that nobody reads must not wait. It is read only to see whether its last line has an end, and it need
/// not be.
fn opened(path: &Path) -> io::Result<File> {
    let flags = (OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits();
    let mut options = OpenOptions::new();
    options.append(true).custom_flags(flags);
    match options.clone().read(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => options.open(path),
        opened => opened,
    }
}

/// One that is not there. The mode is set again: a service's umask is for its keys, and would shut auditors out.
fn made(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).append(true).create_new(true).mode(MODE).open(path)?;
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
            io::ErrorKind::TimedOut => {
                ("lies on a disk that does not answer".to_owned(), "Mend the disk, or write a path on another one.")
            }
            io::ErrorKind::InvalidInput => ("is not a file".to_owned(), "Write the path of a file."),
            _ => (format!("cannot be opened: {error}"), "Make it a file that can be written."),
        };
        Self { path: path.to_owned(), what, remedy }
    }
}
