//! From USER to 230, and everything that can come instead.

use crate::stage::{Actor, Client, End, Reply, Setup, Stage};

#[tokio::test]
async fn the_backends_words_reach_the_client() {
    let stage = Stage::plain().await;
    let mut client = stage.secured_client().await;
    client.says("USER bob").await;
    let mut backend = stage.backend().welcomes().await;
    backend.hears_and_says("USER bob", "331 What is the word, bob?").await;
    assert_eq!(client.hears("331 ").await.text(), "331 What is the word, bob?\r\n");
    client.says("PASS  two blanks and one behind ").await;
    backend.hears_and_says("PASS  two blanks and one behind ", "230-Rules\r\n 1. none\r\n230 Come in").await;
    assert_eq!(client.hears("230-").await.text(), "230-Rules\r\n 1. none\r\n230 Come in\r\n");
}

#[tokio::test]
async fn logged_in_straight_after_user() {
    for answer in ["230 No password needed", "232 Known by certificate"] {
        let stage = Stage::plain().await;
        let mut client = stage.secured_client().await;
        client.says("USER bob").await;
        let mut backend = stage.backend().welcomes().await;
        backend.hears_and_says("USER bob", answer).await;
        client.hears(answer).await;
        client.says("PWD").await;
        backend.hears_and_says("PWD", "257 \"/\"").await;
        client.hears("257 ").await;
    }
}

#[tokio::test]
async fn an_account_is_asked_for() {
    let stage = Stage::plain().await;
    let mut client = stage.secured_client().await;
    let mut backend = stage.asks_for_a_password("bob", &mut client).await;
    client.says("PASS sesame").await;
    backend.hears_and_says("PASS sesame", "332 Account").await;
    client.hears("332 Account").await;
    client.says("ACCT 4711").await;
    backend.hears_and_says("ACCT 4711", "230 In").await;
    client.hears("230 In").await;
}

/// Before the password (RFC 959 §4.1.1: 332 is an answer to USER too), and with nothing in it.
#[tokio::test]
async fn an_account_is_asked_for_straight_after_user() {
    let stage = Stage::plain().await;
    let mut client = stage.secured_client().await;
    client.says("USER bob").await;
    let mut backend = stage.backend().welcomes().await;
    backend.hears_and_says("USER bob", "332 Account").await;
    client.hears("332 Account").await;
    client.says("ACCT").await;
    backend.hears_and_says("ACCT", "331 And the password").await;
    client.hears("331 ").await;
    // It has been given.
    client.says("ACCT again").await;
    client.refused(503, "account_not_asked").await;
    client.says("PASS sesame").await;
    backend.hears_and_says("PASS sesame", "230 In").await;
    client.hears("230 In").await;
    // What comes behind the login is the backend's.
    client.says("ACCT").await;
    backend.hears_and_says("ACCT", "202 Superfluous").await;
    client.hears("202 ").await;
}

/// To PASS it is a login (RFC 959 §5.4).
#[tokio::test]
async fn a_password_that_is_superfluous_is_a_login() {
    let stage = Stage::plain().await;
    let mut client = stage.secured_client().await;
    let mut backend = stage.asks_for_a_password("bob", &mut client).await;
    client.says("PASS sesame").await;
    backend.hears_and_says("PASS sesame", "202 In all the same").await;
    client.hears("202 In all the same").await;
    client.says("PWD").await;
    backend.hears_and_says("PWD", "257 \"/\"").await;
    client.hears("257 ").await;
    stage.counts("logins_total{result=\"accepted\"}", 1).await;
}

/// To USER and ACCT it says that something was not needed, and not that somebody is in.
#[tokio::test]
async fn superfluous_is_no_login() {
    let stage = Stage::plain().await;
    for ahead in ["", "USER bob"] {
        let mut client = stage.secured_client().await;
        let asked = if ahead.is_empty() { "USER bob" } else { "ACCT 4711" };
        client.says("USER bob").await;
        let mut backend = stage.backend().welcomes().await;
        if !ahead.is_empty() {
            backend.hears_and_says(ahead, "332 Account").await;
            client.hears("332 ").await;
            client.says(asked).await;
        }
        backend.hears_and_says(asked, "202 Please tell me who you are").await;
        client.hears("530 Login incorrect").await;
        client.says("PWD").await;
        client.refused(530, "not_logged_in").await;
    }
    stage.counts("logins_total{result=\"rejected\"}", 2).await;
}

#[tokio::test]
async fn pass_without_user_is_503() {
    let stage = Stage::plain().await;
    let mut client = stage.secured_client().await;
    for command in ["PASS sesame", "ACCT 4711"] {
        client.says(command).await;
        client.refused(503, "user_first").await;
    }
    client.says("USER").await;
    client.refused(501, "syntax").await;
    stage.backend().is_not_dialled().await;
}

#[tokio::test]
async fn a_wrong_password_may_be_tried_again() {
    let stage = Stage::plain().await;
    let mut client = stage.secured_client().await;
    let mut backend = stage.asks_for_a_password("bob", &mut client).await;
    client.says("PASS wrong").await;
    backend.hears_and_says("PASS wrong", "530 No").await;
    client.hears("530 No").await;
    stage.counts("logins_total{result=\"rejected\"}", 1).await;
    client.says("USER bob").await;
    backend.hears_and_says("USER bob", "331 Password").await;
    client.hears("331 ").await;
    client.says("PASS sesame").await;
    backend.hears_and_says("PASS sesame", "230 In").await;
    client.hears("230 In").await;
    stage.counts("logins_total{result=\"accepted\"}", 1).await;
}

#[tokio::test]
async fn five_wrong_passwords_end_the_session() {
    let stage = Stage::plain().await;
    let mut client = stage.secured_client().await;
    let mut backend = None;
    for attempt in 1..=5 {
        stage.guesses(&mut client, &mut backend).await.says("530 No").await;
        if attempt < 5 {
            client.hears("530 No").await;
        }
    }
    client.refused(421, "too_many_login_attempts").await;
    assert_eq!(client.ends().await, End::CloseNotify);
    stage.is_empty().await;
}

/// A login that goes well in between does not wipe them out: whoever has one account could guess at all others.
#[tokio::test]
async fn wrong_passwords_count_for_the_whole_session() {
    let stage = Stage::plain().await;
    let mut client = stage.secured_client().await;
    // Each login ends only when the gateway ends it.
    let mut backends = Vec::new();
    for attempt in 1..=5 {
        client.says("USER bob").await;
        backends.push(stage.backend().welcomes().await);
        let backend = backends.last_mut().unwrap();
        backend.hears_and_says("USER bob", "331 Password").await;
        client.hears("331 ").await;
        client.says("PASS wrong").await;
        backend.hears_and_says("PASS wrong", "530 No").await;
        if attempt == 5 {
            break;
        }
        client.hears("530 No").await;
        client.says("USER eve").await;
        backend.hears_and_says("USER eve", "331 Password").await;
        client.hears("331 ").await;
        client.says("PASS right").await;
        backend.hears_and_says("PASS right", "230 In").await;
        client.hears("230 In").await;
    }
    client.refused(421, "too_many_login_attempts").await;
}

/// Two users, one with a route: neither replies nor their order may tell which.
#[tokio::test]
async fn no_route_looks_like_a_wrong_password() {
    let setup = || Setup::new().line("routes: [{ user: [\"acme-*\"], backend: legacy }]");
    let stage = Stage::start(setup()).await;
    let mut routed = stage.secured_client().await;
    routed.says("USER acme-1").await;
    let mut backend = stage.backend().welcomes().await;
    backend.hears_and_says("USER acme-1", "331 Password for acme-1 on old.example").await;
    let mut heard: Vec<Reply> = vec![routed.hears("331 ").await];
    routed.says("PASS wrong").await;
    backend.hears_and_says("PASS wrong", "530 Wrong, acme-1").await;
    heard.push(routed.hears("530 ").await);
    routed.says("PASS wrong").await;
    heard.push(routed.refused(503, "user_first").await);

    let mut stranger = stage.secured_client().await;
    let mut unknown: Vec<Reply> = Vec::new();
    for (command, start) in [("USER nobody", "331 "), ("PASS wrong", "530 "), ("PASS wrong", "503 ")] {
        unknown.push(stranger.says_and_hears(command, start).await);
    }
    assert_eq!(heard, unknown);
    stage.backend().is_not_dialled().await;
    stage.counts("logins_total{result=\"no_route\"}", 1).await;
}

/// A backend that says no to USER already.
#[tokio::test]
async fn a_no_to_user_looks_like_a_wrong_password() {
    for no in ["530 acme-2 is not known on old.example", "202 acme-2 is superfluous"] {
        let stage = Stage::start(Setup::new().line("routes: [{ user: [\"acme-*\"], backend: legacy }]")).await;
        let mut client = stage.secured_client().await;
        client.says("USER acme-2").await;
        let mut backend = stage.backend().welcomes().await;
        backend.hears_and_says("USER acme-2", no).await;
        client.hears("331 Password required.").await;
        client.says("PASS sesame").await;
        client.hears("530 Login incorrect").await;
        client.says("PASS sesame").await;
        client.refused(503, "user_first").await;
        stage.counts("logins_total{result=\"rejected\"}", 1).await;
    }
}

/// A backend that says no by asking again, which nobody without a route hears.
#[tokio::test]
async fn a_password_that_is_asked_for_again_looks_like_a_wrong_one() {
    let stage = Stage::start(Setup::new().line("routes: [{ user: [\"acme-*\"], backend: legacy }]")).await;
    let mut client = stage.secured_client().await;
    client.says("USER acme-1").await;
    let mut backend = stage.backend().welcomes().await;
    backend.hears_and_says("USER acme-1", "331 Password").await;
    client.hears("331 ").await;
    client.says("PASS sesame").await;
    backend.hears_and_says("PASS sesame", "331 Once more, acme-1").await;
    client.hears("530 Login incorrect").await;
    client.says("PASS sesame").await;
    client.refused(503, "user_first").await;
    stage.counts("logins_total{result=\"rejected\"}", 1).await;
}

/// A connection with a backend that is there already would answer the next USER faster than any other.
#[tokio::test]
async fn each_user_takes_a_dial_where_users_are_told_apart() {
    let stage = Stage::start(Setup::new().line("routes: [{ user: [\"acme-*\"], backend: legacy }]")).await;
    let mut client = stage.secured_client().await;
    for user in ["USER acme-1", "USER acme-2"] {
        client.says(user).await;
        let mut backend = stage.backend().welcomes().await;
        backend.hears_and_says(user, "331 Password").await;
        client.hears("331 ").await;
        client.says("PASS wrong").await;
        backend.hears_and_says("PASS wrong", "530 No").await;
        client.hears("530 ").await;
        client.says_and_hears("USER nobody", "331 ").await;
        backend.hears("QUIT").await;
    }
}

/// Each would be a connection of the backend's, for nothing.
#[tokio::test]
async fn names_without_a_password_end_the_session_soon() {
    for routes in ["", "routes: [{ user: [\"*\"], backend: legacy }]"] {
        let stage = Stage::start(Setup::new().line(routes)).await;
        let mut client = stage.secured_client().await;
        let mut backends: Vec<Actor> = Vec::new();
        for at in 0..5 {
            client.says("USER bob").await;
            if routes.is_empty() && at > 0 {
                backends[0].hears_and_says("USER bob", "331 Password").await;
            } else {
                backends.push(stage.backend().welcomes().await);
                backends[at].hears_and_says("USER bob", "331 Password").await;
            }
            client.hears("331 ").await;
        }
        client.talk.say_raw("USER bob\r\n".repeat(15)).await;
        client.refused(421, "too_many_login_attempts").await;
        assert_eq!(client.ends().await, End::CloseNotify);
        backends.last_mut().unwrap().hears("QUIT").await;
        stage.backend().is_not_dialled().await;
        stage.is_empty().await;
    }
}

/// REIN in between does not wipe them out, nor does a login that goes well.
#[tokio::test]
async fn names_without_a_password_count_for_the_whole_session() {
    let stage = Stage::plain().await;
    let mut client = stage.implicit_client().await;
    // Each login ends only when the gateway ends it.
    let mut backends = Vec::new();
    for _ in 0..2 {
        backends.push(stage.logs_in(&mut client).await);
        for _ in 0..2 {
            backends.push(stage.asks_for_a_password("bob", &mut client).await);
            client.says_and_hears("REIN", "220 ").await;
        }
    }
    backends.push(stage.logs_in(&mut client).await);
    backends.push(stage.asks_for_a_password("bob", &mut client).await);
    client.says("USER bob").await;
    client.refused(421, "too_many_login_attempts").await;
}

/// A slip of the finger is corrected as before, and at once.
#[tokio::test]
async fn another_name_before_the_password_is_taken() {
    let stage = Stage::plain().await;
    let mut client = stage.secured_client().await;
    let mut backend = stage.asks_for_a_password("bbo", &mut client).await;
    client.says("USER bob").await;
    backend.hears_and_says("USER bob", "331 Password").await;
    client.hears("331 ").await;
    client.says("PASS sesame").await;
    backend.hears_and_says("PASS sesame", "230 In").await;
    client.hears("230 In").await;
}

#[tokio::test]
async fn user_after_login_begins_anew() {
    let stage = Stage::plain().await;
    let mut client = stage.secured_client().await;
    let mut old = stage.logs_in(&mut client).await;
    client.says("USER eve").await;
    old.hears("QUIT").await;
    assert_eq!(old.ends().await, End::Fin);
    let mut new = stage.backend().welcomes().await;
    new.hears_and_says("USER eve", "331 Password").await;
    client.hears("331 ").await;
    client.says("PWD").await;
    client.refused(530, "not_logged_in").await;
    client.says("PASS sesame").await;
    new.hears_and_says("PASS sesame", "230 In").await;
    client.hears("230 In").await;
}

/// Argon2 takes its time; the deadline of the connection is not the login's.
#[tokio::test]
async fn a_slow_login_is_waited_for() {
    let stage = Stage::start(Setup::new().with("timeouts", "backend_connect: 100ms")).await;
    let mut client = stage.secured_client().await;
    let mut backend = stage.asks_for_a_password("bob", &mut client).await;
    client.says("PASS sesame").await;
    backend.hears("PASS sesame").await;
    // The backend computes, for several times the deadline.
    for _ in 0..5 {
        client.talk.hears_nothing().await;
    }
    backend.says("230 In").await;
    client.hears("230 In").await;
}

#[tokio::test]
async fn the_whole_login_may_come_in_one_record() {
    let stage = Stage::plain().await;
    let mut client = stage.secured_client().await;
    client.talk.say_raw("USER bob\r\nPASS sesame\r\nPWD\r\n").await;
    let mut backend = stage.backend().welcomes().await;
    backend.lets_bob_in().await;
    client.hears("331 Password please").await;
    client.hears("230 Welcome bob").await;
    backend.hears_and_says("PWD", "257 \"/\"").await;
    client.hears("257 ").await;
}

#[tokio::test]
async fn utf8_that_was_asked_for_early_is_asked_for_at_the_backend() {
    let stage = Stage::plain().await;
    let mut client = stage.secured_client().await;
    client.says_and_hears("OPTS UTF8 ON", "200 ").await;
    client.says("USER bob").await;
    let mut backend = stage.backend().welcomes().await;
    backend.hears_and_says("USER bob", "230 In").await;
    // Whatever it says to that.
    backend.hears_and_says("OPTS UTF8 ON", "501 Never heard of it").await;
    client.hears("230 In").await;
}

/// A backend that cannot be used: 421 with the reason, and the session ends.
async fn fails(stage: &Stage, client: &mut Client, label: &str) {
    client.refused(421, label).await;
    assert_eq!(client.ends().await, End::CloseNotify);
    stage.counts(&format!("sessions_total{{listener=\"explicit\",outcome=\"{label}\"}}"), 1).await;
    stage.counts("logins_total{result=\"backend_failed\"}", 1).await;
    stage.is_empty().await;
}

#[tokio::test]
async fn a_backend_that_is_not_there() {
    let mut stage = Stage::plain().await;
    let mut client = stage.secured_client().await;
    stage.backends.clear();
    client.says("USER bob").await;
    fails(&stage, &mut client, "backend_refused").await;
}

#[tokio::test]
async fn a_backend_that_closes_before_its_greeting() {
    let stage = Stage::plain().await;
    let mut client = stage.secured_client().await;
    client.says("USER bob").await;
    stage.backend().accepts().await.talk.finishes().await;
    fails(&stage, &mut client, "backend_closed").await;
}

#[tokio::test]
async fn a_backend_that_resets_before_its_greeting() {
    let stage = Stage::plain().await;
    let mut client = stage.secured_client().await;
    client.says("USER bob").await;
    stage.backend().accepts().await.talk.resets();
    fails(&stage, &mut client, "backend_reset").await;
}

#[tokio::test]
async fn a_backend_that_never_greets() {
    let stage = Stage::start(Setup::new().with("timeouts", "backend_reply: 300ms")).await;
    let mut client = stage.secured_client().await;
    client.says("USER bob").await;
    let _backend = stage.backend().accepts().await;
    fails(&stage, &mut client, "backend_timeout").await;
}

#[tokio::test]
async fn a_backend_that_greets_with_421_or_5xx() {
    for greeting in ["421 Too many users on old.example", "554 Go away"] {
        let stage = Stage::plain().await;
        let mut client = stage.secured_client().await;
        client.says("USER bob").await;
        let mut backend = stage.backend().accepts().await;
        backend.says(greeting).await;
        fails(&stage, &mut client, "backend_not_ready").await;
    }
}

#[tokio::test]
async fn a_backend_that_greets_with_nonsense() {
    for greeting in ["SSH-2.0-OpenSSH_9.6", "<html>", "\u{0}\u{1}\u{2}", "099 Hello"] {
        let stage = Stage::plain().await;
        let mut client = stage.secured_client().await;
        client.says("USER bob").await;
        let mut backend = stage.backend().accepts().await;
        backend.says(greeting).await;
        fails(&stage, &mut client, "backend_nonsense").await;
    }
}

#[tokio::test]
async fn a_backend_that_says_421_to_user_or_pass() {
    for at in ["USER", "PASS"] {
        let stage = Stage::plain().await;
        let mut client = stage.secured_client().await;
        client.says("USER bob").await;
        let mut backend = stage.backend().welcomes().await;
        backend.hears("USER bob").await;
        if at == "PASS" {
            backend.says("331 Password").await;
            client.hears("331 ").await;
            client.says("PASS sesame").await;
            backend.hears("PASS sesame").await;
        }
        backend.says("421 old.example shuts down").await;
        let heard = client.refused(421, "backend_said_goodbye").await;
        assert!(!heard.text().contains("old.example"), "{heard:?}");
        assert_eq!(client.ends().await, End::CloseNotify);
        stage.is_empty().await;
    }
}

#[tokio::test]
async fn a_backend_that_closes_instead_of_answering_pass() {
    let stage = Stage::plain().await;
    let mut client = stage.secured_client().await;
    let mut backend = stage.asks_for_a_password("bob", &mut client).await;
    client.says("PASS sesame").await;
    backend.hears("PASS sesame").await;
    backend.talk.finishes().await;
    fails(&stage, &mut client, "backend_closed").await;
}
