//! The list of work that every cell of the matrix does, whichever server, client and way.

use std::fs;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};

use crate::backend::Backend;
use crate::client::{Change, Client, Listing};
use crate::front::Front;

const MIB: usize = 1 << 20;
/// Transfers in a row in one session.
const IN_A_ROW: usize = 30;
/// More than all buffers on the way hold, so that a transfer can be broken off in its middle.
const ENDLESS: u64 = 256 << 20;
/// Names with blanks, in UTF-8, in Latin-1.
const NAMES: [&[u8]; 3] = [b"two  blanks and one.bin", "größe ✓.bin".as_bytes(), b"caf\xe9.bin"];

/// One cell's place: its server, its gateway, and where its files are.
pub(crate) struct Place<'a> {
    pub(crate) backend: &'a Backend,
    pub(crate) front: &'a Front,
    pub(crate) local: &'a Path,
}

/// Bytes that do not repeat, the same for the same seed.
pub(crate) fn bytes(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let mut bytes: Vec<u8> = std::iter::repeat_with(&mut next).take(length.div_ceil(8)).flatten().collect();
    bytes.truncate(length);
    bytes
}

/// Holds a file to the SHA-256 of what it should be.
#[track_caller]
fn same(file: &Path, expected: &[u8]) {
    let found = fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let same = digest(&SHA256, &found).as_ref() == digest(&SHA256, expected).as_ref();
    assert!(same, "{}: {} bytes, or others, instead of {}", file.display(), found.len(), expected.len());
}

/// Does one thing and says how long it took, for whoever reads the output of a test that failed.
pub(crate) fn step(name: &str, work: impl FnOnce()) {
    let began = std::time::Instant::now();
    eprintln!("step: {name}");
    work();
    eprintln!("step: {name}: {:?}", began.elapsed());
}

fn on_disk(folder: &Path, name: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    folder.join(std::ffi::OsStr::from_bytes(name))
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

impl Place<'_> {
    /// Does everything. `large`: also with 64 MiB.
    pub(crate) fn all(&self, client: &mut dyn Client, large: bool) {
        step("up and down", || self.up_and_down(client, large));
        step("lists", || self.lists(client));
        step("resumes", || self.resumes(client));
        step("changes", || self.changes(client));
        step("names", || self.names(client));
        step("in a row", || self.in_a_row(client));
        step("aborts", || self.aborts(client));
        step("wrong password", || self.wrong_password(client));
    }

    /// What costs least, for ways of which one server is enough.
    pub(crate) fn little(&self, client: &mut dyn Client) {
        self.up_and_down(client, false);
        self.lists(client);
        self.resumes(client);
    }

    fn wrong_password(&self, client: &mut dyn Client) {
        assert!(client.wrong_password());
        // The next one is served.
        let sent = self.local_file("after", &bytes(1000, 99));
        client.up(&[(&sent, b"after")]);
        same(&self.backend.root.join("after"), &bytes(1000, 99));
    }

    fn local_file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.local.join(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// 0 B, 1 B, 1 MiB and, where wished, 64 MiB, there and back.
    fn up_and_down(&self, client: &mut dyn Client, large: bool) {
        let mut sizes = vec![0, 1, MIB];
        sizes.extend(large.then_some(64 * MIB));
        for size in sizes {
            let (content, name) = (bytes(size, size as u64), format!("size-{size}"));
            let sent = self.local_file("sent", &content);
            client.up(&[(&sent, name.as_bytes())]);
            same(&self.backend.root.join(&name), &content);
            let back = self.local.join("back");
            client.down(&[(name.as_bytes(), &back)]);
            same(&back, &content);
        }
    }

    fn lists(&self, client: &mut dyn Client) {
        let size = MIB.to_string();
        let listings = [Listing::List, Listing::Nlst, Listing::Mlsd];
        for listing in listings.into_iter().filter(|l| *l != Listing::Mlsd || self.backend.setup.kind.has_mlsd()) {
            let list = client.list(listing);
            let shown = String::from_utf8_lossy(&list);
            for name in ["size-0", "size-1", &format!("size-{MIB}")] {
                assert!(contains(&list, name.as_bytes()), "no {name} in {listing:?}:\n{shown}");
            }
            let sizes = list.split(|byte| *byte == b'\n').any(|line| contains(line, size.as_bytes()));
            assert!(sizes, "{listing:?}:\n{shown}");
        }
        if self.backend.setup.kind.has_mlsd() {
            assert!(self.front.count("commands_total", &["\"MLSD\""]) > 0, "MLSD was never used");
        }
    }

    fn resumes(&self, client: &mut dyn Client) {
        let content = bytes(MIB, 7);
        self.backend.put("whole", &content);
        let back = self.local_file("back", &content[..MIB / 3]);
        client.resume_down("whole", &back);
        same(&back, &content);
        // What was there is not sent again.
        self.backend.put("part", &content[..MIB / 3]);
        let sent = self.local_file("sent", &content);
        let before = self.front.count("transfer_bytes_total", &["upload"]);
        client.resume_up(&sent, "part");
        same(&self.backend.root.join("part"), &content);
        let moved = self.front.count("transfer_bytes_total", &["upload"]) - before;
        assert_eq!(moved, (MIB - MIB / 3) as u64);
    }

    fn changes(&self, client: &mut dyn Client) {
        let (root, content) = (&self.backend.root, bytes(100, 3));
        self.backend.put("old", &content);
        client.change(&[Change::Make("folder"), Change::Rename("old", "folder/new")]);
        same(&root.join("folder/new"), &content);
        assert!(!root.join("old").exists());
        client.change(&[Change::Delete("folder/new")]);
        assert_eq!(fs::read_dir(root.join("folder")).unwrap().count(), 0);
        client.change(&[Change::Remove("folder")]);
        assert!(!root.join("folder").exists());
    }

    /// Names are bytes, and come out on the other side as they were.
    fn names(&self, client: &mut dyn Client) {
        for (seed, name) in NAMES.iter().enumerate() {
            let content = bytes(1000, seed as u64 + 11);
            let sent = self.local_file("sent", &content);
            client.up(&[(&sent, name)]);
            same(&on_disk(&self.backend.root, name), &content);
            let back = self.local.join("back");
            client.down(&[(name, &back)]);
            same(&back, &content);
        }
    }

    /// Thirty up and thirty down, each in one session.
    fn in_a_row(&self, client: &mut dyn Client) {
        let contents: Vec<_> = (0..IN_A_ROW).map(|number| bytes(number * 777, number as u64 + 100)).collect();
        let name = |number: usize| format!("row-{number}");
        let sent: Vec<_> = contents.iter().enumerate().map(|(n, content)| self.local_file(&name(n), content)).collect();
        let names: Vec<_> = (0..IN_A_ROW).map(name).collect();
        let pairs: Vec<(&Path, &[u8])> =
            sent.iter().zip(&names).map(|(path, name)| (&**path, name.as_bytes())).collect();
        let logins = || self.front.count("logins_total", &["accepted"]);
        let before = logins();
        client.up(&pairs);
        for (name, content) in names.iter().zip(&contents) {
            same(&self.backend.root.join(name), content);
        }
        let back: Vec<_> = (0..IN_A_ROW).map(|number| self.local.join(format!("back-{number}"))).collect();
        let pairs: Vec<(&[u8], &Path)> =
            names.iter().zip(&back).map(|(name, path)| (name.as_bytes(), &**path)).collect();
        client.down(&pairs);
        for (path, content) in back.iter().zip(&contents) {
            same(path, content);
        }
        // One session each way, or one that was open already.
        assert!(logins() - before <= 2, "{} sessions", logins() - before);
    }

    /// ABOR in the middle of a download, and on with the same session.
    fn aborts(&self, client: &mut dyn Client) {
        self.backend.put_zeros("endless", ENDLESS);
        let (content, back) = (bytes(5000, 5), self.local.join("back"));
        self.backend.put("short", &content);
        // lftp closes its data connection when it has sent ABOR, and either may be noticed first.
        let broken = |result: &str| self.front.count("transfers_total", &[&format!("result=\"{result}\"")]);
        let aborted = || broken("aborted") + broken("client_cut");
        let logins = || self.front.count("logins_total", &["accepted"]);
        let before = (aborted(), logins());
        if client.abort("endless", "short", &back) {
            same(&back, &content);
            assert_eq!(aborted(), before.0 + 1, "no transfer was aborted");
            assert!(logins() <= before.1 + 1, "it went on in another session");
        }
    }
}
