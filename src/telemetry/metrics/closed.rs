//! Closed label sets, and the counters that belong to them.
//!
//! Invariant: a [`Family`] resolves its counters once, when it is made. Counting is an index into an array: no string
//! is hashed or allocated where bytes move.

use std::iter;
use std::marker::PhantomData;

use prometheus::core::{Metric, MetricVec, MetricVecBuilder};

use crate::event::{
    BackendFailure, Channel, DataMode, DataOutcome, Direction, Leg, LoginResult, Reason, Resumption, Stray,
    TransferResult, Why,
};
use crate::ftp::{CodeClass, Verb};
use crate::policy::{BanKind, Refusal};

/// A set of label values that is known before the first event.
pub(super) trait Closed: Copy + 'static {
    /// How many values there are.
    const COUNT: usize;

    /// Every value, in the order of [`Self::index`].
    fn all() -> impl Iterator<Item = Self>;

    /// The value's place, below [`Self::COUNT`].
    fn index(self) -> usize;

    /// Appends the value's label, or one label for each member of a tuple.
    fn labels(self, labels: &mut Vec<&'static str>);
}

macro_rules! closed {
    ($($name:ty),+ $(,)?) => {
        $(impl Closed for $name {
            const COUNT: usize = Self::ALL.len();

            fn all() -> impl Iterator<Item = Self> {
                Self::ALL.iter().copied()
            }

            fn index(self) -> usize {
                self as usize
            }

            fn labels(self, labels: &mut Vec<&'static str>) {
                labels.push(self.label());
            }
        })+
    };
}

closed! {
    BackendFailure, BanKind, Channel, CodeClass, DataMode, DataOutcome, Direction, Leg, LoginResult, Refusal, Resumption, Stray,
    TransferResult,
}

impl Closed for Verb {
    const COUNT: usize = Self::ALL.len() + 1;

    fn all() -> impl Iterator<Item = Self> {
        Self::ALL.iter().copied().chain(iter::once(Self::Other))
    }

    fn index(self) -> usize {
        self as usize
    }

    fn labels(self, labels: &mut Vec<&'static str>) {
        labels.push(self.label());
    }
}

impl Closed for Why {
    const COUNT: usize = Reason::ALL.len() + Refusal::COUNT + BackendFailure::COUNT;

    fn all() -> impl Iterator<Item = Self> {
        Why::all()
    }

    fn index(self) -> usize {
        match self {
            Self::Reason(reason) => reason as usize,
            Self::Refused(refusal) => Reason::ALL.len() + refusal.index(),
            Self::Backend(failure) => Reason::ALL.len() + Refusal::COUNT + failure.index(),
        }
    }

    fn labels(self, labels: &mut Vec<&'static str>) {
        labels.push(self.label());
    }
}

impl<A: Closed, B: Closed> Closed for (A, B) {
    const COUNT: usize = A::COUNT * B::COUNT;

    fn all() -> impl Iterator<Item = Self> {
        A::all().flat_map(|a| B::all().map(move |b| (a, b)))
    }

    fn index(self) -> usize {
        self.0.index() * B::COUNT + self.1.index()
    }

    fn labels(self, labels: &mut Vec<&'static str>) {
        self.0.labels(labels);
        self.1.labels(labels);
    }
}

impl<A: Closed, B: Closed, C: Closed> Closed for (A, B, C) {
    const COUNT: usize = A::COUNT * B::COUNT * C::COUNT;

    fn all() -> impl Iterator<Item = Self> {
        A::all().flat_map(|a| <(B, C)>::all().map(move |(b, c)| (a, b, c)))
    }

    fn index(self) -> usize {
        self.0.index() * <(B, C)>::COUNT + (self.1, self.2).index()
    }

    fn labels(self, labels: &mut Vec<&'static str>) {
        self.0.labels(labels);
        (self.1, self.2).labels(labels);
    }
}

/// One counter, gauge or histogram for each value of a closed set; all of them are there, at zero, from the start.
#[derive(Debug)]
pub(super) struct Family<L, M> {
    members: Vec<M>,
    labels: PhantomData<fn(L)>,
}

impl<L: Closed, M: Metric> Family<L, M> {
    /// The members of `vec` whose labels are all closed.
    pub(super) fn new<B: MetricVecBuilder<M = M>>(vec: &MetricVec<B>) -> Self {
        Self::below(vec, None)
    }

    /// The members of `vec` whose first label is `first` and the others closed.
    pub(super) fn of<B: MetricVecBuilder<M = M>>(vec: &MetricVec<B>, first: &str) -> Self {
        Self::below(vec, Some(first))
    }

    fn below<B: MetricVecBuilder<M = M>>(vec: &MetricVec<B>, first: Option<&str>) -> Self {
        let member = |value: L| {
            let mut labels: Vec<&str> = Vec::new();
            labels.extend(first);
            let mut closed = Vec::new();
            value.labels(&mut closed);
            labels.extend(closed);
            vec.with_label_values(&labels)
        };
        Self { members: L::all().map(member).collect(), labels: PhantomData }
    }

    /// The member of this value.
    pub(super) fn at(&self, value: L) -> &M {
        &self.members[value.index()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn holds<L: Closed>() {
        let indices: Vec<_> = L::all().map(Closed::index).collect();
        assert_eq!(indices, (0..L::COUNT).collect::<Vec<_>>());
        let labels: HashSet<_> = L::all()
            .map(|value| {
                let mut labels = Vec::new();
                value.labels(&mut labels);
                labels
            })
            .collect();
        assert_eq!(labels.len(), L::COUNT);
    }

    #[test]
    fn places_are_gapless_and_labels_differ() {
        holds::<BackendFailure>();
        holds::<BanKind>();
        holds::<CodeClass>();
        holds::<LoginResult>();
        holds::<Refusal>();
        holds::<Resumption>();
        holds::<Stray>();
        holds::<Verb>();
        holds::<Why>();
        holds::<(Direction, TransferResult)>();
        holds::<(Leg, Channel)>();
        holds::<(Leg, DataMode, DataOutcome)>();
    }
}
