//! Protecting the records of one TLS 1.3 connection (RFC 8446 §5.2–5.3), with keys that rustls agreed on.

use std::io;

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use bytes::BytesMut;
use tokio_rustls::rustls::ConnectionTrafficSecrets;

use super::{RECORD_HEADER, broken};

const TAG: usize = 16;

/// What a record holds (RFC 8446 §5.1). Nothing else may come after the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    Alert,
    Handshake,
    Text,
}

impl Content {
    const APPLICATION_DATA: u8 = 23;

    fn byte(self) -> u8 {
        match self {
            Self::Alert => 21,
            Self::Handshake => 22,
            Self::Text => Self::APPLICATION_DATA,
        }
    }

    fn parse(byte: u8) -> io::Result<Self> {
        match byte {
            21 => Ok(Self::Alert),
            22 => Ok(Self::Handshake),
            Self::APPLICATION_DATA => Ok(Self::Text),
            _ => Err(broken("a TLS record of a kind that may not come now")),
        }
    }
}

/// One direction's key, base nonce and counter.
struct Direction {
    key: LessSafeKey,
    iv: [u8; 12],
    sequence: u64,
}

impl Direction {
    fn new((sequence, secrets): (u64, ConnectionTrafficSecrets)) -> io::Result<Self> {
        let (algorithm, key, iv) = match secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (&AES_128_GCM, key, iv),
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (&AES_256_GCM, key, iv),
            ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (&CHACHA20_POLY1305, key, iv),
            _ => return Err(broken("a cipher that is not known here")),
        };
        let key = UnboundKey::new(algorithm, key.as_ref()).map_err(broken)?;
        let iv = iv.as_ref().try_into().map_err(broken)?;
        Ok(Self { key: LessSafeKey::new(key), iv, sequence })
    }

    /// RFC 8446 §5.3: the counter, padded on the left, over the base nonce. Each is used once.
    fn nonce(&mut self) -> io::Result<Nonce> {
        let next = self.sequence.checked_add(1).ok_or_else(|| broken("too many TLS records under one key"))?;
        let mut nonce = self.iv;
        for (byte, counter) in nonce[4..].iter_mut().zip(self.sequence.to_be_bytes()) {
            *byte ^= counter;
        }
        self.sequence = next;
        Ok(Nonce::assume_unique_for_key(nonce))
    }
}

/// Opens the backend's records.
pub(super) struct Opener(Direction);

impl Opener {
    pub(super) fn new(secrets: (u64, ConnectionTrafficSecrets)) -> io::Result<Self> {
        Direction::new(secrets).map(Self)
    }

    /// Records under this key so far.
    pub(super) fn records(&self) -> u64 {
        self.0.sequence
    }

    /// Opens a whole record in place: its kind and what it holds.
    pub(super) fn open<'a>(&mut self, record: &'a mut [u8]) -> io::Result<(Content, &'a [u8])> {
        let (header, body) = record.split_at_mut(RECORD_HEADER);
        if header[0] != Content::APPLICATION_DATA {
            return Err(broken("a TLS record in clear after the handshake"));
        }
        let nonce = self.0.nonce()?;
        let inner = self
            .0
            .key
            .open_in_place(nonce, Aad::from(&*header), body)
            .map_err(|_| broken("a TLS record that does not open"))?;
        // RFC 8446 §5.4: the kind is the last byte that is not padding.
        let kind = inner.iter().rposition(|&byte| byte != 0).ok_or_else(|| broken("a TLS record without a kind"))?;
        Ok((Content::parse(inner[kind])?, &inner[..kind]))
    }
}

/// Seals records for the backend.
pub(super) struct Sealer(Direction);

impl Sealer {
    pub(super) fn new(secrets: (u64, ConnectionTrafficSecrets)) -> io::Result<Self> {
        Direction::new(secrets).map(Self)
    }

    /// Records under this key so far.
    pub(super) fn records(&self) -> u64 {
        self.0.sequence
    }

    /// Appends one record to `out`. `text` is no longer than a record's.
    pub(super) fn seal(&mut self, content: Content, text: &[u8], out: &mut BytesMut) -> io::Result<()> {
        let length = u16::try_from(text.len() + 1 + TAG).map_err(broken)?;
        let [high, low] = length.to_be_bytes();
        let header = [Content::APPLICATION_DATA, 3, 3, high, low];
        let mut inner = Vec::with_capacity(usize::from(length));
        inner.extend_from_slice(text);
        inner.push(content.byte());
        let nonce = self.0.nonce()?;
        self.0
            .key
            .seal_in_place_append_tag(nonce, Aad::from(header), &mut inner)
            .map_err(|_| broken("a TLS record could not be sealed"))?;
        out.extend_from_slice(&header);
        out.extend_from_slice(&inner);
        Ok(())
    }
}
