//! Reading the gateway's metrics, and waiting until they say something.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Stage;
use super::transcript::DEADLINE;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(5);

impl Stage {
    /// The value of a series, like `transfers_total{direction="upload",result="completed"}`; none when it is not there.
    pub(crate) fn number(&self, series: &str) -> Option<f64> {
        let page = self.metrics.render().unwrap();
        let name = format!("ftps_gateway_{series} ");
        page.lines().find_map(|line| line.strip_prefix(&name)).map(|value| value.parse().unwrap())
    }

    /// Waits until a series has this value.
    pub(crate) async fn counts(&self, series: &str, value: u32) {
        self.counts_until(series, |now| now == f64::from(value)).await;
    }

    /// Waits until a series has a value as wanted; one that is not there yet is 0.
    pub(crate) async fn counts_until(&self, series: &str, wanted: impl Fn(f64) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let now = self.number(series).unwrap_or_default();
            if wanted(now) {
                return;
            }
            if Instant::now() > deadline {
                let page = self.metrics.render().unwrap();
                let shown = |line: &&str| !line.starts_with('#') && !line.ends_with(" 0") && !line.contains("_bucket{");
                let page: Vec<&str> = page.lines().filter(shown).collect();
                panic!("waited in vain for {series}, which is {now}\n\n{}\n{}", self.transcript, page.join("\n"));
            }
            sleep(PAUSE).await;
        }
    }
}
