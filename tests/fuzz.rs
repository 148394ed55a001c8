//! What must hold for any bytes, over `fuzz/corpus` and random changes to it. libFuzzer looks longer and deeper at the
//! same functions: `fuzz/run`.
//!
//! `FUZZ_SECONDS` asks for another time than ten seconds for each target.

#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "../fuzz/src/lib.rs"]
#[allow(unreachable_pub)]
mod targets;

use std::path::Path;
use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// How long each target is tried when nothing else is asked for.
const SECONDS: u64 = 10;
/// Cases between two looks at the clock.
const AT_ONCE: u32 = 200;

/// What is kept for a target: seeds, and what once broke it.
fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut paths: Vec<_> = folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() > 3, "{target} has nothing to begin with");
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

/// One change to some bytes.
#[derive(Debug, Clone)]
enum Edit {
    Set(u8),
    Insert(Vec<u8>),
    Remove(usize),
    Repeat(usize, usize),
    Splice(prop::sample::Index, prop::sample::Index),
}

fn edits() -> impl Strategy<Value = Vec<(prop::sample::Index, Edit)>> {
    let index = any::<prop::sample::Index>;
    let telling = prop_oneof![
        Just(b'\r'),
        Just(b'\n'),
        Just(0u8),
        Just(0xFFu8),
        Just(b' '),
        Just(b'-'),
        Just(b':'),
        Just(b'"'),
        any::<u8>()
    ];
    let edit = prop_oneof![
        telling.clone().prop_map(Edit::Set),
        vec(telling, 1..8).prop_map(Edit::Insert),
        vec(any::<u8>(), 1..200).prop_map(Edit::Insert),
        (1usize..40).prop_map(Edit::Remove),
        (1usize..20, 1usize..40).prop_map(|(length, times)| Edit::Repeat(length, times)),
        (index(), index()).prop_map(|(seed, from)| Edit::Splice(seed, from)),
    ];
    vec((index(), edit), 0..12)
}

fn edited(corpus: &[Vec<u8>], seed: prop::sample::Index, edits: &[(prop::sample::Index, Edit)]) -> Vec<u8> {
    let mut bytes = seed.get(corpus).clone();
    for (place, edit) in edits {
        let at = place.index(bytes.len() + 1);
        let end = |length: usize| (at + length).min(bytes.len());
        match edit {
            Edit::Set(byte) if at < bytes.len() => bytes[at] = *byte,
            Edit::Set(byte) => bytes.push(*byte),
            Edit::Insert(new) => drop(bytes.splice(at..at, new.iter().copied())),
            Edit::Remove(length) => drop(bytes.drain(at..end(*length))),
            Edit::Repeat(length, times) => {
                let again = bytes[at..end(*length)].repeat(*times);
                drop(bytes.splice(at..at, again));
            }
            Edit::Splice(other, from) => {
                let other = other.get(corpus);
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from.index(other.len() + 1)..]);
            }
        }
    }
    bytes.truncate(8192);
    bytes
}

/// Goes through what is kept, and then through changes to it until the time is over.
fn holds(name: &str, target: fn(&[u8])) {
    let corpus = corpus(name);
    corpus.iter().for_each(|bytes| target(bytes));
    let seconds = std::env::var("FUZZ_SECONDS").map_or(SECONDS, |seconds| seconds.parse().unwrap());
    let end = Instant::now() + Duration::from_secs(seconds);
    let config = Config { cases: AT_ONCE, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new(config.clone());
    let mut runs = 0;
    while Instant::now() < end {
        let tried = runner.run(&(any::<prop::sample::Index>(), edits()), |(seed, edits)| {
            target(&edited(&corpus, seed, &edits));
            Ok(())
        });
        if let Err(error) = tried {
            panic!("{name}: {error}");
        }
        runs += AT_ONCE;
        // Each runner has a seed of its own, from the system.
        runner = TestRunner::new(config.clone());
    }
    println!("{name}: {runs} runs");
}

#[test]
fn lines_are_cut_the_same_however_they_come_and_within_bounds() {
    holds("line", targets::line);
}

#[test]
fn commands_go_on_as_they_came_and_show_no_password() {
    holds("command", targets::command);
}

#[test]
fn replies_are_read_within_bounds_and_read_the_same_when_relayed() {
    holds("reply", targets::reply);
}

#[test]
fn endpoints_that_are_read_can_be_written() {
    holds("endpoint", targets::endpoint);
}

#[test]
fn every_command_gets_exactly_one_final_reply() {
    holds("dialogue", targets::dialogue);
}

#[test]
fn any_text_is_a_configuration_or_a_list_of_problems() {
    holds("config", targets::config);
}

#[test]
fn proxy_headers_are_read_within_bounds_and_nothing_behind_them() {
    holds("proxy", targets::proxy);
}

#[test]
fn a_client_hello_is_read_within_bounds_and_opens_no_seal_but_its_own() {
    holds("hello", targets::hello);
}

#[test]
fn no_command_goes_where_a_path_rule_has_it_not() {
    holds("paths", targets::paths);
}

#[test]
fn secrets_are_read_or_refused_without_a_word_of_them_and_codes_count_once() {
    holds("totp", targets::totp);
}
