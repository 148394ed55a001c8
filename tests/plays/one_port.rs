//! One passive port for several sessions of one address (docs/one-port.md): each gets its own bytes and nobody another's.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::stage::{ClientTls, DEADLINE, End, Guest, Setup, Stage, no_strays, strays};

/// All wait at the port at the same time, connect, and begin their handshakes in the other order.
async fn at_once(kind: impl Fn() -> ClientTls) {
    let stage = Stage::plain().await;
    let mut guests = Guest::several(&stage, kind, 5).await;
    for verb in ["RETR", "STOR", "RETR"] {
        let mut waiting = Vec::new();
        for guest in &mut guests {
            waiting.push(guest.goes_passive().await);
        }
        assert!(waiting.iter().all(|(address, _)| *address == waiting[0].0));
        let mut transfers = Vec::new();
        for (guest, (address, door)) in guests.iter_mut().zip(&waiting).rev() {
            transfers.push(guest.begins(verb, *address, door).await);
        }
        for (guest, transfer) in guests.iter_mut().rev().zip(transfers) {
            match verb {
                "RETR" => guest.gets_its_own(transfer).await,
                _ => guest.stores_its_own(transfer).await,
            }
        }
    }
    stage.counts("passive_ports{state=\"reserved\"}", 0).await;
    no_strays(&stage).await;
}

#[tokio::test]
async fn sessions_of_tls_1_3_share_a_port() {
    at_once(ClientTls::new).await;
}

#[tokio::test]
async fn sessions_of_tls_1_2_with_tickets_share_a_port() {
    at_once(ClientTls::tls12).await;
}

#[tokio::test]
async fn sessions_of_tls_1_2_with_session_numbers_share_a_port() {
    at_once(|| ClientTls::tls12().with_session_ids()).await;
}

/// Nothing is known of any of them.
#[tokio::test]
async fn new_sessions_share_a_port_when_they_resume() {
    let stage = Stage::plain().await;
    let mut waiting = Vec::new();
    for number in 0..3 {
        let mut guest = Guest::arrives(&stage, &format!("new-{number}"), ClientTls::new()).await;
        let (address, door) = guest.goes_passive().await;
        waiting.push((guest, address, door));
    }
    while let Some((mut guest, address, door)) = waiting.pop() {
        let transfer = guest.begins("RETR", address, &door).await;
        guest.gets_its_own(transfer).await;
    }
    no_strays(&stage).await;
}

/// The start of a connection comes in many segments, with everything else that a hello can have in front of its tickets.
#[tokio::test]
async fn a_hello_in_many_segments_is_told_too() {
    let stage = Stage::plain().await;
    let mut guests = Guest::several(&stage, ClientTls::new, 2).await;
    let mut waiting = Vec::new();
    for guest in &mut guests {
        waiting.push(guest.goes_passive().await);
    }
    for (guest, (address, door)) in guests.iter_mut().zip(&waiting) {
        let client = guest.client.opens(slow_street(*address).await).await;
        let transfer = guest.commands("RETR", client, door).await;
        guest.gets_its_own(transfer).await;
    }
    no_strays(&stage).await;
}

/// A way to the gateway on which what the client sends arrives in pieces of 50 bytes.
async fn slow_street(to: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (client, _) = listener.accept().await.unwrap();
        let gateway = TcpStream::connect(to).await.unwrap();
        gateway.set_nodelay(true).unwrap();
        let ((mut from_client, mut to_client), (mut from_gateway, mut to_gateway)) =
            (client.into_split(), gateway.into_split());
        let there = async {
            let mut block = [0; 50];
            while let Ok(read @ 1..) = from_client.read(&mut block).await {
                to_gateway.write_all(&block[..read]).await.unwrap();
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            let _ = to_gateway.shutdown().await;
        };
        tokio::join!(there, async {
            let _ = tokio::io::copy(&mut from_gateway, &mut to_client).await;
            let _ = to_client.shutdown().await;
        });
    });
    address
}

/// What a client sends first when it offers its session, as somebody on the wire sees it.
fn seen_hello(tls: &ClientTls) -> Vec<u8> {
    let mut session = tokio_rustls::rustls::ClientConnection::new(tls.config(), tls.name()).unwrap();
    let mut hello = Vec::new();
    session.write_tls(&mut hello).unwrap();
    hello
}

/// A thief who has seen a ticket on the wire sends it again. It cannot finish the handshake; what it came for goes to the
/// client whose it is, also when that comes later.
#[tokio::test]
async fn a_stolen_ticket_wins_nothing_and_uses_nothing_up() {
    for kind in [ClientTls::new, ClientTls::tls12] {
        let stage = Stage::plain().await;
        let mut guests = Guest::several(&stage, kind, 2).await;
        let stolen = seen_hello(&guests[0].client.tls);
        let mut waiting = Vec::new();
        for guest in &mut guests {
            waiting.push(guest.goes_passive().await);
        }
        let (victim, (address, door)) = (&mut guests[0], &waiting[0]);
        // One that gives up, and more of them that wait than there are places for.
        let mut thieves = Vec::new();
        for number in 0..7 {
            let mut thief = TcpStream::connect(*address).await.unwrap();
            thief.write_all(&stolen).await.unwrap();
            let mut answer = [0; 5];
            tokio::time::timeout(DEADLINE, thief.read_exact(&mut answer)).await.unwrap().unwrap();
            // A ServerHello: the handshake with the session has begun.
            assert_eq!(answer[0], 22);
            if number == 0 {
                thief.write_all(b"\x17\x03\x03\x00\x20 this is no Finished of anybody...").await.unwrap();
                strays(&stage, "unproven", 1).await;
            }
            thieves.push(thief);
        }
        strays(&stage, "crowded_out", 2).await;
        let transfer = victim.begins("RETR", *address, door).await;
        victim.gets_its_own(transfer).await;
        // They are sent away with nothing. What they see is a handshake, much less than the content.
        for mut thief in thieves {
            let mut seen = Vec::new();
            let _ = tokio::time::timeout(DEADLINE, thief.read_to_end(&mut seen)).await.unwrap();
            assert!(seen.len() < victim.content().len() / 2, "{} bytes", seen.len());
        }
        // The other waits still.
        let (other, (address, door)) = (&mut guests[1], &waiting[1]);
        let transfer = other.begins("RETR", *address, door).await;
        other.gets_its_own(transfer).await;
    }
}

/// It knows the ticket and none of its secret, so it begins a session of its own, with the ticket for an entrance card.
#[tokio::test]
async fn a_full_handshake_behind_a_stolen_ticket_wins_nothing() {
    let stage = Stage::plain().await;
    let mut guests = Guest::several(&stage, ClientTls::new, 2).await;
    let mut waiting = Vec::new();
    for guest in &mut guests {
        waiting.push(guest.goes_passive().await);
    }
    // With a name that the session does not have, rustls does not take up the session that is offered.
    let thief_tls = guests[0].client.tls.clone().nameless();
    let (victim, (address, door)) = (&mut guests[0], &waiting[0]);
    let mut thief = victim.client.opens(*address).await;
    thief.secures(&thief_tls).await;
    assert!(!thief.is_resumed());
    strays(&stage, "unproven", 1).await;
    let transfer = victim.begins("RETR", *address, door).await;
    victim.gets_its_own(transfer).await;
    assert_ne!(thief.ends().await, End::CloseNotify);
}

/// A late connection of one session must not get what another awaits, also when that one is the only one that waits.
#[tokio::test]
async fn a_late_connection_is_not_given_what_another_session_awaits() {
    let stage = Stage::plain().await;
    let mut guests = Guest::several(&stage, ClientTls::new, 2).await;
    let mut fresh = Guest::arrives(&stage, "fresh", ClientTls::new()).await;
    let (address, _door) = guests[1].goes_passive().await;
    guests[1].client.says_and_hears("ABOR", "226 ").await;
    guests[1].client.says("QUIT").await;
    guests[1].client.hears("221 ").await;
    guests[1].client.tls = guests[0].client.tls.clone();
    stage.counts("passive_ports{state=\"reserved\"}", 0).await;
    let (_, door) = fresh.goes_passive().await;
    let mut late = guests[0].client.opens(address).await;
    assert!(late.try_secure(&guests[0].client.tls).await.is_err());
    strays(&stage, "session_elsewhere", 1).await;
    let transfer = fresh.begins("RETR", address, &door).await;
    fresh.gets_its_own(transfer).await;
}

/// A client that does not resume hears so on a shared port, gets the port when it is free, and hears so when it is not.
#[tokio::test]
async fn a_session_that_does_not_resume_needs_a_port_of_its_own() {
    let stage = Stage::plain().await;
    let mut guests = Guest::several(&stage, ClientTls::new, 1).await;
    let resuming = &mut guests[0];
    let mut old = Guest::arrives(&stage, "old", ClientTls::new().without_resumption()).await;
    let (address, held) = resuming.goes_passive().await;
    let (_, door) = old.goes_passive().await;
    let mut transfer = old.begins("RETR", address, &door).await;
    transfer.client.secures(&old.client.tls).await;
    let text = old.is_refused(transfer, 522, "port_shared").await;
    assert!(text.contains("offered no session"), "{text}");
    strays(&stage, "unproven", 1).await;
    old.client.says("PASV").await;
    let reply = old.client.refused(425, "port_needs_resumption").await;
    assert!(reply.text().contains("session reuse"), "{reply:?}");
    // The other one's was never in danger, and when it is through, the port is free.
    let transfer = resuming.begins("RETR", address, &held).await;
    resuming.gets_its_own(transfer).await;
    old.downloads().await;
    // For as long as it has the port, nobody shares it; a moment later it is free.
    let (address, door) = old.goes_passive().await;
    resuming.client.says("PASV").await;
    let transfer = old.begins("RETR", address, &door).await;
    old.gets_its_own(transfer).await;
    let door = resuming.backend.goes_passive().await;
    resuming.client.hears("227 ").await;
    let transfer = resuming.begins("RETR", address, &door).await;
    resuming.gets_its_own(transfer).await;
}

#[tokio::test]
async fn with_a_port_for_each_session_nobody_needs_to_resume() {
    let stage = Stage::start(Setup::new().ports(2)).await;
    let mut guests = Vec::new();
    for name in ["old-1", "old-2"] {
        guests.push(Guest::arrives(&stage, name, ClientTls::new().without_resumption()).await);
    }
    for _ in 0..3 {
        let (first, first_door) = guests[0].goes_passive().await;
        let (second, second_door) = guests[1].goes_passive().await;
        assert_ne!(first, second);
        for (guest, (address, door)) in guests.iter_mut().zip([(first, first_door), (second, second_door)]) {
            let transfer = guest.begins("RETR", address, &door).await;
            guest.gets_its_own(transfer).await;
        }
    }
    no_strays(&stage).await;
}

/// Two old clients, of which nothing is known: whose a connection is that says nothing cannot be known, and both hear why.
#[tokio::test]
async fn what_may_be_of_two_is_nobodys() {
    let stage = Stage::plain().await;
    let mut waiting = Vec::new();
    for name in ["old-1", "old-2"] {
        let mut guest = Guest::arrives(&stage, name, ClientTls::new().without_resumption()).await;
        let (address, door) = guest.goes_passive().await;
        waiting.push((guest, address, door));
    }
    let mut guests = Vec::new();
    for (mut guest, address, door) in waiting {
        let mut transfer = guest.begins("RETR", address, &door).await;
        guests.push(async move {
            assert!(transfer.client.try_secure(&guest.client.tls).await.is_err());
            guest.is_refused(transfer, 522, "port_shared").await;
            guest
        });
    }
    let second = guests.pop().unwrap();
    let (mut first, mut second) = tokio::join!(guests.pop().unwrap(), second);
    strays(&stage, "no_session", 2).await;
    // Known for what they are, they go one after the other.
    first.downloads().await;
    second.downloads().await;
}

/// It could be anybody, and those who resume need not hear of strangers.
#[tokio::test]
async fn who_has_resumed_and_stops_to_is_a_stranger_on_a_shared_port() {
    let stage = Stage::start(Setup::new().with("timeouts", "data_connect: 1s")).await;
    let mut guests = Guest::several(&stage, ClientTls::new, 2).await;
    let mut waiting = Vec::new();
    for guest in &mut guests {
        waiting.push(guest.goes_passive().await);
    }
    let (address, door) = &waiting[0];
    let mut transfer = guests[0].begins("RETR", *address, door).await;
    assert!(transfer.client.try_secure(&ClientTls::new().without_resumption()).await.is_err());
    strays(&stage, "no_session", 1).await;
    guests[0].is_refused(transfer, 425, "client_data_failed").await;
    guests[0].downloads().await;
}

#[tokio::test]
async fn data_in_clear_shares_no_port() {
    let stage = Stage::start(Setup::new().with("tls", "data: optional")).await;
    let mut guests = Guest::several(&stage, ClientTls::new, 2).await;
    guests[1].client.says_and_hears("PROT C", "200 ").await;
    let (address, door) = guests[0].goes_passive().await;
    guests[1].client.says("PASV").await;
    let reply = guests[1].client.refused(425, "port_needs_protection").await;
    assert!(reply.text().contains("PROT P"), "{reply:?}");
    let transfer = guests[0].begins("RETR", address, &door).await;
    guests[0].gets_its_own(transfer).await;
    // By its address alone, when it is alone.
    let (address, door) = guests[1].goes_passive().await;
    let mut transfer = guests[1].begins("RETR", address, &door).await;
    transfer.backend.sends("in clear").await;
    transfer.backend.finishes().await;
    guests[1].backend.says("226 Sent").await;
    assert_eq!(transfer.client.receives_all().await, (b"in clear".to_vec(), End::Fin));
    guests[1].client.hears("226 ").await;
}

/// PROT C behind PASV, while others wait there too: the client hears at once why not, and need not try in vain.
#[tokio::test]
async fn what_goes_in_clear_after_all_is_refused_at_once_on_a_shared_port() {
    let stage = Stage::start(Setup::new().with("tls", "data: optional")).await;
    let mut guests = Guest::several(&stage, ClientTls::new, 2).await;
    let mut waiting = Vec::new();
    for guest in &mut guests {
        waiting.push(guest.goes_passive().await);
    }
    guests[0].client.says_and_hears("PROT C", "200 ").await;
    guests[0].client.says("RETR guest-0").await;
    let reply = guests[0].client.refused(425, "port_needs_protection").await;
    assert!(reply.text().contains("PROT P"), "{reply:?}");
    // The other has lost nothing.
    let (address, door) = &waiting[1];
    let transfer = guests[1].begins("RETR", *address, door).await;
    guests[1].gets_its_own(transfer).await;
    // Behind PROT P the first is as it was.
    guests[0].client.says_and_hears("PROT P", "200 ").await;
    guests[0].downloads().await;
}

/// PROT C behind PASV, and nobody else waits there: its address says whose it is, and nobody may join it any more.
#[tokio::test]
async fn what_goes_in_clear_after_all_is_taken_where_nobody_else_waits() {
    let stage = Stage::start(Setup::new().with("tls", "data: optional")).await;
    let mut guests = Guest::several(&stage, ClientTls::new, 2).await;
    let (address, door) = guests[0].goes_passive().await;
    guests[0].client.says_and_hears("PROT C", "200 ").await;
    guests[1].client.says("PASV").await;
    let mut transfer = guests[0].begins("RETR", address, &door).await;
    transfer.backend.sends("in clear").await;
    transfer.backend.finishes().await;
    guests[0].backend.says("226 Sent").await;
    assert_eq!(transfer.client.receives_all().await, (b"in clear".to_vec(), End::Fin));
    guests[0].client.hears("226 ").await;
    let door = guests[1].backend.goes_passive().await;
    guests[1].client.hears("227 ").await;
    let transfer = guests[1].begins("RETR", address, &door).await;
    guests[1].gets_its_own(transfer).await;
    no_strays(&stage).await;
}

/// A ticket is no proof, and in clear there will be none.
#[tokio::test]
async fn a_ticket_wins_nothing_that_goes_in_clear() {
    let stage = Stage::start(Setup::new().with("tls", "data: optional")).await;
    let mut guests = Guest::several(&stage, ClientTls::new, 2).await;
    let mut waiting = Vec::new();
    for guest in &mut guests {
        waiting.push(guest.goes_passive().await);
    }
    let stolen = seen_hello(&guests[0].client.tls);
    guests[0].client.says_and_hears("PROT C", "200 ").await;
    let mut thief = guests[0].client.opens(waiting[0].0).await;
    thief.wire.tcp_mut().write_all(&stolen).await.unwrap();
    guests[0].client.says("RETR guest-0").await;
    guests[0].client.refused(425, "port_needs_protection").await;
    assert_eq!(thief.ends().await, End::Fin);
}

/// What connects and then waits for the 150, while the backend says no: nobody knows whose it was, and it ends with FIN.
#[tokio::test]
async fn a_refused_transfers_connection_is_ended() {
    let stage = Stage::plain().await;
    let mut guests = Guest::several(&stage, ClientTls::new, 2).await;
    let (address, door) = guests[0].goes_passive().await;
    let mut data = guests[0].client.opens(address).await;
    guests[0].client.says("RETR nothing").await;
    door.accepts().await;
    guests[0].backend.hears_and_says("RETR nothing", "550 No such file").await;
    guests[0].client.hears("550 ").await;
    assert_eq!(data.ends().await, End::Fin);
    guests[0].downloads().await;
    guests[1].downloads().await;
}
