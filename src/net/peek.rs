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
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

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
            if bytes.len() >= length { Start::Enough(bytes[..length].to_vec()) } else { Start::Needs(length) }
        }
    }

    /// It looks no more often than something comes, and takes nothing.
    #[tokio::test]
    async fn pieces_are_waited_for_without_turning() {
        let (mut client, mut gateway) = pair().await;
        let content: Vec<u8> = (0..5000usize).map(|at| at.to_le_bytes()[0]).collect();
        let mut looks = 0;
        let peeking = async { peek_start(&gateway, until(content.len(), &mut looks)).await };
        let sending = async {
            for piece in content.chunks(500) {
                client.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        let (peeked, ()) = tokio::join!(peeking, sending);
        assert_eq!(peeked.unwrap(), content);
        assert!(looks <= 12, "{looks} looks at ten pieces");
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
