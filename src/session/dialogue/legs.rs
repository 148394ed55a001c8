//! News of the two data connections of a transfer, or of what has been arranged for one.

use super::transfer::Back;
use super::{BackNews, Dialogue, Front, FrontNews, Phase, Step};
use crate::event::{DataOutcome, Resumption, TransferResult};
use crate::policy::{DataResumption, Protection};

impl Dialogue {
    pub(super) fn front_news(&mut self, news: FrontNews, steps: &mut Vec<Step>) {
        let resumption_required = self.premises.policy.data_resumption == DataResumption::Require;
        let (front, protection) = match (&mut self.phase, &mut self.arranged) {
            (Phase::Transfer(transfer), _) => (&mut transfer.front, transfer.protection),
            (Phase::Arranging(arranging), _) => {
                if matches!(news, FrontNews::Arrived { .. }) {
                    arranging.arrived = Some(news);
                }
                return;
            }
            (_, Some(arranged)) => (&mut arranged.front, self.protection.protection()),
            (_, None) => return,
        };
        match news {
            FrontNews::Arrived { must_resume } => match protection {
                Protection::Private => {
                    *front = Front::Securing;
                    steps.push(Step::SecureFront);
                }
                Protection::Clear => *front = Front::Arrived { must_resume },
            },
            FrontNews::Secured(resumption) if resumption_required && resumption != Resumption::Resumed => {
                *front = Front::Failed(TransferResult::ClientNotResumed, resumption.text());
            }
            FrontNews::Secured(_) => *front = Front::Ready,
            FrontNews::NotResumed(resumption) => {
                let result =
                    if resumption_required { TransferResult::ClientNotResumed } else { TransferResult::PortShared };
                *front = Front::Failed(result, resumption.text());
            }
            FrontNews::Untold if protection == Protection::Clear => *front = Front::Untold,
            // It is private again.
            FrontNews::Untold => {}
            FrontNews::Lapsed(refusal) => *front = Front::Lapsed(refusal),
            FrontNews::Failed(outcome) => *front = Front::Failed(failure_of(outcome), outcome.text()),
            FrontNews::TlsFailed(result) => *front = Front::Failed(TransferResult::ClientTlsFailed, result.text()),
            FrontNews::Closed { whole } => self.front_closed(whole, steps),
        }
        self.advance(steps);
    }

    pub(super) fn back_news(&mut self, news: BackNews, steps: &mut Vec<Step>) {
        let Phase::Transfer(transfer) = &mut self.phase else { return };
        match news {
            BackNews::Opened => {
                transfer.back = Back::Open;
                if !transfer.forwarded {
                    transfer.forwarded = true;
                    let kind = transfer.kind;
                    steps.push(Step::Forward(transfer.cleared.clone()));
                    self.use_restart(kind);
                }
            }
            BackNews::Secured => transfer.back = Back::Ready,
            BackNews::Failed(_) => self.fail(TransferResult::BackendDataFailed, None, steps),
            BackNews::Closed { whole } => self.back_closed(whole, steps),
        }
        self.advance(steps);
    }
}

fn failure_of(outcome: DataOutcome) -> TransferResult {
    match outcome {
        DataOutcome::TlsFailed => TransferResult::ClientTlsFailed,
        DataOutcome::NotResumed => TransferResult::ClientNotResumed,
        DataOutcome::Opened | DataOutcome::Timeout | DataOutcome::ConnectFailed | DataOutcome::Unused => {
            TransferResult::ClientDataFailed
        }
    }
}
