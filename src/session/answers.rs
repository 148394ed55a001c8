//! What the gateway says in its own name. The one place where failures become words for the client.

use crate::event::{BackendFailure, Reason, TransferResult, Why};
use crate::ftp::{Reply, Verb};
use crate::policy::{Disposition, disposition};

/// Feature names that are the gateway's own, whatever the backend says of them (RFC 2389 §3.2).
const OWN_FEATURES: [&[u8]; 8] = [b"AUTH", b"PBSZ", b"PROT", b"CCC", b"EPSV", b"EPRT", b"HOST", b"CLNT"];

/// FEAT: the backend's features that pass through, and the gateway's own. `backend` holds the lines of the backend's
/// reply without their leading blank; empty when it has none or nothing is known of it.
pub(super) fn features(backend: &[Vec<u8>], active: bool) -> Reply {
    let mut own: Vec<&str> = vec!["AUTH TLS", "CLNT", "EPSV", "HOST", "PBSZ", "PROT"];
    if active {
        own.push("EPRT");
    }
    let mut lines: Vec<Vec<u8>> = own.into_iter().map(|name| name.as_bytes().to_vec()).collect();
    lines.extend(backend.iter().filter(|line| passes(line)).cloned());
    lines.sort_by_key(|line| line.to_ascii_uppercase());
    lines.insert(0, b"Features:".to_vec());
    lines.push(b"End".to_vec());
    Reply::lines(211, lines)
}

/// The features that each of several backends has, in the words of the first. A client that is told too few does without;
/// one that is told too many may not (lftp comes anew after fifteen seconds, for each MLSD that was promised).
pub(super) fn common(mut backends: Vec<Vec<Vec<u8>>>) -> Vec<Vec<u8>> {
    let Some(mut lines) = backends.pop() else { return Vec::new() };
    while let Some(others) = backends.pop() {
        let among = |line: &Vec<u8>, lines: &[Vec<u8>]| lines.iter().any(|other| same_feature(line, other));
        lines = others.into_iter().filter(|line| among(line, &lines)).collect();
    }
    lines
}

fn same_feature(one: &[u8], other: &[u8]) -> bool {
    name_of(one).eq_ignore_ascii_case(name_of(other))
}

fn name_of(line: &[u8]) -> &[u8] {
    line.split(|byte| *byte == b' ').next().unwrap_or_default()
}

fn passes(line: &[u8]) -> bool {
    let name = name_of(line);
    let own = OWN_FEATURES.iter().any(|own| own.eq_ignore_ascii_case(name));
    !name.is_empty() && !own && disposition(Verb::parse(name)) != Disposition::NotImplemented
}

/// HELP: the backend's own text would name its host and software.
pub(super) fn help() -> Reply {
    let lines: [&[u8]; 5] = [
        b"This is an FTPS gateway.",
        b"Secure the connection first: AUTH TLS, PBSZ 0, PROT P. Then USER and PASS.",
        b"Transfers: EPSV or PASV (EPRT or PORT), then RETR, STOR, APPE, STOU, LIST, NLST, MLSD.",
        b"All other commands of the server behind are passed on. FEAT says what it can do.",
        b"End",
    ];
    Reply::lines(214, lines.map(<[u8]>::to_vec))
}

/// A transfer failed.
pub(super) fn failed(result: TransferResult, detail: Option<&str>) -> Reply {
    let code = match result {
        TransferResult::ClientDataFailed | TransferResult::BackendDataFailed => 425,
        TransferResult::ClientTlsFailed | TransferResult::ClientNotResumed | TransferResult::PortShared => 522,
        TransferResult::BackendSilent | TransferResult::BackendGone | TransferResult::Stopped => 421,
        TransferResult::ClientCut
        | TransferResult::ClientTruncated
        | TransferResult::ClientStalled
        | TransferResult::ClientGone
        | TransferResult::Aborted
        | TransferResult::BackendCut
        | TransferResult::BackendStalled
        | TransferResult::BackendRefused => 426,
        // Never asked for; a completed transfer passes the backend's own words on.
        TransferResult::Completed => 226,
    };
    let text = capitalised(result.text());
    match detail {
        Some(detail) => Reply::new(code, format!("{text}: {detail} [{result}].")),
        None => Reply::new(code, format!("{text} [{result}].")),
    }
}

/// The session ends: 421 with the reason.
pub(super) fn goodbye(why: Why) -> Reply {
    match why {
        Why::Reason(Reason::Quit) => Reply::new(221, "Goodbye."),
        Why::Refused(refusal) => refusal.reply(),
        Why::Reason(reason) => Reply::new(421, format!("{} [{reason}].", capitalised(reason.text()))),
        Why::Backend(failure) => backend_failed(failure),
    }
}

/// The backend cannot be used.
pub(super) fn backend_failed(failure: BackendFailure) -> Reply {
    let label = Why::Backend(failure).label();
    Reply::new(421, format!("The server behind is not available: {} [{label}].", failure.text()))
}

fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_have_one_blank_in_front_and_the_gateways_own_win() {
        let backend: Vec<Vec<u8>> =
            ["mlst size*;modify*;", "AUTH SSL", "auth TLS-C", "SIZE", "CCC", "EPRT"].map(|line| line.into()).into();
        let wire = String::from_utf8(features(&backend, false).to_wire()).unwrap();
        assert_eq!(
            wire,
            "211-Features:\r\n AUTH TLS\r\n CLNT\r\n EPSV\r\n HOST\r\n mlst size*;modify*;\r\n PBSZ\r\n PROT\r\n \
             SIZE\r\n211 End\r\n"
        );
    }

    #[test]
    fn what_all_have_is_common() {
        let lines = |lines: &[&str]| lines.iter().map(|line| line.as_bytes().to_vec()).collect::<Vec<_>>();
        let (one, two) = (lines(&["SIZE", "mlst size*;", "UTF8"]), lines(&["MLST type*;", "size", "MFMT"]));
        assert_eq!(common(vec![one.clone(), two]), lines(&["SIZE", "mlst size*;"]));
        assert_eq!(common(vec![one.clone(), Vec::new()]), lines(&[]));
        assert_eq!(common(vec![one.clone()]), one);
        assert_eq!(common(Vec::new()), lines(&[]));
    }

    #[test]
    fn every_failure_names_its_label() {
        for &result in TransferResult::ALL {
            let reply = failed(result, None);
            let text = String::from_utf8_lossy(reply.text()).into_owned();
            assert!(text.contains(result.label()));
            // lftp takes a transfer's reply with this word in it for the one to ABOR, and is one reply off from then on.
            assert!(!text.contains("ABOR"), "{text}");
            assert_eq!(reply.code().is_negative(), result != TransferResult::Completed);
        }
        for why in Why::all() {
            assert!(!goodbye(why).text().is_empty());
        }
    }
}
