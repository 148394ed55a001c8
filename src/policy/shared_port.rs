//! Which sessions of one address may wait at one passive port, and whose a connection is that comes there.
//!
//! Invariant: what a session awaits goes to no connection that may be another's. Where sessions of one address wait side
//! by side, a connection says with the TLS session that it offers whose it is, and has to prove it by resuming it.

use std::net::{IpAddr, SocketAddr};

use super::data_peer::{Claim, claim_passive};
use super::refusal::Refusal;

/// How a session's data connections can be told from those of other sessions of its address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mark {
    /// Its last data connection resumed its TLS session: they say whose they are.
    Resumes,
    /// It has had no data connection.
    Unknown,
    /// Its last data connection did not resume: they say nothing.
    Unmarked,
    /// They come in clear (PROT C) and cannot say anything.
    Clear,
    /// The gateway offers no resumption.
    Unoffered,
}

/// One session that waits at a port, as far as it matters to others of its address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiter {
    /// How its connection can be told.
    pub mark: Mark,
    /// Another session of its address waits there too, or has while this one did.
    pub shares: bool,
}

/// What a connection says of itself with its ClientHello.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offer {
    /// It offers the TLS session of this one of those who wait.
    Of(usize),
    /// It offers the TLS session of a session that is there and does not wait at this port.
    Elsewhere,
    /// It offers a TLS session that is of no session here.
    Unknown,
    /// It offers none.
    Nothing,
    /// It does not speak TLS.
    NotTls,
}

/// Why a connection is nobody's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nobodys {
    /// See [`Offer::Elsewhere`].
    Elsewhere,
    /// See [`Offer::Unknown`].
    Unknown,
    /// See [`Offer::Nothing`]. It may be of any of those that are not [`Mark::Resumes`].
    Nothing,
    /// See [`Offer::NotTls`].
    NotTls,
}

impl Waiter {
    /// Whether this session may go on waiting with another mark.
    pub fn may_become(self, mark: Mark) -> bool {
        !self.shares || !mark.stands_alone()
    }
}

impl Mark {
    /// Whether a connection that says nothing can be of this session.
    fn may_be_silent(self) -> bool {
        self != Self::Resumes
    }

    /// It needs a port that nobody else of its address waits at.
    pub fn stands_alone(self) -> bool {
        matches!(self, Self::Unmarked | Self::Clear | Self::Unoffered)
    }

    /// Whether a session may begin to wait where these sessions of its address wait.
    pub fn may_join(self, others: impl IntoIterator<Item = Self>) -> bool {
        others.into_iter().all(|other| !self.stands_alone() && !other.stands_alone())
    }

    /// Whether it may do so before it has waited a moment for a better port: beside one that is not known to resume, a
    /// session that is not known either would see the connection of a client that does not resume be nobody's.
    pub fn joins_gladly(self, others: impl IntoIterator<Item = Self>) -> bool {
        others.into_iter().all(|other| self.may_join([other]) && (self != Self::Unknown || other != Self::Unknown))
    }

    /// Whether a session may have the port of another whose connection is late. A late one of the other's must not be taken
    /// for its own: it has to prove whose its connections are.
    pub fn may_take_over(self, other: Self) -> bool {
        other.stands_alone() && !self.stands_alone()
    }

    /// What a session hears that may join nobody.
    pub fn refusal(self) -> Refusal {
        match self {
            Self::Resumes | Self::Unknown | Self::Unoffered => Refusal::PassivePortsExhausted,
            Self::Unmarked => Refusal::PortNeedsResumption,
            Self::Clear => Refusal::PortNeedsProtection,
        }
    }
}

/// Whose the connection is can be said by its address alone. `crowded`: there are more sessions of the address than
/// ports, so it may be a late one of a session that waits no more.
pub fn is_told_by_address(waiters: &[Waiter], crowded: bool) -> bool {
    match waiters {
        [only] => !only.shares && (!crowded || matches!(only.mark, Mark::Clear | Mark::Unoffered)),
        _ => false,
    }
}

/// Whose a connection is, seen by its ClientHello, and on what terms.
///
/// # Errors
/// When it is nobody's.
pub fn claim_offered(
    peer: SocketAddr,
    expected: IpAddr,
    waiters: &[Waiter],
    offer: Offer,
) -> Result<(usize, Claim), Nobodys> {
    let mut silent = waiters.iter().enumerate().filter(|(_, waiter)| waiter.mark.may_be_silent());
    let only_silent = match (silent.next(), silent.next()) {
        (Some((at, _)), None) => Some(at),
        _ => None,
    };
    let (at, nobodys) = match offer {
        Offer::Of(at) if at < waiters.len() => (Some(at), Nobodys::Elsewhere),
        Offer::Of(_) | Offer::Elsewhere => (None, Nobodys::Elsewhere),
        Offer::Unknown => (only_silent, Nobodys::Unknown),
        Offer::Nothing => (only_silent, Nobodys::Nothing),
        // Among several it could never prove anything.
        Offer::NotTls => (only_silent.filter(|_| waiters.len() == 1), Nobodys::NotTls),
    };
    let at = at.ok_or(nobodys)?;
    let claim = claim_passive(peer, expected).map_err(|_| nobodys)?;
    let alone = waiters.len() == 1 && !waiters[at].shares && waiters[at].mark.may_be_silent();
    Ok((at, if alone { claim } else { claim.that_must_resume() }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MARKS: [Mark; 5] = [Mark::Resumes, Mark::Unknown, Mark::Unmarked, Mark::Clear, Mark::Unoffered];

    fn peer() -> (SocketAddr, IpAddr) {
        ("192.0.2.7:5000".parse().unwrap(), "192.0.2.7".parse().unwrap())
    }

    fn whose(marks: &[Mark], shares: bool, offer: Offer) -> Result<(usize, bool), Nobodys> {
        let waiters: Vec<_> = marks.iter().map(|&mark| Waiter { mark, shares }).collect();
        let (peer, expected) = peer();
        claim_offered(peer, expected, &waiters, offer).map(|(at, claim)| (at, claim.must_resume()))
    }

    #[test]
    fn who_may_wait_beside_whom() {
        for mark in MARKS {
            assert!(mark.may_join([]) && mark.joins_gladly([]));
            for other in MARKS {
                let told_apart = [mark, other].iter().all(|mark| matches!(mark, Mark::Resumes | Mark::Unknown));
                assert_eq!(mark.may_join([other]), told_apart, "{mark:?} beside {other:?}");
                assert_eq!(other.may_join([mark]), told_apart);
                let both_unknown = mark == Mark::Unknown && other == Mark::Unknown;
                assert_eq!(mark.joins_gladly([other]), told_apart && !both_unknown);
            }
        }
        assert!(!Mark::Resumes.may_join([Mark::Resumes, Mark::Unmarked]));
    }

    /// One that does not resume would be given what comes late for the other.
    #[test]
    fn a_late_ones_port_goes_to_whoever_proves_what_is_his() {
        for mark in MARKS {
            for late in MARKS {
                let may = mark.may_take_over(late);
                assert_eq!(may, late.stands_alone() && matches!(mark, Mark::Resumes | Mark::Unknown));
                // Nothing is to be taken over where there is room beside it.
                assert!(!may || !mark.may_join([late]));
            }
        }
    }

    #[test]
    fn a_lonely_session_is_told_by_its_address_where_no_other_can_come_late() {
        for mark in MARKS {
            let alone = |shares| [Waiter { mark, shares }];
            assert!(is_told_by_address(&alone(false), false));
            let says_nothing = matches!(mark, Mark::Clear | Mark::Unoffered);
            assert_eq!(is_told_by_address(&alone(false), true), says_nothing);
            assert!(!is_told_by_address(&alone(true), false));
        }
        assert!(!is_told_by_address(&[], false));
        let two = [Waiter { mark: Mark::Resumes, shares: true }; 2];
        assert!(!is_told_by_address(&two, false));
    }

    #[test]
    fn beside_others_nobody_becomes_what_stands_alone() {
        for mark in MARKS {
            assert!(Waiter { mark: Mark::Resumes, shares: false }.may_become(mark));
            let told = matches!(mark, Mark::Resumes | Mark::Unknown);
            assert_eq!(Waiter { mark: Mark::Resumes, shares: true }.may_become(mark), told, "{mark:?}");
        }
    }

    #[test]
    fn among_several_the_session_that_is_offered_gets_it_and_must_be_resumed() {
        let all = [Mark::Resumes, Mark::Unknown, Mark::Resumes];
        for at in 0..all.len() {
            assert_eq!(whose(&all, true, Offer::Of(at)), Ok((at, true)));
        }
        assert_eq!(whose(&all, true, Offer::Elsewhere), Err(Nobodys::Elsewhere));
    }

    #[test]
    fn what_says_nothing_is_of_the_one_session_that_may_be_silent() {
        assert_eq!(whose(&[Mark::Resumes, Mark::Unknown], true, Offer::Nothing), Ok((1, true)));
        assert_eq!(whose(&[Mark::Resumes, Mark::Unknown], true, Offer::Unknown), Ok((1, true)));
        assert_eq!(whose(&[Mark::Resumes, Mark::Unknown], true, Offer::NotTls), Err(Nobodys::NotTls));
        assert_eq!(whose(&[Mark::Unknown, Mark::Unknown], true, Offer::Nothing), Err(Nobodys::Nothing));
        assert_eq!(whose(&[Mark::Resumes, Mark::Resumes], true, Offer::Nothing), Err(Nobodys::Nothing));
    }

    #[test]
    fn a_session_that_is_alone_need_not_resume_unless_it_always_has() {
        for mark in [Mark::Unknown, Mark::Unmarked, Mark::Clear, Mark::Unoffered] {
            for offer in [Offer::Of(0), Offer::Unknown, Offer::Nothing, Offer::NotTls] {
                assert_eq!(whose(&[mark], false, offer), Ok((0, false)));
            }
            // A late one of the session that has just left.
            assert_eq!(whose(&[mark], true, Offer::Nothing), Ok((0, true)));
            assert_eq!(whose(&[mark], false, Offer::Elsewhere), Err(Nobodys::Elsewhere));
        }
        assert_eq!(whose(&[Mark::Resumes], false, Offer::Of(0)), Ok((0, true)));
        assert_eq!(whose(&[Mark::Resumes], false, Offer::Nothing), Err(Nobodys::Nothing));
    }

    fn offer() -> impl Strategy<Value = Offer> {
        prop_oneof![
            (0..6usize).prop_map(Offer::Of),
            Just(Offer::Elsewhere),
            Just(Offer::Unknown),
            Just(Offer::Nothing),
            Just(Offer::NotTls),
        ]
    }

    proptest! {
        /// The rule that everything else serves.
        #[test]
        fn nobody_gets_among_several_what_need_not_prove_whose_it_is(
            marks in prop::collection::vec(prop::sample::select(&MARKS[..]), 0..5), offer in offer(), shares: bool,
        ) {
            if let Ok((at, must_resume)) = whose(&marks, shares, offer) {
                prop_assert!(at < marks.len());
                prop_assert!(must_resume || (marks.len() == 1 && !shares));
                prop_assert!(must_resume || marks[at] != Mark::Resumes);
            }
        }

        #[test]
        fn no_stranger_gets_a_claim(mark in prop::sample::select(&MARKS[..]), stranger in any::<IpAddr>()) {
            let (_, expected) = peer();
            prop_assume!(stranger.to_canonical() != expected);
            let waiters = [Waiter { mark, shares: false }];
            prop_assert!(claim_offered(SocketAddr::new(stranger, 1), expected, &waiters, Offer::Of(0)).is_err());
        }
    }
}
