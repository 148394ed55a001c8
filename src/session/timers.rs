//! Deadlines of the command stage: how long each is, and when it begins anew.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::dialogue::{Input, Timer};
use super::settings::Timeouts;

/// After the backend's data has ended, its final reply decides how the client's data connection is closed.
const FINAL_REPLY: Duration = Duration::from_secs(3);
/// After the backend's 4xx or 5xx, the data's end is waited for.
const LAST_BYTES: Duration = Duration::from_secs(3);
/// A client that died closes its control connection too, in the same moment give or take the network.
const GRACE: Duration = Duration::from_millis(250);
/// In clear every upload ends with FIN, so everybody pays for the doubt.
const CLEAR_GRACE: Duration = Duration::from_millis(25);
/// After ABOR or a cut, a backend that has said one thing may say another. The client's next command waits for it, behind
/// Pure-FTPd each time; and a PWD that comes early does no harm, because its reply comes last all the same.
const QUIET: Duration = Duration::from_millis(500);

/// Sets the timer when what is waited for has changed.
pub(super) fn arm(timer: &mut Option<(Timer, Instant)>, wanted: Option<Timer>, timeouts: &Timeouts, reserved: Instant) {
    if timer.map(|(timer, _)| timer) == wanted {
        return;
    }
    *timer = wanted.map(|wanted| {
        let after = match wanted {
            Timer::Idle => timeouts.idle,
            Timer::BackendReply | Timer::UnheardReply => timeouts.backend_reply,
            Timer::DataConnect | Timer::Reservation => timeouts.data_connect,
            Timer::FinalReply => FINAL_REPLY,
            Timer::LastBytes => LAST_BYTES,
            Timer::Grace => GRACE,
            Timer::ClearGrace => CLEAR_GRACE,
            Timer::Quiet => QUIET,
        };
        // A reservation's time runs on, whatever is said in between.
        let since = if wanted == Timer::Reservation { reserved } else { Instant::now() };
        (wanted, since + after)
    });
}

/// Whether a timer is set again at the next turn: a command starts the idle time anew, and a final reply that the client
/// does not hear the time for the next one. A line that the client hears starts the backend's time anew as well; one that
/// it does not hear could be the next of a reply without an end.
pub(super) fn begins_anew(timer: Timer, input: &Input) -> bool {
    let command = matches!((timer, input), (Timer::Idle, Input::Command(_) | Input::Flawed(_)));
    let reply = matches!(
        (timer, input),
        (Timer::UnheardReply | Timer::Quiet, Input::Reply(line)) if line.last && !line.code.is_preliminary()
    );
    command || reply || matches!(input, Input::Expired(_))
}

/// The timer, when it has run out; never where there is none.
pub(super) async fn expiry(timer: Option<(Timer, Instant)>) -> Timer {
    match timer {
        Some((timer, at)) => {
            sleep_until(at).await;
            timer
        }
        None => std::future::pending().await,
    }
}
