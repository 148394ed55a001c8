//! A TLS-terminating FTPS gateway. This page is the map: the rooms stand in the order in which they build on each
//! other, and a room imports only from rooms above it (`tests/house.rs` holds them to it).

pub mod app;
pub mod backend;
pub mod config;
pub mod data;
pub mod event;
pub mod ftp;
pub mod net;
pub mod policy;
pub mod server;
pub mod session;
pub mod telemetry;
pub mod tls;
