//! Tables: who fails from where, and who is shut out then.

use super::*;

const RULE: FailedLogins =
    FailedLogins { attempts: 5, within: Duration::from_secs(600), ban: Duration::from_secs(900) };
const HERE: &str = "192.0.2.7";
const THERE: &str = "198.51.100.9";

/// A throttle and the time.
struct Test {
    throttle: Throttle,
    now: Instant,
}

impl Test {
    fn new() -> Self {
        Self { throttle: Throttle::new(Some(RULE)), now: Instant::now() }
    }

    fn passes(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }

    fn fails(&self, from: &str, user: &str) -> Penalty {
        self.throttle.failed(from.parse().unwrap(), user.as_bytes(), self.now).unwrap()
    }

    fn succeeds(&self, from: &str, user: &str) -> Result<(), Refusal> {
        self.throttle.succeeded(from.parse().unwrap(), user.as_bytes(), self.now)
    }

    fn check(&self, from: &str, user: &str) -> Result<(), Refusal> {
        self.throttle.check(from.parse().unwrap(), user.as_bytes(), self.now)
    }

    fn comes(&self, from: &str) -> Result<(), Refusal> {
        self.throttle.check_address(from.parse().unwrap(), self.now)
    }

    fn begins(&self, from: &str, user: &str) -> Turn {
        self.begins_at("legacy", from, user)
    }

    fn begins_at(&self, backend: &str, from: &str, user: &str) -> Turn {
        let backend = (!backend.is_empty()).then(|| backend.into());
        self.throttle.begin(from.parse().unwrap(), user.as_bytes(), backend, self.now, None).unwrap()
    }

    /// It may be tried now.
    fn tries(&self, from: &str, user: &str) -> Trial {
        match self.begins(from, user) {
            Turn::Now(trial) => trial,
            Turn::After(decision) => panic!("{from} {user} waits: {decision:?}"),
        }
    }

    /// It has to wait.
    fn waits(&self, from: &str, user: &str) -> Decision {
        match self.begins(from, user) {
            Turn::After(decision) => decision,
            Turn::Now(trial) => panic!("{from} {user} need not wait: {trial:?}"),
        }
    }

    /// It asks again, whether or not it has been told to.
    fn asks_again(&self, from: &str, user: &str, after: Decision) -> Result<Turn, Refusal> {
        self.throttle.begin(from.parse().unwrap(), user.as_bytes(), Some("legacy".into()), self.now, Some(after))
    }

    fn kinds(&self) -> Vec<BanKind> {
        self.throttle.bans(self.now).iter().map(|ban| ban.subject.kind()).collect()
    }
}

#[test]
fn five_wrong_passwords_of_one_user_shut_him_out_there_and_nobody_else() {
    let mut test = Test::new();
    for at in 1..=5 {
        assert_eq!(test.check(HERE, "bob"), Ok(()));
        assert_eq!(test.fails(HERE, "bob").bans.len(), usize::from(at == 5));
        test.passes(1);
    }
    assert_eq!(test.check(HERE, "bob"), Err(Refusal::LoginBanned));
    assert_eq!((test.check(HERE, "eve"), test.comes(HERE), test.check(THERE, "bob")), (Ok(()), Ok(()), Ok(())));
    assert_eq!(test.kinds(), [BanKind::Login]);
    test.passes(898);
    assert_eq!(test.check(HERE, "bob"), Err(Refusal::LoginBanned));
    test.passes(1);
    assert_eq!(test.check(HERE, "bob"), Ok(()));
    assert!(test.kinds().is_empty());
}

#[test]
fn wrong_passwords_are_forgotten_with_time_and_with_the_right_one() {
    let mut test = Test::new();
    for _ in 0..20 {
        assert!(test.fails(HERE, "bob").bans.is_empty());
        test.passes(151);
    }
    test.passes(600);
    for _ in 0..20 {
        for _ in 0..4 {
            assert!(test.fails(HERE, "bob").bans.is_empty());
        }
        assert_eq!(test.succeeds(HERE, "bob"), Ok(()));
    }
}

#[test]
fn the_answer_waits_longer_each_time() {
    let test = Test { throttle: Throttle::new(Some(FailedLogins { attempts: 100, ..RULE })), now: Instant::now() };
    let delays: Vec<u128> = (0..8).map(|_| test.fails(HERE, "bob").delay.as_millis()).collect();
    assert_eq!(delays, [0, 250, 500, 1000, 2000, 4000, 8000, 8000]);
}

#[test]
fn many_users_from_one_address_shut_the_address_out() {
    let test = Test::new();
    for user in ["a", "b", "c", "d"] {
        assert!(test.fails(HERE, user).bans.is_empty());
        assert_eq!(test.comes(HERE), Ok(()));
    }
    assert_eq!(test.fails(HERE, "e").bans.len(), 1);
    assert_eq!(test.comes(HERE), Err(Refusal::AddressBanned));
    assert_eq!(test.check(HERE, "f"), Err(Refusal::AddressBanned));
    assert_eq!((test.comes(THERE), test.check(THERE, "a")), (Ok(()), Ok(())));
}

/// Many behind one address (NAT), one of whom guesses at the others.
#[test]
fn one_of_many_behind_an_address_does_not_shut_out_those_who_are_known_there() {
    let mut test = Test::new();
    test.succeeds(HERE, "anna").unwrap();
    test.succeeds(HERE, "berta").unwrap();
    test.passes(20 * 24 * 3600);
    for user in ["a", "b", "c", "d", "e"] {
        test.fails(HERE, user);
    }
    assert_eq!(test.kinds(), [BanKind::Address]);
    // It is let in, because who it is can be seen at USER.
    assert_eq!(test.comes(HERE), Ok(()));
    assert_eq!((test.check(HERE, "anna"), test.check(HERE, "berta")), (Ok(()), Ok(())));
    assert_eq!(test.check(HERE, "f"), Err(Refusal::AddressBanned));
    assert_eq!(test.succeeds(HERE, "anna"), Ok(()));
    // One who is known is shut out by his own wrong passwords.
    (0..5).for_each(|_| drop(test.fails(HERE, "berta")));
    assert_eq!((test.check(HERE, "berta"), test.check(HERE, "anna")), (Err(Refusal::LoginBanned), Ok(())));
}

#[test]
fn wrong_passwords_of_users_who_are_known_do_not_add_up() {
    let test = Test::new();
    for user in ["a", "b", "c", "d", "e", "f"] {
        test.succeeds(HERE, user).unwrap();
        (0..4).for_each(|_| drop(test.fails(HERE, user)));
    }
    assert!(test.kinds().is_empty());
}

#[test]
fn many_addresses_at_one_user_shut_out_strangers_and_not_the_user() {
    let test = Test::new();
    test.succeeds(HERE, "bob").unwrap();
    for last in 1..=5 {
        test.fails(&format!("203.0.113.{last}"), "bob");
    }
    assert_eq!(test.kinds(), [BanKind::User]);
    assert_eq!(test.check(THERE, "bob"), Err(Refusal::LoginBanned));
    assert_eq!(test.check(THERE, "eve"), Ok(()));
    assert_eq!(test.check(HERE, "bob"), Ok(()));
}

#[test]
fn addresses_of_one_network_and_spellings_of_one_user_are_one() {
    let test = Test::new();
    for (at, user) in ["bob", "BOB", " bob", "Bob ", "bOB"].into_iter().enumerate() {
        test.fails(&format!("2001:db8:1:2::{at}"), user);
    }
    assert_eq!(test.check("2001:db8:1:2:ffff::1", "bob"), Err(Refusal::LoginBanned));
    assert_eq!(test.check("2001:db8:1:3::1", "bob"), Ok(()));
    (0..5).for_each(|_| drop(test.fails("::ffff:192.0.2.7", "eve")));
    assert_eq!(test.check(HERE, "eve"), Err(Refusal::LoginBanned));
}

/// Guesses that run side by side: what comes back behind the ban is no guess that counts, right or wrong.
#[test]
fn a_right_password_behind_the_ban_is_as_good_as_a_wrong_one() {
    let test = Test::new();
    (0..5).for_each(|_| drop(test.fails(HERE, "bob")));
    assert_eq!(test.succeeds(HERE, "bob"), Err(Refusal::LoginBanned));
    let failed = test.throttle.failed(HERE.parse().unwrap(), b"bob", test.now);
    assert_eq!(failed, Err(Refusal::LoginBanned));
    assert_eq!(test.throttle.bans(test.now).len(), 1);
}

/// The decision it waits for has come.
fn is_told(decision: &mut Decision) -> bool {
    let mut comes = std::pin::pin!(decision.comes());
    comes.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop())).is_ready()
}

/// What has failed and what is on trial are never more together than may fail.
#[test]
fn what_is_on_trial_counts_until_it_is_decided() {
    let test = Test::new();
    (0..3).for_each(|_| drop(test.fails(HERE, "bob")));
    let (first, second) = (test.tries(HERE, "bob"), test.tries(HERE, " BOB"));
    let mut third = test.waits(HERE, "bob");
    assert!(matches!(test.begins(HERE, "eve"), Turn::Now(_)) && matches!(test.begins(THERE, "bob"), Turn::Now(_)));
    assert!(!is_told(&mut third));
    assert!(first.failed(test.now).unwrap().bans.is_empty());
    assert!(is_told(&mut third));
    let Ok(Turn::After(mut third)) = test.asks_again(HERE, "bob", third) else { panic!("four and one are five") };
    assert_eq!(second.failed(test.now).unwrap().bans.len(), 1);
    assert!(is_told(&mut third));
    assert_eq!(test.asks_again(HERE, "bob", third).unwrap_err(), Refusal::LoginBanned);
    assert!(test.throttle.state().trials.is_empty());
}

#[test]
fn what_comes_of_it_makes_room_or_not() {
    let test = Test::new();
    let mut trials: Vec<Trial> = (0..5).map(|_| test.tries(HERE, "bob")).collect();
    trials.pop().unwrap().withdrawn();
    trials.push(test.tries(HERE, "bob"));
    // A failure stays in its place.
    trials.pop().unwrap().failed(test.now).unwrap();
    drop(test.waits(HERE, "bob"));
    // The right one takes it along.
    trials.pop().unwrap().succeeded(test.now).unwrap();
    trials.extend([test.tries(HERE, "bob"), test.tries(HERE, "bob")]);
    drop(test.waits(HERE, "bob"));
    // Without a word of what became of it, it has failed.
    drop(trials.pop());
    drop(test.waits(HERE, "bob"));
    trials.into_iter().for_each(Trial::withdrawn);
    assert!(test.throttle.state().trials.is_empty());
    assert_eq!([(); 4].map(|()| test.fails(HERE, "bob").bans.len()), [0, 0, 0, 1]);
}

#[test]
fn users_and_addresses_on_trial_count_once_each_and_those_who_are_known_not_at_all() {
    let test = Test::new();
    test.succeeds(HERE, "anna").unwrap();
    let mut trials: Vec<Trial> = ["a", "b", "c", "d", "e", "a"].map(|user| test.tries(HERE, user)).into();
    let f = test.waits(HERE, "f");
    trials.extend([test.tries(HERE, "anna"), test.tries(THERE, "f")]);
    trials.remove(0).withdrawn();
    // The other of a's is still there.
    let Ok(Turn::After(f)) = test.asks_again(HERE, "f", f) else { panic!("five users are on trial") };
    trials.remove(4).withdrawn();
    let Ok(Turn::Now(f)) = test.asks_again(HERE, "f", f) else { panic!("four users are on trial") };
    f.withdrawn();
    let at = |last: usize| format!("203.0.113.{last}");
    trials.extend((1..=5).map(|last| test.tries(&at(last), "bob")));
    trials.push(test.tries(&at(5), "bob"));
    drop(test.waits(&at(6), "bob"));
    test.succeeds(&at(7), "bob").unwrap();
    trials.push(test.tries(&at(7), "bob"));
    trials.into_iter().for_each(Trial::withdrawn);
    assert!(test.throttle.state().trials.is_empty() && test.kinds().is_empty());
}

/// A backend that hangs holds up nobody of another one, nor who has no route; and it wins no guess beyond a ban.
#[test]
fn each_backend_has_its_own_queue_and_all_have_the_same_bans() {
    let test = Test::new();
    let mut hanging: Vec<Trial> = ["a", "b", "c", "d", "e"].map(|user| test.tries(HERE, user)).into();
    let mut waits = [test.waits(HERE, "f"), test.waits(HERE, "f")];
    for backend in ["other", ""] {
        let mut trials = Vec::new();
        for user in ["f", "g", "h", "i", "j"] {
            let Turn::Now(trial) = test.begins_at(backend, HERE, user) else { panic!("{user} waits at {backend}") };
            trials.push(trial);
        }
        assert!(matches!(test.begins_at(backend, HERE, "k"), Turn::After(_)), "each has a bound");
        trials.into_iter().for_each(Trial::withdrawn);
    }
    // What failed at one of them counts at all.
    test.fails(HERE, "f");
    let mut trials = Vec::new();
    for user in ["g", "h", "i", "j"] {
        let Turn::Now(trial) = test.begins_at("other", HERE, user) else { panic!("{user} waits") };
        trials.push(trial);
    }
    let Turn::After(mut k) = test.begins_at("other", HERE, "k") else { panic!("four and one are five") };
    let last = trials.pop().unwrap();
    trials.into_iter().for_each(|trial| assert!(trial.failed(test.now).unwrap().bans.is_empty()));
    assert!(!waits.iter_mut().any(is_told));
    // A ban is for all, and whoever waits anywhere hears of it, here behind those that hang.
    assert_eq!(last.failed(test.now).unwrap().bans.len(), 1);
    assert!(waits.iter_mut().all(is_told) && is_told(&mut k));
    let right = hanging.pop().unwrap().succeeded(test.now);
    assert_eq!(right, Err(Refusal::AddressBanned));
    hanging.into_iter().for_each(Trial::withdrawn);
    assert!(test.throttle.state().trials.is_empty());
}

/// Who is told in one queue and has to go on waiting in another lets the next one of the first go.
#[test]
fn nobody_waits_for_one_who_waits_elsewhere() {
    let test = Test::new();
    let mut trials: Vec<Trial> = ["a", "b", "c", "d", "e"].map(|user| test.tries(HERE, user)).into();
    let (mut f, mut g) = (test.waits(HERE, "f"), test.waits(HERE, "g"));
    let elsewhere: Vec<Trial> = (1..=5).map(|last| test.tries(&format!("203.0.113.{last}"), "f")).collect();
    trials.pop().unwrap().withdrawn();
    assert!(is_told(&mut f) && !is_told(&mut g));
    let Ok(Turn::After(f)) = test.asks_again(HERE, "f", f) else { panic!("f is on trial from five addresses") };
    assert!(is_told(&mut g));
    let Ok(Turn::Now(g)) = test.asks_again(HERE, "g", g) else { panic!("four users are on trial here") };
    drop(f);
    trials.into_iter().chain(elsewhere).chain([g]).for_each(Trial::withdrawn);
    assert!(test.throttle.state().trials.is_empty());
}

/// A place that was offered and not taken is the next one's.
#[test]
fn who_leaves_the_queue_passes_his_place_on() {
    let test = Test::new();
    let mut trials: Vec<Trial> = (0..5).map(|_| test.tries(HERE, "bob")).collect();
    let (first, mut second) = (test.waits(HERE, "bob"), test.waits(HERE, "bob"));
    trials.pop().unwrap().withdrawn();
    assert!(!is_told(&mut second));
    drop(first);
    assert!(is_told(&mut second));
    trials.into_iter().for_each(Trial::withdrawn);
}

/// How many hang-ups there can be until there is a ban.
fn hang_ups(test: &Test, user: &str) -> usize {
    let mut before = 0;
    while let Turn::Now(trial) = test.begins(HERE, user) {
        if !trial.doubtful(test.now).unwrap().bans.is_empty() {
            return before;
        }
        before += 1;
    }
    panic!("{user} waits");
}

#[test]
fn a_backend_that_hangs_up_has_said_no_to_strangers_and_to_who_is_known_a_tenth_of_one() {
    let test = Test::new();
    test.succeeds(HERE, "anna").unwrap();
    test.succeeds(HERE, "berta").unwrap();
    (0..2).for_each(|_| drop(test.fails(HERE, "berta")));
    assert_eq!([hang_ups(&test, "bob"), hang_ups(&test, "anna"), hang_ups(&test, "berta")], [4, 49, 29]);
    for user in ["bob", "anna", "berta"] {
        assert_eq!(test.check(HERE, user), Err(Refusal::LoginBanned));
    }
    assert_eq!(test.kinds(), [BanKind::Login; 3]);
}

/// A reload that counts nothing any more, or more than before, keeps nobody waiting.
#[test]
fn another_rule_wakes_all_who_wait() {
    for rule in [None, Some(FailedLogins { attempts: 9, ..RULE })] {
        let test = Test::new();
        let trials: Vec<Trial> = (0..5).map(|_| test.tries(HERE, "bob")).collect();
        let waits = [test.waits(HERE, "bob"), test.waits(HERE, "bob")];
        test.throttle.set_rule(rule);
        for mut waits in waits {
            assert!(is_told(&mut waits));
            let Ok(Turn::Now(trial)) = test.asks_again(HERE, "bob", waits) else { panic!("there is room") };
            trial.withdrawn();
        }
        trials.into_iter().for_each(Trial::withdrawn);
    }
}

#[test]
fn bans_are_lifted_by_their_number() {
    let test = Test::new();
    (0..5).for_each(|_| drop(test.fails(HERE, "bob")));
    (0..5).for_each(|_| drop(test.fails(HERE, "eve")));
    let bans = test.throttle.bans(test.now);
    assert_eq!(test.throttle.count(test.now), [2, 0, 0]);
    assert_eq!(test.throttle.lift(bans[0].id, test.now), Some(bans[0].clone()));
    assert_eq!(test.throttle.lift(bans[0].id, test.now), None);
    assert_eq!((test.check(HERE, "bob"), test.check(HERE, "eve")), (Ok(()), Err(Refusal::LoginBanned)));
}

#[test]
fn bans_outlive_the_process() {
    let mut test = Test::new();
    test.succeeds(HERE, "anna").unwrap();
    for user in ["a", "b", "c", "d", "e"] {
        test.fails(HERE, user);
        test.fails(THERE, user);
    }
    test.passes(100);
    let version = test.throttle.version();
    let next = Test { throttle: Throttle::new(Some(RULE)), now: test.now + Duration::from_secs(7) };
    next.throttle.restore(test.throttle.kept(test.now), next.now);
    assert_eq!(next.comes(THERE), Err(Refusal::AddressBanned));
    assert_eq!((next.comes(HERE), next.check(HERE, "anna")), (Ok(()), Ok(())));
    assert_eq!(next.check(HERE, "f"), Err(Refusal::AddressBanned));
    let left = next.throttle.bans(next.now)[0].until - next.now;
    assert_eq!(left, Duration::from_secs(800));
    assert_eq!(test.throttle.version(), version);
    test.succeeds(HERE, "anna").unwrap();
    assert_eq!(test.throttle.version(), version, "what is known already is nothing new");
}

#[test]
fn without_a_rule_nothing_is_counted_and_nothing_is_banned() {
    let test = Test::new();
    (0..5).for_each(|_| drop(test.fails(HERE, "bob")));
    test.throttle.set_rule(None);
    assert_eq!(test.check(HERE, "bob"), Ok(()));
    (0..50).for_each(|_| assert_eq!(test.fails(HERE, "bob"), Penalty::default()));
    assert!(test.kinds().is_empty());
}

/// A hundred thousand attempts, each from another address with another name as long as they come.
#[test]
fn memory_is_bounded_whatever_attackers_try() {
    let mut test = Test::new();
    for at in 0..100_000u32 {
        let from = IpAddr::from(std::net::Ipv4Addr::from(0x0a00_0000 + at));
        let user = format!("{at}{}", "x".repeat(4000));
        test.throttle.failed(from, user.as_bytes(), test.now).unwrap();
        test.now += Duration::from_millis(1);
    }
    let state = test.throttle.state();
    assert!(state.logins.iter().count() <= BOUND && state.addresses.iter().count() <= BOUND);
    assert!(state.users.iter().count() <= BOUND);
    assert!(state.users.iter().all(|(user, (_, marks))| user.name().len() <= 128 && marks.len() <= RULE.attempts));
}

/// The most attempts that can be set, and each entry with all but the last of them.
#[test]
fn marks_are_bounded_too_whatever_attempts_is() {
    let mut test = Test::new();
    test.throttle.set_rule(Some(FailedLogins { attempts: 100, ..RULE }));
    for at in 0..200_000u32 {
        // Each name from 99 addresses, each address for 99 names.
        let (block, within) = (at / (99 * 99), at % (99 * 99));
        let from = IpAddr::from(std::net::Ipv4Addr::from(0x0a00_0000 + block * 99 + within % 99));
        let user = format!("{block} {}", within / 99);
        test.throttle.failed(from, user.as_bytes(), test.now).unwrap();
        test.now += Duration::from_micros(100);
    }
    let state = test.throttle.state();
    for weight in [state.logins.weight(), state.addresses.weight(), state.users.weight()] {
        assert!((MARKS / 2..=MARKS).contains(&weight) || weight <= BOUND, "{weight}");
    }
    // They have been at the bound: what came first is gone.
    assert!(state.users.get(&UserKey::of(b"0 0")).is_none());
    assert!(state.users.iter().count() < 200_000 / 99);
}
