//! The closed sets: every value has a label for logs and metrics and a text for people.

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
        NotResumed "not_resumed" "the TLS session was not the control connection's (tls.data_resumption: require, or a shared port)",
        Unused "unused" "arranged and never used",
    }
}

labelled! {
    /// Why a connection to a passive port was dropped.
    Stray {
        NoReservation "no_reservation" "nobody at that address waits for a connection on that port",
        UnknownSession "unknown_session" "it offered a TLS session that is of no session here",
        SessionElsewhere "session_elsewhere" "it offered the TLS session of a session that waits for no connection on that port",
        NoSession "no_session" "it offered no TLS session, and more than one session of its address waits on that port",
        NotTls "not_tls" "it does not speak TLS, and more than one session of its address waits on that port",
        Unproven "unproven" "it offered the TLS session of a session that waits on that port, and did not resume it",
        NoHello "no_hello" "it sent no whole ClientHello in time (timeouts.data_connect)",
        CrowdedOut "crowded_out" "too many connections of its address had not said whose they are",
        ProxyHeader "proxy_header" "a balancer sent no PROXY header, or a wrong one (passive.proxy_protocol)",
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
        CertificateDiffers "certificate_differs" "the client's certificate is not the one it showed on the control connection",
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
        Banned "banned" "a ban stood against it (limits.failed_logins)",
        CertificateMismatch "certificate_mismatch" "the client's certificate names another user (tls.client_certificates.user_from)",
        CodeWrong "code_wrong" "the one-time code is wrong (access.totp)",
        CodeUsed "code_used" "the one-time code has been used before (access.totp)",
        CodeUnknown "code_unknown" "the user must have a secret for one-time codes and has none (access.totp)",
        UserLimit "user_limit" "too many sessions of this user (limits.sessions_per_user)",
        Unheard "unheard" "the backend said yes, and the session ended before the client heard so",
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
        Unasked "unasked" "it sent a reply that nothing had asked for, so which reply belongs to which command is not known",
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
        PortShared "port_shared" "sessions of the client's address share the port, and the data connection did not resume the control connection's TLS session",
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
            | Self::PortShared
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
        Fault "fault" "a fault in the gateway itself",
    }
}
