//! Data connections: passive ports and their reservations, opening on both legs, relaying, closing.
//!
//! Invariants: a connection to a passive port goes to a reservation of its (port, client address) or nowhere, and where
//! several sessions hold one, to the session whose TLS session it offers; a stream is handed on only with a [`Claim`](crate::policy::Claim) or to the host of the control connection; the end
//! of a source is never taken for more than it was. Not in this room: when what happens (`session`).

mod advertise;
mod bandwidth;
mod open;
mod ports;
mod relay;
mod settings;

pub use advertise::{Advertise, LastKnown};
pub use bandwidth::{Bandwidth, Bandwidths, Share};
pub use open::{BackDoor, FrontDoor, OpenError, open_back, open_front};
pub use ports::{Arrival, PassivePorts, PortError, Reservation, Standing, Tenancy};
pub use relay::{Drained, Pump, PumpEnd, PumpReport, drain, pump_download, pump_upload};
pub use settings::{AdvertiseRule, Advertised, Settings, SourcePort};
