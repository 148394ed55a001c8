//! The words a dialogue is spoken in: its inputs, its steps, its timers.

use std::net::{IpAddr, SocketAddr};

use crate::backend::DataPreference;
use crate::data::PumpEnd;
use crate::event::{
    BackendFailure, By, Change, ChangeResult, DataMode, DataOutcome, HandshakeResult, Object, Particulars, Reason,
    Resumption, TransferResult, Why,
};
use crate::ftp::{Command, Reply, ReplyLine, Verb};
use crate::policy::{Claim, Cleared, Mechanism, Protection, ProtectionPolicy, Refusal, Rights, TransferKind};

/// What does not change while a dialogue lasts.
#[derive(Debug, Clone)]
pub struct Premises {
    /// TLS policy.
    pub policy: ProtectionPolicy,
    /// The client's address: active data connections go there and nowhere else.
    pub client: IpAddr,
    /// The backend's address.
    pub backend: IpAddr,
    /// How data connections with the backend are arranged.
    pub preference: DataPreference,
    /// How data connections with the backend are protected.
    pub back: Protection,
    /// What the user may do.
    pub rights: Rights,
    /// PORT and EPRT are allowed.
    pub active: bool,
    /// Somebody keeps a record of files, and wants their paths from the root.
    pub recorded: bool,
}

/// Something happened.
#[derive(Debug, Clone)]
pub enum Input {
    /// A command of the client.
    Command(Command),
    /// A line of the client that is no command.
    Flawed(Refusal),
    /// A line of the backend's reply.
    Reply(ReplyLine),
    /// The backend's control connection is gone or useless.
    BackGone(BackendFailure),
    /// The client's control connection is gone.
    ClientGone(Reason),
    /// A passive port was reserved: the reply that names it. Or not.
    Reserved(Result<Reply, Refusal>),
    /// A listener for the backend's data connection is bound. Or not.
    Listening(Option<SocketAddr>),
    /// News of the client's data connection.
    Front(FrontNews),
    /// News of the backend's data connection.
    Back(BackNews),
    /// The relay ended, and how.
    Pumped(PumpEnd),
    /// The timer that [`Dialogue::timer`](super::Dialogue::timer) named ran out.
    Expired(Timer),
    /// The gateway drains: end as soon as nothing runs.
    Drain,
}

/// News of the client's data connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrontNews {
    /// It is connected.
    Arrived {
        /// Its address does not say whose it is: in clear it cannot be taken.
        must_resume: bool,
    },
    /// It is secured.
    Secured(Resumption),
    /// On a port that sessions of the client's address share, nobody came that resumed this session.
    NotResumed(Resumption),
    /// It will come in clear to a port where other sessions of the client's address wait: nobody could tell whose it is.
    Untold,
    /// It did not come in time, and the port that only one session of an address could have is another's now: what the
    /// client hears of its transfer command.
    Lapsed(Refusal),
    /// It could not be connected.
    Failed(DataOutcome),
    /// The handshake failed.
    TlsFailed(HandshakeResult),
    /// The close that was asked for is done; `whole`: the client was there to the end.
    Closed {
        /// The client did not break the connection.
        whole: bool,
    },
}

/// News of the backend's data connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackNews {
    /// It is connected.
    Opened,
    /// It is secured.
    Secured,
    /// It could not be connected or secured.
    Failed(DataOutcome),
    /// The close that was asked for is done; `whole`: the backend was there to the end.
    Closed {
        /// The backend did not break the connection.
        whole: bool,
    },
}

/// How a data connection is to be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Close {
    /// Everything is through: `close_notify` where TLS is up, FIN, a brief drain.
    Whole,
    /// Something broke, and the peer shall see it.
    Cut,
}

/// What shall be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Tell the client.
    Answer(Reply),
    /// Tell the client no, and the observer why.
    Refuse(Verb, Refusal),
    /// The same, of a command that was about this.
    Deny(Box<Object>, Verb, Refusal),
    /// Pass a line of the backend's on to the client.
    Pass(ReplyLine),
    /// Send a command to the backend.
    Forward(Cleared),
    /// Reserve a passive port for a connection that is protected so, as far as is known; the answer comes as
    /// [`Input::Reserved`].
    Reserve(DataMode, Protection),
    /// The connection that is awaited will be protected so, otherwise than was thought. Where that cannot be, the answer
    /// comes as [`FrontNews::Untold`].
    Reprotect(Protection),
    /// The client hears with the next answer where to connect to.
    Invite,
    /// Keep a checked endpoint of the client's for an active data connection.
    Aim(Claim, DataMode),
    /// Bind a listener for the backend's data connection; the answer comes as [`Input::Listening`].
    Listen,
    /// Keep the backend's passive port.
    AimBack(u16),
    /// Forget everything about data connections; a client's connection that is there or still comes is ended with FIN.
    DropData,
    /// Connect the backend's data connection, or wait for the backend's.
    OpenBack(DataMode),
    /// Secure it.
    SecureBack,
    /// Connect to the client (active mode).
    OpenFront,
    /// Begin the handshake on the client's data connection.
    SecureFront,
    /// The transfer is known, and so whether the client will read its data connection: tickets go by it.
    Direct(TransferKind),
    /// Relay.
    Pump(TransferKind),
    /// Stop relaying, wherever it is.
    StopPump,
    /// Close the client's data connection; the answer comes as [`FrontNews::Closed`].
    CloseFront(Close),
    /// Close the backend's data connection; the answer comes as [`BackNews::Closed`].
    CloseBack(Close),
    /// The backend said 1xx: the transfer runs.
    TransferStarted(TransferKind),
    /// The transfer is over.
    TransferEnded {
        /// Its command.
        command: Command,
        /// What else is known of its file.
        particulars: Box<Particulars>,
        /// Which way.
        kind: TransferKind,
        /// How the front leg's data connection is protected.
        protection: Protection,
        /// How it ended.
        result: TransferResult,
        /// The code of the final reply.
        code: u16,
        /// It had begun to run.
        ran: bool,
    },
    /// A command that changes something has been answered, or never will be.
    Changed {
        /// What it changes.
        change: Box<Change>,
        /// The code of the backend's final reply.
        code: Option<u16>,
        /// What came of it.
        result: ChangeResult,
    },
    /// The client named its software.
    Software(Vec<u8>),
    /// The backend said what it offers.
    Features(Vec<Vec<u8>>),
    /// Answer 234 and start TLS on the control connection; the login starts anew.
    SecureControl(Mechanism),
    /// Answer 200 and end TLS on the control connection; the session goes on in clear.
    ClearControl,
    /// Answer 220 and begin as after the greeting (REIN).
    Reinitialise,
    /// A new USER: the login starts anew with it.
    LoginAgain(Command),
    /// The session ends.
    End(By, Why),
}

/// What is being waited for, and so which deadline runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timer {
    /// A command: `timeouts.idle`. Anew with each command.
    Idle,
    /// The backend's reply: `timeouts.backend_reply`. Anew with each line.
    BackendReply,
    /// A reply of the backend that the client does not hear: `timeouts.backend_reply` for all its lines. Nobody could tell
    /// one that goes on for ever from silence.
    UnheardReply,
    /// A data connection that is arranged and not used: `timeouts.data_connect` since it was reserved.
    Reservation,
    /// The client's data connection: `timeouts.data_connect`.
    DataConnect,
    /// The backend's final reply after its data has ended, before the client's data connection is closed.
    FinalReply,
    /// The end of the data after the backend's 4xx or 5xx.
    LastBytes,
    /// The control connection's end, after an upload under TLS ended without `close_notify`.
    Grace,
    /// The same after an upload in clear, where FIN is the only end there is.
    ClearGrace,
    /// More replies of a backend after ABOR or a cut.
    Quiet,
}
