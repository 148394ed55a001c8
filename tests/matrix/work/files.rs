//! Work on single files.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::content::{MIB, bytes, same, same_files, write_large};
use crate::failure::Failure;
use crate::place::{MUCH, Place};

/// The large file, in MiB.
const LARGE: u64 = 256;

/// A path as a word for a driver.
pub(super) fn word(path: &Path) -> &[u8] {
    path.as_os_str().as_bytes()
}

/// What a folder holds, neither more nor less; in the current folder at least that.
pub(super) fn list(place: &mut Place<'_>) -> Result<(), Failure> {
    let folder = place.remote_folder("listed");
    let names = ["one", "two.txt", "three"];
    for name in names {
        fs::write(folder.join(name), b"").unwrap();
    }
    let wanted: BTreeSet<Vec<u8>> = names.iter().map(|name| name.as_bytes().to_vec()).collect();
    let told: BTreeSet<Vec<u8>> = place.ask(&[b"list", b"listed"])?.into_iter().collect();
    if told != wanted {
        return Err(Failure::wrong("list", format!("{} instead of {}", shown(&told), shown(&wanted))));
    }
    let told: BTreeSet<Vec<u8>> = place.ask(&[b"list", b""])?.into_iter().collect();
    if !told.contains(b"listed".as_slice()) {
        return Err(Failure::wrong("list", format!("{} without listed", shown(&told))));
    }
    Ok(())
}

pub(super) fn shown(names: &BTreeSet<Vec<u8>>) -> String {
    let names: Vec<_> = names.iter().map(|name| String::from_utf8_lossy(name)).collect();
    format!("[{}]", names.join(", "))
}

pub(super) fn up(place: &mut Place<'_>) -> Result<(), Failure> {
    let content = bytes(MIB, 1);
    let sent = place.local_file("up", &content);
    place.ask(&[b"put", word(&sent), b"up"])?;
    same("put", &place.backend.root.join("up"), &content)
}

pub(super) fn down(place: &mut Place<'_>) -> Result<(), Failure> {
    let content = bytes(MIB, 2);
    place.backend.put("down", &content);
    let back = place.local("down");
    place.ask(&[b"get", b"down", word(&back)])?;
    same("get", &back, &content)
}

pub(super) fn empty(place: &mut Place<'_>) -> Result<(), Failure> {
    let sent = place.local_file("empty", b"");
    place.ask(&[b"put", word(&sent), b"empty"])?;
    same("put", &place.backend.root.join("empty"), b"")?;
    let back = place.local("empty-back");
    place.ask(&[b"get", b"empty", word(&back)])?;
    same("get", &back, b"")
}

pub(super) fn append(place: &mut Place<'_>) -> Result<(), Failure> {
    let content = bytes(MIB, 3);
    place.backend.put("appended", &content[..MIB / 3]);
    let sent = place.local_file("append", &content[MIB / 3..]);
    place.ask(&[b"append", word(&sent), b"appended"])?;
    same("append", &place.backend.root.join("appended"), &content)
}

pub(super) fn resume_down(place: &mut Place<'_>) -> Result<(), Failure> {
    let content = bytes(MIB, 4);
    place.backend.put("whole", &content);
    let back = place.local_file("whole", &content[..MIB / 3]);
    let before = moved(place, "download");
    place.ask(&[b"get_rest", b"whole", word(&back)])?;
    same("get_rest", &back, &content)?;
    only_the_rest(place, "get_rest", "download", before)
}

pub(super) fn resume_up(place: &mut Place<'_>) -> Result<(), Failure> {
    let content = bytes(MIB, 5);
    place.backend.put("part", &content[..MIB / 3]);
    let sent = place.local_file("part", &content);
    let before = moved(place, "upload");
    place.ask(&[b"put_rest", word(&sent), b"part"])?;
    same("put_rest", &place.backend.root.join("part"), &content)?;
    only_the_rest(place, "put_rest", "upload", before)
}

fn moved(place: &Place<'_>, direction: &str) -> u64 {
    place.front.map_or(0, |front| front.count("transfer_bytes_total", &[direction]))
}

/// What was there is not sent again. Listings, which some clients want first, are downloads too.
fn only_the_rest(place: &Place<'_>, at: &str, direction: &str, before: u64) -> Result<(), Failure> {
    let sent = moved(place, direction) - before;
    if sent > (MIB - MIB / 4) as u64 {
        return Err(Failure::wrong(at, "all of it was sent, not the rest".into()));
    }
    Ok(())
}

pub(super) fn rename(place: &mut Place<'_>) -> Result<(), Failure> {
    let content = bytes(1000, 6);
    place.backend.put("old", &content);
    place.ask(&[b"rename", b"old", b"new"])?;
    if place.backend.root.join("old").exists() {
        return Err(Failure::wrong("rename", "the old name is still there".into()));
    }
    same("rename", &place.backend.root.join("new"), &content)
}

pub(super) fn delete(place: &mut Place<'_>) -> Result<(), Failure> {
    place.backend.put("unwanted", b"x");
    place.ask(&[b"delete", b"unwanted"])?;
    gone(place, "delete", "unwanted")
}

pub(super) fn folders(place: &mut Place<'_>) -> Result<(), Failure> {
    place.ask(&[b"mkdir", b"a folder"])?;
    if !place.backend.root.join("a folder").is_dir() {
        return Err(Failure::wrong("mkdir", "no folder was made".into()));
    }
    place.ask(&[b"rmdir", b"a folder"])?;
    gone(place, "rmdir", "a folder")
}

fn gone(place: &Place<'_>, at: &str, name: &str) -> Result<(), Failure> {
    if place.backend.root.join(name).exists() {
        return Err(Failure::wrong(at, "it is still there".into()));
    }
    Ok(())
}

pub(super) fn large(place: &mut Place<'_>) -> Result<(), Failure> {
    let (sent, back) = (place.local("large"), place.local("large-back"));
    write_large(&sent, LARGE);
    place.ask_within(&[b"put", word(&sent), b"large"], MUCH)?;
    same_files("put", &place.backend.root.join("large"), &sent)?;
    place.ask_within(&[b"get", b"large", word(&back)], MUCH)?;
    same_files("get", &back, &sent)?;
    for path in [&sent, &back, &place.backend.root.join("large")] {
        fs::remove_file(path).unwrap();
    }
    Ok(())
}
