//! Rules for paths in front of a server that walks its tree as Unix does, or takes options for names.

use std::collections::VecDeque;

use ftps_gateway::backend::DataPreference;
use ftps_gateway::ftp::{Command, ReplyCutter, Verb};
use ftps_gateway::policy::{
    ClearCommandChannel, CommandRule, CommandRules, DataResumption, Entry, PathPattern, Protection, ProtectionPolicy,
    ProtectionState, Requirement, Traveller, TruncatedUploads,
};
use ftps_gateway::session::dialogue::{Dialogue, Input, Premises, Step};

/// What patterns are made of.
const PARTS: [&str; 14] =
    ["in", "out", "secret", "*", "**", "?????", "[!s]*", "*.csv", "s*", "a", "{in,out}", "x.csv", "pub", "*e*"];
/// What is on the server, folders before what is in them.
const TREE: [&str; 17] = [
    "/in",
    "/in/a",
    "/in/a/s.csv",
    "/in/a/deep",
    "/in/a/deep/x",
    "/in/s1",
    "/in/x.csv",
    "/out",
    "/out/a",
    "/out/secret",
    "/out/secret/x",
    "/secret",
    "/secret/x",
    "/pub",
    "/pub/in",
    "/pub/in/secret",
    "/pub/in/secret/a",
];
/// Where `~` is.
const HOME: &str = "/out";
const GROUPS: [&str; 4] = ["read", "write", "delete", "rename"];
const MOST_COMMANDS: usize = 60;

type Names = Vec<Vec<u8>>;

fn names(path: &[u8]) -> Names {
    path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).map(<[u8]>::to_vec).collect()
}

/// A name and a pattern of it, tried letter by letter.
fn name_fits(pattern: &[u8], name: &[u8]) -> bool {
    if let [b'{', inner @ .., b'}'] = pattern {
        return inner.split(|byte| *byte == b',').any(|one| name_fits(one, name));
    }
    if let Some(rest) = pattern.strip_prefix(b"[!s]") {
        return name.split_first().is_some_and(|(first, behind)| *first != b's' && name_fits(rest, behind));
    }
    match (pattern.split_first(), name.split_first()) {
        (None, _) => name.is_empty(),
        (Some((b'*', rest)), None) => name_fits(rest, name),
        (Some((b'*', rest)), Some((_, behind))) => name_fits(rest, name) || name_fits(pattern, behind),
        (Some(_), None) => false,
        (Some((b'?', rest)), Some((_, behind))) => name_fits(rest, behind),
        (Some((letter, rest)), Some((first, behind))) => letter == first && name_fits(rest, behind),
    }
}

/// A path and a pattern of it, name by name.
fn fits(pattern: &[impl AsRef<[u8]>], path: &[Vec<u8>]) -> bool {
    let Some((part, rest)) = pattern.split_first() else { return path.is_empty() };
    match (part.as_ref(), path.split_first()) {
        (b"**", None) => !rest.is_empty() && fits(rest, path),
        (b"**", Some((_, behind))) => rest.is_empty() || fits(rest, path) || fits(pattern, behind),
        (_, None) => false,
        (part, Some((name, behind))) => name_fits(part, name) && fits(rest, behind),
    }
}

/// What a command does on the server.
struct Deed {
    /// What it is about, and what moves or goes with it, or is listed.
    touched: Vec<Names>,
    /// The folder that is listed, alone or with everything below it.
    folder: Option<(Names, bool)>,
}

struct Server {
    here: Names,
    /// A LIST or STAT with options asks for files of such names.
    has_options: bool,
}

impl Server {
    fn walk(&self, argument: &[u8]) -> Names {
        let (mut at, path) = match argument {
            [b'~', rest @ ..] => {
                let end = rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len());
                (names(HOME.as_bytes()), &rest[end..])
            }
            [b'/', rest @ ..] => (Vec::new(), rest),
            _ => (self.here.clone(), argument),
        };
        for name in path.split(|byte| *byte == b'/') {
            match name {
                b"" | b"." => {}
                b".." => drop(at.pop()),
                name => at.push(name.to_vec()),
            }
        }
        at
    }

    fn below(&self, folder: &[Vec<u8>]) -> Vec<Names> {
        TREE.iter().map(|path| names(path.as_bytes())).filter(|path| path.starts_with(folder)).collect()
    }

    fn lists(&self, argument: &[u8]) -> Deed {
        let (mut rest, mut recursive) = (argument.trim_ascii_start(), false);
        while self.has_options && rest.starts_with(b"-") {
            let end = rest.iter().position(u8::is_ascii_whitespace).unwrap_or(rest.len());
            let option = &rest[..end];
            rest = rest[end..].trim_ascii_start();
            if option == b"--" {
                break;
            }
            recursive |= option.contains(&b'R') || option == b"--recursive";
        }
        let all = || TREE.iter().map(|path| names(path.as_bytes()));
        let asked = self.walk(if rest.is_empty() { b"." } else { rest });
        if asked.iter().flatten().any(|byte| b"*?[".contains(byte)) {
            let found = all().filter(|path| fits(&asked, path)).collect::<Vec<_>>();
            let within = found.iter().flat_map(|found| if recursive { self.below(found) } else { vec![found.clone()] });
            return Deed { touched: within.collect(), folder: None };
        }
        // What is not there shows nothing.
        if !asked.is_empty() && all().all(|path| path != asked) {
            return Deed { touched: Vec::new(), folder: None };
        }
        let mut found = self.below(&asked);
        found.retain(|path| path.len() == asked.len() + 1 || (recursive && path.len() > asked.len()));
        Deed { touched: found, folder: Some((asked, recursive)) }
    }

    /// What comes of a command.
    fn hears(&mut self, command: &Command, style: u8) -> Deed {
        let argument = command.argument();
        let itself = |path: Names| Deed { touched: vec![path], folder: None };
        match command.verb() {
            // Whatever it says: it may have moved.
            Verb::Cwd | Verb::Xcwd | Verb::Cdup | Verb::Xcup => {
                let up = matches!(command.verb(), Verb::Cdup | Verb::Xcup);
                let to = self.walk(if up { b".." } else { argument });
                if style % 3 < 2 || style & 0x40 != 0 {
                    self.here.clone_from(&to);
                }
                itself(to)
            }
            Verb::Stat => self.lists(argument),
            Verb::Rmd | Verb::Xrmd | Verb::Rnfr => {
                let path = self.walk(argument);
                let mut touched = self.below(&path);
                touched.push(path);
                Deed { touched, folder: None }
            }
            Verb::Mfmt => match argument.iter().position(|byte| *byte == b' ').map(|at| &argument[at + 1..]) {
                Some(name) if !name.is_empty() => itself(self.walk(name)),
                Some(_) | None => Deed { touched: Vec::new(), folder: None },
            },
            Verb::Dele | Verb::Size | Verb::Mdtm | Verb::Mkd | Verb::Xmkd | Verb::Rnto => itself(self.walk(argument)),
            _ => Deed { touched: Vec::new(), folder: None },
        }
    }

    fn says(&self, verb: Verb, style: u8) -> Vec<u8> {
        if !matches!(verb, Verb::Pwd | Verb::Xpwd) {
            let says: &[u8] = match style % 3 {
                0 => b"200 ok\r\n",
                1 => b"250-ok\r\n250 \"/in\" ok\r\n",
                _ => b"550 no\r\n",
            };
            return says.to_vec();
        }
        let path = [b"/", &self.here.join(&b'/')[..]].concat();
        let quoted = path.iter().flat_map(|byte| if *byte == b'"' { vec![b'"'; 2] } else { vec![*byte] });
        [&b"257 \""[..], &quoted.collect::<Vec<_>>(), b"\" is here\r\n"].concat()
    }
}

struct Street<'a> {
    dialogue: Dialogue,
    server: Server,
    patterns: Vec<Vec<&'a str>>,
    denies: bool,
    moves_are_ruled: bool,
    /// What the server has to say, in its order.
    under_way: VecDeque<Vec<u8>>,
    style: u8,
    /// Since the last line of the client.
    passed: Vec<Verb>,
    over: bool,
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
        self.dialogue.handle(input, &mut steps);
        for step in steps {
            match step {
                Step::Forward(cleared) => self.passes(cleared.command()),
                Step::Answer(_) | Step::Refuse(..) | Step::Pass(_) => {}
                _ => self.over = true,
            }
        }
    }

    /// A command has come through to the server.
    fn passes(&mut self, command: &Command) {
        self.passed.push(command.verb());
        let deed = self.server.hears(command, self.style);
        self.under_way.push_back(self.server.says(command.verb(), self.style));
        let moves = matches!(command.verb(), Verb::Cwd | Verb::Xcwd | Verb::Cdup | Verb::Xcup);
        let shown = format!("{:?} with {:?}", String::from_utf8_lossy(&command.to_wire()), self.patterns);
        match (self.denies, &deed.folder) {
            _ if moves && !self.moves_are_ruled => {}
            // A folder shows the names that are in it, and no more.
            (true, Some((folder, false))) => assert!(!self.any_fits_folder(folder), "{shown} lists what is denied"),
            // The shell has put their names for the pattern, and each is listed.
            (true, None) if command.verb() == Verb::Stat => {
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
            (false, None) if matches!(command.verb(), Verb::Rmd | Verb::Xrmd | Verb::Rnfr) => {
                assert!(deed.touched.last().is_none_or(|path| self.any_fits(path)), "{shown} is not allowed");
            }
            (false, None) => {
                assert!(deed.touched.iter().all(|path| self.any_fits(path)), "{shown} reaches what is not allowed");
            }
        }
    }

    fn server_says_all(&mut self) {
        let mut cutter = ReplyCutter::new(4096);
        while let Some(reply) = self.under_way.pop_front().filter(|_| !self.over) {
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
        let resolved = argument.starts_with(b"/") || self.server.here.iter().all(|name| plain(name));
        if !matches!(command.verb(), Verb::Size | Verb::Mkd) || argument.is_empty() || !plain(argument) || !resolved {
            return None;
        }
        Some(self.any_fits(&self.server.walk(argument)) != self.denies)
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
    let mut entries: Vec<&str> = GROUPS.to_vec();
    entries.extend(if denies { &["admin"][..] } else { &[] });
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
    let server = Server { here: names(b"/in/a"), has_options: how & 32 == 0 };
    let mut street = Street {
        dialogue: Dialogue::new(premises, ProtectionState::implicit(), true),
        server,
        patterns,
        denies,
        moves_are_ruled,
        under_way: VecDeque::new(),
        style: 0,
        passed: Vec::new(),
        over: false,
    };
    for line in rest.split(|byte| *byte == b'\n').take(MOST_COMMANDS) {
        let Some((style, line)) = line.split_first() else { continue };
        let Ok(command) = Command::parse(line) else { continue };
        if street.over || line.iter().any(|byte| matches!(byte, b'\r' | 0)) {
            continue;
        }
        street.style = *style;
        street.passed.clear();
        let must_pass = street.must_pass(&command).filter(|_| street.under_way.is_empty());
        let verb = command.verb();
        street.input(Input::Command(command));
        // The next may come before the reply to this.
        if style & 0x80 != 0 && street.dialogue.wants_commands() {
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
    street.server_says_all();
}
