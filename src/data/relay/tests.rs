//! The relay between sockets, without sessions.

use std::num::NonZeroUsize;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::*;
use crate::data::{Bandwidth, Bandwidths};
use crate::event::Unobserved;
use crate::net::{Socket, read_slowly};

async fn pair() -> (TcpStream, DataStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (peer, DataStream::Plain(Socket::new(listener.accept().await.unwrap().0)))
}

#[tokio::test(start_paused = true)]
async fn who_is_slow_gets_small_blocks_and_the_largest_are_for_full_speed() {
    const MIB: usize = 1024 * 1024;
    let (share, blocks) = (Share::default(), Blocks::default());
    let mut speed = Speed::new(&share, &blocks);
    let mut after = async |bytes, seconds| {
        speed.moved(bytes, &share);
        tokio::time::advance(Duration::from_secs(seconds)).await;
        speed.pace()
    };
    assert_eq!(after(64 * 1024, 0).await, Pace::Slow);
    // As much as a slow peer's system takes at once.
    assert_eq!(after(MIB, 0).await, Pace::Fast);
    assert_eq!(after(3 * MIB, 1).await, Pace::Full);
    assert_eq!(after(64 * 1024, 1).await, Pace::Full);
    assert_eq!(after(MIB, 1).await, Pace::Slow);
    assert_eq!(after(MIB, 0).await, Pace::Slow);
    assert_eq!(after(4 * MIB, 0).await, Pace::Full);
}

/// Whoever cuts a download in the middle of a block has not had more bytes than are told.
#[tokio::test]
async fn a_download_never_tells_less_than_the_client_has() {
    const ENOUGH: u64 = 1024 * 1024;
    // The systems between hold less than a block.
    let narrow = || {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_send_buffer_size(4096).unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        socket
    };
    let listener = narrow();
    listener.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = listener.listen(1).unwrap();
    let mut client = narrow().connect(listener.local_addr().unwrap()).await.unwrap();
    let front = DataStream::Plain(Socket::new(listener.accept().await.unwrap().0));
    let (mut backend, back) = pair().await;
    let pump = Pump {
        front,
        back,
        stall: Duration::from_secs(10),
        blocks: Blocks::default(),
        share: Share::default(),
        observer: Arc::new(Unobserved),
    };
    let told = std::cell::Cell::new(0);
    let relay = pump_download(pump, |bytes| told.set(told.get() + bytes));
    let sends = async {
        loop {
            backend.write_all(&[b'x'; 64 * 1024]).await.unwrap();
        }
    };
    let reads = async {
        let (mut read, mut block) = (0, vec![0; 1024]);
        while read < ENOUGH {
            read += client.read(&mut block).await.unwrap() as u64;
            assert!(told.get() >= read, "{} told, {read} read", told.get());
        }
    };
    tokio::select! {
        _ = relay => unreachable!(),
        () = sends => unreachable!(),
        () = reads => {}
    }
}

/// The backend's control connection may go right behind its 150.
#[tokio::test]
async fn a_relay_that_is_stopped_before_it_has_run_resets_as_any_other() {
    for upload in [false, true] {
        let ((client, front), (backend, back)) = (pair().await, pair().await);
        let pump = Pump {
            front,
            back,
            stall: Duration::from_secs(10),
            blocks: Blocks::default(),
            share: Share::default(),
            observer: Arc::new(Unobserved),
        };
        if upload {
            drop(pump_upload(pump, |_| ()));
        } else {
            drop(pump_download(pump, |_| ()));
        }
        let mut cut = vec![backend];
        // An upload's client has nothing that it could take for a whole file.
        cut.extend((!upload).then_some(client));
        for mut peer in cut {
            let error = peer.read_to_end(&mut Vec::new()).await.unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "upload: {upload}");
        }
    }
}

#[tokio::test]
async fn a_relay_that_is_stopped_resets_the_backend_in_both_directions() {
    for upload in [false, true] {
        let ((mut client, front), (mut backend, back)) = (pair().await, pair().await);
        let stall = Duration::from_secs(10);
        let pump = Pump {
            front,
            back,
            stall,
            blocks: Blocks::default(),
            share: Share::default(),
            observer: Arc::new(Unobserved),
        };
        let source = if upload { &mut client } else { &mut backend };
        source.write_all(b"a beginning").await.unwrap();
        let (moved, mut begun) = tokio::sync::mpsc::unbounded_channel();
        let count = move |bytes| moved.send(bytes).unwrap();
        let relay = async { if upload { pump_upload(pump, count).await } else { pump_download(pump, count).await } };
        tokio::select! {
            _ = relay => unreachable!(),
            _ = begun.recv() => {}
        }
        let mut read = Vec::new();
        let error = backend.read_to_end(&mut read).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    }
}

const MIB: usize = 1024 * 1024;
/// What `timeouts.data_stall` is when nobody says otherwise.
const STALL: Duration = Duration::from_secs(120);

fn pump_between(front: DataStream, back: DataStream) -> Pump {
    let (blocks, share) = (Blocks::default(), Share::default());
    Pump { front, back, stall: STALL, blocks, share, observer: Arc::new(Unobserved) }
}

/// 512 KiB within the time that makes a stall: between two times at which the system says that there is room goes more.
async fn reads_slowly(mut peer: TcpStream, all: usize) {
    read_slowly(&mut peer, all, STALL / 8).await;
    assert_eq!(peer.read(&mut [0; 1]).await.unwrap(), 0);
}

async fn sends(mut peer: TcpStream, all: usize) {
    peer.write_all(&vec![b'x'; all]).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_slowly_has_all_of_a_download_in_the_end() {
    let ((client, front), (backend, back)) = (pair().await, pair().await);
    let relay = async {
        let mut report = pump_download(pump_between(front, back), |_| {}).await;
        assert_eq!(report.end, PumpEnd::SourceEnded { clean: true });
        report.front.finish().await.unwrap();
    };
    tokio::join!(relay, sends(backend, 16 * MIB), reads_slowly(client, 16 * MIB));
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_reads_slowly_has_all_of_an_upload_in_the_end() {
    let ((client, front), (backend, back)) = (pair().await, pair().await);
    let relay = async {
        let mut report = pump_upload(pump_between(front, back), |_| {}).await;
        assert_eq!(report.end, PumpEnd::SourceEnded { clean: true });
        report.back.finish().await.unwrap();
    };
    tokio::join!(relay, sends(client, 16 * MIB), reads_slowly(backend, 16 * MIB));
}

/// What a backend says on an upload's data connection is no byte of the client's.
#[tokio::test(start_paused = true)]
async fn a_client_that_sends_nothing_is_stalled_whatever_the_backend_says() {
    let ((_client, front), (mut backend, back)) = (pair().await, pair().await);
    let began = Instant::now();
    let chatter = async {
        loop {
            tokio::time::sleep(STALL / 3).await;
            backend.write_all(b"x").await.unwrap();
        }
    };
    let report = tokio::select! {
        report = pump_upload(pump_between(front, back), |_| {}) => report,
        () = chatter => unreachable!(),
    };
    assert_eq!(report.end, PumpEnd::SourceStalled);
    assert!(began.elapsed() >= STALL && began.elapsed() < STALL * 3 / 2, "{:?}", began.elapsed());
}

/// What has gone is booked, also when the sink has not taken all of it yet, and the next transfer begins behind it.
#[tokio::test]
async fn who_cuts_each_transfer_behind_its_first_bytes_is_no_faster_than_the_limit() {
    let limits = Bandwidth { user: NonZeroUsize::new(MIB), ..Bandwidth::default() };
    for upload in [false, true] {
        let bandwidths = Arc::new(Bandwidths::new(limits));
        let began = Instant::now();
        let (mut booked, mut last) = (0, 0);
        for _ in 0..32 {
            let ((mut client, front), (mut backend, back)) = (pair().await, pair().await);
            let source = if upload { &mut client } else { &mut backend };
            source.write_all(&[b'x'; 16 * 1024]).await.unwrap();
            let (moved, mut begun) = tokio::sync::mpsc::unbounded_channel();
            let count = move |bytes| moved.send(bytes).unwrap();
            let pump = Pump { share: bandwidths.share(b"anna"), ..pump_between(front, back) };
            let relay =
                async { if upload { pump_upload(pump, count).await } else { pump_download(pump, count).await } };
            last = tokio::select! {
                _ = relay => unreachable!(),
                bytes = begun.recv() => bytes.unwrap(),
            };
            booked += last;
        }
        // But for the last piece, and what is lent.
        let least = (booked - last) as f64 / MIB as f64 - 0.05;
        let measured = began.elapsed().as_secs_f64();
        assert!(booked >= 32 * 1024 && measured >= least, "{booked} bytes in {measured} s, upload: {upload}");
    }
}
