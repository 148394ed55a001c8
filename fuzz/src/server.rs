//! A server's tree: who is in a folder is in it by its number, whatever it is called by now, and paths are read as real
//! servers do.

use ftps_gateway::ftp::{Command, Verb};

/// What is on the server, folders before what is in them.
const TREE: [&str; 20] = [
    "/a_b",
    "/in",
    "/in/a",
    "/in/a/s.csv",
    "/in/a/deep",
    "/in/a/deep/x",
    "/in/a/_b",
    "/in/a/_b/x",
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
/// Names that a server thinks of by itself.
const CHOSEN: [&[u8]; 4] = [b"ftpAbC", b"1", b"s.csv", b"x.csv"];
pub(super) type Names = Vec<Vec<u8>>;

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
pub(super) fn fits(pattern: &[impl AsRef<[u8]>], path: &[Vec<u8>]) -> bool {
    let Some((part, rest)) = pattern.split_first() else { return path.is_empty() };
    match (part.as_ref(), path.split_first()) {
        (b"**", None) => !rest.is_empty() && fits(rest, path),
        (b"**", Some((_, behind))) => rest.is_empty() || fits(rest, path) || fits(pattern, behind),
        (_, None) => false,
        (part, Some((name, behind))) => name_fits(part, name) && fits(rest, behind),
    }
}

/// What is done to what a deed is about.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Asks,
    /// It comes to be, or has other bytes or another time than before.
    Writes,
    /// It goes, or gets another name.
    Goes,
}

/// What a command does on the server.
pub(super) struct Deed {
    pub(super) kind: Kind,
    /// What it is about, and what moves or goes with it, or is listed.
    pub(super) touched: Vec<Names>,
    /// The folder that is listed, alone or with everything below it.
    pub(super) folder: Option<(Names, bool)>,
    /// Its path begins at the root.
    pub(super) from_the_root: bool,
}

/// A file or folder, by its number: its name, and where it lies.
struct Node {
    name: Vec<u8>,
    parent: usize,
}

/// One of two sessions of the same user, as the server has it.
#[derive(Default)]
pub(super) struct Seat {
    pub(super) here: usize,
    /// What RNFR was about, and its argument.
    renames: Option<(usize, Vec<u8>)>,
    /// The other session has moved it since it last said PWD.
    pub(super) moved: bool,
}

pub(super) struct Server {
    /// The root is the first, and its own parent.
    nodes: Vec<Node>,
    pub(super) seats: [Seat; 2],
    /// Not so: options are for it the names of what is listed.
    pub(super) has_options: bool,
    /// As Pure-FTPd does: `_` for control bytes, no second quote for one in a name.
    changes_bytes: bool,
    /// Blanks in front of a name and behind it are none of it.
    skips_blanks: bool,
}

/// Where a path leads: as far as there is something, and the names behind that.
#[derive(Clone)]
struct Place {
    node: usize,
    missing: Names,
}

impl Server {
    pub(super) fn new(has_options: bool, changes_bytes: bool, skips_blanks: bool) -> Self {
        let nodes = vec![Node { name: Vec::new(), parent: 0 }];
        let mut server = Self { nodes, seats: Default::default(), has_options, changes_bytes, skips_blanks };
        for path in TREE {
            let place = server.place(0, path.as_bytes());
            server.make(&place);
        }
        for seat in 0..2 {
            server.seats[seat].here = server.place(seat, b"/in/a").node;
        }
        server
    }

    fn child(&self, folder: usize, name: &[u8]) -> Option<usize> {
        (1..self.nodes.len()).find(|node| self.nodes[*node].parent == folder && self.nodes[*node].name == name)
    }

    pub(super) fn path(&self, mut node: usize) -> Names {
        let mut names = Names::new();
        while node != 0 {
            names.insert(0, self.nodes[node].name.clone());
            node = self.nodes[node].parent;
        }
        names
    }

    fn full(&self, place: &Place) -> Names {
        [self.path(place.node), place.missing.clone()].concat()
    }

    /// Makes what is missing.
    fn make(&mut self, place: &Place) -> usize {
        place.missing.iter().fold(place.node, |parent, name| {
            self.nodes.push(Node { name: name.clone(), parent });
            self.nodes.len() - 1
        })
    }

    /// As the server reads it.
    pub(super) fn read(&self, argument: &[u8]) -> Vec<u8> {
        let argument = if self.skips_blanks { argument.trim_ascii() } else { argument };
        let letter = |byte: &u8| if self.changes_bytes && byte.is_ascii_control() { b'_' } else { *byte };
        argument.iter().map(letter).collect()
    }

    fn place(&self, seat: usize, argument: &[u8]) -> Place {
        let argument = self.read(argument);
        let (node, path) = match &argument[..] {
            [b'~', rest @ ..] => {
                let end = rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len());
                (self.place(seat, HOME.as_bytes()).node, &rest[end..])
            }
            [b'/', rest @ ..] => (0, rest),
            _ => (self.seats[seat].here, &argument[..]),
        };
        let mut at = Place { node, missing: Names::new() };
        for name in path.split(|byte| *byte == b'/') {
            match name {
                b"" | b"." => {}
                b".." if at.missing.is_empty() => at.node = self.nodes[at.node].parent,
                b".." => drop(at.missing.pop()),
                name => match self.child(at.node, name).filter(|_| at.missing.is_empty()) {
                    Some(child) => at.node = child,
                    None => at.missing.push(name.to_vec()),
                },
            }
        }
        at
    }

    pub(super) fn walk(&self, seat: usize, argument: &[u8]) -> Names {
        self.full(&self.place(seat, argument))
    }

    pub(super) fn all(&self) -> impl Iterator<Item = Names> {
        (1..self.nodes.len()).map(|node| self.path(node))
    }

    pub(super) fn below(&self, folder: &[Vec<u8>]) -> Vec<Names> {
        self.all().filter(|path| path.starts_with(folder)).collect()
    }

    /// What is below a folder, as it would be called below another one.
    fn below_as(&self, folder: usize, name: &Names) -> Vec<Names> {
        let old = self.path(folder);
        let below = self.below(&old).into_iter().filter(|path| path.len() > old.len());
        below.map(|path| [&name[..], &path[old.len()..]].concat()).collect()
    }

    /// Who is in a folder, or below it, goes along with it.
    fn rename(&mut self, seat: usize, node: usize, to: &Place) {
        let ([name], to) = (&to.missing[..], to.node) else { return };
        let (mut above, mut itself) = (to, false);
        while above != 0 {
            itself |= above == node;
            above = self.nodes[above].parent;
        }
        if itself || node == 0 {
            return;
        }
        let before = self.path(self.seats[1 - seat].here);
        self.nodes[node] = Node { name: name.clone(), parent: to };
        self.seats[1 - seat].moved |= self.path(self.seats[1 - seat].here) != before;
    }

    /// What comes of a command, in all the ways in which servers read it.
    pub(super) fn hears(&mut self, seat: usize, command: &Command, style: u8) -> Vec<Deed> {
        let argument = command.argument();
        let kind = match command.verb() {
            Verb::List | Verb::Nlst | Verb::Mlsd | Verb::Stat => {
                return self.lists(seat, command.verb(), argument, style);
            }
            Verb::Stou => return self.stores_unique(seat, argument, style),
            Verb::Stor | Verb::Appe | Verb::Mkd | Verb::Xmkd | Verb::Mfmt => Kind::Writes,
            Verb::Dele | Verb::Rmd | Verb::Xrmd | Verb::Rnfr | Verb::Rnto => Kind::Goes,
            _ => Kind::Asks,
        };
        let blank = argument.iter().position(|byte| *byte == b' ');
        let name = match (command.verb(), blank) {
            (Verb::Mfmt, Some(blank)) => &argument[blank + 1..],
            _ => argument,
        };
        let from_the_root = self.read(name).starts_with(b"/");
        let source = self.looks_up_source(seat, command, style);
        let touched = self.does(seat, command, style);
        let mut deeds: Vec<Deed> =
            touched.map(|touched| Deed { kind, touched, folder: None, from_the_root }).into_iter().collect();
        deeds.extend(source);
        deeds.extend((command.verb() == Verb::Mdtm).then(|| self.sets_time(seat, argument)).flatten());
        deeds
    }

    /// What RNFR was about, as vsftpd and Pure-FTPd have it: they look its name up when RNTO comes.
    fn looks_up_source(&mut self, seat: usize, command: &Command, style: u8) -> Option<Deed> {
        if command.verb() != Verb::Rnto || !command.has_argument() || style & 0x20 == 0 {
            return None;
        }
        let (_, name) = self.seats[seat].renames.take()?;
        let place = self.place(seat, &name);
        let path = self.full(&place);
        self.seats[seat].renames = place.missing.is_empty().then_some((place.node, name.clone()));
        let from_the_root = self.read(&name).starts_with(b"/");
        Some(Deed { kind: Kind::Goes, touched: vec![path], folder: None, from_the_root })
    }

    /// MDTM as vsftpd has it: a digit in front, and a blank where a date or a time of day ends.
    fn sets_time(&self, seat: usize, argument: &[u8]) -> Option<Deed> {
        let argument = self.read(argument);
        let blank = argument.iter().position(|byte| *byte == b' ')?;
        let ends = matches!(blank, 8 | 14) || (blank > 15 && argument[14] == b'.');
        let name = &argument[blank + 1..];
        let from_the_root = name.starts_with(b"/");
        let touched = vec![self.walk(seat, name)];
        (ends && argument[0].is_ascii_digit()).then_some(Deed {
            kind: Kind::Writes,
            touched,
            folder: None,
            from_the_root,
        })
    }

    /// STOU: ProFTPD and Pure-FTPd store where they are, vsftpd and inetutils put something behind the argument, and
    /// pyftpdlib chooses a name in the folder of what the argument leads to.
    fn stores_unique(&self, seat: usize, argument: &[u8], style: u8) -> Vec<Deed> {
        let chosen = CHOSEN[usize::from(style) % CHOSEN.len()].to_vec();
        let stored = |path: Names, from_the_root| {
            let touched = vec![path];
            Deed { kind: Kind::Writes, touched, folder: None, from_the_root }
        };
        let mut here = self.path(self.seats[seat].here);
        here.push(chosen.clone());
        let mut deeds = vec![stored(here, false)];
        let argument = self.read(argument);
        if !argument.is_empty() {
            let from_the_root = argument.starts_with(b"/");
            deeds.push(stored(self.walk(seat, &[&argument[..], b".1"].concat()), from_the_root));
            let mut beside = self.walk(seat, &argument);
            beside.pop();
            beside.push(chosen);
            deeds.push(stored(beside, from_the_root));
        }
        deeds
    }

    /// What it touches, itself last.
    fn does(&mut self, seat: usize, command: &Command, style: u8) -> Option<Vec<Names>> {
        let argument = command.argument();
        let itself = |path: Names| Some(vec![path]);
        match command.verb() {
            // Whatever it says: it may have moved.
            Verb::Cwd | Verb::Xcwd | Verb::Cdup | Verb::Xcup => {
                let up = matches!(command.verb(), Verb::Cdup | Verb::Xcup);
                let to = self.place(seat, if up { b".." } else { argument });
                let path = self.full(&to);
                if style % 3 < 2 || style & 0x40 != 0 {
                    self.seats[seat].here = self.make(&to);
                }
                itself(path)
            }
            Verb::Rmd | Verb::Xrmd | Verb::Rnfr => {
                let place = self.place(seat, argument);
                let path = self.full(&place);
                let renames = command.verb() == Verb::Rnfr && place.missing.is_empty();
                if command.verb() == Verb::Rnfr {
                    self.seats[seat].renames = renames.then(|| (place.node, argument.to_vec()));
                }
                let mut touched = self.below(&path);
                touched.push(path);
                Some(touched)
            }
            // The gateway's own: nothing is renamed to nothing.
            Verb::Rnto if argument.is_empty() => None,
            Verb::Rnto => {
                let (place, renames) = (self.place(seat, argument), self.seats[seat].renames.take());
                let path = self.full(&place);
                let mut touched = renames.as_ref().map_or_else(Vec::new, |(node, _)| self.below_as(*node, &path));
                touched.push(path);
                if let Some((node, _)) = renames {
                    self.rename(seat, node, &place);
                }
                Some(touched)
            }
            Verb::Mkd | Verb::Xmkd => {
                let place = self.place(seat, argument);
                let path = self.full(&place);
                self.make(&place);
                itself(path)
            }
            Verb::Mfmt => match argument.iter().position(|byte| *byte == b' ').map(|at| &argument[at + 1..]) {
                Some(name) if !name.is_empty() => itself(self.walk(seat, name)),
                Some(_) | None => None,
            },
            Verb::Dele | Verb::Size | Verb::Mdtm | Verb::Retr | Verb::Stor | Verb::Appe => {
                itself(self.walk(seat, argument))
            }
            _ => None,
        }
    }

    pub(super) fn says(&mut self, seat: usize, verb: Verb, style: u8) -> Vec<u8> {
        if !matches!(verb, Verb::Pwd | Verb::Xpwd) {
            let says: &[u8] = match style % 3 {
                0 => b"200 ok\r\n",
                1 => b"250-ok\r\n250 \"/in\" ok\r\n",
                _ => b"550 no\r\n",
            };
            return says.to_vec();
        }
        self.seats[seat].moved = false;
        let path = [b"/", &self.path(self.seats[seat].here).join(&b'/')[..]].concat();
        let quote = if self.changes_bytes { 1 } else { 2 };
        let quoted = path.iter().flat_map(|byte| vec![*byte; if *byte == b'"' { quote } else { 1 }]);
        [&b"257 \""[..], &quoted.collect::<Vec<_>>(), b"\" is here\r\n"].concat()
    }
}
