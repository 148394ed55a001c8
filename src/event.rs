//! What can happen, to whom, and why it ended. Rooms report events to an [`Observer`]; they do not know what becomes
//! of them.
//!
//! Invariants: every reason is a closed enum with a `label()`, so that metrics stay bounded; addresses, user names and
//! paths are fields of events and never labels; no event carries a password.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::ftp::{CodeClass, Verb};
use crate::policy::{Protection, Refusal, TransferKind};

macro_rules! labelled {
    ($(#[$meta:meta])* $name:ident { $($variant:ident $label:literal $meaning:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $(#[doc = $meaning] $variant,)+ }

        impl $name {
            /// Every value.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The name in logs and metrics.
            pub fn label(self) -> &'static str {
                match self { $(Self::$variant => $label,)+ }
            }

            /// What it means, in words.
            pub fn text(self) -> &'static str {
                match self { $(Self::$variant => $meaning,)+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.label())
            }
        }
    };
}

labelled! {
    /// Which of the two conversations.
    Leg {
        Front "front" "between client and gateway",
        Back "back" "between gateway and backend",
    }
}

labelled! {
    /// Which connection of a conversation.
    Channel {
        Control "control" "the control connection",
        Data "data" "a data connection",
    }
}

labelled! {
    /// Whose doing an ending was. The log's level follows from it.
    By {
        Client "client" "the client's doing",
        Backend "backend" "the backend's doing",
        Gateway "gateway" "the gateway's doing",
    }
}

labelled! {
    /// How far a session had come.
    Stage {
        Greeting "greeting" "before AUTH TLS or USER",
        Handshake "handshake" "during the TLS handshake",
        Login "login" "from USER to 230",
        Commands "commands" "logged in, between transfers",
        Transfer "transfer" "during a transfer",
    }
}

labelled! {
    /// Where bytes went, seen from the client.
    Direction {
        Download "download" "from backend to client",
        Upload "upload" "from client to backend",
    }
}

labelled! {
    /// How a data connection was arranged on one leg.
    DataMode {
        Pasv "pasv" "PASV",
        Epsv "epsv" "EPSV",
        Port "port" "PORT",
        Eprt "eprt" "EPRT",
    }
}

labelled! {
    /// What became of a data connection.
    DataOutcome {
        Opened "opened" "connected and, where asked for, secured",
        Timeout "timeout" "not there in time (timeouts.data_connect)",
        ConnectFailed "connect_failed" "the connection could not be made",
        TlsFailed "tls_failed" "the TLS handshake failed",
        NotResumed "not_resumed" "the TLS session was not the control connection's (tls.data_resumption: require)",
        Unused "unused" "arranged and never used",
    }
}

labelled! {
    /// Why a connection to a passive port was dropped.
    Stray {
        NoReservation "no_reservation" "nobody at that address waits for a connection on that port",
    }
}

labelled! {
    /// How a TLS handshake ended.
    HandshakeKind {
        Full "full" "a full handshake",
        Resumed "resumed" "an earlier session was resumed",
        None "none" "the handshake failed",
    }
}

labelled! {
    /// The TLS version agreed on.
    TlsVersion {
        Tls12 "1.2" "TLS 1.2",
        Tls13 "1.3" "TLS 1.3",
        Unknown "none" "none was agreed on",
    }
}

labelled! {
    /// The result of a TLS handshake.
    HandshakeResult {
        Ok "ok" "secured",
        Timeout "timeout" "not finished in time (timeouts.tls_handshake)",
        Closed "closed" "the peer went away",
        NotTls "not_tls" "the peer does not speak TLS",
        NoCommonParameters "no_common_parameters" "no TLS version or cipher in common",
        CertificateRejected "certificate_rejected" "the certificate was not accepted",
        Alert "alert" "the peer refused with a TLS alert",
        Protocol "protocol" "the peer broke the TLS protocol",
        ForeignProtocol "foreign_protocol" "ALPN offered, but not ftp",
    }
}

labelled! {
    /// Whether, and if not why, a data connection resumed the control connection's TLS session.
    Resumption {
        Resumed "resumed" "the control connection's session was resumed",
        NoneOffered "none_offered" "the client offered no session",
        OtherSession "other_session" "the client offered a session that is not this control connection's",
        Expired "expired" "the client offered a session that is too old",
        NameDiffers "name_differs" "the client named another host (SNI) than on the control connection",
        CipherDiffers "cipher_differs" "the client and the gateway agreed on another cipher than on the control connection",
    }
}

labelled! {
    /// Why a login ended as it did.
    LoginResult {
        Accepted "accepted" "logged in",
        Rejected "rejected" "the backend said no",
        NoRoute "no_route" "no route matches the user",
        UserLimit "user_limit" "too many sessions of this user (limits.sessions_per_user)",
        BackendFailed "backend_failed" "the backend could not be asked",
    }
}

labelled! {
    /// Why a backend could not be used.
    BackendFailure {
        Resolve "resolve" "its name could not be resolved",
        Refused "refused" "it refused the connection",
        Unreachable "unreachable" "it could not be reached",
        Timeout "timeout" "it did not answer in time",
        Closed "closed" "it closed the connection",
        Reset "reset" "it reset the connection",
        Nonsense "nonsense" "it sent what is no reply",
        NotReady "not_ready" "it greeted with 4xx or 5xx",
        TlsRefused "tls_refused" "it does not offer TLS",
        TlsFailed "tls_failed" "the TLS handshake with it failed",
        ProtectionRefused "protection_refused" "it refused PBSZ or PROT P",
        SaidGoodbye "said_goodbye" "it ended the session with 421",
    }
}

labelled! {
    /// How a transfer ended.
    TransferResult {
        Completed "completed" "all bytes are through and the backend confirmed it",
        BackendRefused "backend_refused" "the backend ended it with 4xx or 5xx",
        BackendCut "backend_cut" "the backend's data connection broke",
        BackendStalled "backend_stalled" "no byte to or from the backend for too long (timeouts.data_stall)",
        BackendSilent "backend_silent" "the backend sent no final reply in time (timeouts.backend_reply)",
        BackendGone "backend_gone" "the backend's control connection ended",
        BackendDataFailed "backend_data_failed" "the data connection to the backend could not be made",
        ClientCut "client_cut" "the client's data connection broke",
        ClientTruncated "client_truncated" "the client's upload ended without close_notify",
        ClientStalled "client_stalled" "no byte to or from the client for too long (timeouts.data_stall)",
        ClientGone "client_gone" "the client's control connection ended",
        ClientDataFailed "client_data_failed" "the data connection with the client could not be made",
        ClientTlsFailed "client_tls_failed" "the TLS handshake on the client's data connection failed",
        ClientNotResumed "client_not_resumed" "the client's data connection did not resume the control connection's TLS session",
        Aborted "aborted" "the client aborted the transfer",
        Stopped "stopped" "the gateway stopped",
    }
}

impl TransferResult {
    /// Whose doing it was.
    pub fn by(self) -> By {
        match self {
            Self::Completed
            | Self::ClientCut
            | Self::ClientTruncated
            | Self::ClientStalled
            | Self::ClientGone
            | Self::ClientDataFailed
            | Self::ClientTlsFailed
            | Self::ClientNotResumed
            | Self::Aborted => By::Client,
            Self::BackendRefused
            | Self::BackendCut
            | Self::BackendStalled
            | Self::BackendSilent
            | Self::BackendGone
            | Self::BackendDataFailed => By::Backend,
            Self::Stopped => By::Gateway,
        }
    }
}

labelled! {
    /// Why a session ended, apart from refusals and backend failures, which have their own sets.
    Reason {
        Quit "quit" "the client said QUIT",
        ClientClosed "client_closed" "the client closed the control connection",
        ClientReset "client_reset" "the client's control connection broke",
        ClientStalled "client_stalled" "the client does not read its replies",
        TlsFailed "tls_failed" "the TLS handshake failed",
        Idle "idle" "no command for too long (timeouts.idle)",
        LoginTimeout "login_timeout" "not logged in in time (timeouts.login)",
        Drained "drained" "the gateway drains and the session had nothing running",
        Stopped "stopped" "the gateway stopped",
        ReplyFlood "reply_flood" "the client does not read its replies and too many wait",
    }
}

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Why {
    /// Neither policy nor a backend's failure.
    Reason(Reason),
    /// Policy.
    Refused(Refusal),
    /// The backend.
    Backend(BackendFailure),
}

impl Why {
    /// The name in logs and metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Reason(reason) => reason.label(),
            Self::Refused(refusal) => refusal.label(),
            Self::Backend(failure) => match failure {
                BackendFailure::Resolve => "backend_resolve",
                BackendFailure::Refused => "backend_refused",
                BackendFailure::Unreachable => "backend_unreachable",
                BackendFailure::Timeout => "backend_timeout",
                BackendFailure::Closed => "backend_closed",
                BackendFailure::Reset => "backend_reset",
                BackendFailure::Nonsense => "backend_nonsense",
                BackendFailure::NotReady => "backend_not_ready",
                BackendFailure::TlsRefused => "backend_tls_refused",
                BackendFailure::TlsFailed => "backend_tls_failed",
                BackendFailure::ProtectionRefused => "backend_protection_refused",
                BackendFailure::SaidGoodbye => "backend_said_goodbye",
            },
        }
    }

    /// What it means, in words.
    pub fn text(self) -> &'static str {
        match self {
            Self::Reason(reason) => reason.text(),
            Self::Refused(refusal) => refusal.text(),
            Self::Backend(failure) => failure.text(),
        }
    }

    /// Every value, for the documentation and for metrics that start at zero.
    pub fn all() -> impl Iterator<Item = Self> {
        let reasons = Reason::ALL.iter().copied().map(Self::Reason);
        let refusals = Refusal::ALL.iter().copied().map(Self::Refused);
        reasons.chain(refusals).chain(BackendFailure::ALL.iter().copied().map(Self::Backend))
    }
}

/// How a session ended: by whom, during which stage, why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// Whose doing.
    pub by: By,
    /// How far it had come.
    pub during: Stage,
    /// Why.
    pub why: Why,
}

/// A session's number, unique for the life of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub u64);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// Who a session is: what every event about it carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Who {
    /// Its number.
    pub session: SessionId,
    /// The listener's name: from the configuration, so it may be a label.
    pub listener: Arc<str>,
    /// The client.
    pub client: SocketAddr,
}

/// What a TLS handshake came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handshake {
    /// Front or back.
    pub leg: Leg,
    /// Control or data.
    pub channel: Channel,
    /// The version.
    pub version: TlsVersion,
    /// Full or resumed.
    pub kind: HandshakeKind,
    /// How it ended.
    pub result: HandshakeResult,
}

/// A transfer, when it is over.
#[derive(Debug, Clone)]
pub struct Transfer<'a> {
    /// The user as given with USER.
    pub user: &'a [u8],
    /// The backend's name.
    pub backend: &'a str,
    /// The verb: RETR, STOR, LIST, …
    pub verb: Verb,
    /// Its argument as the client sent it.
    pub path: &'a [u8],
    /// Download, listing or upload.
    pub kind: TransferKind,
    /// Bytes relayed, without TLS and TCP.
    pub bytes: u64,
    /// From the command to its final reply.
    pub took: Duration,
    /// The front leg's data connection.
    pub front: Protection,
    /// The back leg's data connection.
    pub back: Protection,
    /// How it ended.
    pub result: TransferResult,
    /// The code of the final reply that the client got.
    pub code: u16,
}

impl Transfer<'_> {
    /// Seen from the client.
    pub fn direction(&self) -> Direction {
        match self.kind {
            TransferKind::Upload => Direction::Upload,
            TransferKind::Download | TransferKind::Listing => Direction::Download,
        }
    }
}

/// Something happened.
#[derive(Debug, Clone)]
pub enum Event<'a> {
    /// A connection was turned away before it became a session.
    Turned {
        /// The listener's name.
        listener: &'a str,
        /// Who came.
        client: SocketAddr,
        /// Why not.
        refusal: Refusal,
    },
    /// A session began.
    Started {
        /// Who.
        who: &'a Who,
    },
    /// A TLS handshake of a session ended.
    Handshake {
        /// Who.
        who: &'a Who,
        /// What it came to.
        handshake: Handshake,
        /// For a human: the error's text, escaped; empty when it went well.
        detail: &'a str,
    },
    /// A data connection under TLS, seen for resumption.
    Resumption {
        /// Who.
        who: &'a Who,
        /// The user.
        user: &'a [u8],
        /// The client's software as it named itself with CLNT.
        software: Option<&'a [u8]>,
        /// Resumed, or why not.
        resumption: Resumption,
        /// `tls.data_resumption` is `audit` or `require`, so it is worth a line.
        audited: bool,
    },
    /// A login was decided.
    Login {
        /// Who.
        who: &'a Who,
        /// The user.
        user: &'a [u8],
        /// The backend's name, when there was a route.
        backend: Option<&'a str>,
        /// How it went.
        result: LoginResult,
    },
    /// A command came from the client.
    Command {
        /// Who.
        who: &'a Who,
        /// Its verb.
        verb: Verb,
    },
    /// A final or preliminary reply went to the client.
    Reply {
        /// Who.
        who: &'a Who,
        /// Its class.
        class: CodeClass,
    },
    /// The gateway refused a command.
    Refused {
        /// Who.
        who: &'a Who,
        /// The verb, or `Other` where there was none.
        verb: Verb,
        /// Why.
        refusal: Refusal,
    },
    /// Bytes went through; comes often during a transfer.
    Moved {
        /// Which way.
        direction: Direction,
        /// How many since the last such event.
        bytes: u64,
    },
    /// A data connection was opened or not.
    Data {
        /// Who.
        who: &'a Who,
        /// Front or back.
        leg: Leg,
        /// How it was arranged.
        mode: DataMode,
        /// What became of it.
        outcome: DataOutcome,
        /// For a human: the error's text; empty when it went well.
        detail: &'a str,
    },
    /// A transfer began to run: the backend said 1xx.
    TransferStarted {
        /// Which way.
        direction: Direction,
    },
    /// A transfer ended. Comes once for each `TransferStarted`, and for transfers that never got so far.
    Transferred {
        /// Who.
        who: &'a Who,
        /// What.
        transfer: &'a Transfer<'a>,
        /// It had begun to run.
        ran: bool,
    },
    /// A peer closed without close_notify.
    MissingCloseNotify {
        /// Who.
        who: &'a Who,
        /// Front or back.
        leg: Leg,
        /// Control or data.
        channel: Channel,
    },
    /// A backend was connected to, secured and greeted.
    BackendConnected {
        /// Who.
        who: &'a Who,
        /// Its name.
        backend: &'a str,
        /// From the first packet to the greeting.
        took: Duration,
    },
    /// A backend could not be used, or stopped being usable.
    BackendFailed {
        /// Who.
        who: &'a Who,
        /// Its name.
        backend: &'a str,
        /// Why.
        failure: BackendFailure,
        /// For a human: the error's text, escaped.
        detail: &'a str,
    },
    /// A connection to a passive port was dropped.
    Stray {
        /// Who came.
        peer: SocketAddr,
        /// To which port.
        port: u16,
        /// Why it was dropped.
        stray: Stray,
    },
    /// A session ended.
    Ended {
        /// Who.
        who: &'a Who,
        /// The user, when one had logged in.
        user: Option<&'a [u8]>,
        /// By whom, during what, why.
        ended: Ended,
        /// How long it lasted.
        lasted: Duration,
    },
    /// The configuration was read anew.
    Reloaded {
        /// The new one is in force; otherwise the old one stays.
        accepted: bool,
    },
}

/// Takes events in. Called from the tasks of sessions: it must be quick and must not block.
pub trait Observer: Send + Sync + 'static {
    /// Something happened.
    fn observe(&self, event: &Event<'_>);
}

/// An observer for tests and benches that looks away.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unobserved;

impl Observer for Unobserved {
    fn observe(&self, _event: &Event<'_>) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn the_labels_of_endings_do_not_collide() {
        let labels: HashSet<_> = Why::all().map(Why::label).collect();
        assert_eq!(labels.len(), Why::all().count());
    }
}
