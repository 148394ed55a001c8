//! What is banned: a user from one place, a whole place, or a user from places he is not known from.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Instant;

use crate::policy::user_name::folded_start;

/// The longest user name that is told apart. Longer ones with the same beginning count as one, so that memory is bounded.
const NAME: usize = 128;

/// Where logins come from: an IPv4 address, or the /64 that an IPv6 address lies in, of which one customer has all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin(IpAddr);

/// A user name for counting: case and blanks around it do not make another user, because to many servers they do not.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserKey(Box<[u8]>);

/// What a ban is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// A user from one place.
    Login(Origin, UserKey),
    /// A place.
    Address(Origin),
    /// A user, from places he has not logged in from.
    User(UserKey),
}

/// The sort of a [`Subject`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BanKind {
    /// One user from one address.
    Login,
    /// One address.
    Address,
    /// One user from addresses he is not known from.
    User,
}

/// A ban that is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ban {
    /// Its number, unique for the life of the process.
    pub id: u64,
    /// Whom it is for.
    pub subject: Subject,
    /// When it ends.
    pub until: Instant,
}

impl Origin {
    /// The origin of an address.
    pub fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V4(address) => IpAddr::V4(address),
            IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from(u128::from(address) & (u128::MAX << 64))),
        })
    }

    /// The address, or the first of the /64.
    pub fn address(self) -> IpAddr {
        self.0
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(address) => write!(f, "{address}"),
            IpAddr::V6(address) => write!(f, "{address}/64"),
        }
    }
}

impl UserKey {
    /// The key of the argument of USER.
    pub fn of(user: &[u8]) -> Self {
        Self(folded_start(user, NAME).into())
    }

    /// The name as it is counted.
    pub fn name(&self) -> &[u8] {
        &self.0
    }

    /// Before every other.
    pub(super) fn first() -> Self {
        Self(Box::default())
    }
}

impl Subject {
    /// Its sort.
    pub fn kind(&self) -> BanKind {
        match self {
            Self::Login(..) => BanKind::Login,
            Self::Address(_) => BanKind::Address,
            Self::User(_) => BanKind::User,
        }
    }

    /// The place, where it is about one.
    pub fn origin(&self) -> Option<Origin> {
        match self {
            Self::Login(origin, _) | Self::Address(origin) => Some(*origin),
            Self::User(_) => None,
        }
    }

    /// The user, where it is about one.
    pub fn user(&self) -> Option<&UserKey> {
        match self {
            Self::Login(_, user) | Self::User(user) => Some(user),
            Self::Address(_) => None,
        }
    }
}

impl BanKind {
    /// Every kind.
    pub const ALL: &'static [Self] = &[Self::Login, Self::Address, Self::User];

    /// The name in logs, metrics and on the admin page.
    pub fn label(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::Address => "address",
            Self::User => "user",
        }
    }

    /// What it means, in words.
    pub fn text(self) -> &'static str {
        match self {
            Self::Login => "one user from one address",
            Self::Address => "one address, but for users who have logged in from it",
            Self::User => "one user, but for addresses he has logged in from",
        }
    }
}
