//! Contents of files, and whether a file has the content it should have.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;

use aws_lc_rs::digest::{Context, Digest, SHA256, digest};

use crate::failure::Failure;

pub(crate) const MIB: usize = 1 << 20;

/// Bytes that do not repeat, the same for the same seed.
pub(crate) fn bytes(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Writes a file of so many MiB, no two of them alike.
pub(crate) fn write_large(path: &Path, mib: u64) {
    let mut block = bytes(MIB, 77);
    let mut file = File::create(path).unwrap();
    for number in 0..mib {
        block[..8].copy_from_slice(&number.to_le_bytes());
        file.write_all(&block).unwrap();
    }
}

/// Makes a file of so many zeros, which takes no space.
pub(crate) fn write_zeros(path: &Path, length: u64) {
    File::create(path).unwrap().set_len(length).unwrap();
}

/// Holds a file to its content, by SHA-256.
pub(crate) fn same(at: &str, file: &Path, expected: &[u8]) -> Result<(), Failure> {
    let found = fs::read(file).map_err(|error| Failure::wrong(at, format!("no file: {}", error.kind())))?;
    if digest(&SHA256, &found).as_ref() == digest(&SHA256, expected).as_ref() {
        return Ok(());
    }
    let alike = found.iter().zip(expected).take_while(|(found, expected)| found == expected).count();
    let (found, expected) = (found.len(), expected.len());
    let text = format!("{found} bytes instead of {expected}, of which the first {alike} are right");
    Err(Failure::wrong(at, text))
}

/// Holds one large file to another.
pub(crate) fn same_files(at: &str, file: &Path, expected: &Path) -> Result<(), Failure> {
    let read = |path: &Path| sum(path).map_err(|error| Failure::wrong(at, format!("no file: {}", error.kind())));
    if read(file)?.as_ref() == read(expected)?.as_ref() {
        return Ok(());
    }
    let length = |path: &Path| path.metadata().map_or(0, |metadata| metadata.len());
    Err(Failure::wrong(at, format!("{} bytes, or others, instead of {}", length(file), length(expected))))
}

fn sum(path: &Path) -> std::io::Result<Digest> {
    let (mut file, mut context) = (File::open(path)?, Context::new(&SHA256));
    let mut block = vec![0; MIB];
    loop {
        match file.read(&mut block)? {
            0 => return Ok(context.finish()),
            count => context.update(&block[..count]),
        }
    }
}
