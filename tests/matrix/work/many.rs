//! Many transfers: in a row, of a folder, of two clients at once.

use std::fs;
use std::path::{Path, PathBuf};

use super::files::word;
use crate::content::{MIB, bytes, same};
use crate::driver::Client;
use crate::failure::Failure;
use crate::place::{LITTLE, MUCH, Place};

/// Each up and down: fifty transfers.
const TURNS: usize = 25;
const SMALL: usize = 200;

pub(super) fn small(place: &mut Place<'_>) -> Result<(), Failure> {
    let (there, back) = (place.local_folder("small"), place.local_folder("small-back"));
    let contents: Vec<_> = (0..SMALL).map(|number| bytes(number * 37, number as u64 + 100)).collect();
    let name = |number: usize| format!("small {number}");
    for (number, content) in contents.iter().enumerate() {
        fs::write(there.join(name(number)), content).unwrap();
    }
    let remote = place.remote_folder("small");
    place.ask_within(&[b"put_folder", word(&there), b"small"], MUCH)?;
    for (number, content) in contents.iter().enumerate() {
        same("put_folder", &remote.join(name(number)), content)?;
    }
    place.ask_within(&[b"get_folder", b"small", word(&back)], MUCH)?;
    for (number, content) in contents.iter().enumerate() {
        same("get_folder", &back.join(name(number)), content)?;
    }
    let count = |folder: &Path| fs::read_dir(folder).unwrap().count();
    if (count(&remote), count(&back)) != (SMALL, SMALL) {
        return Err(Failure::wrong("get_folder", format!("{} and {} files", count(&remote), count(&back))));
    }
    Ok(())
}

/// What one client moves by turns, and where to.
struct Turns {
    content: Vec<u8>,
    sent: PathBuf,
    folder: &'static str,
    back: PathBuf,
}

impl Turns {
    fn prepare(place: &Place<'_>, folder: &'static str, length: usize) -> Self {
        let content = bytes(length, length as u64);
        let sent = place.local_file(&format!("{folder}-sent"), &content);
        let back = place.local_folder(&format!("{folder}-back"));
        place.remote_folder(folder);
        Self { content, sent, folder, back }
    }

    fn order<'a>(&'a self, count: &'a str) -> [&'a [u8]; 5] {
        [b"many", count.as_bytes(), word(&self.sent), self.folder.as_bytes(), word(&self.back)]
    }

    fn look(&self, place: &Place<'_>) -> Result<(), Failure> {
        for number in (0..TURNS).map(|number| number.to_string()) {
            same("many", &place.backend.root.join(self.folder).join(&number), &self.content)?;
            same("many", &self.back.join(&number), &self.content)?;
        }
        Ok(())
    }
}

pub(super) fn in_a_row(place: &mut Place<'_>) -> Result<(), Failure> {
    let turns = Turns::prepare(place, "row", MIB / 16);
    let before = place.logins();
    place.ask_within(&turns.order(&TURNS.to_string()), MUCH)?;
    turns.look(place)?;
    // One for the client, had it none, and one for the errand, where each has its own.
    let logins = place.logins() - before;
    if logins > 2 {
        return Err(Failure::wrong("many", format!("{logins} sessions")));
    }
    Ok(())
}

/// Both begin before either has ended.
pub(super) fn two_at_once(place: &mut Place<'_>) -> Result<(), Failure> {
    let target = place.target.clone();
    let turns = [Turns::prepare(place, "first", MIB / 4), Turns::prepare(place, "second", MIB / 5)];
    let mut clients: Vec<Client> = turns.iter().map(|_| place.another(&target)).collect();
    for client in &mut clients {
        client.order(&[b"open"])?;
    }
    for client in &mut clients {
        client.answer(&[b"open"], LITTLE)?;
    }
    let count = TURNS.to_string();
    for (client, turns) in clients.iter_mut().zip(&turns) {
        client.order(&turns.order(&count))?;
    }
    for (client, turns) in clients.iter_mut().zip(&turns) {
        client.answer(&turns.order(&count), MUCH)?;
    }
    for (client, turns) in clients.into_iter().zip(&turns) {
        turns.look(place)?;
        client.end()?;
    }
    Ok(())
}
