//! Looking at the start of a connection without taking it.

use std::io;

use rustix::net::{RecvFlags, recv};
use tokio::io::Interest;
use tokio::net::TcpStream;

/// What most starts fit into.
const FIRST: usize = 2 * 1024;

/// What a start of a connection comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start<T> {
    /// Nothing yet. So many bytes at least are needed.
    Needs(usize),
    /// Enough has come.
    Enough(T),
}

/// Looks at the first bytes until `read` has seen enough of them. Everything is still there to be read. `None`: the peer
/// ended its side, or broke the connection, before that. Has no deadline of its own; `read` sets the bound by what it
/// asks for.
pub async fn peek_start<T>(tcp: &TcpStream, mut read: impl FnMut(&[u8]) -> Start<T>) -> Option<T> {
    let mut needed = 0;
    loop {
        let ready = tcp.ready(Interest::READABLE).await.ok()?;
        // Nothing is kept while nothing comes.
        let mut block = vec![0; needed.max(FIRST)];
        // Bytes that are looked at stay, so the socket stays readable. That it "would block" makes the runtime wait for the
        // next that come (it is told of each arrival, edge-triggered) instead of showing these again and again.
        let looked = tcp.try_io(Interest::READABLE, || {
            let (_, length) = recv(tcp, &mut block[..], RecvFlags::PEEK)?;
            match read(&block[..length]) {
                Start::Enough(found) => Ok(Some(found)),
                Start::Needs(more) if more > block.len() && length == block.len() => {
                    needed = more;
                    Ok(None)
                }
                Start::Needs(_) if length == 0 || ready.is_read_closed() => Err(io::ErrorKind::UnexpectedEof.into()),
                Start::Needs(more) => {
                    needed = more;
                    Err(io::ErrorKind::WouldBlock.into())
                }
            }
        });
        match looked {
            Ok(Some(found)) => return Some(found),
            Ok(None) => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(_) => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    const TURNS: usize = 50;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap());
        let (client, accepted) = tokio::join!(client, listener.accept());
        let client = client.unwrap();
        client.set_nodelay(true).unwrap();
        (client, accepted.unwrap().0)
    }

    fn until(length: usize, looks: &mut usize) -> impl FnMut(&[u8]) -> Start<Vec<u8>> {
        move |bytes| {
            *looks += 1;
            enough(length, bytes)
        }
    }

    fn enough(length: usize, bytes: &[u8]) -> Start<Vec<u8>> {
        if bytes.len() >= length { Start::Enough(bytes[..length].to_vec()) } else { Start::Needs(length) }
    }

    /// It looks no more often than something comes, and takes nothing.
    #[tokio::test]
    async fn pieces_are_waited_for_without_turning() {
        let (mut client, mut gateway) = pair().await;
        let content: Vec<u8> = (0..5000usize).map(|at| at.to_le_bytes()[0]).collect();
        let (looks, seen) = (Cell::new(0), Cell::new(0));
        let look = |bytes: &[u8]| {
            looks.set(looks.get() + 1);
            seen.set(bytes.len());
            enough(content.len(), bytes)
        };
        let peeking = async { peek_start(&gateway, look).await };
        let sending = async {
            let mut sent = 0;
            for piece in content.chunks(500) {
                client.write_all(piece).await.unwrap();
                sent += piece.len();
                while seen.get() < sent {
                    tokio::task::yield_now().await;
                }
                // Whoever turns does so while there is nothing to wait for.
                for _ in 0..TURNS {
                    tokio::task::yield_now().await;
                }
            }
        };
        let (peeked, ()) = tokio::join!(peeking, sending);
        assert_eq!(peeked.unwrap(), content);
        assert!(looks.get() <= 12, "{} looks at ten pieces", looks.get());
        client.shutdown().await.unwrap();
        let mut read = Vec::new();
        gateway.read_to_end(&mut read).await.unwrap();
        assert_eq!(read, content);
    }

    #[tokio::test]
    async fn an_end_and_a_reset_before_enough_are_the_end() {
        for reset in [false, true] {
            let (mut client, gateway) = pair().await;
            client.write_all(b"half").await.unwrap();
            if reset {
                socket2::SockRef::from(&client).set_linger(Some(std::time::Duration::ZERO)).unwrap();
            }
            drop(client);
            let mut looks = 0;
            assert_eq!(peek_start(&gateway, until(5, &mut looks)).await, None);
            assert!(looks <= 3);
        }
    }

    #[tokio::test]
    async fn what_came_before_the_end_is_enough() {
        let (mut client, gateway) = pair().await;
        client.write_all(&[7; 3000]).await.unwrap();
        drop(client);
        let mut looks = 0;
        assert_eq!(peek_start(&gateway, until(3000, &mut looks)).await, Some(vec![7; 3000]));
    }
}
