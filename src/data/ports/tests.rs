//! Reservations and arrivals, with sockets and without sessions.

use super::*;
use crate::event::{Resumption, Unobserved};
use tokio::net::TcpStream;

const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
const PATIENCE: Duration = Duration::from_secs(5);

/// Ports next to each other need not be free: these are.
fn ports(count: usize) -> PassivePorts {
    let observer: Arc<dyn Observer> = Arc::new(Unobserved);
    loop {
        let first = std::net::TcpListener::bind((HERE, 0)).unwrap().local_addr().unwrap().port();
        let last = first.saturating_add(u16::try_from(count - 1).unwrap());
        match PassivePorts::bind(&(first..=last), &[HERE], &observer) {
            Ok(ports) if ports.ports().len() == count => return ports,
            Ok(_) | Err(_) => {}
        }
    }
}

async fn connection(reservation: &mut Reservation) -> (TcpStream, crate::policy::Claim) {
    match reservation.arrived().await.unwrap() {
        Arrival::Connection(stream, claim) => (stream, claim),
        Arrival::Anonymous(_) | Arrival::Lapsed(_) => panic!("no connection"),
    }
}

#[tokio::test]
async fn a_connection_goes_to_its_reservation_and_once_only() {
    let ports = ports(1);
    let session = ports.join(HERE, None);
    let mut reservation = session.reserve(Mark::Unknown, PATIENCE).await.unwrap();
    let client = TcpStream::connect((HERE, reservation.port())).await.unwrap();
    let (_, claim) = connection(&mut reservation).await;
    assert_eq!((claim.peer(), claim.must_resume()), (client.local_addr().unwrap(), false));
    assert_eq!(ports.usage(), (1, 0));
    assert!(reservation.arrived().await.is_err());
}

#[tokio::test]
async fn a_client_gets_each_port_once_before_it_shares_one_and_another_client_gets_them_too() {
    let ports = ports(2);
    let session = || ports.join(HERE, None);
    let (first, second, third) = (session(), session(), session());
    let one = first.reserve(Mark::Unknown, PATIENCE).await.unwrap();
    let two = second.reserve(Mark::Unknown, PATIENCE).await.unwrap();
    assert_ne!(one.port(), two.port());
    let (unmarked, silent) =
        tokio::join!(third.reserve(Mark::Unmarked, PATIENCE), third.reserve(Mark::Clear, PATIENCE));
    assert_eq!(unmarked.unwrap_err(), Refusal::PortNeedsResumption);
    assert_eq!(silent.unwrap_err(), Refusal::PortNeedsProtection);
    let began = Instant::now();
    assert!(third.reserve(Mark::Unknown, PATIENCE).await.is_ok());
    assert!(began.elapsed() >= MOMENT);
    assert!(third.reserve(Mark::Resumes, PATIENCE).await.is_ok());
    let elsewhere = ports.join("192.0.2.1".parse().unwrap(), None);
    assert!(elsewhere.reserve(Mark::Clear, PATIENCE).await.is_ok());
    assert_eq!(ports.usage(), (0, 2));
    drop(one);
    assert_eq!(ports.usage(), (1, 1));
    assert!(third.reserve(Mark::Clear, PATIENCE).await.is_ok());
}

#[tokio::test]
async fn beside_a_session_that_says_nothing_nobody_waits() {
    let ports = ports(1);
    let (silent, resumes) = (ports.join(HERE, None), ports.join(HERE, None));
    let held = silent.reserve(Mark::Unmarked, PATIENCE).await.unwrap();
    assert_eq!(resumes.reserve(Mark::Resumes, PATIENCE).await.unwrap_err(), Refusal::PassivePortsExhausted);
    // Most reservations are short. Nothing but the clock is waited for here, and it is moved by hand.
    tokio::time::pause();
    let (reserved, ()) = tokio::join!(resumes.reserve(Mark::Resumes, PATIENCE), async {
        tokio::time::advance(WHILE / 2).await;
        drop(held);
    });
    assert!(reserved.is_ok());
}

#[tokio::test]
async fn a_stranger_among_several_is_dropped_and_those_it_may_have_been_hear_of_it() {
    use tokio::io::AsyncReadExt;
    let ports = ports(1);
    let sessions = [(); 3].map(|()| ports.join(HERE, None));
    let mut unknown = sessions[0].reserve(Mark::Resumes, PATIENCE).await.unwrap();
    let mut others = Vec::new();
    for session in &sessions[1..] {
        others.push(session.reserve(Mark::Unknown, PATIENCE).await.unwrap());
    }
    let mut client = TcpStream::connect((HERE, unknown.port())).await.unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
    let config = tokio_rustls::rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(tokio_rustls::rustls::RootCertStore::empty())
        .with_no_client_auth();
    let name = "gateway.test".try_into().unwrap();
    let mut tls = tokio_rustls::rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let mut hello = Vec::new();
    tls.write_tls(&mut hello).unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut client, &hello).await.unwrap();
    for other in &mut others {
        assert!(matches!(other.arrived().await, Ok(Arrival::Anonymous(Resumption::NoneOffered))));
    }
    assert!(matches!(client.read(&mut [0]).await, Ok(0) | Err(_)));
    assert!(unknown.arrivals.try_recv().is_err());
}

/// Their connections wait for a 150 that does not come.
#[tokio::test]
async fn looks_end_with_the_last_reservation() {
    use tokio::io::AsyncReadExt;
    let ports = ports(1);
    let sessions = [ports.join(HERE, None), ports.join(HERE, None)];
    let reservation = sessions[0].reserve(Mark::Unknown, PATIENCE).await.unwrap();
    let mut client = TcpStream::connect((HERE, reservation.port())).await.unwrap();
    while lock(&ports.ports.table).looks_at((reservation.port(), HERE)) == 0 {
        tokio::task::yield_now().await;
    }
    drop(reservation);
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    assert!(lock(&ports.ports.table).is_empty());
}

#[tokio::test]
async fn looks_are_bounded_and_the_oldest_goes_first() {
    use tokio::io::AsyncReadExt;
    let ports = ports(1);
    let sessions = [ports.join(HERE, None), ports.join(HERE, None)];
    let reservation = sessions[0].reserve(Mark::Unknown, PATIENCE).await.unwrap();
    let mut clients = Vec::new();
    for _ in 0..100 {
        clients.push(TcpStream::connect((HERE, reservation.port())).await.unwrap());
    }
    let kept = 2 * sessions.len() + table::LOOKS;
    for client in &mut clients[..100 - kept] {
        assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    }
    assert_eq!(lock(&ports.ports.table).looks_at((reservation.port(), HERE)), kept);
    drop(clients);
    while lock(&ports.ports.table).looks_at((reservation.port(), HERE)) > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_dropped_reservation_leaves_nothing_and_neither_does_a_session() {
    let ports = ports(1);
    let session = ports.join(HERE, None);
    for _ in 0..100 {
        drop(session.reserve(Mark::Unknown, PATIENCE).await.unwrap());
    }
    assert!(lock(&ports.ports.table).is_empty());
    drop(session);
    assert!(lock(&ports.ports.table).is_deserted());
}

/// Looks once, and then waits.
async fn queues<F: Future>(waiting: &mut std::pin::Pin<Box<F>>) {
    tokio::select! {
        biased;
        _ = waiting => panic!("it need not wait"),
        () = std::future::ready(()) => {}
    }
}

#[tokio::test(start_paused = true)]
async fn who_asks_again_comes_behind_those_who_wait_and_who_can_share_comes_first() {
    let ports = ports(1);
    let sessions = [(); 5].map(|()| ports.join(HERE, None));
    let [old, older, oldest, resumes, unknown] = &sessions;
    let held = old.reserve(Mark::Unmarked, PATIENCE).await.unwrap();
    let mut alone = Box::pin(older.reserve(Mark::Unmarked, PATIENCE));
    let mut shares = Box::pin(resumes.reserve(Mark::Resumes, PATIENCE));
    let mut shares_too = Box::pin(unknown.reserve(Mark::Unknown, PATIENCE));
    queues(&mut alone).await;
    queues(&mut shares).await;
    queues(&mut shares_too).await;
    drop(held);
    let mut again = Box::pin(old.reserve(Mark::Unmarked, PATIENCE));
    queues(&mut again).await;
    let mut last = Box::pin(oldest.reserve(Mark::Unmarked, PATIENCE));
    queues(&mut last).await;
    let began = Instant::now();
    // Each is woken: nobody's time has to be over.
    let both = tokio::join!(shares, shares_too);
    assert!(both.0.is_ok() && both.1.is_ok());
    queues(&mut alone).await;
    drop(both);
    // In the order in which they came.
    drop(alone.await.unwrap());
    drop(again.await.unwrap());
    drop(last.await.unwrap());
    assert_eq!(began.elapsed(), Duration::ZERO);
    drop(sessions);
    assert!(lock(&ports.ports.table).is_deserted());
}

#[tokio::test(start_paused = true)]
async fn who_waits_no_more_holds_up_nobody() {
    let ports = ports(1);
    let sessions = [(); 4].map(|()| ports.join(HERE, None));
    let [old, gone, stuck, older] = &sessions;
    let held = old.reserve(Mark::Unmarked, PATIENCE).await.unwrap();
    let mut leaves = Box::pin(gone.reserve(Mark::Resumes, PATIENCE));
    queues(&mut leaves).await;
    let mut waits = Box::pin(older.reserve(Mark::Unmarked, PATIENCE));
    queues(&mut waits).await;
    drop(held);
    drop(leaves);
    let began = Instant::now();
    let held = waits.await.unwrap();
    assert_eq!(began.elapsed(), Duration::ZERO);
    // Its session does not look: its client takes no replies, say.
    let mut does_not_look = Box::pin(stuck.reserve(Mark::Resumes, PATIENCE));
    queues(&mut does_not_look).await;
    drop(held);
    tokio::time::advance(WHILE - MOMENT).await;
    assert!(old.reserve(Mark::Unmarked, PATIENCE).await.is_ok());
    assert!(began.elapsed() <= WHILE + LATE);
    drop(does_not_look);
}
