//! A TLS-terminating FTPS gateway. This page is the map: the rooms stand in the order in which they build on each
//! other, and a room imports only from rooms above it (`tests/house.rs` holds them to it).

pub mod ftp;
pub mod policy;
pub mod event;
pub mod net;
pub mod tls;
pub mod data;
pub mod backend;
pub mod session;
pub mod server;
pub mod telemetry;
pub mod config;
pub mod app;
