//! What no event tells: asked for at each scrape, or copied when it changes.

use prometheus::{Error, IntCounter, IntGaugeVec};

use super::names;
use super::registry::Register;
use crate::policy::BanKind;

/// Passive ports, bans, lost lines of the log, and certificates.
pub(super) struct Pulled {
    passive_ports: IntGaugeVec,
    count_ports: Option<Box<dyn Fn() -> (usize, usize) + Send + Sync>>,
    bans: IntGaugeVec,
    count_bans: Option<Box<dyn Fn() -> [usize; 3] + Send + Sync>>,
    log_lines_lost: IntCounter,
    count_lost_lines: Option<Box<dyn Fn() -> u64 + Send + Sync>>,
    certificate_not_after: IntGaugeVec,
}

impl Pulled {
    /// Nothing is known yet, so nothing is shown.
    pub(super) fn new(register: &Register) -> Result<Self, Error> {
        Ok(Self {
            passive_ports: register.gauges(&names::PASSIVE_PORTS)?,
            count_ports: None,
            bans: register.gauges(&names::BANS_ACTIVE)?,
            count_bans: None,
            log_lines_lost: register.counter(&names::LOG_LINES_LOST)?,
            count_lost_lines: None,
            certificate_not_after: register.gauges(&names::CERTIFICATE_NOT_AFTER)?,
        })
    }

    /// Asks for what changes by itself.
    pub(super) fn refresh(&self) {
        if let Some(count) = &self.count_bans {
            for (kind, bans) in BanKind::ALL.iter().zip(count()) {
                self.bans.with_label_values(&[kind.label()]).set(i64::try_from(bans).unwrap_or(i64::MAX));
            }
        }
        if let Some(count) = &self.count_lost_lines {
            self.log_lines_lost.inc_by(count().saturating_sub(self.log_lines_lost.get()));
        }
        let Some(count) = &self.count_ports else { return };
        let (free, reserved) = count();
        for (state, ports) in [("free", free), ("reserved", reserved)] {
            self.passive_ports.with_label_values(&[state]).set(i64::try_from(ports).unwrap_or(i64::MAX));
        }
    }

    pub(super) fn watch_passive_ports(&mut self, count: impl Fn() -> (usize, usize) + Send + Sync + 'static) {
        self.count_ports = Some(Box::new(count));
    }

    pub(super) fn watch_bans(&mut self, count: impl Fn() -> [usize; 3] + Send + Sync + 'static) {
        self.count_bans = Some(Box::new(count));
    }

    pub(super) fn watch_log(&mut self, lost: impl Fn() -> u64 + Send + Sync + 'static) {
        self.count_lost_lines = Some(Box::new(lost));
    }

    pub(super) fn set_certificates(&self, certificates: &[(String, i64)]) {
        self.certificate_not_after.reset();
        for (name, not_after) in certificates {
            self.certificate_not_after.with_label_values(&[name]).set(*not_after);
        }
    }
}
