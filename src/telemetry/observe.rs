//! What becomes of an event.

use std::sync::Arc;

use super::audit::Audit;
use super::log::lines;
use super::metrics::Metrics;
use crate::event::{Event, Observer};

/// Turns each event into counters, a log line and a line of the audit file.
#[derive(Debug, Clone)]
pub struct Telemetry {
    metrics: Arc<Metrics>,
    audit: Arc<Audit>,
}

impl Telemetry {
    /// Counts in `metrics`, writes lines through `tracing`, and to the audit file once there is one.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        let audit = Arc::new(Audit::new(Arc::clone(&metrics)));
        Self { metrics, audit }
    }

    /// The audit file.
    pub fn audit(&self) -> &Arc<Audit> {
        &self.audit
    }

    /// Where it counts.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }
}

impl Observer for Telemetry {
    /// One arm for each event, and in it one line for each thing that takes events in: metrics, then the log, then the
    /// audit file.
    fn observe(&self, event: &Event<'_>) {
        let (metrics, audit) = (&*self.metrics, &*self.audit);
        match *event {
            Event::Turned { listener, client, refusal } => {
                metrics.turned(listener, refusal);
                lines::turned(listener, client, refusal);
                audit.turned(listener, client, refusal);
            }
            Event::Started { who } => {
                metrics.started(&who.listener);
                lines::started(who);
                audit.started(who);
            }
            Event::Handshake { who, handshake, detail } => {
                metrics.handshake(handshake);
                lines::handshake(who, handshake, detail);
                audit.handshake(who, &handshake, detail);
            }
            Event::ClientCertificate { who, subject, issuer, serial } => {
                lines::client_certificate(who, subject, serial);
                audit.client_certificate(who, subject, issuer, serial);
            }
            Event::Resumption { who, user, software, resumption, audited } => {
                metrics.resumption(resumption);
                lines::resumption(who, user, software, resumption, audited);
            }
            Event::Login { who, user, backend, result, second_factor } => {
                metrics.login(result);
                lines::login(who, user, backend, result);
                audit.login(who, user, backend, result, second_factor);
            }
            Event::Banned { who, ban, lasts } => {
                metrics.banned(ban.subject.kind());
                lines::banned(who, ban, lasts);
                audit.banned(who, ban, lasts);
            }
            Event::BanLifted { ban } => {
                metrics.ban_lifted(ban.subject.kind());
                lines::ban_lifted(ban);
                audit.ban_lifted(ban);
            }
            Event::Command { who, verb } => {
                metrics.command(verb);
                lines::command(who, verb);
            }
            Event::Reply { who: _, class } => metrics.reply(class),
            Event::Refused { who, user, object, verb, refusal } => {
                metrics.refused(refusal);
                lines::refused(who, user, object, verb, refusal);
                audit.refused(who, user, object, verb, refusal);
            }
            Event::Moved { direction, bytes } => metrics.moved(direction, bytes),
            Event::Data { who, leg, mode, outcome, detail } => {
                metrics.data(leg, mode, outcome);
                lines::data(who, leg, mode, outcome, detail);
            }
            Event::TransferStarted { direction } => metrics.transfer_started(direction),
            Event::Transferred { who, transfer, ran } => {
                metrics.transferred(transfer, ran);
                lines::transferred(who, transfer, ran);
                audit.transferred(who, transfer, ran);
            }
            Event::Changed { who, user, backend, change, code, result } => {
                lines::changed(who, (user, backend), change, (code, result));
                audit.changed(who, (user, backend), change, (code, result));
            }
            Event::MissingCloseNotify { who, leg, channel } => {
                metrics.missing_close_notify(leg, channel);
                lines::missing_close_notify(who, leg, channel);
            }
            Event::BackendProbed { backend, failed } => {
                metrics.backend_probed(backend, failed.map(|(failure, _)| failure));
                lines::backend_probed(backend, failed);
            }
            Event::BackendConnected { who, backend, took } => {
                metrics.backend_connected(backend, took);
                lines::backend_connected(who, backend, took);
            }
            Event::BackendFailed { who, backend, dialled, failure, detail } => {
                metrics.backend_failed(backend, dialled, failure);
                lines::backend_failed(who, backend, failure, detail);
            }
            Event::Stray { peer, port, stray } => {
                metrics.stray(stray);
                lines::stray(peer, port, stray);
            }
            Event::Ended { who, user, ended, lasted } => {
                metrics.ended(&who.listener, ended.why, lasted);
                lines::ended(who, user, ended, lasted);
                audit.ended(who, user, ended, lasted);
            }
            Event::Reloaded { accepted } => {
                metrics.reloaded(accepted);
                lines::reloaded(accepted);
                audit.reloaded(accepted);
            }
        }
    }

    fn can_record(&self) -> bool {
        self.audit.can_record()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::*;
    use crate::ftp::{CodeClass, Verb};
    use crate::policy::{Protection, Refusal, TransferKind};
    use std::time::Duration;

    fn who() -> Who {
        let client = "[::ffff:192.0.2.7]:4021".parse().unwrap();
        Who { session: SessionId(7), listener: "public".into(), client, via: Via::Direct }
    }

    static PARTICULARS: Particulars = Particulars { resolved: None, stored_as: None, offset: 0, ascii: false };

    fn transfer(result: TransferResult) -> Transfer<'static> {
        Transfer {
            user: b"anna",
            backend: "legacy",
            verb: Verb::Stor,
            path: b"in/a b.txt",
            kind: TransferKind::Upload,
            bytes: 4096,
            took: Duration::from_millis(1500),
            particulars: &PARTICULARS,
            front: Protection::Private,
            front_tls: None,
            back: Protection::Clear,
            close_notify_missing: false,
            result,
            code: 226,
        }
    }

    fn telemetry() -> Telemetry {
        Telemetry::new(Arc::new(Metrics::new().unwrap()))
    }

    #[track_caller]
    fn shows(telemetry: &Telemetry, series: &[&str]) {
        let page = telemetry.metrics().render().unwrap();
        for series in series {
            assert!(page.lines().any(|line| line == *series), "no line {series:?} in\n{page}");
        }
    }

    #[track_caller]
    fn hides(telemetry: &Telemetry, start: &str) {
        let page = telemetry.metrics().render().unwrap();
        assert!(!page.lines().any(|line| line.starts_with(start)), "a line {start:?} in\n{page}");
    }

    #[test]
    fn a_session_is_counted_from_start_to_end() {
        let (telemetry, who) = (telemetry(), who());
        telemetry.observe(&Event::Started { who: &who });
        shows(
            &telemetry,
            &[
                "ftps_gateway_sessions_active{listener=\"public\"} 1",
                "ftps_gateway_sessions_total{listener=\"public\",outcome=\"quit\"} 0",
            ],
        );
        let why = Why::Backend(BackendFailure::Timeout);
        let ended = Ended { by: By::Backend, during: Stage::Login, why };
        telemetry.observe(&Event::Ended { who: &who, user: None, ended, lasted: Duration::from_secs(2) });
        let refusal = Refusal::TooManySessions;
        telemetry.observe(&Event::Turned { listener: "public", client: who.client, refusal });
        shows(
            &telemetry,
            &[
                "ftps_gateway_sessions_active{listener=\"public\"} 0",
                "ftps_gateway_sessions_total{listener=\"public\",outcome=\"backend_timeout\"} 1",
                "ftps_gateway_session_duration_seconds_sum 2",
                "ftps_gateway_session_duration_seconds_bucket{le=\"5\"} 1",
                "ftps_gateway_session_duration_seconds_bucket{le=\"1\"} 0",
                "ftps_gateway_connections_refused_total{listener=\"public\",reason=\"too_many_sessions\"} 1",
            ],
        );
    }

    #[test]
    fn the_conversation_is_counted() {
        let (telemetry, who) = (telemetry(), who());
        for verb in [Verb::User, Verb::Other, Verb::Other, Verb::Xrmd] {
            telemetry.observe(&Event::Command { who: &who, verb });
        }
        telemetry.observe(&Event::Reply { who: &who, class: CodeClass::PermanentNegative });
        telemetry.observe(&Event::Refused {
            who: &who,
            user: None,
            object: None,
            verb: Verb::Port,
            refusal: Refusal::ForeignAddress,
        });
        let (user, backend) = (b"anna", Some("legacy"));
        telemetry.observe(&Event::Login {
            who: &who,
            user,
            backend,
            result: LoginResult::Rejected,
            second_factor: false,
        });
        shows(
            &telemetry,
            &[
                "ftps_gateway_commands_total{verb=\"ABOR\"} 0",
                "ftps_gateway_commands_total{verb=\"USER\"} 1",
                "ftps_gateway_commands_total{verb=\"XRMD\"} 1",
                "ftps_gateway_commands_total{verb=\"other\"} 2",
                "ftps_gateway_replies_total{class=\"2xx\"} 0",
                "ftps_gateway_replies_total{class=\"5xx\"} 1",
                "ftps_gateway_commands_refused_total{reason=\"foreign_address\"} 1",
                "ftps_gateway_logins_total{result=\"accepted\"} 0",
                "ftps_gateway_logins_total{result=\"rejected\"} 1",
            ],
        );
    }

    #[test]
    fn a_transfer_moves_its_bytes_while_it_runs() {
        let (telemetry, who) = (telemetry(), who());
        let direction = Direction::Upload;
        telemetry.observe(&Event::TransferStarted { direction });
        telemetry.observe(&Event::Moved { direction, bytes: 4000 });
        telemetry.observe(&Event::Moved { direction, bytes: 96 });
        shows(
            &telemetry,
            &[
                "ftps_gateway_transfers_active{direction=\"upload\"} 1",
                "ftps_gateway_transfer_bytes_total{direction=\"upload\"} 4096",
                "ftps_gateway_transfer_bytes_total{direction=\"download\"} 0",
            ],
        );
        let done = transfer(TransferResult::Completed);
        telemetry.observe(&Event::Transferred { who: &who, transfer: &done, ran: true });
        let refused = transfer(TransferResult::BackendRefused);
        telemetry.observe(&Event::Transferred { who: &who, transfer: &refused, ran: false });
        shows(
            &telemetry,
            &[
                "ftps_gateway_transfers_active{direction=\"upload\"} 0",
                "ftps_gateway_transfers_total{direction=\"upload\",result=\"completed\"} 1",
                "ftps_gateway_transfers_total{direction=\"upload\",result=\"backend_refused\"} 1",
                "ftps_gateway_transfers_total{direction=\"download\",result=\"completed\"} 0",
                "ftps_gateway_transfer_duration_seconds_count{direction=\"upload\"} 1",
                "ftps_gateway_transfer_duration_seconds_sum{direction=\"upload\"} 1.5",
            ],
        );
    }

    #[test]
    fn connections_and_handshakes_are_counted() {
        let (telemetry, who) = (telemetry(), who());
        let handshake = Handshake {
            leg: Leg::Front,
            channel: Channel::Data,
            version: TlsVersion::Tls13,
            kind: HandshakeKind::Resumed,
            result: HandshakeResult::Ok,
            cipher: None,
        };
        hides(&telemetry, "ftps_gateway_tls_handshakes_total{");
        telemetry.observe(&Event::Handshake { who: &who, handshake, detail: "" });
        let (user, software, resumption) = (b"anna", None, Resumption::OtherSession);
        telemetry.observe(&Event::Resumption { who: &who, user, software, resumption, audited: true });
        let (leg, mode, outcome) = (Leg::Back, DataMode::Epsv, DataOutcome::ConnectFailed);
        telemetry.observe(&Event::Data { who: &who, leg, mode, outcome, detail: "reset" });
        telemetry.observe(&Event::MissingCloseNotify { who: &who, leg: Leg::Front, channel: Channel::Control });
        telemetry.observe(&Event::Stray { peer: who.client, port: 50000, stray: Stray::NoReservation });
        shows(
            &telemetry,
            &[
                "ftps_gateway_tls_handshakes_total{channel=\"data\",kind=\"resumed\",leg=\"front\",result=\"ok\",version=\"1.3\"} 1",
                "ftps_gateway_data_resumptions_total{cause=\"other_session\"} 1",
                "ftps_gateway_data_connections_total{leg=\"back\",mode=\"epsv\",outcome=\"connect_failed\"} 1",
                "ftps_gateway_data_connections_total{leg=\"front\",mode=\"pasv\",outcome=\"opened\"} 0",
                "ftps_gateway_missing_close_notify_total{channel=\"control\",leg=\"front\"} 1",
                "ftps_gateway_stray_connections_total{cause=\"no_reservation\"} 1",
            ],
        );
    }

    #[test]
    fn a_backend_is_up_as_the_last_dial_says() {
        let (telemetry, who) = (telemetry(), who());
        telemetry.metrics().set_backends(["legacy", "new"]);
        let failed =
            |dialled, failure| Event::BackendFailed { who: &who, backend: "legacy", dialled, failure, detail: "" };
        let up = "ftps_gateway_backend_up{backend=\"legacy\"}";
        hides(&telemetry, "ftps_gateway_backend_up{");
        shows(&telemetry, &["ftps_gateway_backend_failures_total{backend=\"new\",reason=\"reset\"} 0"]);
        let took = Duration::from_millis(4);
        telemetry.observe(&Event::BackendConnected { who: &who, backend: "legacy", took });
        telemetry.observe(&failed(false, BackendFailure::Reset));
        shows(
            &telemetry,
            &[
                &format!("{up} 1"),
                "ftps_gateway_backend_connect_duration_seconds_bucket{backend=\"legacy\",le=\"0.005\"} 1",
                "ftps_gateway_backend_failures_total{backend=\"legacy\",reason=\"reset\"} 1",
            ],
        );
        telemetry.observe(&failed(true, BackendFailure::Closed));
        shows(&telemetry, &[&format!("{up} 0")]);
        telemetry.observe(&Event::BackendProbed { backend: "legacy", failed: None });
        shows(&telemetry, &[&format!("{up} 1")]);
        telemetry.observe(&Event::BackendProbed { backend: "legacy", failed: Some((BackendFailure::Timeout, "late")) });
        shows(
            &telemetry,
            &[&format!("{up} 0"), "ftps_gateway_backend_failures_total{backend=\"legacy\",reason=\"timeout\"} 1"],
        );
        telemetry.metrics().set_backends(["new"]);
        telemetry.observe(&failed(true, BackendFailure::Refused));
        hides(&telemetry, up);
        telemetry.metrics().set_backends(["legacy"]);
        telemetry.observe(&Event::BackendConnected { who: &who, backend: "legacy", took });
        shows(&telemetry, &[&format!("{up} 1")]);
    }

    #[test]
    fn reloads_certificates_and_ports_are_told() {
        let telemetry = telemetry();
        let metrics = telemetry.metrics();
        shows(&telemetry, &["ftps_gateway_config_last_reload_successful 1"]);
        hides(&telemetry, "ftps_gateway_passive_ports{");
        metrics.set_listeners(["implicit"]);
        metrics.watch_passive_ports(|| (98, 2));
        metrics.set_certificates(&[("old".to_owned(), 1), ("both".to_owned(), 2)]);
        metrics.set_certificates(&[("both".to_owned(), 1_900_000_000)]);
        metrics.set_reload(true, std::time::UNIX_EPOCH + Duration::from_secs(1_800_000_000));
        telemetry.observe(&Event::Reloaded { accepted: false });
        shows(
            &telemetry,
            &[
                "ftps_gateway_sessions_active{listener=\"implicit\"} 0",
                "ftps_gateway_passive_ports{state=\"free\"} 98",
                "ftps_gateway_passive_ports{state=\"reserved\"} 2",
                "ftps_gateway_certificate_not_after_timestamp_seconds{certificate=\"both\"} 1900000000",
                "ftps_gateway_config_last_reload_successful 0",
                "ftps_gateway_config_last_reload_success_timestamp_seconds 1800000000",
                "ftps_gateway_config_reloads_total{result=\"refused\"} 1",
                "ftps_gateway_config_reloads_total{result=\"accepted\"} 0",
            ],
        );
        hides(&telemetry, "ftps_gateway_certificate_not_after_timestamp_seconds{certificate=\"old\"");
    }
}
