//! Where things stand in a YAML text: the line of every node, and how a scalar is written.
//!
//! `serde_yaml` decides what the file says but keeps no positions. So the text is read a second time, and the two
//! trees are laid over each other (`raw`). Positions are a courtesy: where they cannot be had, problems come without.

use std::collections::HashMap;
use std::rc::Rc;

use saphyr_parser::{Event, Parser};

/// Where one node stands.
#[derive(Debug)]
pub(super) struct Position {
    /// From 1.
    pub(super) line: usize,
    /// A scalar as it is written, without quotes.
    pub(super) text: Option<String>,
    /// The items of a list; keys and values of a mapping in turn. An alias shares the children of its anchor, so that
    /// a small file cannot grow into a large tree.
    pub(super) children: Vec<Rc<Position>>,
}

/// The positions of the first document; `None` when this parser does not take the text.
pub(super) fn read(text: &str) -> Option<Rc<Position>> {
    let mut open: Vec<(Position, usize)> = Vec::new();
    let mut anchors: HashMap<usize, Rc<Position>> = HashMap::new();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.ok()?;
        let line = span.start.line();
        let (done, anchor) = match event {
            Event::SequenceStart(anchor, _) | Event::MappingStart(anchor, _) => {
                open.push((Position { line, text: None, children: Vec::new() }, anchor));
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let (position, anchor) = open.pop()?;
                (Rc::new(position), anchor)
            }
            Event::Scalar(text, _, anchor, _) => {
                (Rc::new(Position { line, text: Some(text.into_owned()), children: Vec::new() }), anchor)
            }
            Event::Alias(anchor) => (Rc::clone(anchors.get(&anchor)?), 0),
            Event::StreamEnd => return None,
            Event::Nothing | Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd => continue,
        };
        if anchor != 0 {
            anchors.insert(anchor, Rc::clone(&done));
        }
        match open.last_mut() {
            Some((parent, _)) => parent.children.push(done),
            None => return Some(done),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_values_have_their_lines() {
        let root = read("# first\na: 1.20\r\nb:\n  - x\n  - { c: 'd' }\n").unwrap();
        let lines: Vec<usize> = root.children.iter().map(|child| child.line).collect();
        assert_eq!(lines, [2, 2, 3, 4]);
        assert_eq!(root.children[1].text.as_deref(), Some("1.20"));
        let list = &root.children[3];
        assert_eq!((list.children[0].line, list.children[1].line), (4, 5));
    }

    #[test]
    fn an_alias_stands_where_its_anchor_does() {
        let root = read("a: &x [1]\nb: *x\n").unwrap();
        assert!(Rc::ptr_eq(&root.children[1], &root.children[3]));
    }
}
