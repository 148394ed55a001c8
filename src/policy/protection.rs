//! TLS policy of the control and data connections: AUTH, PBSZ, PROT, CCC (RFC 2228, RFC 4217).

use super::refusal::Refusal;

/// Whether TLS must be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Requirement {
    /// Nothing goes without.
    Required,
    /// The client decides.
    Optional,
}

/// What an upload that ends without `close_notify` is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TruncatedUploads {
    /// Counted, and taken for whole when the control connection is still there.
    Tolerate,
    /// A cut: the backend's data connection is reset and the client hears 426.
    Reject,
}

/// What CCC gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClearCommandChannel {
    /// 534.
    Refuse,
    /// 200 and back to plain commands (RFC 4217 §12.3).
    Allow,
}

/// Whether a data connection must resume the TLS session of its own control connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataResumption {
    /// Not offered.
    Off,
    /// Offered.
    Prefer,
    /// Offered, and every data connection that does not resume is logged and counted.
    Audit,
    /// Offered, and a data connection that does not resume is refused with 522.
    Require,
}

/// The policy of a gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProtectionPolicy {
    /// TLS before USER.
    pub control: Requirement,
    /// PROT P before a transfer.
    pub data: Requirement,
    /// CCC.
    pub clear_command_channel: ClearCommandChannel,
    /// Uploads that end without `close_notify`.
    pub truncated_uploads: TruncatedUploads,
    /// Resumption on data connections.
    pub data_resumption: DataResumption,
}

/// A data connection's protection (RFC 4217 §9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protection {
    /// PROT C.
    Clear,
    /// PROT P.
    Private,
}

impl Protection {
    /// The name in logs.
    pub fn label(self) -> &'static str {
        match self {
            Self::Clear => "clear",
            Self::Private => "private",
        }
    }
}

/// What AUTH asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mechanism {
    /// `TLS`, `TLS-C`, `SSL`: data connections stay clear until PROT P.
    Tls,
    /// `TLS-P`: data connections are private at once.
    TlsPrivate,
}

impl Mechanism {
    /// Reads the argument of AUTH; case does not matter (RFC 4217 §4, draft-murray-auth-ftp-ssl).
    ///
    /// # Errors
    /// [`Refusal::UnknownMechanism`] for any other.
    pub fn parse(argument: &[u8]) -> Result<Self, Refusal> {
        let argument = argument.trim_ascii();
        let is = |name: &[u8]| argument.eq_ignore_ascii_case(name);
        if is(b"TLS") || is(b"TLS-C") || is(b"SSL") {
            Ok(Self::Tls)
        } else if is(b"TLS-P") {
            Ok(Self::TlsPrivate)
        } else if argument.is_empty() {
            Err(Refusal::Syntax)
        } else {
            Err(Refusal::UnknownMechanism)
        }
    }
}

/// Where a session stands with PBSZ and PROT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProtectionState {
    secured: bool,
    pbsz: bool,
    protection: Protection,
}

impl ProtectionState {
    /// A control connection without TLS.
    pub fn plain() -> Self {
        Self { secured: false, pbsz: false, protection: Protection::Clear }
    }

    /// After AUTH.
    pub fn secured(mechanism: Mechanism) -> Self {
        let protection = match mechanism {
            Mechanism::Tls => Protection::Clear,
            Mechanism::TlsPrivate => Protection::Private,
        };
        Self { secured: true, pbsz: false, protection }
    }

    /// An implicit listener: data connections are private from the start, PBSZ or not (MS-FTPS §3.1.5.1; no RFC).
    pub fn implicit() -> Self {
        Self { secured: true, pbsz: true, protection: Protection::Private }
    }

    /// The control connection is, or was until CCC, under TLS.
    pub fn is_secured(self) -> bool {
        self.secured
    }

    /// How the next data connection is protected.
    pub fn protection(self) -> Protection {
        self.protection
    }

    /// PBSZ. Under TLS the size is always 0 (RFC 4217 §8).
    ///
    /// # Errors
    /// Before TLS, and when the argument is not a number.
    pub fn pbsz(&mut self, argument: &[u8]) -> Result<(), Refusal> {
        if !self.secured {
            return Err(Refusal::SecureFirst);
        }
        let argument = argument.trim_ascii();
        let is_number = (1..=10).contains(&argument.len()) && argument.iter().all(u8::is_ascii_digit);
        if !is_number {
            return Err(Refusal::Syntax);
        }
        self.pbsz = true;
        Ok(())
    }

    /// PROT (RFC 4217 §9). `C` is taken before PBSZ too: Python's ftplib sends none before it, and in clear there is no
    /// buffer to be protected.
    ///
    /// # Errors
    /// Before PBSZ, for levels that TLS does not have, and for `C` where data must be protected.
    pub fn prot(&mut self, argument: &[u8], policy: &ProtectionPolicy) -> Result<Protection, Refusal> {
        if !self.secured {
            return Err(Refusal::SecureFirst);
        }
        let argument = argument.trim_ascii();
        if !self.pbsz && !argument.eq_ignore_ascii_case(b"C") {
            return Err(Refusal::PbszFirst);
        }
        self.protection = match argument {
            b"P" | b"p" => Protection::Private,
            b"C" | b"c" if policy.data == Requirement::Required => return Err(Refusal::ClearDataRefused),
            b"C" | b"c" => Protection::Clear,
            b"E" | b"e" | b"S" | b"s" => return Err(Refusal::UnsupportedProtection),
            b"" => return Err(Refusal::Syntax),
            _ => return Err(Refusal::UnknownProtection),
        };
        Ok(self.protection)
    }

    /// A transfer is about to start (RFC 4217 §9, code 521).
    ///
    /// # Errors
    /// When its data would go in clear and must not.
    pub fn check_transfer(self, policy: &ProtectionPolicy) -> Result<Protection, Refusal> {
        match (self.protection, policy.data) {
            (Protection::Clear, Requirement::Required) => Err(Refusal::DataProtectionRequired),
            (protection, _) => Ok(protection),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRICT: ProtectionPolicy = ProtectionPolicy {
        control: Requirement::Required,
        data: Requirement::Required,
        clear_command_channel: ClearCommandChannel::Refuse,
        truncated_uploads: TruncatedUploads::Tolerate,
        data_resumption: DataResumption::Prefer,
    };
    const LOOSE: ProtectionPolicy = ProtectionPolicy { data: Requirement::Optional, ..STRICT };

    #[test]
    fn mechanisms_in_any_case() {
        for name in ["TLS", "tls", "TLS-C", "SSL", "ssl"] {
            assert_eq!(Mechanism::parse(name.as_bytes()), Ok(Mechanism::Tls));
        }
        assert_eq!(Mechanism::parse(b"tls-p"), Ok(Mechanism::TlsPrivate));
        assert_eq!(Mechanism::parse(b"GSSAPI"), Err(Refusal::UnknownMechanism));
    }

    #[test]
    fn pbsz_comes_under_tls_and_prot_behind_pbsz() {
        assert_eq!(ProtectionState::plain().pbsz(b"0"), Err(Refusal::SecureFirst));
        let mut state = ProtectionState::secured(Mechanism::Tls);
        assert_eq!(state.prot(b"P", &STRICT), Err(Refusal::PbszFirst));
        assert_eq!(state.prot(b"C", &STRICT), Err(Refusal::ClearDataRefused));
        assert_eq!(state.pbsz(b"x"), Err(Refusal::Syntax));
        assert_eq!(state.pbsz(b"16384"), Ok(()));
        assert_eq!(state.prot(b"E", &STRICT), Err(Refusal::UnsupportedProtection));
        assert_eq!(state.prot(b"X", &STRICT), Err(Refusal::UnknownProtection));
        assert_eq!(state.prot(b"C", &STRICT), Err(Refusal::ClearDataRefused));
        assert_eq!(state.prot(b"C", &LOOSE), Ok(Protection::Clear));
        assert_eq!(state.prot(b"p", &STRICT), Ok(Protection::Private));
    }

    #[test]
    fn a_transfer_in_clear_only_where_policy_lets_it() {
        let state = ProtectionState::secured(Mechanism::Tls);
        assert_eq!(state.check_transfer(&STRICT), Err(Refusal::DataProtectionRequired));
        assert_eq!(state.check_transfer(&LOOSE), Ok(Protection::Clear));
        assert_eq!(ProtectionState::implicit().check_transfer(&STRICT), Ok(Protection::Private));
        assert_eq!(ProtectionState::secured(Mechanism::TlsPrivate).check_transfer(&STRICT), Ok(Protection::Private));
    }
}
