//! Peers that take little at a time: receive buffers of a few kilobytes, which the gateway's writes do not fit into.

use crate::actor::{Manner, serve};
use crate::gateway::Gateway;
use crate::street::{BACKEND, Street, downloads, logged_in, uploads};

/// Linux makes it twice this, and offers half of that as the window: some two segments.
const TINY: usize = 2048;
const LENGTH: u64 = 1024 * 1024;

fn both_ways(client: Option<usize>, backend: Option<usize>) {
    if crate::left_out() {
        return;
    }
    let street = Street::build(None, None);
    let manner = Manner { buffer: backend, ..Manner::default() };
    let backend = serve(&street.backend, BACKEND, manner);
    let gateway = Gateway::start(&street.gateway, street.folder.path(), &backend, "");
    let tls = Street::trust(&gateway);
    street.client.inside(move || {
        let mut session = logged_in(&tls, client);
        downloads(&mut session, LENGTH, |_| ());
        uploads(&mut session, LENGTH, |_| ());
        assert!(session.asks("QUIT").starts_with("221 "));
    });
    gateway.is_empty();
}

#[test]
fn a_client_with_a_tiny_window() {
    both_ways(Some(TINY), None);
}

#[test]
fn a_backend_with_a_tiny_window() {
    both_ways(None, Some(TINY));
}

#[test]
fn tiny_windows_on_both_sides() {
    both_ways(Some(TINY), Some(TINY));
}
