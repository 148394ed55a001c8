//! Limits of bandwidth, on a clock that is moved by hand.

use tokio::task::yield_now;
use tokio::time::{sleep, timeout};

use super::*;

const MIB: usize = 1 << 20;

fn rate(bytes: usize) -> Option<NonZeroUsize> {
    NonZeroUsize::new(bytes)
}

async fn seconds(work: impl Future) -> f64 {
    let began = Instant::now();
    work.await;
    began.elapsed().as_secs_f64()
}

async fn move_blocks(share: &Share, blocks: usize, bytes: usize) {
    for _ in 0..blocks {
        let due = share.book(bytes);
        // As the relay does.
        yield_now().await;
        due.paid().await;
    }
}

fn within_5_percent(measured: f64, expected: f64) {
    assert!((measured / expected - 1.0).abs() < 0.05, "{measured} s where {expected} s were expected");
}

#[tokio::test(start_paused = true)]
async fn a_rate_is_kept_within_5_percent_whatever_rate_and_block() {
    for bytes in [1 << 10, 50_000, MIB, 100 * MIB, 1 << 33] {
        for block in [1000, 16 << 10, 256 << 10, 16 << 20] {
            let limits = Bandwidth { session: rate(bytes), ..Bandwidth::default() };
            let share = Arc::new(Bandwidths::new(limits)).share(b"anna");
            // Ten seconds, or as much as can be counted in a test.
            let blocks = (10 * bytes / block).max(10);
            if blocks > 12_000 {
                continue;
            }
            let measured = seconds(move_blocks(&share, blocks, block)).await;
            within_5_percent(measured, (blocks * block) as f64 / bytes as f64);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_saved_up_for_the_next_transfer() {
    let limits = Bandwidth { session: rate(MIB), user: rate(MIB), total: rate(MIB) };
    let share = Arc::new(Bandwidths::new(limits)).share(b"anna");
    for pause in [0, 30, 300, 2000, 60_000] {
        sleep(Duration::from_millis(pause)).await;
        let transfer = async {
            share.begin().await;
            move_blocks(&share, 8, MIB / 4).await;
        };
        within_5_percent(seconds(transfer).await, 2.0);
    }
}

/// A listing is no burden to a fast line, and does not wait for its own bytes.
#[tokio::test(start_paused = true)]
async fn what_is_small_beside_the_rate_waits_for_nothing() {
    let limits = Bandwidth { session: rate(MIB << 10), user: rate(MIB << 10), total: rate(MIB << 10) };
    let share = Arc::new(Bandwidths::new(limits)).share(b"anna");
    let transfers = async {
        for _ in 0..100 {
            share.begin().await;
            share.book(1024).paid().await;
        }
    };
    assert!(seconds(transfers).await == 0.0);
}

/// What is owed at the end of a transfer is paid for by the next one, and what is owed does not grow with the sessions.
#[tokio::test(start_paused = true)]
async fn many_small_transfers_of_many_sessions_are_no_faster_than_the_limit() {
    let bandwidths = Arc::new(Bandwidths::new(Bandwidth { total: rate(100 << 10), ..Bandwidth::default() }));
    let transfers = async {
        for number in 0..1000_u32 {
            let share = bandwidths.share(&number.to_be_bytes());
            share.begin().await;
            share.book(1024).paid().await;
        }
    };
    within_5_percent(seconds(transfers).await, 10.0);
}

/// The first piece of a transfer and no more, again and again.
async fn move_and_cut(share: &Share, times: usize, bytes: usize) {
    for _ in 0..times {
        share.begin().await;
        // Called off while it waits.
        let _ = timeout(Duration::from_millis(1), share.book(bytes).paid()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn who_cuts_each_transfer_behind_its_first_piece_is_no_faster_than_the_limit() {
    let slow = rate(64 << 10);
    for limits in [
        Bandwidth { session: slow, ..Bandwidth::default() },
        Bandwidth { user: slow, ..Bandwidth::default() },
        Bandwidth { total: slow, ..Bandwidth::default() },
        Bandwidth { session: slow, user: slow, total: slow },
        Bandwidth { session: rate(1 << 33), user: rate(MIB), total: slow },
    ] {
        let bandwidths = Arc::new(Bandwidths::new(limits));
        let share = bandwidths.share(b"anna");
        within_5_percent(seconds(move_and_cut(&share, 80, 16 << 10)).await, 20.0);
        // What is owed in the end is a piece, and others wait for no more.
        let wait = seconds(bandwidths.share(b"bert").begin()).await;
        assert!(wait <= 0.25, "{wait}");
    }
}

#[tokio::test(start_paused = true)]
async fn many_who_cut_owe_no_more_than_a_piece_each() {
    const SESSIONS: usize = 50;
    let bandwidths = Arc::new(Bandwidths::new(Bandwidth { total: rate(MIB), ..Bandwidth::default() }));
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..SESSIONS {
        let share = bandwidths.share(b"anna");
        all.spawn(async move { move_and_cut(&share, 20, 16 << 10).await });
    }
    let all = async { while all.join_next().await.is_some() {} };
    let pieces = SESSIONS as f64 * 16.0 / 1024.0;
    // The last pieces are nobody's to wait for.
    within_5_percent(seconds(all).await + pieces, 20.0 * pieces);
    let wait = seconds(bandwidths.share(b"bert").begin()).await;
    assert!(wait <= pieces, "{wait} s for pieces of {pieces} s");
}

/// The bytes have been moved, whatever became of the transfer.
#[tokio::test(start_paused = true)]
async fn a_transfer_that_is_broken_off_has_not_gone_free() {
    let limits = Bandwidth { user: rate(MIB), ..Bandwidth::default() };
    let bandwidths = Arc::new(Bandwidths::new(limits));
    let broken_off = bandwidths.share(b"anna");
    let transfers = async {
        for _ in 0..10 {
            let _ = timeout(Duration::from_millis(1), broken_off.book(MIB).paid()).await;
        }
        bandwidths.share(b"anna").book(1).paid().await;
    };
    within_5_percent(seconds(transfers).await, 10.0);
}

#[tokio::test(start_paused = true)]
async fn a_debt_is_paid_by_time_also_when_nobody_waits_or_all_give_up() {
    for waiters in [0, 9] {
        let bandwidths = Arc::new(Bandwidths::new(Bandwidth { total: rate(64 << 10), ..Bandwidth::default() }));
        let _ = bandwidths.share(b"anna").book(640 << 10);
        for _ in 0..waiters {
            let waits = bandwidths.share(b"bert");
            assert!(timeout(Duration::from_secs(1), waits.begin()).await.is_err());
        }
        sleep(Duration::from_secs(10 - waiters)).await;
        assert!(seconds(bandwidths.share(b"bert").begin()).await == 0.0);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_called_off_is_booked_on_each_limit() {
    let limits = Bandwidth { session: rate(1 << 10), user: rate(64 << 10), total: rate(128 << 10) };
    let bandwidths = Arc::new(Bandwidths::new(limits));
    let anna = bandwidths.share(b"anna");
    assert!(timeout(Duration::from_millis(1), anna.book(MIB).paid()).await.is_err());
    let [hers, others] = [b"anna", b"bert"].map(|user| bandwidths.share(user));
    let (hers, others) = tokio::join!(seconds(hers.begin()), seconds(others.begin()));
    within_5_percent(others, 8.0);
    within_5_percent(hers, 16.0);
}

#[tokio::test(start_paused = true)]
async fn a_user_who_leaves_and_comes_again_owes_what_he_owed() {
    let bandwidths = Arc::new(Bandwidths::new(Bandwidth { user: rate(MIB), ..Bandwidth::default() }));
    let _ = bandwidths.share(b"anna").book(10 * MIB);
    for number in 0..10_000u32 {
        bandwidths.share(&number.to_be_bytes());
    }
    within_5_percent(seconds(bandwidths.share(b"anna").begin()).await, 10.0);
}

/// Those who run at a limit always owe something.
#[tokio::test(start_paused = true)]
async fn a_transfer_that_begins_beside_others_waits_for_what_they_owe_and_no_longer() {
    let bandwidths = Arc::new(Bandwidths::new(Bandwidth { total: rate(MIB), ..Bandwidth::default() }));
    for running in 0..20_u32 {
        let share = bandwidths.share(&running.to_be_bytes());
        tokio::spawn(async move { move_blocks(&share, usize::MAX, 16 << 10).await });
    }
    let begins = bandwidths.share(b"bert");
    for _ in 0..10 {
        sleep(Duration::from_millis(777)).await;
        let wait = seconds(begins.begin()).await;
        assert!(wait <= 0.4, "{wait}");
    }
}

/// In turn, whatever their pieces are beside what is lent.
#[tokio::test(start_paused = true)]
async fn those_who_share_a_limit_have_like_parts_of_it() {
    for (bytes, sessions) in [(MIB, 2), (MIB, 7), (16 * MIB, 2), (16 * MIB, 30), (5 * MIB, 11), (16 << 10, 5)] {
        let bandwidths = Arc::new(Bandwidths::new(Bandwidth { total: rate(bytes), ..Bandwidth::default() }));
        let mut moved = Vec::new();
        for number in 0..sessions as u32 {
            let share = bandwidths.share(&number.to_be_bytes());
            let count = Arc::new(std::sync::atomic::AtomicUsize::new(0));
            moved.push(Arc::clone(&count));
            tokio::spawn(async move {
                loop {
                    move_blocks(&share, 1, 16 << 10).await;
                    count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                }
            });
        }
        sleep(Duration::from_secs(60)).await;
        let part = (60 * bytes / (16 << 10)) as f64 / sessions as f64;
        for moved in moved {
            let moved = moved.load(std::sync::atomic::Ordering::Relaxed) as f64;
            assert!((moved - part).abs() <= f64::max(2.0, part * 0.05), "{moved} of {part}, {sessions} at {bytes}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn sessions_of_a_user_share_and_others_do_not() {
    let bandwidths = Arc::new(Bandwidths::new(Bandwidth { user: rate(MIB), ..Bandwidth::default() }));
    let [anna, anna_again, berta] = [b"anna", b"ANNA", b"bert"].map(|user| bandwidths.share(user));
    let all = async {
        tokio::join!(
            seconds(move_blocks(&anna, 40, MIB / 4)),
            seconds(move_blocks(&anna_again, 40, MIB / 4)),
            seconds(move_blocks(&berta, 40, MIB / 4)),
        )
    };
    let (first, second, other) = all.await;
    within_5_percent(first.max(second), 20.0);
    // In turn: neither is through long before the other.
    within_5_percent(first.min(second), 20.0);
    within_5_percent(other, 10.0);
}

#[tokio::test(start_paused = true)]
async fn the_narrowest_limit_counts() {
    let limits = Bandwidth { session: rate(4 * MIB), user: rate(8 * MIB), total: rate(MIB) };
    let bandwidths = Arc::new(Bandwidths::new(limits));
    let (anna, berta) = (bandwidths.share(b"anna"), bandwidths.share(b"berta"));
    assert_eq!(anna.slowest(), rate(MIB));
    let both = async { tokio::join!(move_blocks(&anna, 20, MIB / 4), move_blocks(&berta, 20, MIB / 4)) };
    within_5_percent(seconds(both).await, 10.0);
}

#[tokio::test(start_paused = true)]
async fn other_limits_hold_for_those_who_move_already() {
    let limits = |bytes| Bandwidth { user: rate(bytes), ..Bandwidth::default() };
    let bandwidths = Arc::new(Bandwidths::new(Bandwidth::default()));
    let shares = [b"anna", b"anna"].map(|user| bandwidths.share(user));
    let both = || async {
        tokio::join!(move_blocks(&shares[0], 20, MIB / 4), move_blocks(&shares[1], 20, MIB / 4));
    };
    assert!(seconds(both()).await == 0.0);
    for bytes in [MIB, 4 * MIB, MIB / 2] {
        bandwidths.set_limits(limits(bytes));
        assert_eq!(shares[0].slowest(), rate(bytes));
        within_5_percent(seconds(both()).await, (10 * MIB) as f64 / bytes as f64);
    }
    bandwidths.set_limits(Bandwidth::default());
    assert!(seconds(both()).await == 0.0);
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_a_limit_that_holds_no_more() {
    let hours = Bandwidth { total: rate(1), ..Bandwidth::default() };
    let bandwidths = Arc::new(Bandwidths::new(hours));
    let (waits, also) = (bandwidths.share(b"anna"), bandwidths.share(b"berta"));
    let change = async {
        sleep(Duration::from_secs(1)).await;
        // The same limits change nothing.
        bandwidths.set_limits(hours);
        sleep(Duration::from_secs(1)).await;
        bandwidths.set_limits(Bandwidth::default());
    };
    let all = async { tokio::join!(waits.book(MIB).paid(), also.book(MIB).paid(), change) };
    assert!((seconds(all).await - 2.0).abs() < 0.1);
}

#[tokio::test(start_paused = true)]
async fn without_limits_nothing_is_waited_for_and_nobody_is_remembered() {
    let none = Arc::new(Bandwidths::new(Bandwidth::default()));
    assert!(seconds(none.share(b"anna").book(usize::MAX).paid()).await == 0.0);
    let some = Arc::new(Bandwidths::new(Bandwidth { user: rate(MIB), ..Bandwidth::default() }));
    for number in 0..10_000u32 {
        some.share(&number.to_be_bytes());
    }
    assert!(some.now.load().users.lock().unwrap().len() <= 2 * DEAD);
}
