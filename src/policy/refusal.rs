//! Every refusal of the gateway, in one closed set.

use crate::ftp::Reply;

macro_rules! refusals {
    ($($variant:ident $label:literal $code:literal $text:literal),+ $(,)?) => {
        /// Policy said no. Each refusal has one label, which stands in the reply's text, in the log line and in the
        /// metric, so that a user's complaint, a log line and a graph can be laid side by side.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Refusal {
            $(#[doc = $text] $variant,)+
        }

        impl Refusal {
            /// Every refusal.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The name in logs and metrics.
            pub fn label(self) -> &'static str {
                match self { $(Self::$variant => $label,)+ }
            }

            fn code(self) -> u16 {
                match self { $(Self::$variant => $code,)+ }
            }

            /// What it means, in words for the person at the other end.
            pub fn text(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }
    };
}

refusals! {
    AddressDenied "address_denied" 421 "Connections from your address are not taken",
    AddressNotAllowed "address_not_allowed" 421 "Connections are taken from known addresses only",
    AddressBanned "address_banned" 421 "Too many failed logins from your address, try again later",
    LoginBanned "login_banned" 421 "Too many failed logins of this user, try again later",
    TooManySessions "too_many_sessions" 421 "Too many sessions, try again later",
    TooManySessionsFromAddress "too_many_sessions_from_address" 421 "Too many sessions from your address",
    TooManySessionsOfUser "too_many_sessions_of_user" 421 "Too many sessions of this user",
    TooManyLoginAttempts "too_many_login_attempts" 421 "Too many login attempts",
    ProxyHeaderMissing "proxy_header_missing" 421 "The balancer sent no PROXY header",
    ProxyHeaderWrong "proxy_header_wrong" 421 "The balancer's PROXY header is wrong",
    ProxyHeaderForeign "proxy_header_foreign" 421 "A PROXY header is taken from known balancers only",
    AuditUnavailable "audit_unavailable" 451 "What is done here cannot be recorded at the moment, so nothing begins: try again later",
    Draining "draining" 421 "The gateway is about to stop and takes no new sessions",
    HttpVerb "http_verb" 421 "This is not an HTTP server",
    ForeignProtocol "foreign_protocol" 421 "The TLS client asked for another protocol than ftp (ALPN)",

    LineTooLong "line_too_long" 500 "The command line is too long",
    LineTooLongForServer "line_too_long_for_server" 501 "The server behind is not trusted to take so long a command as one",
    LineWithNul "line_with_nul" 501 "A command must not hold a NUL byte",
    LineWithBareCr "line_with_bare_cr" 501 "A command must not hold a carriage return",
    UserWithControls "user_with_controls" 501 "A user name must not hold control bytes",
    TelnetInPassword "telnet_in_password" 501 "A password must not hold commands of Telnet",
    NotACommand "not_a_command" 500 "A command begins with a verb of letters",
    NotImplemented "not_implemented" 502 "This command is not available here",
    CommandDenied "command_denied" 550 "You may not do this here",
    VerbDenied "verb_denied" 502 "You may not use this command here",
    PathDenied "path_denied" 550 "You may not do this in this place",
    NameDenied "name_denied" 553 "You may not write to this place",
    PathUnknown "path_unknown" 550 "It cannot be told which place this is about",
    Syntax "syntax" 501 "The argument is missing or wrong",
    CommandPipelineFull "command_pipeline_full" 421 "Too many commands sent ahead during a transfer",

    TlsRequired "tls_required" 530 "TLS is required first: send AUTH TLS",
    NotLoggedIn "not_logged_in" 530 "Log in with USER and PASS first",
    UserFirst "user_first" 503 "Send USER first",
    AccountNotAsked "account_not_asked" 503 "No account is asked for at this point",
    LoginIncorrect "login_incorrect" 530 "Login incorrect",

    AlreadySecured "already_secured" 503 "The control connection is under TLS already",
    UnknownMechanism "unknown_mechanism" 504 "Unknown security mechanism: use AUTH TLS",
    PbszFirst "pbsz_first" 503 "Send PBSZ 0 first",
    SecureFirst "secure_first" 503 "Secure the control connection with AUTH TLS first",
    UnknownProtection "unknown_protection" 504 "Unknown protection level: use PROT P",
    UnsupportedProtection "unsupported_protection" 536 "Only PROT P and PROT C exist under TLS",
    ClearDataRefused "clear_data_refused" 534 "Data connections must be protected: use PROT P",
    ClearControlRefused "clear_control_refused" 534 "The control connection stays under TLS",
    DataProtectionRequired "data_protection_required" 521 "Data connections must be protected: send PROT P",

    HostAfterLogin "host_after_login" 503 "HOST comes before USER",
    HostSyntax "host_syntax" 501 "HOST takes a name or an address, without a port",
    HostUnknown "host_unknown" 504 "No such host here",
    HostDiffersFromSni "host_differs_from_sni" 504 "HOST must name the host that TLS named (SNI)",

    ModeUnsupported "mode_unsupported" 504 "Only MODE S and MODE Z are relayed",
    EpsvAllInEffect "epsv_all_in_effect" 503 "After EPSV ALL only EPSV may arrange a data connection",
    PasvOnIpv6 "pasv_on_ipv6" 425 "PASV knows only IPv4 and this is IPv6: use EPSV",
    UnknownNetworkProtocol "unknown_network_protocol" 522 "Network protocol not supported, use (1,2)",
    OnlyIpv4 "only_ipv4" 522 "The control connection is IPv4 and so are its data connections, use (1)",
    OnlyIpv6 "only_ipv6" 522 "The control connection is IPv6 and so are its data connections, use (2)",
    ActiveDisabled "active_disabled" 502 "Active mode is switched off here: use EPSV or PASV",
    ForeignAddress "foreign_address" 504 "A data connection goes only to the address the session came from",
    PrivilegedPort "privileged_port" 504 "A data connection goes only to a port from 1024 on",
    PassivePortsExhausted "passive_ports_exhausted" 425 "No passive port is free for your address: other sessions of it wait at every one, try again later",
    PortNeedsResumption "port_needs_resumption" 425 "Other sessions of your address wait at every passive port, and your client does not resume TLS sessions, so it cannot share one: try again later, or switch TLS session reuse on",
    PortNeedsProtection "port_needs_protection" 425 "Other sessions of your address wait at every passive port, and a data connection in clear cannot share one: try again later, or use PROT P",
    AdvertiseUnavailable "advertise_unavailable" 425 "The gateway does not know its IPv4 address for you: use EPSV",
    NoDataConnection "no_data_connection" 425 "Arrange a data connection first: EPSV, PASV, EPRT or PORT",
}

impl Refusal {
    /// What the client hears: the text and, in brackets, the label. [`Self::LoginIncorrect`] has no label: a user
    /// without a route must look like a wrong password.
    pub fn reply(self) -> Reply {
        match self {
            Self::LoginIncorrect => Reply::new(self.code(), format!("{}.", self.text())),
            _ => Reply::new(self.code(), format!("{} [{}].", self.text(), self.label())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn labels_are_unique_and_fit_for_prometheus() {
        let labels: HashSet<_> = Refusal::ALL.iter().map(|refusal| refusal.label()).collect();
        assert_eq!(labels.len(), Refusal::ALL.len());
        assert!(
            labels.iter().all(|label| label
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_'))
        );
    }

    #[test]
    fn every_reply_is_negative_and_names_its_reason() {
        for refusal in Refusal::ALL {
            let reply = refusal.reply();
            assert!(reply.code().is_negative());
            let text = String::from_utf8_lossy(reply.text()).into_owned();
            assert_eq!(text.contains(refusal.label()), *refusal != Refusal::LoginIncorrect, "{text}");
        }
    }
}
