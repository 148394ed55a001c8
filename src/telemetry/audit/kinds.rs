//! What stands in the audit file: every kind of line and every field, in closed sets. `docs/audit.md` is held to them.

/// How a value stands in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldType {
    /// A word of a closed set, a name of the configuration, an address or a time.
    Word,
    /// Bytes of a peer. Where they are no UTF-8, `<field>_hex` stands beside it.
    Text,
    /// A number.
    Number,
    /// `true` or `false`.
    Switch,
}

impl FieldType {
    /// The name in the documentation.
    pub fn label(self) -> &'static str {
        match self {
            Self::Word => "word",
            Self::Text => "text",
            Self::Number => "number",
            Self::Switch => "true or false",
        }
    }
}

macro_rules! fields {
    ($($variant:ident $label:literal $type:ident),+ $(,)?) => {
        /// A field of a line.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum AuditField { $(#[doc = $label] $variant,)+ }

        impl AuditField {
            /// Every field.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Its name in the line.
            pub fn label(self) -> &'static str {
                match self { $(Self::$variant => $label,)+ }
            }

            /// How its value stands there.
            pub fn of_type(self) -> FieldType {
                match self { $(Self::$variant => FieldType::$type,)+ }
            }
        }
    };
}

macro_rules! events {
    ($($variant:ident $label:literal [$($field:ident),* $(,)?]),+ $(,)?) => {
        /// A kind of line.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum AuditEvent { $(#[doc = $label] $variant,)+ }

        impl AuditEvent {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Its name in the line.
            pub fn label(self) -> &'static str {
                match self { $(Self::$variant => $label,)+ }
            }

            /// The fields it may have, beside `time` and `event`.
            pub fn fields(self) -> &'static [AuditField] {
                match self { $(Self::$variant => &[$(AuditField::$field),*],)+ }
            }
        }
    };
}

fields! {
    Time "time" Word,
    Event "event" Word,
    Session "session" Word,
    Listener "listener" Word,
    ClientAddress "client_address" Word,
    ClientPort "client_port" Number,
    Balancer "balancer" Word,
    User "user" Text,
    UserLength "user_length" Number,
    Backend "backend" Word,
    Verb "verb" Text,
    Direction "direction" Word,
    Path "path" Text,
    ResolvedPath "resolved_path" Text,
    FromPath "from_path" Text,
    FromResolvedPath "from_resolved_path" Text,
    StoredAs "stored_as" Text,
    Offset "offset" Number,
    Type "type" Word,
    Bytes "bytes" Number,
    Seconds "seconds" Number,
    Front "front" Word,
    Back "back" Word,
    TlsVersion "tls_version" Word,
    TlsCipher "tls_cipher" Word,
    TlsResumed "tls_resumed" Switch,
    CloseNotify "close_notify" Word,
    Code "code" Number,
    By "by" Word,
    During "during" Word,
    Result "result" Word,
    Reason "reason" Word,
    Detail "detail" Text,
    Subject "subject" Text,
    Issuer "issuer" Text,
    Serial "serial" Word,
    SecondFactor "second_factor" Switch,
    Ban "ban" Word,
    BannedAddress "banned_address" Word,
    BannedUser "banned_user" Text,
    Number "number" Number,
    Lines "lines" Number,
    Version "version" Word,
}

events! {
    AuditStarted "audit_started" [Version],
    AuditStopped "audit_stopped" [],
    AuditLinesLost "audit_lines_lost" [Lines],
    ConnectionRefused "connection_refused" [Listener, ClientAddress, ClientPort, Reason],
    SessionStarted "session_started" [Session, Listener, ClientAddress, ClientPort, Balancer],
    Tls "tls" [Session, Listener, ClientAddress, ClientPort, TlsVersion, TlsCipher, TlsResumed],
    TlsFailed "tls_failed" [Session, Listener, ClientAddress, ClientPort, Reason, Detail],
    ClientCertificate "client_certificate" [Session, Listener, ClientAddress, ClientPort, Subject, Issuer, Serial],
    Login "login" [Session, Listener, ClientAddress, ClientPort, User, Backend, SecondFactor],
    LoginFailed "login_failed" [
        Session, Listener, ClientAddress, ClientPort, User, UserLength, Backend, Reason,
    ],
    Banned "banned" [
        Session, Listener, ClientAddress, ClientPort, Ban, BannedAddress, BannedUser, Number, Seconds,
    ],
    BanLifted "ban_lifted" [Ban, BannedAddress, BannedUser, Number],
    CommandRefused "command_refused" [
        Session, Listener, ClientAddress, ClientPort, User, Verb, Path, ResolvedPath, Reason,
    ],
    Transfer "transfer" [
        Session, Listener, ClientAddress, ClientPort, User, Backend, Verb, Direction, Path, ResolvedPath, StoredAs,
        Offset, Type, Bytes, Seconds, Front, TlsVersion, TlsCipher, TlsResumed, Back, CloseNotify,
        Code, By, Result,
    ],
    Delete "delete" [
        Session, Listener, ClientAddress, ClientPort, User, Backend, Verb, Path, ResolvedPath, Code, Result,
    ],
    Rename "rename" [
        Session, Listener, ClientAddress, ClientPort, User, Backend, Verb, FromPath, FromResolvedPath, Path,
        ResolvedPath, Code, Result,
    ],
    MakeDirectory "make_directory" [
        Session, Listener, ClientAddress, ClientPort, User, Backend, Verb, Path, ResolvedPath, Code, Result,
    ],
    RemoveDirectory "remove_directory" [
        Session, Listener, ClientAddress, ClientPort, User, Backend, Verb, Path, ResolvedPath, Code, Result,
    ],
    SetTime "set_time" [
        Session, Listener, ClientAddress, ClientPort, User, Backend, Verb, Path, ResolvedPath, Code, Result,
    ],
    Site "site" [Session, Listener, ClientAddress, ClientPort, User, Backend, Verb, Path, Code, Result],
    OtherCommand "other_command" [Session, Listener, ClientAddress, ClientPort, User, Backend, Verb, Code, Result],
    SessionEnded "session_ended" [
        Session, Listener, ClientAddress, ClientPort, User, By, During, Reason, Seconds,
    ],
    Reloaded "reloaded" [Result],
}
