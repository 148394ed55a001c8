//! Rules for paths in front of a server that walks its tree as Unix does, where a folder that is renamed takes along
//! whoever is in it, or that takes options for names and names for options, control bytes for other letters, blanks for
//! nothing, and names for times.

use std::collections::VecDeque;

use ftps_gateway::backend::DataPreference;
use ftps_gateway::ftp::{Command, ReplyCutter, Verb};
use ftps_gateway::policy::{
    ClearCommandChannel, CommandRule, CommandRules, DataResumption, Disposition, Entry, PathPattern, Protection,
    ProtectionPolicy, ProtectionState, Refusal, Requirement, Traveller, TruncatedUploads, disposition,
};
use ftps_gateway::session::dialogue::{Dialogue, Input, Premises, Step};

use super::server::{Deed, Kind, Names, Server, fits};

/// What patterns are made of.
const PARTS: [&str; 15] =
    ["in", "out", "secret", "*", "**", "?????", "[!s]*", "*.csv", "s*", "a", "{in,out}", "x.csv", "pub", "*e*", "a_b"];
const GROUPS: [&str; 4] = ["read", "write", "delete", "rename"];
const MOST_COMMANDS: usize = 60;

fn is_transfer(verb: Verb) -> bool {
    matches!(disposition(verb), Disposition::Transfer(_))
}

/// A session on the gateway's side.
struct Passage {
    dialogue: Dialogue,
    /// What the server has to say, in its order.
    under_way: VecDeque<Vec<u8>>,
    /// Commands of transfers that the gateway has not answered.
    transfers: VecDeque<Command>,
    over: bool,
}

struct Street<'a> {
    passages: [Passage; 2],
    /// Whose turn it is.
    seat: usize,
    server: Server,
    patterns: Vec<Vec<&'a str>>,
    denies: bool,
    moves_are_ruled: bool,
    /// The rule is for one group alone: to write, where it denies, and to read, where it allows.
    narrow: bool,
    style: u8,
    /// Since the last line of the client.
    passed: Vec<Verb>,
}

impl Street<'_> {
    fn any_fits(&self, path: &Names) -> bool {
        // Behind the root's slash is a name that is empty.
        let root = vec![Vec::new()];
        let path = if path.is_empty() { &root } else { path };
        self.patterns.iter().any(|pattern| fits(pattern, path))
    }

    /// The folder is matched, or whatever is in it and has no name yet.
    fn any_fits_folder(&self, folder: &Names) -> bool {
        let mut inside = folder.clone();
        inside.push(Vec::new());
        self.any_fits(folder) || self.any_fits(&inside)
    }

    fn input(&mut self, input: Input) {
        let mut steps = Vec::new();
        let seat = self.seat;
        self.passages[seat].dialogue.handle(input, &mut steps);
        loop {
            for step in steps.drain(..) {
                match step {
                    Step::Forward(cleared) => self.passes(cleared.command()),
                    Step::Refuse(verb, refusal) if is_transfer(verb) => self.refused(verb, refusal),
                    Step::Answer(_) | Step::Refuse(..) | Step::Pass(_) | Step::Changed { .. } => {}
                    _ => self.passages[seat].over = true,
                }
            }
            if !self.passages[seat].dialogue.has_more() {
                return;
            }
            self.passages[seat].dialogue.go_on(&mut steps);
        }
    }

    /// A transfer that lacks nothing but a data connection would have come through to the server.
    fn refused(&mut self, verb: Verb, refusal: Refusal) {
        let Some(command) = self.passages[self.seat].transfers.pop_front() else { panic!("{verb:?} is refused twice") };
        assert_eq!(command.verb(), verb, "commands are answered in their order");
        if refusal == Refusal::NoDataConnection {
            self.does(&command);
        }
    }

    /// A command has come through to the server.
    fn passes(&mut self, command: &Command) {
        self.passed.push(command.verb());
        self.does(command);
        let seat = self.seat;
        let says = self.server.says(seat, command.verb(), self.style);
        self.passages[seat].under_way.push_back(says);
    }

    fn does(&mut self, command: &Command) {
        let seat = self.seat;
        let moved = self.server.seats[seat].moved;
        let folder = self.server.path(self.server.seats[seat].here);
        for deed in self.server.hears(seat, command, self.style) {
            self.may_be_done(command, &deed, &folder, moved && !deed.from_the_root);
        }
    }

    /// `relative`: in a folder that the other session has moved, without a path from the root.
    fn may_be_done(&self, command: &Command, deed: &Deed, folder: &Names, relative: bool) {
        let moves = matches!(command.verb(), Verb::Cwd | Verb::Xcwd | Verb::Cdup | Verb::Xcup);
        let lists = matches!(command.verb(), Verb::List | Verb::Nlst | Verb::Mlsd | Verb::Stat);
        let shown = format!("{:?} with {:?}", String::from_utf8_lossy(&command.to_wire()), self.patterns);
        match (self.denies, &deed.folder) {
            _ if moves && (!self.moves_are_ruled || relative) => {}
            _ if self.narrow && self.denies && !moves && deed.kind != Kind::Writes => {}
            _ if self.narrow && !self.denies && deed.kind != Kind::Asks => panic!("{shown} does more than read"),
            // The other session has moved the folder, and nobody has told. What is done stays within it.
            _ if relative => {
                let within = |path: &Names| path.starts_with(folder);
                let listed = deed.folder.as_ref().is_none_or(|(listed, _)| within(listed));
                let itself = command.verb() == Verb::Rnto || deed.touched.iter().all(within);
                assert!(listed && itself && deed.touched.last().is_none_or(within), "{shown} leaves the folder");
            }
            // A folder shows the names that are in it, and no more.
            (true, Some((folder, false))) => assert!(!self.any_fits_folder(folder), "{shown} lists what is denied"),
            // The shell has put their names for the pattern, and each is listed.
            (true, None) if lists => {
                let listed = deed.touched.iter().find(|path| self.any_fits_folder(path));
                assert!(listed.is_none(), "{shown} lists what is denied");
            }
            (true, None | Some((_, true))) => {
                let reached = deed.touched.iter().find(|path| self.any_fits(path));
                assert!(reached.is_none(), "{shown} reaches what is denied");
            }
            (false, Some((folder, whole))) => {
                let within = (!whole && self.any_fits(folder)) || deed.touched.iter().all(|path| self.any_fits(path));
                assert!(within, "{shown} lists what is not allowed");
            }
            // What is below a folder that moves or goes, goes with it.
            (false, None) if matches!(command.verb(), Verb::Rmd | Verb::Xrmd | Verb::Rnfr | Verb::Rnto) => {
                assert!(deed.touched.last().is_none_or(|path| self.any_fits(path)), "{shown} is not allowed");
            }
            (false, None) => {
                assert!(deed.touched.iter().all(|path| self.any_fits(path)), "{shown} reaches what is not allowed");
            }
        }
    }

    fn next_reply(&mut self) -> Option<Vec<u8>> {
        let passage = &mut self.passages[self.seat];
        passage.under_way.pop_front().filter(|_| !passage.over)
    }

    fn server_says_all(&mut self) {
        let mut cutter = ReplyCutter::new(4096);
        while let Some(reply) = self.next_reply() {
            cutter.push(&reply);
            while let Ok(Some(line)) = cutter.next_line() {
                self.input(Input::Reply(line));
            }
        }
    }

    /// A command whose path can be read in one way only: it passes exactly where the rule has it.
    fn must_pass(&self, command: &Command) -> Option<bool> {
        let plain = |path: &[u8]| {
            let letters = path.iter().all(|byte| byte.is_ascii_lowercase() || b"./".contains(byte));
            letters && path.split(|byte| *byte == b'/').all(|name| !name.starts_with(b"...") && name != b"~")
        };
        let argument = command.argument();
        let seat = &self.server.seats[self.seat];
        let goes_up = argument.split(|byte| *byte == b'/').any(|name| name == b"..");
        let here_is_plain = self.server.path(seat.here).iter().all(|name| plain(name));
        let resolved = argument.starts_with(b"/") || (here_is_plain && !goes_up && !seat.moved);
        if self.narrow
            || !matches!(command.verb(), Verb::Size | Verb::Mkd)
            || argument.is_empty()
            || !plain(argument)
            || !resolved
        {
            return None;
        }
        Some(self.any_fits(&self.server.walk(self.seat, argument)) != self.denies)
    }
}

/// No command reaches what a rule for paths denies, or lies outside what it allows, whatever way its path is written and
/// wherever the session has gone; and what is plainly within is not refused.
pub fn paths(bytes: &[u8]) {
    let [how, first, second, third, rest @ ..] = bytes else { return };
    let denies = how & 1 == 0;
    let moves_are_ruled = denies && how & 2 != 0;
    // Two parts of each byte; a second pattern now and then.
    let part = |byte: u8| PARTS[usize::from(byte) % PARTS.len()];
    let mut patterns = vec![vec![part(first & 15), part(first >> 4)]];
    patterns[0].truncate(if how & 4 == 0 { 2 } else { 1 });
    if how & 8 != 0 {
        patterns[0].extend([part(second & 15), part(second >> 4)]);
    }
    if how & 16 != 0 {
        patterns.push(vec![part(third & 15), part(third >> 4)]);
    }
    let compiled = patterns.iter().map(|pattern| match PathPattern::new(&format!("/{}", pattern.join("/"))) {
        Ok(pattern) => pattern,
        Err(error) => panic!("{pattern:?}: {error}"),
    });
    let narrow = how & 16 == 0 && third & 1 != 0;
    let mut entries: Vec<&str> = match (narrow, denies) {
        (true, true) => vec!["write"],
        (true, false) => vec!["read"],
        (false, _) => GROUPS.to_vec(),
    };
    entries.extend(if denies && !narrow { &["admin"][..] } else { &[] });
    entries.extend(if moves_are_ruled { &["CWD", "CDUP", "XCWD", "XCUP"][..] } else { &[] });
    let entries = entries.into_iter().filter_map(|entry| Entry::parse(entry).ok()).collect::<Vec<_>>();
    let mut rule = CommandRule { paths: Some(compiled.collect()), ..CommandRule::default() };
    *(if denies { &mut rule.deny } else { &mut rule.allow }) = entries;
    let client = [192, 0, 2, 7].into();
    let rights =
        CommandRules::new(vec![rule]).rights(&Traveller { user: b"bob", host: None, client, listener: "public" });
    let policy = ProtectionPolicy {
        control: Requirement::Required,
        data: Requirement::Optional,
        clear_command_channel: ClearCommandChannel::Refuse,
        truncated_uploads: TruncatedUploads::Tolerate,
        data_resumption: DataResumption::Prefer,
    };
    let premises = Premises {
        policy,
        client,
        backend: [10, 0, 0, 1].into(),
        preference: DataPreference::Auto,
        back: Protection::Clear,
        rights,
        active: false,
        recorded: false,
    };
    let passage = || Passage {
        dialogue: Dialogue::new(premises.clone(), ProtectionState::implicit(), true),
        under_way: VecDeque::new(),
        transfers: VecDeque::new(),
        over: false,
    };
    let server = Server::new(how & 32 == 0, how & 64 != 0, how & 128 != 0);
    let mut street = Street {
        passages: [passage(), passage()],
        seat: 0,
        server,
        patterns,
        denies,
        moves_are_ruled,
        narrow,
        style: 0,
        passed: Vec::new(),
    };
    for line in rest.split(|byte| *byte == b'\n').take(MOST_COMMANDS) {
        let Some((style, line)) = line.split_first() else { continue };
        let Ok(command) = Command::parse(line) else { continue };
        street.seat = usize::from(style & 0x10 != 0);
        let passage = &street.passages[street.seat];
        if passage.over || line.iter().any(|byte| matches!(byte, b'\r' | 0)) {
            continue;
        }
        street.style = *style;
        street.passed.clear();
        let must_pass = street.must_pass(&command).filter(|_| street.passages[street.seat].under_way.is_empty());
        let verb = command.verb();
        if is_transfer(verb) {
            street.passages[street.seat].transfers.push_back(command.clone());
        }
        street.input(Input::Command(command));
        // The next may come before the reply to this.
        if style & 0x80 != 0 && street.passages[street.seat].dialogue.wants_commands() {
            continue;
        }
        street.server_says_all();
        if let Some(must_pass) = must_pass {
            let shown = String::from_utf8_lossy(line);
            assert_eq!(
                street.passed.contains(&verb),
                must_pass,
                "{shown:?} with {:?}, denied: {denies}",
                street.patterns
            );
        }
    }
    for seat in 0..2 {
        street.seat = seat;
        street.server_says_all();
    }
}
