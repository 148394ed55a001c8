//! Words as drivers read and write them: bytes, with `%XX` for what would end a word or a line and for all above 0x7e.

use std::fmt::Write as _;

/// One line for a driver.
pub(crate) fn line(words: &[&[u8]]) -> String {
    let mut line = words.iter().map(|word| written(word)).collect::<Vec<_>>().join("\t");
    line.push('\n');
    line
}

/// The words of a driver's line.
pub(crate) fn words(line: &[u8]) -> Vec<Vec<u8>> {
    line.split(|byte| *byte == b'\t').map(read).collect()
}

fn written(word: &[u8]) -> String {
    let mut text = String::new();
    for byte in word {
        match byte {
            b'%' | b'\t' | b'\n' | b'\r' | 0x7f.. => write!(text, "%{byte:02X}").unwrap(),
            _ => text.push(char::from(*byte)),
        }
    }
    text
}

fn read(word: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = word;
    while let [first, after @ ..] = rest {
        let code = after.get(..2).and_then(|code| u8::from_str_radix(std::str::from_utf8(code).ok()?, 16).ok());
        match code {
            Some(code) if *first == b'%' => {
                bytes.push(code);
                rest = &after[2..];
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    bytes
}

/// Words go out and come back as they were.
pub(crate) fn selftest() {
    let odd: [&[u8]; 5] = [b"put", b"", b"100%25 \t\n\r", "größe".as_bytes(), b"caf\xe9\x7f"];
    let line = line(&odd);
    assert_eq!(line, "put\t\t100%2525 %09%0A%0D\tgr%C3%B6%C3%9Fe\tcaf%E9%7F\n");
    assert_eq!(words(line.trim_end_matches('\n').as_bytes()), odd);
}
