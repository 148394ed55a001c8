//! Who comes in front and means well, and the server that he comes for.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::leg::Leg;
use super::tls::ClientTls;

/// Logs in under TLS and asks where it is.
pub(crate) async fn good_client(to: SocketAddr) -> io::Result<()> {
    let mut control = BufReader::new(Leg::Plain(TcpStream::connect(to).await?));
    says(&mut control, "", "220 ").await?;
    says(&mut control, "AUTH TLS\r\n", "234 ").await?;
    let mut control = BufReader::new(control.into_inner().secured(&ClientTls::new()).await?);
    for (command, code) in
        [("USER good\r\n", "331 "), ("PASS x\r\n", "230 "), ("PWD\r\n", "257 "), ("QUIT\r\n", "221 ")]
    {
        says(&mut control, command, code).await?;
    }
    Ok(())
}

async fn says(control: &mut BufReader<Leg>, command: &str, code: &str) -> io::Result<()> {
    control.write_all(command.as_bytes()).await?;
    control.flush().await?;
    let mut line = String::new();
    control.read_line(&mut line).await?;
    match line.starts_with(code) {
        true => Ok(()),
        false => Err(io::Error::other(format!("{command:?} is answered with {line:?}"))),
    }
}

/// Serves everybody who dials as he should be.
pub(crate) async fn good_backend(listener: TcpListener) {
    let mut sessions = JoinSet::new();
    loop {
        let (control, _) = listener.accept().await.unwrap();
        while sessions.try_join_next().is_some() {}
        sessions.spawn(async move { good_session(control).await.unwrap_or_default() });
    }
}

async fn good_session(control: TcpStream) -> io::Result<()> {
    let mut control = BufReader::new(control);
    control.write_all(b"220 ready\r\n").await?;
    let mut line = String::new();
    while control.read_line(&mut line).await? > 0 {
        let reply = match line.trim_end().split(' ').next() {
            Some("USER") => "331 more\r\n",
            Some("PASS") => "230 in\r\n",
            Some("PWD") => "257 \"/\"\r\n",
            Some("QUIT") => "221 bye\r\n",
            _ => "500 no\r\n",
        };
        line.clear();
        control.write_all(reply.as_bytes()).await?;
    }
    Ok(())
}
