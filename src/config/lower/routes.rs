//! `routes`: who goes to which backend.

use std::sync::Arc;

use super::names::{hold_everyone, host_glob, networks, user_glob};
use super::read::{EMPTY, Flaw, Read, Reader, Section};
use super::scalars::{text, write};
use crate::config::keys::nearest;
use crate::config::problems::{printable, quoted};
use crate::config::raw::Node;
use crate::policy::{Route, Routes};

/// The names that routes may speak of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known<'a> {
    /// Of all listeners.
    pub(super) listeners: &'a [Arc<str>],
    /// Of all backends.
    pub(super) backends: &'a [&'a str],
}

/// All routes. Without the key, one leads to the only backend.
pub(super) fn routes(reader: &mut Reader<'_>, root: Section<'_>, known: Known<'_>) -> Routes {
    if let ([first, _, ..], None) = (known.backends, root.get("routes")) {
        let remedy = format!("Write: routes: [{{ user: [\"a*\"], backend: {} }}, …]", printable(first));
        reader.required(root, "routes", &format!("With several backends they say who goes where. {remedy}"));
    }
    let Some(node) = root.get("routes") else {
        return Routes::new(known.backends.iter().map(|backend| catch_all(backend)).collect());
    };
    let mut routes = Vec::new();
    let mut everyone: Option<&Node> = None;
    for item in reader.list(node, EMPTY) {
        if let Some(before) = everyone {
            let what = format!("is never reached: {} takes everyone", before.path);
            reader.report(item, Flaw::new(what, "Move it up, or take it out."));
        }
        let Some(route) = route(reader, item, known) else { continue };
        if takes_everyone(&route) {
            everyone = everyone.or(Some(item));
        }
        routes.push(route);
    }
    Routes::new(routes)
}

fn catch_all(backend: &str) -> Route {
    Route { user: None, host: None, clients: None, listener: None, backend: backend.to_owned() }
}

fn route(reader: &mut Reader<'_>, item: &Node, known: Known<'_>) -> Option<Route> {
    let section = reader.section(item)?;
    let user = reader.each(section, "user", user_glob);
    let host = reader.each(section, "sni", host_glob);
    let clients = networks(reader, section, "clients");
    let listeners: Vec<&str> = known.listeners.iter().map(|name| &**name).collect();
    // One that is wrong is a condition all the same: what follows is not out of reach.
    let listener = section.get("listener");
    let listener = listener.map(|node| reader.keep(node, one_of(node, &listeners, "listener")).unwrap_or_default());
    let example = printable(known.backends.first().unwrap_or(&"legacy"));
    let node = reader.required(section, "backend", &format!("Write: backend: {example}"))?;
    let backend = reader.keep(node, one_of(node, known.backends, "backend"))?;
    Some(Route { user, host, clients, listener, backend })
}

/// A name that must exist.
pub(super) fn one_of(node: &Node, names: &[&str], what: &str) -> Read<String> {
    let name = text(node)?;
    if names.contains(&name) {
        return Ok(name.to_owned());
    }
    let printed: Vec<_> = names.iter().copied().map(printable).collect();
    let remedy = match nearest(name, names.iter().copied()) {
        Some(near) => write(node, &printable(near)),
        None => format!("There are: {}.", printed.join(", ")),
    };
    Err(Flaw::new(format!("there is no {what} {}", quoted(name)), remedy))
}

/// No condition, or conditions that always hold. A condition on SNI never does: clients may send none.
fn takes_everyone(route: &Route) -> bool {
    route.user.as_ref().is_none_or(|globs| globs.iter().any(|glob| glob.pattern() == "*"))
        && route.host.is_none()
        && route.clients.as_deref().is_none_or(hold_everyone)
        && route.listener.is_none()
}
