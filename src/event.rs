//! What can happen, to whom, and why it ended. Rooms report events to an [`Observer`]; they do not know what becomes
//! of them.
//!
//! Invariants: every reason is a closed enum with a `label()`, so that metrics stay bounded; addresses, user names and
//! paths are fields of events and never labels; no event carries a password.

#[macro_use]
mod labelled;
mod change;
mod labels;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::ftp::{CodeClass, Verb};
use crate::policy::{Ban, Protection, Refusal, TransferKind};

pub use change::{Change, ChangeKind, ChangeResult, Object, Particulars};
pub use labels::{
    BackendFailure, By, Channel, DataMode, DataOutcome, Direction, HandshakeKind, HandshakeResult, Leg, LoginResult,
    Reason, Resumption, Stage, Stray, TlsVersion, TransferResult,
};

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
                BackendFailure::Unasked => "backend_unasked",
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
    /// How it came.
    pub via: Via,
}

/// How a client came to the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// By itself.
    Direct,
    /// Through this balancer, which has named it.
    Balancer(SocketAddr),
    /// It is a balancer that looks whether the gateway is there.
    Check,
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
    /// The cipher suite agreed on, by its name in the standard.
    pub cipher: Option<&'static str>,
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
    /// What else is known of the file.
    pub particulars: &'a Particulars,
    /// Download, listing or upload.
    pub kind: TransferKind,
    /// Bytes relayed, without TLS and TCP.
    pub bytes: u64,
    /// From the command to its final reply.
    pub took: Duration,
    /// The front leg's data connection.
    pub front: Protection,
    /// The handshake of the front leg's data connection; `None`: in clear, or it never came to one.
    pub front_tls: Option<Handshake>,
    /// The back leg's data connection.
    pub back: Protection,
    /// The bytes came under TLS and ended without `close_notify`.
    pub close_notify_missing: bool,
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
    /// A client showed a certificate on its control connection, and it was accepted.
    ClientCertificate {
        /// Who.
        who: &'a Who,
        /// Its subject. The client's text.
        subject: &'a str,
        /// The subject of its authority.
        issuer: &'a str,
        /// Its serial number, in hexadecimal.
        serial: &'a str,
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
        /// A one-time code has counted, beside the password.
        second_factor: bool,
    },
    /// Too many wrong passwords: a ban began.
    Banned {
        /// Whose login it was.
        who: &'a Who,
        /// What is banned.
        ban: &'a Ban,
        /// For how long.
        lasts: Duration,
    },
    /// The operator has ended a ban.
    BanLifted {
        /// Which.
        ban: &'a Ban,
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
        /// The user, when one has logged in.
        user: Option<&'a [u8]>,
        /// What it was about, where that is worth keeping.
        object: Option<&'a Object>,
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
    /// A command that changes something at the backend is over.
    Changed {
        /// Who.
        who: &'a Who,
        /// The user.
        user: &'a [u8],
        /// The backend's name.
        backend: &'a str,
        /// What.
        change: &'a Change,
        /// The code of the backend's final reply, if there was one.
        code: Option<u16>,
        /// What came of it.
        result: ChangeResult,
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
    /// The gateway asked a backend what it offers, without a client.
    BackendProbed {
        /// Its name.
        backend: &'a str,
        /// What stood against using it, and for a human the error's text, escaped; `None`: nothing.
        failed: Option<(BackendFailure, &'a str)>,
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
        /// It was being dialled, or prepared for the user: nobody gets through to it.
        dialled: bool,
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

    /// Whether what begins now can be recorded. Where it cannot, no login, transfer or change begins.
    fn can_record(&self) -> bool {
        true
    }
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
