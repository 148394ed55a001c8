//! Transfers and sessions that end otherwise: broken off, refused, left.

use std::fs;

use super::files::word;
use crate::content::{bytes, same, write_zeros};
use crate::failure::{Failure, Kind};
use crate::place::{LITTLE, Place};

/// More than all buffers on the way hold, and more than is through before a client is killed.
const ENDLESS: u64 = 256 << 20;

/// A file that is downloaded after something else went wrong.
fn goes_on(place: &mut Place<'_>) -> Result<(), Failure> {
    let content = bytes(5000, 21);
    place.backend.put("short", &content);
    let back = place.local("short");
    let _ = fs::remove_file(&back);
    place.ask(&[b"get", b"short", word(&back)])?;
    same("get", &back, &content)
}

/// ABOR in the middle of a download, and on with the same session.
pub(super) fn abort(place: &mut Place<'_>) -> Result<(), Failure> {
    place.backend.put_zeros("endless", ENDLESS);
    let before = place.logins();
    place.ask(&[b"abort", b"endless"])?;
    let during = place.logins();
    goes_on(place)?;
    let after = place.logins();
    if place.front.is_some() && broken(place) == 0 {
        return Err(Failure::wrong("abort", "no transfer was aborted".into()));
    }
    // A client that has a session had it before, or got it for `abort`.
    if after > during && during - before > 1 {
        return Err(Failure::wrong("abort", "it went on in another session".into()));
    }
    Ok(())
}

pub(super) fn wrong_password(place: &mut Place<'_>) -> Result<(), Failure> {
    let wrong = place.target.wrong();
    let mut client = place.another(&wrong);
    match client.ask(&[b"open"], LITTLE) {
        Err(failure) if failure.kind == Kind::Said => {}
        Err(failure) => return Err(failure),
        Ok(_) => return Err(Failure::wrong("open", "the client says that it is logged in".into())),
    }
    client.end()?;
    goes_on(place)
}

/// A session that is closed leaves nothing.
pub(super) fn quit(place: &mut Place<'_>) -> Result<(), Failure> {
    goes_on(place)?;
    place.ask(&[b"close"])?;
    place.comes_to_rest()?;
    place.leave()
}

pub(super) fn leave(place: &mut Place<'_>) -> Result<(), Failure> {
    place.leave()?;
    place.backend.put_zeros("endless", ENDLESS);
    let before = broken(place);
    place.ask(&[b"leave", b"endless"])?;
    place.leave()?;
    place.comes_to_rest()?;
    if place.front.is_some() && broken(place) == before {
        return Err(Failure::wrong("leave", "the download is said to be complete".into()));
    }
    Ok(())
}

/// Downloads that did not come to their end.
fn broken(place: &Place<'_>) -> u64 {
    let count = |labels: &[&str]| place.front.map_or(0, |front| front.count("transfers_total", labels));
    count(&["\"download\""]) - count(&["\"download\"", "result=\"completed\""])
}

pub(super) fn leave_put(place: &mut Place<'_>) -> Result<(), Failure> {
    place.leave()?;
    let sent = place.local("endless");
    write_zeros(&sent, ENDLESS);
    place.ask(&[b"leave_put", word(&sent), b"left"])?;
    place.leave()?;
    place.comes_to_rest()?;
    // Not every server has made it by now.
    let length = place.backend.root.join("left").metadata().map_or(0, |metadata| metadata.len());
    if length >= ENDLESS {
        return Err(Failure::wrong("leave_put", "the server's file looks whole".into()));
    }
    Ok(())
}
