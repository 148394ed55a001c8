//! `access`: who may come.

use ipnet::IpNet;

use super::names::networks;
use super::read::{Reader, Section};
use crate::config::raw::Value;
use crate::policy::Access;

/// Which addresses may connect.
pub(super) fn access(reader: &mut Reader<'_>, section: Section<'_>) -> Access {
    Access::new(&list(reader, section, "allow"), &list(reader, section, "deny"))
}

/// `[]` says the same as no list. A key with nothing behind it is a problem: nobody knows what it was meant to say.
fn list(reader: &mut Reader<'_>, section: Section<'_>, key: &str) -> Vec<IpNet> {
    if section.get(key).is_some_and(|node| matches!(&node.value, Value::List(items) if items.is_empty())) {
        return Vec::new();
    }
    networks(reader, section, key).unwrap_or_default()
}
