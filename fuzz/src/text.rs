//! Lines, commands, replies and endpoints.

use ftps_gateway::ftp::{
    Command, Cut, Flaw, LineCutter, Printable, Reply, ReplyCutter, ReplyFlaw, ReplyLine, Verb, parse_eprt,
    parse_epsv_port, parse_epsv_request, parse_pasv, parse_port, write_eprt, write_epsv, write_pasv, write_port,
};
use ftps_gateway::policy::{Mechanism, clear};

/// Two bytes that steer, and the rest.
fn steered(bytes: &[u8]) -> Option<(usize, usize, &[u8])> {
    let [first, second, rest @ ..] = bytes else { return None };
    Some((usize::from(*first), usize::from(*second), rest))
}

fn cuts(cutter: &mut LineCutter, pieces: &mut dyn Iterator<Item = &[u8]>, limit: usize) -> Vec<Cut> {
    let mut all = Vec::new();
    for piece in pieces {
        cutter.push(piece);
        while let Some(cut) = cutter.next_cut() {
            all.push(cut);
        }
        assert_eq!(cutter.waiting(), 0);
        assert!(cutter.held_bytes() <= limit, "{} bytes are held, {limit} may be", cutter.held_bytes());
    }
    all
}

/// Cutting lines: bounded, and the same however the bytes were cut into reads.
pub fn line(bytes: &[u8]) {
    let Some((limit, size, rest)) = steered(bytes) else { return };
    let (limit, size) = (limit + 1, size % 16 + 1);
    for new in [LineCutter::commands, LineCutter::replies] {
        let whole = cuts(&mut new(limit), &mut [rest].into_iter(), limit);
        let pieces = cuts(&mut new(limit), &mut rest.chunks(size), limit);
        assert_eq!(whole, pieces);
        for cut in &whole {
            match cut {
                Cut::Line(line) => {
                    assert!(line.len() <= limit);
                    assert!(!line.iter().any(|byte| matches!(byte, b'\n' | b'\r' | 0)), "{line:?}");
                    let shown = Printable(line).to_string();
                    assert!(!shown.chars().any(char::is_control), "{shown:?}");
                }
                Cut::Flawed(Flaw::TooLong | Flaw::Nul | Flaw::BareCr, edges) => assert!(edges.bytes().len() <= 20),
            }
        }
    }
    let mut cutter = LineCutter::commands(limit);
    cutter.push(rest);
    cutter.discard();
    assert_eq!((cutter.waiting(), cutter.held_bytes(), cutter.next_cut()), (0, 0, None));
}

/// Commands: what goes on reads as what came, is one line, and shows no password.
pub fn command(bytes: &[u8]) {
    let mut cutter = LineCutter::commands(4096);
    cutter.push(bytes);
    cutter.push(b"\r\n");
    while let Some(cut) = cutter.next_cut() {
        let Cut::Line(line) = cut else { continue };
        let Ok(command) = Command::parse(&line) else { continue };
        let wire = command.to_wire();
        let Some(inner) = wire.strip_suffix(b"\r\n") else { panic!("{wire:?} does not end") };
        assert_eq!(inner, line, "not what came");
        assert!(!inner.iter().any(|byte| matches!(byte, b'\n' | b'\r' | 0)), "more than one line: {wire:?}");
        let shown = format!("{command}{command:?}");
        assert!(!shown.chars().any(char::is_control), "{shown:?}");
        if matches!(command.verb(), Verb::Pass | Verb::Acct) {
            let other = [command.name(), b" another"].concat();
            let other = Command::parse(&other).map(|other| format!("{other}{other:?}"));
            assert!(line.len() == command.name().len() || other == Ok(shown), "a password shows");
        }
        let _either = Mechanism::parse(command.argument());
        if let Ok(cleared) = clear(
            command.clone(),
            &ftps_gateway::policy::Rights::default(),
            &ftps_gateway::policy::WorkingDirectory::default(),
            500,
        ) {
            assert_eq!(cleared.command().to_wire(), wire, "another command is cleared than was checked");
            assert!(inner.len() <= 500, "{} bytes go on", inner.len());
        }
    }
}

fn replies(
    cutter: &mut ReplyCutter,
    pieces: &mut dyn Iterator<Item = &[u8]>,
    limit: usize,
) -> (Vec<ReplyLine>, Option<ReplyFlaw>) {
    let mut all = Vec::new();
    for piece in pieces {
        cutter.push(piece);
        loop {
            match cutter.next_line() {
                Ok(Some(line)) => all.push(line),
                Ok(None) => break,
                Err(flaw) => return (all, Some(flaw)),
            }
        }
        assert!(cutter.held_bytes() <= limit, "{} bytes are held, {limit} may be", cutter.held_bytes());
    }
    (all, None)
}

/// Replies: bounded, the same however they were cut, and a client reads what is relayed as the gateway read it.
pub fn reply(bytes: &[u8]) {
    let Some((limit, size, rest)) = steered(bytes) else { return };
    let (limit, size) = (limit + 1, size % 16 + 1);
    let (whole, flaw) = replies(&mut ReplyCutter::new(limit), &mut [rest].into_iter(), limit);
    let (pieces, _) = replies(&mut ReplyCutter::new(limit), &mut rest.chunks(size), limit);
    assert_eq!(whole, pieces);
    let mut again = ReplyCutter::new(limit + 4);
    let mut open = false;
    for line in &whole {
        assert!((100..600).contains(&line.code.number()));
        assert_eq!(line.first, !open, "a reply begins in another");
        // As RFC 959 §4.2 has it, and not as our own reader does: also a client that takes any three digits and a blank for
        // the end finds it where it is.
        let (digits, behind) = line.bytes.split_at(line.bytes.len().min(3));
        let ends = digits.len() == 3 && digits.iter().all(u8::is_ascii_digit) && behind.first() == Some(&b' ');
        assert_eq!(line.last, ends, "{line:?}");
        if line.first || line.last {
            assert_eq!(digits, line.code.to_string().as_bytes(), "{line:?}");
        }
        open = !line.last;
        assert!(!line.bytes.iter().any(|byte| matches!(byte, b'\n' | b'\r' | 0)));
        again.push(&line.bytes);
        again.push(b"\r\n");
        let second = again.next_line();
        assert!(
            second.as_ref().is_ok_and(|second| second.as_ref().is_some_and(|second| (
                second.code,
                second.first,
                second.last
            ) == (
                line.code, line.first, line.last
            ))),
            "{line:?} reads as {second:?}, {flaw:?}"
        );
        let told = Reply::new(line.code.number(), line.text().to_vec()).to_wire();
        assert_eq!(told.iter().filter(|&&byte| byte == b'\n').count(), 1, "{told:?}");
        let _any = parse_pasv(line.text());
        let _any = parse_epsv_port(line.text());
    }
}

/// Endpoints: what is read can be written, and reads the same again.
pub fn endpoint(bytes: &[u8]) {
    let _any = parse_epsv_request(bytes);
    for read in [parse_port(bytes), parse_pasv(bytes)] {
        let Ok(endpoint) = read else { continue };
        let std::net::IpAddr::V4(address) = endpoint.ip() else { panic!("{endpoint} out of six numbers") };
        assert_eq!(parse_port(write_port(address, endpoint.port()).as_bytes()), Ok(endpoint));
        assert_eq!(parse_pasv(write_pasv(address, endpoint.port()).as_bytes()), Ok(endpoint));
    }
    if let Ok(endpoint) = parse_eprt(bytes) {
        assert_eq!(parse_eprt(write_eprt(endpoint).as_bytes()), Ok(endpoint));
    }
    if let Ok(port) = parse_epsv_port(bytes) {
        assert_ne!(port, 0);
        assert_eq!(parse_epsv_port(write_epsv(port).as_bytes()), Ok(port));
    }
}
