//! What a ClientHello says before anybody has answered it: the sessions that it offers to resume.
//!
//! rustls' own reader keeps them to itself until a session's own configuration is chosen, and here it is the session that
//! is looked for. So this reads the one message, from the bytes as they came, and takes nothing.
//!
//! Invariants: no bytes make this fail otherwise than by [`Hello::Not`]; it reads [`MOST`] bytes at most; what it finds
//! is a claim of whoever sent it, and worth nothing until a [`Seal`](super::Seal) has opened it.

use super::tickets::{NAME, SessionName};

/// The longest start of a connection that is looked at: a ClientHello of 16 KiB in few records.
pub const MOST: usize = 17 * 1024;
/// The longest message.
const LONGEST_MESSAGE: usize = 16 * 1024;
/// A record's header (RFC 8446 §5.1).
const RECORD_HEADER: usize = 5;
/// Its content type of handshake messages.
const HANDSHAKE: u8 = 22;
/// The most a record carries in clear.
const LONGEST_RECORD: usize = 16 * 1024;
/// Type and length of a handshake message (RFC 8446 §4).
const MESSAGE_HEADER: usize = 4;
const CLIENT_HELLO: u8 = 1;
/// RFC 5077 §3.2.
const SESSION_TICKET: u16 = 35;
/// RFC 8446 §4.2.11.
const PRE_SHARED_KEY: u16 = 41;
/// Offers that are looked at. Clients make one or two.
const OFFERS: usize = 8;

/// The start of a connection, as far as it has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hello {
    /// It may become one. Fewer bytes than these do not hold it.
    Needs(usize),
    /// It is not one.
    Not,
    /// The message is whole.
    Whole(Offered),
}

/// The TLS sessions that a client offers to resume.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Offered {
    tickets: Vec<Vec<u8>>,
    session_id: Vec<u8>,
}

impl Offered {
    /// Nothing is offered. A TLS 1.3 client that offers nothing may send a session id all the same (RFC 8446 §D.4).
    pub fn has_tickets(&self) -> bool {
        !self.tickets.is_empty()
    }

    /// The names that tickets carry, whoever wrote them.
    pub fn names(&self) -> impl Iterator<Item = SessionName> {
        self.tickets.iter().filter_map(|ticket| ticket.first_chunk::<NAME>().copied())
    }

    pub(super) fn tickets(&self) -> &[Vec<u8>] {
        &self.tickets
    }

    pub(super) fn session_id(&self) -> Option<&[u8]> {
        (!self.session_id.is_empty()).then_some(&*self.session_id)
    }
}

/// Reads the start of a connection.
pub fn read_hello(bytes: &[u8]) -> Hello {
    match message(bytes) {
        Ok(body) => offered(&body).map_or(Hello::Not, Hello::Whole),
        Err(other) => other,
    }
}

/// The body of the first handshake message, put together from its records.
fn message(mut bytes: &[u8]) -> Result<Vec<u8>, Hello> {
    let mut message = Vec::new();
    let mut read = 0;
    loop {
        if let Some(&[kind, high, middle, low]) = message.first_chunk::<MESSAGE_HEADER>() {
            let length = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
            if kind != CLIENT_HELLO || length > LONGEST_MESSAGE {
                return Err(Hello::Not);
            }
            if message.len() >= MESSAGE_HEADER + length {
                message.truncate(MESSAGE_HEADER + length);
                return Ok(message.split_off(MESSAGE_HEADER));
            }
        }
        if bytes.first().is_some_and(|kind| *kind != HANDSHAKE) || bytes.get(1).is_some_and(|major| *major != 3) {
            return Err(Hello::Not);
        }
        let needs = |more: usize| {
            let needed = read + more;
            Err(if needed > MOST { Hello::Not } else { Hello::Needs(needed) })
        };
        let Some((header, rest)) = bytes.split_first_chunk::<RECORD_HEADER>() else { return needs(RECORD_HEADER) };
        let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
        if length == 0 || length > LONGEST_RECORD {
            return Err(Hello::Not);
        }
        // A first record shows what it begins before it is whole.
        if message.is_empty() && rest.first().is_some_and(|kind| *kind != CLIENT_HELLO) {
            return Err(Hello::Not);
        }
        let Some((record, rest)) = rest.split_at_checked(length) else { return needs(RECORD_HEADER + length) };
        message.extend_from_slice(record);
        read += RECORD_HEADER + length;
        bytes = rest;
    }
}

/// RFC 8446 §4.1.2, RFC 5246 §7.4.1.2. `None`: the message is malformed.
fn offered(body: &[u8]) -> Option<Offered> {
    let (_version, rest) = body.split_at_checked(2)?;
    let (_random, rest) = rest.split_at_checked(32)?;
    let (session_id, rest) = short(rest)?;
    let (_cipher_suites, rest) = long(rest)?;
    let (_compression, rest) = short(rest)?;
    let mut offered = Offered { tickets: Vec::new(), session_id: session_id.to_vec() };
    if session_id.len() > 32 {
        return None;
    }
    if rest.is_empty() {
        return Some(offered);
    }
    let (mut extensions, rest) = long(rest)?;
    if !rest.is_empty() {
        return None;
    }
    while !extensions.is_empty() {
        let (kind, rest) = extensions.split_first_chunk()?;
        let (content, rest) = long(rest)?;
        match u16::from_be_bytes(*kind) {
            SESSION_TICKET if !content.is_empty() => offered.tickets.push(content.to_vec()),
            PRE_SHARED_KEY => {
                let (mut identities, _binders) = long(content)?;
                while !identities.is_empty() {
                    let (identity, rest) = long(identities)?;
                    let (_age, rest) = rest.split_at_checked(4)?;
                    offered.tickets.push(identity.to_vec());
                    identities = rest;
                }
            }
            _ => {}
        }
        extensions = rest;
    }
    offered.tickets.truncate(OFFERS);
    Some(offered)
}

/// A vector whose length is one byte, and what follows it.
fn short(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(*length))
}

/// A vector whose length is two bytes, and what follows it.
fn long(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn vector(bytes: &[u8]) -> Vec<u8> {
        [&u16::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
    }

    fn extension(kind: u16, content: &[u8]) -> Vec<u8> {
        [&kind.to_be_bytes()[..], &vector(content)].concat()
    }

    fn body(session_id: &[u8], extensions: &[Vec<u8>]) -> Vec<u8> {
        let mut body = vec![3, 3];
        body.extend([7; 32]);
        body.push(u8::try_from(session_id.len()).unwrap());
        body.extend(session_id);
        body.extend(vector(&[0x13, 1]));
        body.extend([1, 0]);
        body.extend(vector(&extensions.concat()));
        body
    }

    /// The message in records of this many bytes.
    fn records(body: &[u8], size: usize) -> Vec<u8> {
        let length = u32::try_from(body.len()).unwrap().to_be_bytes();
        let message = [&[CLIENT_HELLO], &length[1..], body].concat();
        message.chunks(size).flat_map(|piece| [&[HANDSHAKE, 3, 1][..], &vector(piece)].concat()).collect()
    }

    fn keys(identities: &[&[u8]]) -> Vec<u8> {
        let identities: Vec<u8> =
            identities.iter().flat_map(|identity| [vector(identity), vec![0; 4]].concat()).collect();
        extension(PRE_SHARED_KEY, &[vector(&identities), vector(&[32; 33])].concat())
    }

    fn example() -> (Vec<u8>, Offered) {
        let (ticket, first, second) = (vec![1; 180], vec![2; 200], vec![3; 20]);
        let extensions = [
            extension(0, b"name"),
            extension(SESSION_TICKET, &ticket),
            extension(0xfafa, &[]),
            keys(&[&first, &second]),
        ];
        let offered = Offered { tickets: vec![ticket, first, second], session_id: vec![9; 32] };
        (body(&[9; 32], &extensions), offered)
    }

    #[test]
    fn what_is_offered_is_found_in_one_record_and_in_many() {
        let (body, offered) = example();
        for size in [1, 3, 4, 5, 100, 16_000] {
            let bytes = records(&body, size);
            // What follows does not matter.
            assert_eq!(read_hello(&[&bytes[..], b"\x17more"].concat()), Hello::Whole(offered.clone()));
        }
    }

    #[test]
    fn a_start_needs_more_and_never_less_than_it_says() {
        let (body, offered) = example();
        for size in [1, 7, 100, 16_000] {
            let bytes = records(&body, size);
            for end in 0..bytes.len() {
                let Hello::Needs(needed) = read_hello(&bytes[..end]) else { panic!("{end} of {}", bytes.len()) };
                assert!(end < needed && needed <= bytes.len(), "{end} {needed}");
            }
            assert_eq!(read_hello(&bytes), Hello::Whole(offered.clone()));
        }
    }

    #[test]
    fn names_are_the_first_bytes_of_tickets_that_have_so_many() {
        let (_, offered) = example();
        assert_eq!(offered.names().collect::<Vec<_>>(), [[1; NAME], [2; NAME], [3; NAME]]);
        let short = Offered { tickets: vec![vec![1; NAME - 1]], session_id: Vec::new() };
        assert_eq!((short.names().count(), short.has_tickets()), (0, true));
    }

    #[test]
    fn an_empty_ticket_is_none_and_old_clients_have_no_extensions() {
        let none = |session_id: &[u8]| Hello::Whole(Offered { tickets: vec![], session_id: session_id.to_vec() });
        assert_eq!(read_hello(&records(&body(&[], &[extension(SESSION_TICKET, &[])]), 99)), none(&[]));
        let mut old = body(&[4; 8], &[]);
        old.truncate(old.len() - 2);
        assert_eq!(read_hello(&records(&old, 99)), none(&[4; 8]));
    }

    #[test]
    fn what_is_not_tls_is_seen_by_its_first_bytes() {
        for bytes in
            [&b"GET / HTTP/1.1"[..], b"\x80\x2e\x01\x03\x01", b"\x16\x02", b"\x16\x03\x01\x00\x00", b"\x17\x03"]
        {
            assert_eq!(read_hello(bytes), Hello::Not);
        }
        // A record that is too long, and another message than a ClientHello.
        assert_eq!(read_hello(b"\x16\x03\x01\x40\x01"), Hello::Not);
        assert_eq!(read_hello(b"\x16\x03\x01\x00\x09\x02"), Hello::Not);
    }

    #[test]
    fn what_is_too_long_is_not_waited_for() {
        let padding = |length| body(&[], &[extension(21, &vec![0; length])]);
        let longest = LONGEST_MESSAGE - padding(0).len();
        assert!(matches!(read_hello(&records(&padding(longest), 16_000)), Hello::Whole(_)));
        assert_eq!(read_hello(&records(&padding(longest + 1), 16_000)), Hello::Not);
        // In records of a byte each it would be five times as long.
        let endless = records(&padding(longest), 1);
        assert_eq!(read_hello(&endless[..MOST]), Hello::Not);
    }

    #[test]
    fn rustls_own_hello_is_read() {
        let provider = std::sync::Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
        let config = tokio_rustls::rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(tokio_rustls::rustls::RootCertStore::empty())
            .with_no_client_auth();
        let name = "gateway.test".try_into().unwrap();
        let mut client = tokio_rustls::rustls::ClientConnection::new(std::sync::Arc::new(config), name).unwrap();
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).unwrap();
        let Hello::Whole(offered) = read_hello(&bytes) else { panic!("{:?}", read_hello(&bytes)) };
        assert_eq!((offered.has_tickets(), offered.session_id.len()), (false, 32));
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_strange(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            read_hello(&bytes);
            read_hello(&records(&bytes, 50));
        }

        #[test]
        fn a_hello_that_is_changed_or_cut_is_no_danger(at in any::<prop::sample::Index>(), by in any::<u8>(), cut: bool) {
            let (body, _) = example();
            let mut changed = body.clone();
            let at = at.index(changed.len());
            changed[at] ^= by;
            if cut {
                changed.truncate(at);
            }
            if let Hello::Whole(offered) = read_hello(&records(&changed, 99)) {
                prop_assert!(offered.tickets.len() <= OFFERS);
                prop_assert!(offered.tickets.iter().map(Vec::len).sum::<usize>() <= changed.len());
            }
        }
    }
}
