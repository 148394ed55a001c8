//! The commands.

use std::ffi::OsString;
use std::fs::{File, OpenOptions, read_dir};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

use suppaftp::rustls::pki_types::CertificateDer;
use suppaftp::rustls::pki_types::pem::PemObject;
use suppaftp::rustls::{self, ClientConfig, RootCertStore};
use suppaftp::types::FileType;
use suppaftp::{Encoding, FtpError, Mode, RustlsConnector, RustlsFtpStream, Status};

use super::{Failure, written};

/// A letter for each byte.
#[derive(Debug)]
struct Latin1;

impl Encoding for Latin1 {
    fn decode(&self, bytes: &[u8]) -> String {
        bytes.iter().map(|&byte| char::from(byte)).collect()
    }

    fn encode(&self, text: &str) -> io::Result<Vec<u8>> {
        Ok(bytes(text))
    }
}

#[derive(Default)]
pub struct Client {
    session: Option<RustlsFtpStream>,
}

impl Client {
    pub fn work(&mut self, command: &str, words: &[String]) -> Result<Vec<String>, Failure> {
        match (command, words) {
            ("close", []) => {
                self.session()?.quit()?;
                self.session = None;
            }
            ("many", [count, from, folder, back]) => {
                for n in 0..count.parse()? {
                    self.put(from, &format!("{folder}/{n}"))?;
                    self.get(&format!("{folder}/{n}"), &format!("{back}/{n}"))?;
                }
            }
            ("put_folder", [from, remote]) => {
                for entry in read_dir(local(from))? {
                    let name = Latin1.decode(&entry?.file_name().into_vec());
                    self.put(&format!("{from}/{name}"), &format!("{remote}/{name}"))?;
                }
            }
            ("get_folder", [remote, to]) => {
                for name in self.list(remote)? {
                    self.get(&format!("{remote}/{name}"), &format!("{to}/{name}"))?;
                }
            }
            ("leave", [remote]) => self.in_another(&["die_getting", remote])?,
            ("leave_put", [from, remote]) => self.in_another(&["die_putting", from, remote])?,
            ("list", [folder]) => return self.list(folder),
            ("get", [remote, to]) => self.get(remote, to)?,
            ("put", [from, remote]) => self.put(from, remote)?,
            _ => self.in_session(command, words)?,
        }
        Ok(Vec::new())
    }

    fn in_session(&mut self, command: &str, words: &[String]) -> Result<(), Failure> {
        let ftp = self.session()?;
        match (command, words) {
            ("open", []) => {}
            ("append", [from, remote]) => drop(ftp.append_file(remote, &mut File::open(local(from))?)?),
            ("get_rest", [remote, to]) => {
                let mut file = OpenOptions::new().append(true).open(local(to))?;
                ftp.resume_transfer(usize::try_from(file.metadata()?.len())?)?;
                ftp.retr(remote, |data| io::copy(data, &mut file).map_err(FtpError::ConnectionError))?;
            }
            ("put_rest", [from, remote]) => {
                let size = ftp.size(remote)?;
                let mut file = File::open(local(from))?;
                file.seek(SeekFrom::Start(size.try_into()?))?;
                ftp.resume_transfer(size)?;
                ftp.put_file(remote, &mut file)?;
            }
            ("rename", [from, to]) => ftp.rename(from, to)?,
            ("delete", [remote]) => ftp.rm(remote)?,
            ("mkdir", [remote]) => ftp.mkdir(remote)?,
            ("rmdir", [remote]) => ftp.rmdir(remote)?,
            ("abort", [remote]) => {
                let mut data = ftp.retr_as_stream(remote)?;
                data.read_exact(&mut [0])?;
                ftp.abort(data)?;
            }
            // What another process of ours does.
            ("die_getting", [remote]) => {
                ftp.retr_as_stream(remote)?.read_exact(&mut [0])?;
                die();
            }
            ("die_putting", [from, remote]) => {
                let mut start = [0; 65536];
                let length = File::open(local(from))?.read(&mut start)?;
                ftp.put_with_stream(remote)?.write_all(&start[..length])?;
                die();
            }
            _ => return Err("no such command".into()),
        }
        Ok(())
    }

    /// A lost connection is of no use any more, nor is one that a reply went wrong on.
    pub fn look_after(&mut self, error: &(dyn std::error::Error + 'static)) {
        let kept = match error.downcast_ref() {
            Some(FtpError::UnexpectedResponse(response)) => response.status != Status::NotAvailable,
            Some(_) => false,
            None => true,
        };
        if !kept {
            self.session = None;
        }
    }

    fn list(&mut self, folder: &str) -> Result<Vec<String>, Failure> {
        let names = self.session()?.nlst((!folder.is_empty()).then_some(folder))?;
        // Some servers put the folder before each name, and some name it and the one above it too.
        let names = names.iter().map(|name| name.rsplit('/').next().unwrap_or(name));
        Ok(names.filter(|name| ![".", ".."].contains(name)).map(str::to_owned).collect())
    }

    fn get(&mut self, remote: &str, to: &str) -> Result<(), Failure> {
        let mut file = File::create(local(to))?;
        self.session()?.retr(remote, |data| io::copy(data, &mut file).map_err(FtpError::ConnectionError))?;
        Ok(())
    }

    fn put(&mut self, from: &str, remote: &str) -> Result<(), Failure> {
        self.session()?.put_file(remote, &mut File::open(local(from))?)?;
        Ok(())
    }

    fn session(&mut self) -> Result<&mut RustlsFtpStream, Failure> {
        let session = match self.session.take() {
            Some(session) => session,
            None => connected()?,
        };
        Ok(self.session.insert(session))
    }

    /// Has another process of ours begin it and be killed. Our own session is ended before: its user is one who goes.
    fn in_another(&mut self, words: &[&str]) -> Result<(), Failure> {
        if let Some(mut session) = self.session.take() {
            session.quit()?;
        }
        let mut other =
            Command::new(std::env::current_exe()?).arg("run").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let line: Vec<String> = words.iter().map(|word| written(word)).collect();
        if let Some(mut input) = other.stdin.take() {
            writeln!(input, "{}", line.join("\t"))?;
        }
        let ended = other.wait_with_output()?;
        if ended.status.signal().is_none() {
            return Err(format!("it went on: {}", String::from_utf8_lossy(&ended.stdout)).into());
        }
        Ok(())
    }
}

/// By a signal, so that nothing is closed but by the system.
fn die() {
    let killed = Command::new("kill").args(["-KILL", &std::process::id().to_string()]).status();
    unreachable!("{killed:?}");
}

fn connected() -> Result<RustlsFtpStream, Failure> {
    let host = std::env::var("HOST")?;
    let address = (host.as_str(), std::env::var("PORT")?.parse()?);
    let mut ftp = match std::env::var("TLS")?.as_str() {
        "explicit" => RustlsFtpStream::connect(address)?.into_secure(connector()?, &host)?,
        "implicit" => RustlsFtpStream::connect_secure_implicit(address, connector()?, &host)?,
        _ => RustlsFtpStream::connect(address)?,
    };
    ftp.set_encoding(Latin1);
    ftp.set_mode(match std::env::var("DATA")?.as_str() {
        "pasv" => Mode::Passive,
        "epsv" => Mode::ExtendedPassive,
        _ => Mode::Active,
    });
    login(&mut ftp)?;
    Ok(ftp)
}

fn login(ftp: &mut RustlsFtpStream) -> Result<(), Failure> {
    ftp.login(std::env::var("USERNAME")?, std::env::var("PASSWORD")?)?;
    ftp.transfer_type(FileType::Binary)?;
    // It does not do so itself where TLS is implicit, and servers differ in what they start with.
    if std::env::var("TLS")? == "implicit" {
        ftp.custom_command("PBSZ 0", &[Status::CommandOk])?;
        ftp.custom_command("PROT P", &[Status::CommandOk])?;
    }
    Ok(())
}

fn connector() -> Result<RustlsConnector, Failure> {
    let mut authorities = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(std::env::var("AUTHORITY")?)? {
        authorities.add(certificate?)?;
    }
    let version = match std::env::var("VERSION")?.as_str() {
        "1.2" => &rustls::version::TLS12,
        _ => &rustls::version::TLS13,
    };
    let config = ClientConfig::builder_with_protocol_versions(&[version])
        .with_root_certificates(authorities)
        .with_no_client_auth();
    Ok(RustlsConnector::from(Arc::new(config)))
}

fn bytes(text: &str) -> Vec<u8> {
    text.chars().map(|letter| u8::try_from(letter).unwrap_or(b'?')).collect()
}

fn local(word: &str) -> PathBuf {
    OsString::from_vec(bytes(word)).into()
}
