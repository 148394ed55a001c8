//! A peer that reads slowly, for tests on a clock that is moved by hand.

use std::sync::mpsc;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

/// What is read at once.
const BLOCK: usize = 64 * 1024;
/// The system's clock is another one, and it needs a while to tell one side what the other has read: an acknowledgement may
/// be held back for 40 ms.
const WHILE: Duration = Duration::from_millis(50);

/// Reads `all` bytes, the first quarter of them with a pause before each block: more than the systems' buffers hold is
/// behind it.
pub(crate) async fn read_slowly(peer: &mut TcpStream, all: usize, pause: Duration) {
    let (mut read, mut block) = (0, vec![0; BLOCK]);
    while read < all {
        let slow = read < all / 4;
        if slow {
            sleep(pause).await;
        }
        // While a thread waits the clock stands: time passes in the pauses alone.
        let (release, held) = mpsc::channel::<()>();
        let clock_stands = spawn_blocking(move || {
            if slow {
                std::thread::sleep(WHILE);
            }
            // Until it is dropped.
            let _ = held.recv();
        });
        read += peer.read_exact(&mut block).await.unwrap();
        drop(release);
        clock_stands.await.unwrap();
    }
}
