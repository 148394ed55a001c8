//! From a name to a registered metric.

use prometheus::core::Collector;
use prometheus::{Error, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry};

use super::names::Name;

/// A registry that is being filled.
pub(super) struct Register(Registry);

impl Register {
    /// With the figures of the process itself: processor time, memory, file descriptors, threads.
    pub(super) fn new() -> Result<Self, Error> {
        let register = Self(Registry::new());
        #[cfg(target_os = "linux")]
        register.0.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        Ok(register)
    }

    pub(super) fn counter(&self, name: &Name) -> Result<IntCounter, Error> {
        self.take(IntCounter::with_opts(name.opts())?)
    }

    pub(super) fn counters(&self, name: &Name) -> Result<IntCounterVec, Error> {
        self.take(IntCounterVec::new(name.opts(), name.labels)?)
    }

    pub(super) fn gauge(&self, name: &Name) -> Result<IntGauge, Error> {
        self.take(IntGauge::with_opts(name.opts())?)
    }

    pub(super) fn gauges(&self, name: &Name) -> Result<IntGaugeVec, Error> {
        self.take(IntGaugeVec::new(name.opts(), name.labels)?)
    }

    pub(super) fn histogram(&self, name: &Name) -> Result<Histogram, Error> {
        self.take(Histogram::with_opts(name.histogram_opts())?)
    }

    pub(super) fn histograms(&self, name: &Name) -> Result<HistogramVec, Error> {
        self.take(HistogramVec::new(name.histogram_opts(), name.labels)?)
    }

    /// The registry, filled.
    pub(super) fn done(self) -> Registry {
        self.0
    }

    fn take<C: Collector + Clone + 'static>(&self, collector: C) -> Result<C, Error> {
        self.0.register(Box::new(collector.clone()))?;
        Ok(collector)
    }
}
