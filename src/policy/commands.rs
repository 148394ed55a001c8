//! Which commands reach the backend, and which are the gateway's own.

use crate::ftp::{Command, Verb};

use super::paths::WorkingDirectory;
use super::refusal::Refusal;
use super::rules::Rights;

/// What a transfer command moves, seen from the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransferKind {
    /// RETR.
    Download,
    /// LIST, NLST, MLSD: a download that is not a file.
    Listing,
    /// STOR, APPE, STOU.
    Upload,
}

/// Who deals with a command once the client is logged in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// The gateway answers.
    Own,
    /// The gateway arranges a data connection on both legs.
    Arrange,
    /// The backend, and data moves.
    Transfer(TransferKind),
    /// The backend.
    Forward,
    /// Nobody: 502.
    NotImplemented,
}

/// Says who deals with this verb after login. One exhaustive match: a new verb must be placed.
pub fn disposition(verb: Verb) -> Disposition {
    match verb {
        Verb::Abor
        | Verb::Auth
        | Verb::Ccc
        | Verb::Feat
        | Verb::Help
        | Verb::Host
        | Verb::Clnt
        // Who has logged in proves himself to nobody any more; a USER that the backend took out of some other line would be
        // waiting for it.
        | Verb::Pass
        | Verb::Pbsz
        | Verb::Prot
        | Verb::Quit
        | Verb::Rein
        | Verb::Stat
        | Verb::User => Disposition::Own,
        Verb::Pasv | Verb::Epsv | Verb::Port | Verb::Eprt => Disposition::Arrange,
        Verb::Retr => Disposition::Transfer(TransferKind::Download),
        Verb::List | Verb::Nlst | Verb::Mlsd => Disposition::Transfer(TransferKind::Listing),
        Verb::Stor | Verb::Appe | Verb::Stou => Disposition::Transfer(TransferKind::Upload),
        // Server-to-server transfers (FXP), the long forms of RFC 1639, the other mechanisms of RFC 2228, and mounting.
        Verb::Cpsv
        | Verb::Sscn
        | Verb::Lprt
        | Verb::Lpsv
        | Verb::Adat
        | Verb::Conf
        | Verb::Enc
        | Verb::Mic
        | Verb::Smnt => Disposition::NotImplemented,
        Verb::Acct
        | Verb::Allo
        | Verb::Cdup
        | Verb::Cwd
        | Verb::Dele
        | Verb::Lang
        | Verb::Mdtm
        | Verb::Mfmt
        | Verb::Mkd
        | Verb::Mlst
        | Verb::Mode
        // Passed on, so that the backend's idle clock hears the client's keep-alive.
        | Verb::Noop
        | Verb::Opts
        | Verb::Pwd
        | Verb::Rest
        | Verb::Rmd
        | Verb::Rnfr
        | Verb::Rnto
        | Verb::Site
        | Verb::Size
        | Verb::Stru
        | Verb::Syst
        | Verb::Type
        | Verb::Xcup
        | Verb::Xcwd
        | Verb::Xmkd
        | Verb::Xpwd
        | Verb::Xrmd
        | Verb::Other => Disposition::Forward,
    }
}

/// A command that may reach the backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cleared(Command);

impl Cleared {
    /// A command of the gateway's own making, such as the PASV it arranges its data connection with. Line ends and NUL
    /// are taken out of the argument: one command stays one command, whoever asks.
    pub fn own(verb: Verb, argument: impl Into<Vec<u8>>) -> Self {
        let mut argument = argument.into();
        argument.retain(|byte| !matches!(byte, b'\r' | b'\n' | 0));
        Self(Command::new(verb, argument))
    }

    /// A command of the gateway's own making, without an argument.
    pub fn own_bare(verb: Verb) -> Self {
        Self(Command::bare(verb))
    }

    /// The command.
    pub fn command(&self) -> &Command {
        &self.0
    }
}

/// Checks a client's command before it goes to the backend. `here`: where the session is, for rules that ask for paths.
/// `longest`: see [`check_length`].
///
/// # Errors
/// When the verb is the gateway's own or nobody's, or some server takes it for one of those; when the command is too long,
/// asks for a way of transfer that cannot be relayed, or is not among the user's rights.
pub fn clear(command: Command, rights: &Rights, here: &WorkingDirectory, longest: usize) -> Result<Cleared, Refusal> {
    // STAT with a path is a listing on the control connection. STAT without one would show the backend's address.
    let listing_stat = command.verb() == Verb::Stat && command.has_argument();
    match disposition(command.verb()) {
        Disposition::Forward | Disposition::Transfer(_) => {}
        Disposition::Own if listing_stat => {}
        Disposition::Own | Disposition::Arrange | Disposition::NotImplemented => return Err(Refusal::NotImplemented),
    }
    check_length(&command, longest)?;
    if command.verb() == Verb::Other && hides_an_own_verb(command.name()) {
        return Err(Refusal::NotImplemented);
    }
    if command.verb() == Verb::Mode && !is_relayed_mode(command.argument()) {
        return Err(Refusal::ModeUnsupported);
    }
    if command.verb() == Verb::Rest && !is_offset(command.argument()) {
        return Err(Refusal::Syntax);
    }
    // The gateway's own way to make a server forget what was to be renamed.
    if command.verb() == Verb::Rnto && !command.has_argument() {
        return Err(Refusal::Syntax);
    }
    rights.check(&command, here)?;
    Ok(Cleared(command))
}

/// Checks that the server behind takes a command as one. Servers of BSD's family fill a buffer of 512 bytes and take what
/// is beyond it for the next command, which nobody would have checked (CVE-2008-4247). `longest`: how many bytes it is
/// known to take, without the line end.
///
/// # Errors
/// When the command is longer.
pub fn check_length(command: &Command, longest: usize) -> Result<(), Refusal> {
    if command.length() > longest { Err(Refusal::LineTooLongForServer) } else { Ok(()) }
}

/// Checks what a client proves itself with, before it is anybody who could have rights.
///
/// # Errors
/// As [`check_proof`], and when it is neither PASS nor ACCT.
pub fn clear_proof(command: Command) -> Result<Cleared, Refusal> {
    check_proof(&command)?;
    match command.verb() {
        Verb::Pass | Verb::Acct => Ok(Cleared(command)),
        _ => Err(Refusal::NotImplemented),
    }
}

/// Checks that a password or an account holds no command of Telnet (RFC 854: 0xFF and what stands behind it, from 240 on).
/// ProFTPD and inetutils take it out, try the rest, and answer it in front of their reply, which is none then. A 0xFF by
/// itself or doubled is a letter (ÿ in Latin-1).
///
/// # Errors
/// When it does.
pub fn check_proof(command: &Command) -> Result<(), Refusal> {
    let telnet = command.argument().windows(2).any(|pair| matches!(pair, [0xFF, 240..=254]));
    if telnet { Err(Refusal::TelnetInPassword) } else { Ok(()) }
}

/// Telnet's bytes before ABOR, STAT and QUIT do not always come through as such, so pyftpdlib looks at the last four letters
/// of a verb that it does not know: `ZSTAT` shows the backend's address there.
fn hides_an_own_verb(name: &[u8]) -> bool {
    let end = name.last_chunk::<4>();
    end.is_some_and(|end| matches!(Verb::parse(end), Verb::Abor | Verb::Stat | Verb::Quit))
}

/// In block and compressed mode (RFC 959 §3.4) the end of a file is inside the data and the connection stays open:
/// the gateway could not tell a whole transfer from a cut one.
fn is_relayed_mode(argument: &[u8]) -> bool {
    matches!(argument.trim_ascii(), b"S" | b"s" | b"Z" | b"z")
}

/// RFC 3659 §5.3: digits. Servers read anything else each in its own way (`+100` is 100, or 0, or an error), and a record
/// would tell one of them.
fn is_offset(argument: &[u8]) -> bool {
    let digits = argument.iter().all(u8::is_ascii_digit);
    digits && std::str::from_utf8(argument).is_ok_and(|text| text.parse::<i64>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clear(command: Command) -> Result<Cleared, Refusal> {
        super::clear(command, &Rights::default(), &WorkingDirectory::default(), 500)
    }

    #[test]
    fn a_command_that_could_be_two_at_the_server_is_none() {
        let size = |length: usize| clear(Command::new(Verb::Size, vec![b'a'; length - 5]));
        assert!(size(500).is_ok());
        assert_eq!(size(501), Err(Refusal::LineTooLongForServer));
        assert_eq!(check_length(&Command::bare(Verb::Pwd), 3), Ok(()));
        assert_eq!(check_length(&Command::new(Verb::Pwd, ""), 3), Err(Refusal::LineTooLongForServer));
    }

    #[test]
    fn a_password_that_a_server_takes_telnet_out_of_is_refused() {
        for proof in [&b"x"[..], b"\xff", b"\xffx\xef", b"x\xff\xff", b"\xf0\xfb\x01\t"] {
            for verb in [Verb::Pass, Verb::Acct] {
                assert!(clear_proof(Command::new(verb, proof)).is_ok(), "{proof:?}");
            }
        }
        for telnet in [&b"x\xff\xfb\x01"[..], b"\xff\xf0", b"\xff\xff\xfex", b"x\xff\xf4"] {
            assert_eq!(clear_proof(Command::new(Verb::Pass, telnet)), Err(Refusal::TelnetInPassword), "{telnet:?}");
        }
    }

    #[test]
    fn the_gateways_own_commands_never_reach_the_backend() {
        for verb in [Verb::Auth, Verb::Pbsz, Verb::Prot, Verb::Ccc, Verb::Feat, Verb::Host, Verb::Rein] {
            assert_eq!(clear(Command::new(verb, "x")), Err(Refusal::NotImplemented), "{verb:?}");
        }
        for verb in [Verb::Pasv, Verb::Epsv, Verb::Port, Verb::Eprt, Verb::Cpsv, Verb::Sscn] {
            assert_eq!(clear(Command::bare(verb)), Err(Refusal::NotImplemented), "{verb:?}");
        }
    }

    #[test]
    fn stat_of_a_path_passes_and_stat_alone_does_not() {
        assert!(clear(Command::new(Verb::Stat, "/pub")).is_ok());
        assert!(clear(Command::bare(Verb::Stat)).is_err());
        assert!(clear(Command::new(Verb::Stat, " \t ")).is_err());
    }

    #[test]
    fn a_verb_that_ends_in_one_of_the_gateways_own_does_not_pass() {
        for line in ["ZSTAT", "xstat /", "ABORABOR", "AquiT", "SITESTAT"] {
            assert_eq!(clear(Command::parse(line.as_bytes()).unwrap()), Err(Refusal::NotImplemented), "{line}");
        }
        for line in ["STATZ", "XCRC a", "TAT", "XYZZY STAT"] {
            assert!(clear(Command::parse(line.as_bytes()).unwrap()).is_ok(), "{line}");
        }
    }

    #[test]
    fn only_modes_whose_end_the_gateway_can_see() {
        assert!(clear(Command::new(Verb::Mode, "S")).is_ok());
        assert!(clear(Command::new(Verb::Mode, "z")).is_ok());
        assert_eq!(clear(Command::new(Verb::Mode, "B")), Err(Refusal::ModeUnsupported));
    }

    #[test]
    fn an_offset_is_digits() {
        for offset in ["0", "100", "0100", "9223372036854775807"] {
            assert!(clear(Command::new(Verb::Rest, offset)).is_ok(), "{offset}");
        }
        for offset in ["", "+100", "-1", " 100", "100 ", "100\t", "0x10", "1e3", "100 200", "9223372036854775808"] {
            assert_eq!(clear(Command::new(Verb::Rest, offset)), Err(Refusal::Syntax), "{offset:?}");
        }
    }
}
