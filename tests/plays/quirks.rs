//! Backends as they are: a whole session with each of the servers that are met inside, in its own words, and what else
//! old servers do. Single habits have plays of their own in `replies`, `passive`, `login`, `abort`.

use crate::stage::{Actor, Client, End, Scene, Security, Setup, Stage};

/// A server's words, as on its wire but for line ends.
struct Product {
    greeting: &'static str,
    user: &'static str,
    pass: &'static str,
    /// `H` and `L` stand for the port.
    passive: &'static str,
    features: &'static str,
    listing: [&'static str; 2],
    download: [&'static str; 2],
    upload: [&'static str; 2],
    refusal: &'static str,
    /// Lines end in LF alone.
    bare: bool,
}

impl Product {
    async fn says(&self, backend: &mut Actor, words: &str) {
        let end = if self.bare { "\n" } else { "\r\n" };
        backend.talk.say_raw(format!("{words}\n").replace('\n', end)).await;
    }

    async fn answers(&self, backend: &mut Actor, command: &str, words: &str) {
        backend.hears(command).await;
        self.says(backend, words).await;
    }

    async fn hears(client: &mut Client, words: &str) {
        let heard = client.hears(&words[..3]).await.text();
        assert_eq!(heard, format!("{words}\n").replace('\n', "\r\n"));
    }

    async fn logs_in(&self) -> Scene {
        let stage = Stage::plain().await;
        let mut client = stage.secured_client().await;
        client.says("USER bob").await;
        let mut backend = stage.backend().accepts().await;
        self.says(&mut backend, self.greeting).await;
        self.answers(&mut backend, "USER bob", self.user).await;
        Self::hears(&mut client, self.user).await;
        client.says("PASS sesame").await;
        self.answers(&mut backend, "PASS sesame", self.pass).await;
        Self::hears(&mut client, self.pass).await;
        client.protects().await;
        Scene { stage, client, backend }
    }

    async fn transfers(&self, scene: &mut Scene, command: &str, words: [&str; 2]) {
        let Scene { client, backend, .. } = scene;
        client.says("PASV").await;
        let door = backend.door().await;
        let [high, low] = door.address.port().to_be_bytes().map(|byte| byte.to_string());
        self.answers(backend, "PASV", &self.passive.replace('H', &high).replace('L', &low)).await;
        let reply = client.hears("227 ").await;
        let mut data = client.opens(client.passive_address(&reply)).await;
        client.says(command).await;
        let mut back = door.accepts().await;
        self.answers(backend, command, words[0]).await;
        Self::hears(client, words[0]).await;
        data.secures(&client.tls).await;
        if command.starts_with("STOR") {
            data.sends("content").await;
            data.finishes().await;
            assert_eq!(back.receives_all().await, (b"content".to_vec(), End::Fin));
            back.finishes().await;
            self.says(backend, words[1]).await;
        } else {
            back.sends("content").await;
            back.finishes().await;
            self.says(backend, words[1]).await;
            assert_eq!(data.receives_all().await, (b"content".to_vec(), End::CloseNotify));
        }
        Self::hears(client, words[1]).await;
    }

    async fn serves(self) {
        let mut scene = self.logs_in().await;
        scene.client.says("FEAT").await;
        self.answers(&mut scene.backend, "FEAT", self.features).await;
        scene.client.hears("211-").await;
        self.transfers(&mut scene, "LIST", self.listing).await;
        self.transfers(&mut scene, "RETR file", self.download).await;
        self.transfers(&mut scene, "STOR file", self.upload).await;
        scene.client.says("CWD nowhere").await;
        self.answers(&mut scene.backend, "CWD nowhere", self.refusal).await;
        Self::hears(&mut scene.client, self.refusal).await;
        scene.client.says_and_hears("QUIT", "221 ").await;
        scene.backend.hears("QUIT").await;
    }
}

#[tokio::test]
async fn vsftpd() {
    Product {
        greeting: "220 (vsFTPd 3.0.3)",
        user: "331 Please specify the password.",
        pass: "230 Login successful.",
        passive: "227 Entering Passive Mode (10,0,0,1,H,L).",
        features: "211-Features:\n EPRT\n EPSV\n MDTM\n PASV\n REST STREAM\n SIZE\n TVFS\n211 End",
        listing: ["150 Here comes the directory listing.", "226 Directory send OK."],
        download: ["150 Opening BINARY mode data connection for file (7 bytes).", "226 Transfer complete."],
        upload: ["150 Ok to send data.", "226 Transfer complete."],
        refusal: "550 Failed to change directory.",
        bare: false,
    }
    .serves()
    .await;
}

#[tokio::test]
async fn pure_ftpd() {
    Product {
        greeting: "220---------- Welcome to Pure-FTPd ----------\n220-You are user number 1 of 50 allowed.\n\
                   220-Local time is now 10:00. Server port: 21.\n220 You will be disconnected after 15 minutes.",
        user: "331 User bob OK. Password required",
        pass: "230-Your bandwidth usage is restricted\n230 OK. Current directory is /",
        passive: "227 Entering Passive Mode (10,0,0,1,H,L)",
        features: "211-Extensions supported:\n EPRT\n IDLE\n MDTM\n SIZE\n MFMT\n REST STREAM\n MLSD\n ESTP\n211 End.",
        listing: ["150 Accepted data connection", "226-Options: -l \n226 3 matches total"],
        download: [
            "150-Accepted data connection\n150 0.0 kbytes to download",
            "226-File successfully transferred\n226 0.000 seconds (measured here), 1.24 Mbytes per second",
        ],
        upload: [
            "150 Accepted data connection",
            "226-File successfully transferred\n226 0.001 seconds (measured here), 12.08 Kbytes per second",
        ],
        refusal: "550 Can't change directory to nowhere: No such file or directory",
        bare: false,
    }
    .serves()
    .await;
}

/// 125 where others say 150.
#[tokio::test]
async fn iis() {
    Product {
        greeting: "220 Microsoft FTP Service",
        user: "331 Password required for bob.",
        pass: "230-Directory has 1,024 bytes of disk space available.\n230 User logged in.",
        passive: "227 Entering Passive Mode (10,0,0,1,H,L).",
        features: "211-Extended features supported:\n LANG EN*\n UTF8\n SIZE\n MDTM\n REST STREAM\n211 END",
        listing: ["125 Data connection already open; Transfer starting.", "226 Transfer complete."],
        download: ["125 Data connection already open; Transfer starting.", "226 Transfer complete."],
        upload: ["125 Data connection already open; Transfer starting.", "226 Transfer complete."],
        refusal: "550-The system cannot find the file specified. \n Win32 error:   The system cannot find the file specified. \n\
                  \x20Error details: File system returned an error.\n550 End",
        bare: false,
    }
    .serves()
    .await;
}

/// 250 where others say 226, and 125.
#[tokio::test]
async fn mvs() {
    Product {
        greeting: "220-FTPD1 IBM FTP CS V2R4 at HOST, 10:00:00 on 2024-01-01.\n220 Connection will close if idle for more than \
                   5 minutes.",
        user: "331 Send password please.",
        pass: "230 BOB is logged on.  Working directory is \"BOB.\".",
        passive: "227 Entering Passive Mode (10,0,0,1,H,L)",
        features: "211- Extensions supported\n SIZE\n MDTM\n REST STREAM\n UTF8\n211 End",
        listing: ["125 List started OK", "250 List completed successfully."],
        download: ["125 Sending data set BOB.FILE", "250 Transfer completed successfully."],
        upload: ["125 Storing data set BOB.FILE", "250 Transfer completed successfully."],
        refusal: "501 A qualifier in \"NOWHERE\" is too long",
        bare: false,
    }
    .serves()
    .await;
}

/// Old BSD and its kin: no FEAT, a 227 without parentheses, and a 226 or 150 of few words.
#[tokio::test]
async fn old_bsd() {
    Product {
        greeting: "120 Service ready in 1 minute.\n220 host FTP server (Version 4.1) ready.",
        user: "331 Password required for bob.",
        pass: "230-Last login: Mon Jan  1\n\n\tbe good\n230 User bob logged in.",
        passive: "227 Entering Passive Mode 10,0,0,1,H,L",
        features: "500 'FEAT': command not understood.",
        listing: ["150 Opening data connection for /bin/ls.", "226 Transfer complete."],
        download: ["150 Opening data connection for file.", "226 Transfer complete."],
        upload: ["150 Opening data connection for file.", "226 Transfer complete."],
        refusal: "550 nowhere: No such file or directory.",
        bare: false,
    }
    .serves()
    .await;
}

/// Servers written in an afternoon, in embedded devices: LF alone.
#[tokio::test]
async fn a_device_that_ends_its_lines_in_lf() {
    Product {
        greeting: "220-Printer\n220 ready",
        user: "331 password",
        pass: "230 in",
        passive: "227 =10,0,0,1,H,L",
        features: "502 no",
        listing: ["150 go", "226 done"],
        download: ["150 go", "226 done"],
        upload: ["150 go", "226 done"],
        refusal: "550 no",
        bare: true,
    }
    .serves()
    .await;
}

/// The data has come and ended before the backend says that it begins.
#[tokio::test]
async fn the_whole_content_before_the_150() {
    let mut scene = Scene::plain().await;
    let (address, door) = scene.goes_passive().await;
    let mut client = scene.client.opens(address).await;
    scene.client.says("RETR file").await;
    let mut backend = door.accepts().await;
    scene.backend.hears("RETR file").await;
    backend.sends("content").await;
    backend.finishes().await;
    scene.client.talk.hears_nothing().await;
    scene.backend.says("150 Here it comes").await;
    scene.client.hears("150 Here it comes").await;
    client.secures(&scene.client.tls).await;
    scene.backend.says("226 Sent").await;
    assert_eq!(client.receives_all().await, (b"content".to_vec(), End::CloseNotify));
    scene.client.hears("226 Sent").await;
}

/// Its data ends well and it never says a word again: the bytes are delivered, and nothing is called a success.
#[tokio::test]
async fn nothing_after_the_data_has_closed() {
    let mut scene = Scene::open(Setup::new().with("timeouts", "backend_reply: 500ms")).await;
    let mut transfer = scene.begins("RETR file").await;
    transfer.backend.sends("content").await;
    transfer.backend.finishes().await;
    assert_eq!(transfer.client.receives_all().await, (b"content".to_vec(), End::CloseNotify));
    scene.client.refused(421, "backend_timeout").await;
    scene.stage.counts("transfers_total{direction=\"download\",result=\"backend_silent\"}", 1).await;
    scene.stage.is_empty().await;
}

/// One transfer a connection: some inetd wrappers. The 226 counts, and so does the leaving.
#[tokio::test]
async fn the_226_and_the_421_in_one_segment() {
    let mut scene = Scene::plain().await;
    let mut transfer = scene.begins("RETR file").await;
    transfer.backend.sends("content").await;
    transfer.backend.finishes().await;
    transfer.client.receives("content").await;
    scene.backend.says("226 Sent\r\n421 That is all").await;
    assert_eq!(transfer.client.ends().await, End::CloseNotify);
    scene.client.hears("226 Sent").await;
    scene.client.refused(421, "backend_said_goodbye").await;
    scene.stage.counts("transfers_total{direction=\"download\",result=\"completed\"}", 1).await;
    scene.stage.is_empty().await;
}

/// Servers that serve one transfer and exit behind their 226, with the data still on its way.
#[tokio::test]
async fn a_backend_that_is_gone_behind_its_226() {
    let mut scene = Scene::plain().await;
    let mut transfer = scene.begins("RETR file").await;
    scene.backend.says("226 Sent").await;
    scene.backend.talk.finishes().await;
    transfer.backend.sends("content").await;
    transfer.client.receives("content").await;
    transfer.backend.finishes().await;
    assert_eq!(transfer.client.ends().await, End::CloseNotify);
    scene.client.hears("226 Sent").await;
    scene.client.refused(421, "backend_closed").await;
    assert_eq!(scene.client.ends().await, End::CloseNotify);
    scene.stage.counts("backend_failures_total{backend=\"legacy\",reason=\"closed\"}", 1).await;
    scene.stage.is_empty().await;
}

/// The control connection is reset while bytes flow: both legs see a cut.
#[tokio::test]
async fn the_control_connection_is_reset_during_a_transfer() {
    let mut scene = Scene::plain().await;
    let mut transfer = scene.begins("RETR file").await;
    transfer.backend.sends("half of").await;
    transfer.client.receives("half of").await;
    scene.backend.talk.resets();
    assert_eq!(transfer.client.ends().await, End::Fin);
    scene.client.refused(421, "backend_reset").await;
    assert_eq!(scene.client.ends().await, End::CloseNotify);
}

/// Over IPv6 there is no other way than EPSV: a 500 to it is the end of the try, at once.
#[tokio::test]
async fn a_500_to_epsv_over_ipv6_is_425_at_once() {
    let mut scene = Scene::open(Setup::new().backend_on("::1")).await;
    scene.client.says("PASV").await;
    scene.backend.hears_and_says("EPSV", "500 Unknown command").await;
    scene.client.refused(425, "backend_data_failed").await;
    scene.goes_on().await;
}

/// An empty directory, in the ways of ProFTPD, IIS and others.
#[tokio::test]
async fn an_empty_listing_that_is_refused() {
    let mut scene = Scene::open(Setup::new().secured(Security::Explicit)).await;
    for refusal in ["450 No files found", "550 No files found."] {
        let (address, door) = scene.goes_passive().await;
        let mut client = scene.client.opens(address).await;
        scene.client.says("NLST").await;
        let mut backend = door.accepts().await;
        scene.backend.hears_and_says("NLST", refusal).await;
        scene.client.hears(refusal).await;
        assert_eq!(client.ends().await, End::Fin);
        backend.ends().await;
    }
    scene.downloads().await;
}
