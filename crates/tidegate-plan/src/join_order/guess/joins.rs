//! How many rows joins give.

use datafusion::common::JoinType;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{Expr, Join};

use super::super::reduce;
use super::{Bounds, Guess, Guesser, overlap};

/// Keys that tie two sources together.
struct Tie {
    /// The two sources.
    of: Option<(u32, u32)>,
    left: Side,
    right: Side,
    /// Keys together have no more combinations than this: the rows of the smaller source, if there are several and it is
    /// not known how many they have.
    most: f64,
    /// Whether anything is known of the right keys.
    is_known: bool,
}

/// Combinations of the keys of one side, if they were independent.
#[derive(Clone, Copy)]
struct Side {
    values: f64,
    /// Those between the bounds of the other side; zero if bounds are not known.
    between: f64,
}

impl Side {
    fn of(own: &Guess, key: &Expr, other: Option<Bounds>) -> Self {
        let values = own.domain(key);
        let bounds = own.bounds(key).zip(other);
        let between = bounds.map_or(0.0, |(own, other)| {
            values * overlap(own, std::iter::once(other))
        });
        Self { values, between }
    }

    fn at_most(&mut self, combinations: f64) {
        self.values = self.values.min(combinations);
        self.between = self.between.min(combinations);
    }

    fn and(&mut self, other: Side) {
        self.values *= other.values;
        self.between *= other.between;
    }
}

impl Tie {
    /// What an equality of the keys divides by, see [`divisor`].
    fn divisor(&self, left: &Guess, right: &Guess) -> f64 {
        let (smaller, larger, rows) = match self.left.values <= self.right.values {
            true => (self.left, self.right, right.met()),
            false => (self.right, self.left, left.met()),
        };
        divisor(smaller.values, larger.values, larger.between, rows)
            .min(self.most)
            .max(1.0)
    }
}

/// What an equality of two keys divides the pairs of rows by: the values of the side that has more, and of these only
/// those that the other side may have.
///
/// A calendar has days before the first sale and after the last: of them only those `between` count, and what a
/// condition leaves is taken to lie among them. Without bounds what the rows of the larger side still have counts, but no
/// less than the smaller side has.
pub(in crate::join_order) fn divisor(
    smaller: f64,
    larger: f64,
    between: f64,
    rows_of_larger: f64,
) -> f64 {
    larger.min(rows_of_larger.max(between)).max(smaller)
}

/// The keys of a join, those together that tie the same two sources.
fn ties(on: &[(Expr, Expr)], left: &Guess, right: &Guess) -> Vec<Tie> {
    let mut ties: Vec<Tie> = Vec::new();
    for (l, r) in on {
        let sources = left.source(l).zip(right.source(r));
        let of = sources.map(|(l, r)| (l.number, r.number));
        let left_side = Side::of(left, l, right.bounds(r));
        let right_side = Side::of(right, r, left.bounds(l));
        match ties.iter_mut().find(|tie| of.is_some() && tie.of == of) {
            Some(tie) => {
                tie.left.and(left_side);
                tie.right.and(right_side);
                tie.most = sources.map_or(tie.most, |(l, r)| l.rows.min(r.rows));
            }
            None => ties.push(Tie {
                of,
                left: left_side,
                right: right_side,
                most: f64::INFINITY,
                is_known: right.source(r).is_some(),
            }),
        }
    }
    let combined = |keys: &mut dyn Iterator<Item = &(Expr, Expr)>| {
        let keys: Vec<_> = keys.collect();
        let left = left.combinations(keys.iter().map(|(key, _)| key));
        left.zip(right.combinations(keys.iter().map(|(_, key)| key)))
    };
    for tie in &mut ties {
        let is_of = |(l, r): &&(Expr, Expr)| {
            let sources = left.source(l).zip(right.source(r));
            sources.map(|(l, r)| (l.number, r.number)) == tie.of
        };
        if tie.most.is_finite()
            && let Some((left, right)) = combined(&mut on.iter().filter(is_of))
        {
            tie.left.at_most(left);
            tie.right.at_most(right);
            tie.most = f64::INFINITY;
        }
    }
    ties
}

/// Of the rows that have a key nothing is known of, so many find a partner.
const UNKNOWN_KEY: f64 = 0.25;

/// With a condition beside the keys, so many of those with several partners keep one.
const WITH_CONDITION: f64 = 0.9;

/// The share of the rows of the left side that find a partner, with equal keys and a condition that holds for a share of
/// the pairs. The share of each further key counts for less: keys of one row depend on each other.
pub(in crate::join_order) fn matched_share(
    on: &[(Expr, Expr)],
    filter: Option<f64>,
    left: &Guess,
    right: &Guess,
) -> f64 {
    if on.is_empty() {
        return filter.map_or(1.0, |_| 0.5);
    }
    let ties = ties(on, left, right).into_iter();
    let mut shares: Vec<f64> = ties
        .map(|tie| match tie.is_known {
            false => UNKNOWN_KEY,
            true => {
                let keys = left_of(tie.right.values.min(tie.most), right);
                (keys / tie.left.values.min(tie.most).max(1.0)).min(1.0)
            }
        })
        .collect();
    shares.sort_by(f64::total_cmp);
    let mut weight = 2.0;
    let share: f64 = shares
        .into_iter()
        .map(|share| {
            weight /= 2.0;
            share.powf(weight)
        })
        .product();
    let filter = filter.map(
        |filter| match right.is_unique(on.iter().map(|(_, key)| key)) {
            true => filter,
            false => WITH_CONDITION,
        },
    );
    share * filter.unwrap_or(1.0)
}

/// How many of so many values are left among the rows: each value has lost all of its rows, or not.
fn left_of(values: f64, guess: &Guess) -> f64 {
    let copies = (guess.base / values).max(1.0);
    let lost = (1.0 - guess.met() / guess.base).clamp(0.0, 1.0);
    (values * (1.0 - lost.powf(copies))).clamp(1.0, guess.met().max(1.0))
}

/// At least so many rows find no partner, whatever the keys say: they may lack values between their bounds.
const UNMATCHED_MIN: f64 = 0.1;

/// The share of the rows of the left side that find no partner.
pub(in crate::join_order) fn unmatched_share(
    on: &[(Expr, Expr)],
    filter: Option<f64>,
    left: &Guess,
    right: &Guess,
) -> f64 {
    (1.0 - matched_share(on, filter, left, right)).max(UNMATCHED_MIN)
}

impl Guesser<'_> {
    /// What is guessed of a join.
    pub(super) fn joined(&self, join: &Join, left: &Guess, right: &Guess) -> Guess {
        let both = Guess::over([left, right].into_iter());
        let plans = [join.left.as_ref(), join.right.as_ref()];
        let conditions = join.filter.iter().flat_map(split_conjunction);
        let shares = conditions.map(|one| self.condition(one, &plans, &both));
        let filter = join.filter.as_ref().map(|_| shares.product::<f64>());
        Pair { join, left, right }.guess(filter)
    }
}

/// A join and the guesses about its sides.
#[derive(Clone, Copy)]
struct Pair<'a> {
    join: &'a Join,
    left: &'a Guess,
    right: &'a Guess,
}

impl Pair<'_> {
    /// What is guessed if a condition beside the keys holds for a share of the pairs.
    fn guess(self, filter: Option<f64>) -> Guess {
        let Self { join, left, right } = self;
        let (matched, flipped) = (
            || matched_share(&join.on, filter, left, right),
            || matched_share(&self.flipped(), filter, right, left),
        );
        let inner = || self.inner(left.met(), right.met(), filter);
        let guess = match join.join_type {
            JoinType::Inner => self.wide(inner(), filter),
            JoinType::Left => {
                let rows = inner().max(left.rows);
                let absent = left.rows * (1.0 - matched()) / rows;
                self.wide(rows, filter).lacking(right, absent)
            }
            JoinType::Right => {
                let rows = inner().max(right.rows);
                let absent = right.rows * (1.0 - flipped()) / rows;
                self.wide(rows, filter).lacking(left, absent)
            }
            JoinType::Full => self.wide(inner().max(left.rows + right.rows), filter),
            JoinType::LeftSemi => self.semi(matched()),
            JoinType::RightSemi => right.clone().filtered(flipped()),
            JoinType::LeftAnti => {
                let share = unmatched_share(&join.on, filter, left, right);
                left.clone().filtered(share)
            }
            JoinType::RightAnti => {
                let share = unmatched_share(&self.flipped(), filter, right, left);
                right.clone().filtered(share)
            }
            JoinType::LeftMark => left.clone(),
            JoinType::RightMark => right.clone(),
        };
        Guess {
            is_blind: left.is_blind || right.is_blind,
            ..guess
        }
    }

    fn flipped(self) -> Vec<(Expr, Expr)> {
        let on = self.join.on.iter();
        on.map(|(left, right)| (right.clone(), left.clone()))
            .collect()
    }

    fn inner(self, left_rows: f64, right_rows: f64, filter: Option<f64>) -> f64 {
        let ties = ties(&self.join.on, self.left, self.right).into_iter();
        let divisor: f64 = ties.map(|tie| tie.divisor(self.left, self.right)).product();
        let matched = left_rows * right_rows / divisor.max(1.0);
        (matched * filter.unwrap_or(1.0)).max(1.0)
    }

    /// So many rows with the columns of both sides.
    fn wide(self, rows: f64, filter: Option<f64>) -> Guess {
        let Self { left, right, .. } = self;
        let mut guess = Guess::of_rows(rows);
        guess.base = rows.max(left.base).max(right.base);
        guess.domains = left.domains.clone();
        let others = right.domains.iter();
        guess
            .domains
            .extend(others.map(|(column, domain)| (column.clone(), *domain)));
        guess.together = [left.together.as_slice(), right.together.as_slice()].concat();
        guess.reducing = left.reducing.or(right.reducing);
        guess.unreduced = match left.is_grouped || right.is_grouped {
            true => rows,
            false => rows.max(self.inner(left.unreduced, right.unreduced, filter)),
        };
        guess
    }

    /// Keys below an aggregate leave fewer rows here and are met again above.
    fn semi(self, share: f64) -> Guess {
        let mut guess = self.left.clone().filtered(share);
        if reduce::is_reducing(self.join) {
            guess.unreduced = self.left.unreduced;
            guess.reducing = Some(self.right.rows);
        }
        guess
    }
}

impl Guess {
    /// The columns of `side` are NULL in a share of the rows.
    fn lacking(mut self, side: &Guess, share: f64) -> Self {
        for column in side.domains.keys() {
            if let Some(domain) = self.domains.get_mut(column) {
                domain.absent = domain.absent.max(share.clamp(0.0, 1.0));
            }
        }
        self
    }
}
