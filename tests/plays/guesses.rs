//! Guesses that hang up and guesses side by side: a password or a code counts once the server has it, whoever is still
//! there to hear the answer, and no more are with the server at once than may be wrong.

use std::os::unix::fs::PermissionsExt;

use crate::stage::{Actor, Backend, Client, Setup, Stage};

/// Few attempts, so that plays are short.
fn strict() -> Setup {
    Setup::new().with("limits", "failed_logins: { attempts: 2, within: 1h, ban: 1h }")
}

/// A session that has said USER, and the backend's side of it.
struct Side {
    client: Client,
    backend: Actor,
}

impl Side {
    async fn from(stage: &Stage, from: &str, user: &str) -> Self {
        Self::at(stage, stage.backend(), from, user).await
    }

    async fn at(stage: &Stage, backend: &Backend, from: &str, user: &str) -> Self {
        let mut client = stage.client_from("guest", from).await;
        client.secures().await;
        client.says(format!("USER {user}")).await;
        let mut backend = backend.welcomes().await;
        backend.hears_and_says(&format!("USER {user}"), "331 Password").await;
        client.hears("331 ").await;
        Self { client, backend }
    }

    async fn of_bob(stage: &Stage) -> Self {
        Self::from(stage, "127.0.0.1", "bob").await
    }

    /// PASS, and the backend has it.
    async fn tries(&mut self) {
        self.client.says("PASS x").await;
        self.backend.hears("PASS x").await;
    }

    /// PASS, and the backend does not have it.
    async fn waits(&mut self) {
        self.client.says("PASS x").await;
        self.backend.talk.hears_nothing().await;
        self.client.talk.hears_nothing().await;
    }

    async fn fails(&mut self) {
        self.backend.says("530 No").await;
        self.client.hears("530 ").await;
    }

    async fn fails_for_the_last_time(&mut self) {
        self.backend.says("530 No").await;
        self.client.refused(421, "too_many_login_attempts").await;
    }

    async fn is_let_in(&mut self) {
        self.backend.says("230 In").await;
        self.client.hears("230 ").await;
    }

    /// The backend does not hear the password any more.
    async fn is_banned(&mut self, label: &str) {
        self.client.refused(421, label).await;
        self.backend.hears("QUIT").await;
    }
}

async fn bob_is_banned(stage: &Stage) {
    let mut client = stage.secured_client().await;
    client.says("USER bob").await;
    client.refused(421, "login_banned").await;
}

#[tokio::test]
async fn who_hangs_up_before_the_no_is_counted_all_the_same() {
    let stage = Stage::start(strict()).await;
    let (mut first, mut second) = (Side::of_bob(&stage).await, Side::of_bob(&stage).await);
    for side in [&mut first, &mut second] {
        side.tries().await;
        side.client.talk.vanishes();
    }
    // The backend takes its time, and a third one has its turn when it has answered.
    let mut third = Side::of_bob(&stage).await;
    third.waits().await;
    for side in [&mut first, &mut second] {
        side.backend.says("530 No").await;
        side.backend.hears("QUIT").await;
    }
    third.is_banned("login_banned").await;
    stage.counts("logins_total{result=\"rejected\"}", 2).await;
    stage.counts("bans_total{kind=\"login\"}", 1).await;
    stage.is_empty().await;
}

#[tokio::test]
async fn who_hangs_up_before_a_yes_has_failed_at_nothing() {
    let stage = Stage::start(strict()).await;
    for _ in 0..4 {
        let mut side = Side::of_bob(&stage).await;
        side.tries().await;
        side.client.talk.vanishes();
        side.backend.says("230 In").await;
        stage.is_empty().await;
    }
    let mut side = Side::of_bob(&stage).await;
    side.tries().await;
    side.is_let_in().await;
}

/// It is told all the same: the backend's own log has a login.
#[tokio::test]
async fn who_is_too_late_to_hear_the_yes_has_logged_in() {
    let stage = Stage::start(Setup::new().with("timeouts", "login: 1s")).await;
    let mut side = Side::of_bob(&stage).await;
    side.tries().await;
    side.client.refused(421, "login_timeout").await;
    side.client.ends().await;
    side.backend.says("230 In").await;
    side.backend.hears("QUIT").await;
    stage.counts("logins_total{result=\"unheard\"}", 1).await;
    stage.counts("logins_total{result=\"accepted\"}", 0).await;
    stage.is_empty().await;
}

/// The client goes between the backend's yes and the reply, while UTF-8 is settled.
#[tokio::test]
async fn who_hangs_up_right_behind_a_yes_has_logged_in() {
    let stage = Stage::plain().await;
    let mut client = stage.secured_client().await;
    client.says_and_hears("OPTS UTF8 ON", "200 ").await;
    let mut backend = stage.asks_for_a_password("bob", &mut client).await;
    client.says("PASS x").await;
    backend.hears_and_says("PASS x", "230 In").await;
    backend.hears("OPTS UTF8 ON").await;
    client.talk.vanishes();
    backend.hears("QUIT").await;
    stage.counts("logins_total{result=\"unheard\"}", 1).await;
    stage.counts("logins_total{result=\"accepted\"}", 0).await;
    stage.is_empty().await;
}

/// A right code is answered at once. Whoever waits for no longer than that has guessed all the same.
#[tokio::test]
async fn codes_of_one_who_hangs_up_are_counted_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("totp.secrets");
    std::fs::write(&path, "bob:GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ\n").unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    let stage = Stage::start(strict().with("access", format!("totp: {{ secrets: \"{}\" }}", path.display()))).await;
    for _ in 0..2 {
        let mut side = Side::of_bob(&stage).await;
        // Of as many digits as no code has: as wrong as can be.
        side.client.says_and_hears("PASS sesame", "332 ").await;
        side.client.says("ACCT 12345").await;
        side.client.talk.hears_nothing().await;
        side.client.talk.vanishes();
        side.backend.hears("QUIT").await;
    }
    stage.counts("logins_total{result=\"code_wrong\"}", 2).await;
    bob_is_banned(&stage).await;
}

/// The deadline of the login comes before the backend's no. It is told in time, and the no counts.
#[tokio::test]
async fn who_is_too_late_to_hear_the_no_is_counted() {
    let stage = Stage::start(strict().with("timeouts", "login: 1s")).await;
    let (mut first, mut second) = (Side::of_bob(&stage).await, Side::of_bob(&stage).await);
    for side in [&mut first, &mut second] {
        side.tries().await;
    }
    for side in [&mut first, &mut second] {
        side.client.refused(421, "login_timeout").await;
        side.client.ends().await;
        side.backend.says("530 No").await;
        side.backend.hears("QUIT").await;
    }
    stage.counts("logins_total{result=\"rejected\"}", 2).await;
    bob_is_banned(&stage).await;
}

#[tokio::test]
async fn of_guesses_side_by_side_the_backend_hears_no_more_than_may_be_wrong() {
    let stage = Stage::start(strict()).await;
    let mut sides = Vec::new();
    for _ in 0..5 {
        sides.push(Side::of_bob(&stage).await);
    }
    let (with, after) = sides.split_at_mut(2);
    for side in &mut *with {
        side.tries().await;
    }
    for side in &mut *after {
        side.waits().await;
    }
    with[0].fails().await;
    // One has failed and one is undecided: that is two.
    after[0].backend.talk.hears_nothing().await;
    with[1].fails_for_the_last_time().await;
    for side in after {
        side.is_banned("login_banned").await;
    }
}

/// What a transfer program does that logs in many times at once.
#[tokio::test]
async fn right_passwords_side_by_side_all_come_in() {
    let stage = Stage::start(strict()).await;
    let mut sides = Vec::new();
    for at in 0..10 {
        let mut side = Side::of_bob(&stage).await;
        side.client.says("PASS x").await;
        // One after the other: they come in as they have come.
        stage.counts("commands_total{verb=\"PASS\"}", at + 1).await;
        if at < 2 {
            side.backend.hears("PASS x").await;
        }
        sides.push(side);
    }
    for side in &mut sides[2..] {
        side.backend.talk.hears_nothing().await;
    }
    // Each that comes in makes room for the next.
    for at in 0..10 {
        sides[at].is_let_in().await;
        if let Some(next) = sides.get_mut(at + 2) {
            next.backend.hears("PASS x").await;
        }
    }
    stage.counts("logins_total{result=\"accepted\"}", 10).await;
    stage.counts("bans_total{kind=\"login\"}", 0).await;
}

#[tokio::test]
async fn who_leaves_the_queue_holds_nobody_up_and_has_not_guessed() {
    let stage = Stage::start(strict()).await;
    let (mut first, mut second) = (Side::of_bob(&stage).await, Side::of_bob(&stage).await);
    first.tries().await;
    second.tries().await;
    let (mut third, mut fourth) = (Side::of_bob(&stage).await, Side::of_bob(&stage).await);
    third.waits().await;
    fourth.waits().await;
    // It is the next one's turn, and it does not take it.
    third.client.talk.vanishes();
    third.backend.hears("QUIT").await;
    first.is_let_in().await;
    fourth.backend.hears("PASS x").await;
    // It is the first one to fail.
    fourth.fails().await;
    second.is_let_in().await;
}

/// A volley at many users from one address. Who is known there is not held up by it.
#[tokio::test]
async fn users_guessed_at_side_by_side_are_no_more_than_may_fail() {
    let stage = Stage::start(strict()).await;
    let mut anna = Side::from(&stage, "127.0.0.1", "anna").await;
    anna.tries().await;
    anna.is_let_in().await;
    let mut sides = Vec::new();
    for user in ["a", "b", "c"] {
        sides.push(Side::from(&stage, "127.0.0.1", user).await);
    }
    let [a, b, c] = &mut sides[..] else { unreachable!() };
    a.tries().await;
    b.tries().await;
    c.waits().await;
    let mut known = Side::from(&stage, "127.0.0.1", "anna").await;
    known.tries().await;
    known.is_let_in().await;
    a.fails().await;
    b.fails_for_the_last_time().await;
    c.is_banned("address_banned").await;
}

/// Those who are new at an address wait for a backend that does not answer, and those of another backend do not.
#[tokio::test]
async fn a_backend_that_hangs_holds_up_nobody_of_another() {
    let routes = "routes: [{ user: [\"acme-*\"], backend: beta }, { backend: legacy }]";
    let stage = Stage::start(strict().backends(&["legacy", "beta"]).line(routes)).await;
    let beta = &stage.backends[1];
    let mut sides = Vec::new();
    for user in ["acme-1", "acme-2", "acme-3"] {
        sides.push(Side::at(&stage, beta, "127.0.0.1", user).await);
    }
    let [first, second, third] = &mut sides[..] else { unreachable!() };
    first.tries().await;
    second.tries().await;
    // Also when its client has given up.
    second.client.talk.vanishes();
    third.waits().await;
    for user in ["anna", "bob", "eve"] {
        let mut side = Side::from(&stage, "127.0.0.1", user).await;
        side.tries().await;
        side.is_let_in().await;
    }
    first.is_let_in().await;
    third.backend.hears("PASS x").await;
    third.is_let_in().await;
}

/// A volley at one user from many addresses.
#[tokio::test]
async fn addresses_that_guess_side_by_side_are_no_more_than_may_fail() {
    let stage = Stage::start(strict()).await;
    let mut sides = Vec::new();
    for from in ["127.0.0.2", "127.0.0.3", "127.0.0.4"] {
        sides.push(Side::from(&stage, from, "bob").await);
    }
    let [first, second, third] = &mut sides[..] else { unreachable!() };
    first.tries().await;
    second.tries().await;
    third.waits().await;
    first.fails().await;
    second.fails_for_the_last_time().await;
    third.is_banned("login_banned").await;
}

/// Some servers say no by hanging up or by 421. To somebody who has come in here before, they say something else with it:
/// that they have no room.
#[tokio::test]
async fn a_backend_that_hangs_up_over_a_strangers_password_has_said_no() {
    for known in [false, true] {
        let stage = Stage::start(strict()).await;
        if known {
            let mut side = Side::of_bob(&stage).await;
            side.tries().await;
            side.is_let_in().await;
        }
        for way in ["421 Login incorrect", ""] {
            let mut side = Side::of_bob(&stage).await;
            side.tries().await;
            match way {
                "" => side.backend.talk.finishes().await,
                words => side.backend.says(words).await,
            }
            side.client.hears("421 ").await;
        }
        stage.counts("logins_total{result=\"backend_failed\"}", 2).await;
        stage.counts("bans_total{kind=\"login\"}", u32::from(!known)).await;
    }
}

/// To PASS there is no 331, and to ACCT nothing that asks for more (RFC 959 §5.4). Devices say no with it, and would go on
/// hearing guesses.
#[tokio::test]
async fn a_backend_that_asks_for_the_same_again_has_said_no_to_everybody() {
    for known in [false, true] {
        for (first, guess, again) in [
            ("", "PASS x", "331 User or password is wrong."),
            ("PASS x", "ACCT y", "332 Not that account."),
            ("PASS x", "ACCT y", "331 Begin with the password."),
        ] {
            let stage = Stage::start(strict()).await;
            let mut side = Side::of_bob(&stage).await;
            if known {
                side.tries().await;
                side.is_let_in().await;
                side = Side::of_bob(&stage).await;
            }
            for last in [false, true] {
                if !first.is_empty() && (!last || again.starts_with("331")) {
                    side.tries().await;
                    side.backend.says("332 Account").await;
                    side.client.hears("332 ").await;
                }
                side.client.says(guess).await;
                side.backend.hears_and_says(guess, again).await;
                match last {
                    true => side.client.refused(421, "too_many_login_attempts").await,
                    false => side.client.hears(again).await,
                };
            }
            bob_is_banned(&stage).await;
            stage.counts("logins_total{result=\"rejected\"}", 2).await;
        }
    }
}

/// Of somebody who is known where he comes from a hang-up is no proof, and many are.
#[tokio::test]
async fn who_is_known_may_be_hung_up_on_often_and_not_without_end() {
    let stage = Stage::start(strict()).await;
    let mut side = Side::of_bob(&stage).await;
    side.tries().await;
    side.is_let_in().await;
    for (goodbyes, banned) in [(19, false), (20, true)] {
        for _ in 0..goodbyes {
            let mut side = Side::of_bob(&stage).await;
            side.tries().await;
            side.backend.says("421 Login incorrect").await;
            side.client.refused(421, "backend_said_goodbye").await;
        }
        stage.counts("bans_total{kind=\"login\"}", u32::from(banned)).await;
        if !banned {
            // The right password wipes them out.
            let mut side = Side::of_bob(&stage).await;
            side.tries().await;
            side.is_let_in().await;
        }
    }
}

/// What a server makes of Telnet's bytes in a password, among other things: it tries the rest of it, and its answer is none.
#[tokio::test]
async fn an_answer_that_is_none_has_said_no_to_everybody() {
    for known in [false, true] {
        let stage = Stage::start(strict()).await;
        if known {
            let mut side = Side::of_bob(&stage).await;
            side.tries().await;
            side.is_let_in().await;
        }
        for _ in 0..2 {
            let mut side = Side::of_bob(&stage).await;
            side.tries().await;
            side.backend.talk.say_raw(b"\xff\xfe\x01530 No\r\n").await;
            side.client.refused(421, "backend_nonsense").await;
        }
        bob_is_banned(&stage).await;
        stage.counts("bans_total{kind=\"login\"}", 1).await;
    }
}

/// Servers of BSD's family and ProFTPD take them out, try the rest, and write an answer to them in front of the no.
#[tokio::test]
async fn telnet_in_a_password_goes_nowhere() {
    let stage = Stage::plain().await;
    let mut side = Side::of_bob(&stage).await;
    for command in [b'\xf0', b'\xf4', b'\xfa', b'\xfb', b'\xfd', b'\xfe'] {
        side.client.talk.say_raw([&b"PASS x\xff"[..], &[command], b"\x01\r\n"].concat()).await;
        side.client.refused(501, "telnet_in_password").await;
    }
    side.backend.talk.hears_nothing().await;
    // In Latin-1 it is a letter, also a doubled one and the last.
    side.client.talk.say_raw(b"PASS x\xff\xff\xefy\xff\r\n").await;
    let heard = side.backend.talk.line("PASS").await;
    assert_eq!(heard.trim_ascii_end(), b"PASS x\xff\xff\xefy\xff");
    side.backend.says("332 Account").await;
    side.client.hears("332 ").await;
    side.client.talk.say_raw(b"ACCT x\xff\xfb\x01\r\n").await;
    side.client.refused(501, "telnet_in_password").await;
    side.client.says("ACCT 4711").await;
    side.backend.hears("ACCT 4711").await;
    side.is_let_in().await;
}

/// No fault of the client's: whoever is in the middle of a login when the gateway goes is not banned by the next one.
#[tokio::test]
async fn what_is_undecided_when_the_gateway_stops_does_not_count() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Stage::start(strict().state_dir(folder.path())).await;
    let (mut first, mut second) = (Side::of_bob(&stage).await, Side::of_bob(&stage).await);
    first.tries().await;
    second.tries().await;
    second.client.talk.vanishes();
    let Stage { gateway, .. } = stage;
    gateway.stop().await;
    first.client.refused(421, "draining").await;
    let stage = Stage::start(strict().state_dir(folder.path())).await;
    let mut side = Side::of_bob(&stage).await;
    side.tries().await;
    side.is_let_in().await;
}
