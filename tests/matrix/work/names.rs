//! Odd names: they are bytes, and are on the server as the client was given them.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;

use super::files::{shown, word};
use crate::content::{bytes, same};
use crate::failure::Failure;
use crate::place::Place;

pub(super) fn blanks(place: &mut Place<'_>) -> Result<(), Failure> {
    named(place, b"two  blanks and one.bin")
}

pub(super) fn utf8(place: &mut Place<'_>) -> Result<(), Failure> {
    named(place, "größe ✓.bin".as_bytes())
}

pub(super) fn latin1(place: &mut Place<'_>) -> Result<(), Failure> {
    named(place, b"caf\xe9.bin")
}

pub(super) fn dash(place: &mut Place<'_>) -> Result<(), Failure> {
    named(place, b"-la")
}

pub(super) fn percent(place: &mut Place<'_>) -> Result<(), Failure> {
    named(place, b"100%41 %s%.bin")
}

/// Up, seen in a list, and down again, where the login leads: a folder before it would hide a dash.
fn named(place: &mut Place<'_>, name: &[u8]) -> Result<(), Failure> {
    let content = bytes(1000, 11);
    let sent = place.local_file("named", &content);
    place.ask(&[b"put", word(&sent), name])?;
    same("put", &place.backend.root.join(OsStr::from_bytes(name)), &content)?;
    let told: BTreeSet<_> = place.ask(&[b"list", b""])?.into_iter().collect();
    if !told.contains(name) {
        return Err(Failure::wrong("list", format!("{} without {}", shown(&told), String::from_utf8_lossy(name))));
    }
    let back = place.local("named-back");
    let _ = fs::remove_file(&back);
    place.ask(&[b"get", name, word(&back)])?;
    same("get", &back, &content)
}
