//! How loud a line is.
//!
//! Invariant: nobody without an account can fill the log faster than by opening connections. What can be provoked many
//! times in one session before login is `debug`.

use crate::policy::Refusal;

/// A level that is known only when the event is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::telemetry) enum Severity {
    /// Details.
    Debug,
    /// What happens, also when it is the client's fault.
    Info,
    /// What backends do wrong.
    Warn,
    /// What the gateway does wrong.
    Error,
}

impl Severity {
    /// How loud the refusal of a command is. What a client can get before it has logged in is quiet.
    pub(in crate::telemetry) fn of(refusal: Refusal) -> Self {
        match refusal {
            // Nobody but the operator can mend it.
            Refusal::AdvertiseUnavailable => Self::Error,
            // The range is too small for this address, or the client holds too many: the operator must judge.
            Refusal::PassivePortsExhausted | Refusal::PortNeedsResumption | Refusal::PortNeedsProtection => Self::Warn,
            // An attempt to bounce, a limit that was reached, a client that must be set up differently.
            Refusal::ForeignAddress
            | Refusal::PrivilegedPort
            | Refusal::LineTooLongForServer
            | Refusal::CommandPipelineFull
            | Refusal::ProxyHeaderMissing
            | Refusal::ProxyHeaderWrong
            | Refusal::ProxyHeaderForeign
            | Refusal::DataProtectionRequired
            | Refusal::AddressDenied
            | Refusal::AddressNotAllowed
            | Refusal::CommandDenied
            | Refusal::VerbDenied
            | Refusal::PathDenied
            | Refusal::NameDenied
            | Refusal::PathUnknown
            | Refusal::AddressBanned
            | Refusal::LoginBanned
            | Refusal::TooManySessions
            | Refusal::TooManySessionsFromAddress
            | Refusal::TooManySessionsOfUser
            | Refusal::TooManyLoginAttempts => Self::Info,
            // The writer of the audit file has said so.
            Refusal::AuditUnavailable
            | Refusal::Draining
            | Refusal::HttpVerb
            | Refusal::ForeignProtocol
            | Refusal::LineTooLong
            | Refusal::LineWithNul
            | Refusal::UserWithControls
            | Refusal::TelnetInPassword
            | Refusal::LineWithBareCr
            | Refusal::NotACommand
            | Refusal::NotImplemented
            | Refusal::Syntax
            | Refusal::TlsRequired
            | Refusal::NotLoggedIn
            | Refusal::UserFirst
            | Refusal::AccountNotAsked
            | Refusal::LoginIncorrect
            | Refusal::AlreadySecured
            | Refusal::UnknownMechanism
            | Refusal::PbszFirst
            | Refusal::SecureFirst
            | Refusal::UnknownProtection
            | Refusal::UnsupportedProtection
            | Refusal::ClearDataRefused
            | Refusal::ClearControlRefused
            | Refusal::HostAfterLogin
            | Refusal::HostSyntax
            | Refusal::HostUnknown
            | Refusal::HostDiffersFromSni
            | Refusal::ModeUnsupported
            | Refusal::EpsvAllInEffect
            | Refusal::PasvOnIpv6
            | Refusal::UnknownNetworkProtocol
            | Refusal::OnlyIpv4
            | Refusal::OnlyIpv6
            | Refusal::ActiveDisabled
            | Refusal::NoDataConnection => Self::Debug,
        }
    }
}
