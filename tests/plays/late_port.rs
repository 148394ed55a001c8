//! One passive port and a client that does not come: those of its address who can be told from it have the port all the
//! same (docs/one-port.md).

use tokio::io::AsyncWriteExt;

use crate::stage::{ClientTls, End, Guest, Setup, Stage, strays};

/// One that does not resume and has the port for itself, and one that resumes.
async fn old_and_resuming(stage: &Stage) -> (Guest, Guest) {
    let mut old = Guest::arrives(stage, "old", ClientTls::new().without_resumption()).await;
    old.downloads().await;
    let mut resuming = Guest::arrives(stage, "resuming", ClientTls::new()).await;
    resuming.downloads().await;
    (old, resuming)
}

/// Its own firewall is in the way, or it only asks. Those who resume wait for a moment, and no more.
#[tokio::test]
async fn who_asks_and_does_not_come_holds_up_nobody_who_resumes() {
    let stage = Stage::plain().await;
    let (mut old, mut resuming) = old_and_resuming(&stage).await;
    for _ in 0..2 {
        old.goes_passive().await;
        resuming.downloads().await;
    }
    // It hears why, and can have the port again.
    old.client.says("RETR old").await;
    let reply = old.client.refused(425, "port_needs_resumption").await;
    assert!(reply.text().contains("session reuse"), "{reply:?}");
    old.downloads().await;
}

/// A program that tries again when it could not connect, or malice: it does not begin its time anew.
#[tokio::test]
async fn who_asks_again_and_again_holds_up_nobody_who_resumes() {
    let stage = Stage::plain().await;
    let (mut old, mut resuming) = old_and_resuming(&stage).await;
    old.goes_passive().await;
    let asks = async {
        loop {
            old.goes_passive().await;
        }
    };
    tokio::select! {
        () = asks => unreachable!(),
        () = resuming.downloads() => {}
    }
}

/// The usual mistake: PROT P is forgotten, and 521 is the answer to the transfer.
#[tokio::test]
async fn who_forgot_to_protect_holds_up_nobody() {
    let stage = Stage::plain().await;
    let mut resuming = Guest::arrives(&stage, "resuming", ClientTls::new()).await;
    resuming.downloads().await;
    let mut forgetful = stage.client().await;
    forgetful.secures().await;
    let backend = stage.logs_in(&mut forgetful).await;
    let mut forgetful = Guest { name: "forgetful".to_owned(), client: forgetful, backend };
    let (address, door) = forgetful.goes_passive().await;
    forgetful.client.says("RETR forgetful").await;
    forgetful.client.refused(521, "data_protection_required").await;
    resuming.downloads().await;
    // What it did not say in time it can say still.
    forgetful.client.protects().await;
    let transfer = forgetful.begins("RETR", address, &door).await;
    forgetful.gets_its_own(transfer).await;
}

#[tokio::test]
async fn a_transfer_whose_client_does_not_come_holds_up_nobody_who_resumes() {
    let stage = Stage::plain().await;
    let (mut old, mut resuming) = old_and_resuming(&stage).await;
    let (_, door) = old.goes_passive().await;
    old.client.says("RETR old").await;
    let mut backend = door.accepts().await;
    old.backend.hears("RETR old").await;
    old.backend.says("150 Here it comes").await;
    old.client.hears("150 Here it comes").await;
    resuming.downloads().await;
    let reply = old.client.refused(425, "client_data_failed").await;
    assert!(reply.text().contains("wait for the port"), "{reply:?}");
    backend.ends().await;
    old.backend.says("426 Lost it").await;
    old.downloads().await;
}

/// Who comes to a backend that takes its time with the 150 has done nothing wrong.
#[tokio::test]
async fn a_client_whose_backend_is_slow_is_waited_for() {
    let stage = Stage::plain().await;
    let (mut old, mut resuming) = old_and_resuming(&stage).await;
    let (address, door) = old.goes_passive().await;
    old.client.says("RETR old").await;
    let backend = door.accepts().await;
    old.backend.hears("RETR old").await;
    resuming.client.says("PASV").await;
    resuming.client.refused(425, "passive_ports_exhausted").await;
    old.backend.says("150 Here it comes").await;
    old.client.hears("150 Here it comes").await;
    let client = old.client.opens(address).await;
    old.gets_its_own(crate::stage::Transfer { client, backend }).await;
    resuming.downloads().await;
}

/// What comes late has no claim on what another one awaits, also when that one has never been seen to resume.
#[tokio::test]
async fn who_comes_late_is_given_nothing_of_another() {
    for known in [true, false] {
        let stage = Stage::plain().await;
        let mut old = Guest::arrives(&stage, "old", ClientTls::new().without_resumption()).await;
        old.downloads().await;
        let mut other = Guest::arrives(&stage, "other", ClientTls::new()).await;
        if known {
            other.downloads().await;
        }
        let (address, _door) = old.goes_passive().await;
        let (_, door) = other.goes_passive().await;
        let mut late = old.client.opens(address).await;
        let secured = late.try_secure(&old.client.tls).await;
        strays(&stage, if known { "no_session" } else { "unproven" }, 1).await;
        assert!(secured.is_err() || late.ends().await != End::CloseNotify);
        let transfer = other.begins("RETR", address, &door).await;
        other.gets_its_own(transfer).await;
    }
}

/// Nobody could tell one from the other.
#[tokio::test]
async fn who_does_not_resume_has_no_port_of_another() {
    let stage = Stage::plain().await;
    let (mut old, _resuming) = old_and_resuming(&stage).await;
    let mut older = Guest::arrives(&stage, "older", ClientTls::new().without_resumption()).await;
    older.downloads().await;
    let (address, door) = old.goes_passive().await;
    older.client.says("PASV").await;
    older.client.refused(425, "port_needs_resumption").await;
    let transfer = old.begins("RETR", address, &door).await;
    old.gets_its_own(transfer).await;
}

/// It has connected already when it says PROT C, and in clear whoever waits for bytes says nothing.
#[tokio::test]
async fn who_has_come_before_prot_c_is_there() {
    let stage = Stage::start(Setup::new().with("tls", "data: optional")).await;
    let mut guests = Guest::several(&stage, ClientTls::new, 2).await;
    let (address, door) = guests[0].goes_passive().await;
    let client = guests[0].client.opens(address).await;
    guests[0].client.says_and_hears("PROT C", "200 ").await;
    let mut transfer = guests[0].commands("RETR", client, &door).await;
    transfer.backend.sends("in clear").await;
    transfer.backend.finishes().await;
    guests[0].backend.says("226 Sent").await;
    assert_eq!(transfer.client.receives_all().await, (b"in clear".to_vec(), End::Fin));
    guests[0].client.hears("226 ").await;
    // The other way around nothing is lost either.
    let (address, door) = guests[0].goes_passive().await;
    let client = guests[0].client.opens(address).await;
    let mut transfer = guests[0].commands("STOR", client, &door).await;
    transfer.client.wire.tcp_mut().write_all(b"in clear").await.unwrap();
    transfer.client.finishes().await;
    assert_eq!(transfer.backend.receives_all().await, (b"in clear".to_vec(), End::Fin));
    guests[0].backend.says("226 Stored").await;
    guests[0].client.hears("226 ").await;
}
