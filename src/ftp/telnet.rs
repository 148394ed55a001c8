//! Telnet sequences before and in a command's verb (RFC 854, RFC 1123 §4.1.2.12), removed as the bytes arrive. Arguments
//! do not come here: their bytes are the client's and the backend's (see [`super::line`]).
//!
//! Invariant: option negotiation is swallowed and never answered, so that no loop of answers can start.

const IAC: u8 = 255;
const SB: u8 = 250;
const SE: u8 = 240;
/// The first of the two-byte Telnet commands; anything below it after `IAC` is no Telnet sequence.
const FIRST_COMMAND: u8 = SE;
const WILL: u8 = 251;
const DONT: u8 = 254;

/// What the filter makes of one more byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Filtered {
    /// Part of a Telnet sequence: nothing to keep.
    Nothing,
    /// A byte of the line.
    Byte(u8),
    /// A lone 0xFF followed by this byte: both belong to the line.
    LoneIac(u8),
}

/// The state between two bytes. `Default` is the state at the start of a connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum TelnetFilter {
    #[default]
    Text,
    AfterIac,
    Option,
    Subnegotiation,
    SubnegotiationIac,
}

impl TelnetFilter {
    /// Takes one byte and says what is left of it.
    pub(super) fn push(&mut self, byte: u8) -> Filtered {
        match (*self, byte) {
            (Self::Text, IAC) => {
                *self = Self::AfterIac;
                Filtered::Nothing
            }
            (Self::Text, _) => Filtered::Byte(byte),
            (Self::AfterIac, IAC) => {
                *self = Self::Text;
                Filtered::Byte(IAC)
            }
            (Self::AfterIac, WILL..=DONT) => {
                *self = Self::Option;
                Filtered::Nothing
            }
            (Self::AfterIac, SB) => {
                *self = Self::Subnegotiation;
                Filtered::Nothing
            }
            (Self::AfterIac, FIRST_COMMAND..) => {
                *self = Self::Text;
                Filtered::Nothing
            }
            (Self::AfterIac, _) => {
                *self = Self::Text;
                Filtered::LoneIac(byte)
            }
            (Self::Option, _) => {
                *self = Self::Text;
                Filtered::Nothing
            }
            (Self::Subnegotiation, IAC) => {
                *self = Self::SubnegotiationIac;
                Filtered::Nothing
            }
            // A subnegotiation without end must not swallow the rest of the session.
            (Self::Subnegotiation, b'\n') => {
                *self = Self::Text;
                Filtered::Byte(byte)
            }
            (Self::Subnegotiation, _) => Filtered::Nothing,
            (Self::SubnegotiationIac, SE) => {
                *self = Self::Text;
                Filtered::Nothing
            }
            (Self::SubnegotiationIac, _) => {
                *self = Self::Subnegotiation;
                Filtered::Nothing
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(bytes: &[u8]) -> Vec<u8> {
        let mut state = TelnetFilter::default();
        let mut kept = Vec::new();
        for &byte in bytes {
            match state.push(byte) {
                Filtered::Nothing => {}
                Filtered::Byte(byte) => kept.push(byte),
                Filtered::LoneIac(byte) => kept.extend([IAC, byte]),
            }
        }
        kept
    }

    #[test]
    fn interrupt_process_and_data_mark_before_abor_vanish() {
        assert_eq!(filter(b"\xff\xf4\xff\xf2ABOR\r\n"), b"ABOR\r\n");
    }

    #[test]
    fn a_doubled_iac_is_one_byte() {
        assert_eq!(filter(b"\xff\xffNOOP\r\n"), b"\xffNOOP\r\n");
    }

    #[test]
    fn a_lone_0xff_before_text_is_text() {
        assert_eq!(filter(b"\xffNOOP\r\n"), b"\xffNOOP\r\n");
    }

    #[test]
    fn an_option_whose_number_is_a_line_feed_ends_no_line() {
        assert_eq!(filter(b"NO\xff\xfd\nOP\r\n"), b"NOOP\r\n");
    }

    #[test]
    fn a_subnegotiation_is_swallowed_whole() {
        assert_eq!(filter(b"\xff\xfa\x18\x00VT\xff\xff\xff\xf0NOOP"), b"NOOP");
    }
}
