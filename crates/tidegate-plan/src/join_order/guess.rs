//! How many rows a plan gives and how many different values its columns have: estimates from evidence, for the
//! choice between plans that give the same rows.

use std::cell::Cell;
use std::collections::BTreeMap;

use datafusion::common::{Column, DFSchema, JoinType};
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{
    Aggregate, Distinct, Expr, FetchType, Filter, Join, Limit, LogicalPlan, SkipType, TableScan,
};
use tidegate_catalog::Share;

use super::selectivity;
use crate::evidence::{Evidence, own_rows, predicates};

/// Of a table nothing is known of.
const ROWS_UNKNOWN: f64 = 10_000.0;

/// A guess of so many times the least share that a sample can show is no surprise where the sample shows nothing.
const SEEN_IN_VAIN: f64 = 6.0;

/// Rows that an unnested row becomes.
const ROWS_UNNESTED: f64 = 4.0;

/// What is guessed of the rows of a plan.
#[derive(Debug, Clone, Default)]
pub(super) struct Guess {
    pub(super) rows: f64,
    /// Rows if no keys had been put below an aggregate: what joins above reckon with, for they bring those keys again.
    pub(super) unreduced: f64,
    /// Whether a table below has no number of rows: then this is no guess at all.
    pub(super) is_blind: bool,
    /// Rows before filters: no combination of columns has more different values.
    pub(super) base: f64,
    domains: BTreeMap<Column, Domain>,
}

/// The different values of a column before filters: what keys are drawn from.
#[derive(Debug, Clone, Copy)]
struct Domain {
    values: f64,
    source: Source,
}

/// Where a column comes from, and how many rows that has.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Source {
    number: u32,
    rows: f64,
}

impl Guess {
    /// Different values of an expression among its domain.
    pub(super) fn domain(&self, expr: &Expr) -> f64 {
        let columns = expr.column_refs();
        let known = columns.iter().map(|column| self.domains.get(*column));
        let all = known.map(|domain| domain.map_or(self.base, |domain| domain.values));
        all.product::<f64>().min(self.base).max(1.0)
    }

    /// Different values of an expression among the rows.
    pub(super) fn distinct(&self, expr: &Expr) -> f64 {
        drawn(self.domain(expr), self.rows)
    }

    /// Different values of several expressions together, among the rows.
    fn distinct_of<'a>(&self, exprs: impl Iterator<Item = &'a Expr>) -> f64 {
        let product: f64 = exprs.map(|expr| self.distinct(expr)).product();
        product.min(self.rows).max(1.0)
    }

    /// Where an expression comes from, if its columns are known and come from one place.
    fn source(&self, expr: &Expr) -> Option<Source> {
        let columns = expr.column_refs().into_iter();
        let mut sources =
            columns.map(|column| self.domains.get(column).map(|domain| domain.source));
        let first = sources.next()??;
        sources.all(|other| other == Some(first)).then_some(first)
    }

    /// A guess that knows the columns of several others, with as many values as their rows have.
    pub(super) fn over<'a>(all: impl Iterator<Item = &'a Guess>) -> Self {
        let mut over = Self::default();
        for guess in all {
            over.domains
                .extend(guess.domains.iter().map(|(column, domain)| {
                    let values = drawn(domain.values, guess.rows);
                    (column.clone(), Domain { values, ..*domain })
                }));
            over.base = over.base.max(guess.base);
            over.is_blind |= guess.is_blind;
        }
        // All of the values that are left are met.
        over.rows = f64::INFINITY;
        over
    }

    /// The same where a share of the rows passes.
    pub(super) fn filtered(mut self, share: f64) -> Self {
        self.rows = (self.rows * share).max(1.0);
        self.unreduced = (self.unreduced * share).max(1.0);
        self
    }

    /// The columns of `from` under the names that `to` has at the same places.
    fn renamed(&self, from: &DFSchema, to: &DFSchema) -> Self {
        let pairs = from.columns().into_iter().zip(to.columns());
        let domains = pairs.filter_map(|(old, new)| Some((new, *self.domains.get(&old)?)));
        Self {
            domains: domains.collect(),
            ..*self
        }
    }

    fn of_rows(rows: f64) -> Self {
        let rows = rows.max(1.0);
        Self {
            rows,
            unreduced: rows,
            is_blind: false,
            base: rows,
            domains: BTreeMap::new(),
        }
    }
}

/// How many of `domain` values are met in `rows` drawings.
fn drawn(domain: f64, rows: f64) -> f64 {
    if rows.is_infinite() {
        return domain.max(1.0);
    }
    (domain * (1.0 - (-rows / domain.max(1.0)).exp())).clamp(1.0, domain.max(1.0))
}

/// Guesses about plans.
#[derive(Debug)]
pub(super) struct Guesser<'a> {
    pub(super) evidence: &'a Evidence,
    /// Numbers the sources of columns.
    sources: Cell<u32>,
}

impl<'a> Guesser<'a> {
    pub(super) fn new(evidence: &'a Evidence) -> Self {
        Self {
            evidence,
            sources: Cell::new(0),
        }
    }

    fn source(&self, rows: f64) -> Source {
        let number = self.sources.get();
        self.sources.set(number + 1);
        Source { number, rows }
    }

    /// Rows of all tables that a plan reads.
    pub(super) fn rows_read(&self, plan: &LogicalPlan) -> f64 {
        match plan {
            LogicalPlan::TableScan(scan) => {
                let known = self.evidence.of(scan).and_then(|known| known.rows());
                known.unwrap_or(ROWS_UNKNOWN)
            }
            plan => plan
                .inputs()
                .into_iter()
                .map(|input| self.rows_read(input))
                .sum(),
        }
    }

    /// A guess about a plan and all below it.
    pub(super) fn guess(&self, plan: &LogicalPlan) -> Guess {
        let inputs: Vec<Guess> = plan
            .inputs()
            .into_iter()
            .map(|input| self.guess(input))
            .collect();
        self.combine(plan, &inputs)
    }

    /// A guess about a plan from those about its inputs.
    pub(super) fn combine(&self, plan: &LogicalPlan, inputs: &[Guess]) -> Guess {
        match (plan, inputs) {
            (LogicalPlan::TableScan(scan), _) => self.scan(scan, Vec::new()),
            (LogicalPlan::Filter(filter), [input]) => self.filter(filter, input),
            (LogicalPlan::Projection(projection), [input]) => {
                projected(&projection.expr, &projection.schema, input)
            }
            (LogicalPlan::SubqueryAlias(alias), [input]) => {
                input.renamed(alias.input.schema(), &alias.schema)
            }
            (LogicalPlan::Aggregate(aggregate), [input]) => self.aggregate(aggregate, input),
            (LogicalPlan::Join(join), [left, right]) => joined(join, left, right),
            (LogicalPlan::Distinct(distinct), [input]) => distincted(distinct, input),
            (LogicalPlan::Union(union), inputs) => {
                let rows = inputs.iter().map(|input| input.rows).sum();
                let mut all = Guess::of_rows(rows);
                all.is_blind = inputs.iter().any(|input| input.is_blind);
                for (plan, input) in union.inputs.iter().zip(inputs) {
                    for (column, domain) in input.renamed(plan.schema(), &union.schema).domains {
                        let known = all.domains.entry(column).or_insert(domain);
                        known.values = known.values.max(domain.values);
                    }
                }
                all
            }
            (LogicalPlan::Limit(limit), [input]) => {
                let mut guess = input.clone();
                guess.rows = guess.rows.min(limited(limit)).max(1.0);
                guess.unreduced = guess.rows;
                guess
            }
            (LogicalPlan::Unnest(_), [input]) => {
                let mut guess = input.clone();
                guess.rows *= ROWS_UNNESTED;
                guess.unreduced *= ROWS_UNNESTED;
                guess.base *= ROWS_UNNESTED;
                guess
            }
            (LogicalPlan::Values(values), _) => Guess::of_rows(values.values.len() as f64),
            (_, [input, ..]) => input.clone(),
            (_, []) => Guess::of_rows(1.0),
        }
    }

    fn scan(&self, scan: &TableScan, above: Vec<&Expr>) -> Guess {
        let evidence = self.evidence.of(scan);
        let rows = match evidence {
            Some(known) => known.rows(),
            None => own_rows(scan),
        };
        let mut guess = Guess::of_rows(rows.unwrap_or(ROWS_UNKNOWN));
        guess.is_blind = rows.is_none();
        let source = self.source(guess.base);
        let columns = scan.projected_schema.columns();
        guess.domains = columns
            .into_iter()
            .filter_map(|column| {
                let values = evidence?.distinct(&column.name)?.min(guess.base);
                Some((column, Domain { values, source }))
            })
            .collect();
        let sampled = predicates(scan, above.clone());
        let share = sampled.and_then(|sampled| evidence?.share(&sampled));
        let guessed = || {
            let mut all: Vec<&Expr> = scan.filters.iter().chain(above.iter().copied()).collect();
            all.dedup();
            all.into_iter()
                .map(|expr| selectivity::share(expr, &guess))
                .product::<f64>()
        };
        let share = match share {
            Some(Share::Measured(share)) => share,
            // The rows that pass may lie together, away from the sample: not as few as it says.
            Some(Share::Below(share)) => {
                let guessed = guessed();
                match guessed <= SEEN_IN_VAIN * share {
                    true => guessed,
                    false => (share * guessed).sqrt(),
                }
            }
            None => guessed(),
        };
        guess.filtered(share)
    }

    fn aggregate(&self, aggregate: &Aggregate, input: &Guess) -> Guess {
        let (keys, sets) = match aggregate.group_expr.as_slice() {
            [Expr::GroupingSet(sets)] => {
                let keys = sets.distinct_expr().into_iter().cloned();
                (keys.collect::<Vec<_>>(), 2.0)
            }
            keys => (keys.to_vec(), 1.0),
        };
        let all = self.groups(&keys, input);
        let groups = |rows: f64| match keys.is_empty() {
            true => 1.0,
            false => drawn(all, rows) * sets,
        };
        let mut guess = Guess::of_rows(groups(input.rows));
        guess.unreduced = groups(input.unreduced);
        guess.is_blind = input.is_blind && !keys.is_empty();
        guess.base = guess.unreduced;
        let source = self.source(guess.base);
        let columns = aggregate.schema.columns().into_iter();
        let keys = keys.iter().map(|key| input.domain(key));
        // A least or greatest value is one of the column; other results are taken to differ from group to group.
        let results = aggregate
            .aggr_expr
            .iter()
            .map(|result| match one_of(result) {
                Some(column) => input.domain(column),
                None => guess.base,
            });
        let of_sets = usize::from(sets > 1.0);
        let values = keys
            .chain(std::iter::repeat_n(sets, of_sets))
            .chain(results);
        guess.domains = columns
            .zip(values)
            .map(|(column, values)| {
                let values = values.min(guess.base);
                (column, Domain { values, source })
            })
            .collect();
        guess
    }

    /// How many groups there can be: keys of one source together are no more than it has rows.
    fn groups(&self, keys: &[Expr], input: &Guess) -> f64 {
        let mut by_source: BTreeMap<u32, (f64, f64)> = BTreeMap::new();
        let mut all = 1.0;
        for key in keys {
            match input.source(key) {
                Some(source) => {
                    let known = by_source.entry(source.number).or_insert((1.0, source.rows));
                    known.0 *= input.domain(key);
                }
                None => all *= input.domain(key),
            }
        }
        let sources = by_source.into_values();
        all * sources
            .map(|(product, rows)| product.min(rows))
            .product::<f64>()
    }

    fn filter(&self, filter: &Filter, input: &Guess) -> Guess {
        let conjuncts = split_conjunction(&filter.predicate);
        if let LogicalPlan::TableScan(scan) = filter.input.as_ref() {
            return self.scan(scan, conjuncts);
        }
        let shares = conjuncts.into_iter().map(|expr| {
            let of_groups = self.having(expr, &filter.input);
            of_groups.unwrap_or_else(|| selectivity::share(expr, input))
        });
        let share = shares.product();
        input.clone().filtered(share)
    }
}

/// What a result is one of, if it is the least or greatest of a group.
fn one_of(result: &Expr) -> Option<&Expr> {
    match result {
        Expr::Alias(alias) => one_of(&alias.expr),
        Expr::AggregateFunction(call) if ["min", "max"].contains(&call.func.name()) => {
            call.params.args.first()
        }
        _ => None,
    }
}

fn projected(exprs: &[Expr], schema: &DFSchema, input: &Guess) -> Guess {
    let columns = schema.columns().into_iter().zip(exprs);
    let domains = columns.filter_map(|(column, expr)| {
        let (values, source) = (input.domain(expr), input.source(expr)?);
        Some((column, Domain { values, source }))
    });
    Guess {
        domains: domains.collect(),
        ..*input
    }
}

fn distincted(distinct: &Distinct, input: &Guess) -> Guess {
    let rows = match distinct {
        Distinct::All(plan) => {
            let columns: Vec<Expr> = plan
                .schema()
                .columns()
                .into_iter()
                .map(Expr::Column)
                .collect();
            input.distinct_of(columns.iter())
        }
        Distinct::On(on) => input.distinct_of(on.on_expr.iter()),
    };
    let mut guess = input.clone();
    (guess.rows, guess.unreduced, guess.base) = (rows, rows, rows);
    guess
}

fn limited(limit: &Limit) -> f64 {
    match (limit.get_skip_type(), limit.get_fetch_type()) {
        (Ok(SkipType::Literal(_)), Ok(FetchType::Literal(Some(fetch)))) => fetch as f64,
        _ => f64::INFINITY,
    }
}

/// Keys that tie two sources together.
struct Tie {
    /// The two sources.
    of: Option<(u32, u32)>,
    /// Combinations of the keys on either side, if they were independent.
    left: f64,
    right: f64,
    /// Keys together have no more combinations than this: the rows of the smaller source, if there are several.
    most: f64,
    /// Whether anything is known of the right keys.
    is_known: bool,
}

impl Tie {
    /// What an equality of the keys divides by, see [`divisor`].
    fn divisor(&self, left: &Guess, right: &Guess) -> f64 {
        let (smaller, larger, rows) = match self.left <= self.right {
            true => (self.left, self.right, right.unreduced),
            false => (self.right, self.left, left.unreduced),
        };
        divisor(smaller, larger, rows).min(self.most).max(1.0)
    }
}

/// What an equality of two keys divides the pairs of rows by: the values of the side that has more. A side that has
/// values which the other never has, as a calendar has days without sales, is asked for those that both have; so of
/// the larger domain only what its rows still have counts, but no less than the smaller one.
pub(super) fn divisor(smaller: f64, larger: f64, rows_of_larger: f64) -> f64 {
    larger.min(rows_of_larger).max(smaller)
}

/// The keys of a join, those together that tie the same two sources.
fn ties(on: &[(Expr, Expr)], left: &Guess, right: &Guess) -> Vec<Tie> {
    let mut ties: Vec<Tie> = Vec::new();
    for (l, r) in on {
        let sources = left.source(l).zip(right.source(r));
        let of = sources.map(|(l, r)| (l.number, r.number));
        let (left_values, right_values) = (left.domain(l), right.domain(r));
        match ties.iter_mut().find(|tie| of.is_some() && tie.of == of) {
            Some(tie) => {
                tie.left *= left_values;
                tie.right *= right_values;
                tie.most = sources.map_or(tie.most, |(l, r)| l.rows.min(r.rows));
            }
            None => ties.push(Tie {
                of,
                left: left_values,
                right: right_values,
                most: f64::INFINITY,
                is_known: right.source(r).is_some(),
            }),
        }
    }
    ties
}

/// Of the rows that have a key nothing is known of, so many find a partner.
const UNKNOWN_KEY: f64 = 0.25;

/// With a condition beside the keys, so many of those with a partner keep one.
const WITH_CONDITION: f64 = 0.9;

/// The share of the rows of the left side that find a partner, with equal keys and a condition. The share of each
/// further key counts for less: keys of one row depend on each other.
pub(super) fn matched_share(
    on: &[(Expr, Expr)],
    filter: Option<&Expr>,
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
                let keys = drawn(tie.right.min(tie.most), right.unreduced);
                (keys / tie.left.min(tie.most).max(1.0)).min(1.0)
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
    share * filter.map_or(1.0, |_| WITH_CONDITION)
}

/// At least so many rows find no partner, whatever the keys say: they may lack values between their bounds.
const UNMATCHED_MIN: f64 = 0.1;

/// The share of the rows of the left side that find no partner.
pub(super) fn unmatched_share(
    on: &[(Expr, Expr)],
    filter: Option<&Expr>,
    left: &Guess,
    right: &Guess,
) -> f64 {
    (1.0 - matched_share(on, filter, left, right)).max(UNMATCHED_MIN)
}

fn joined(join: &Join, left: &Guess, right: &Guess) -> Guess {
    let filter = join.filter.as_ref();
    let both = || {
        let mut domains = left.domains.clone();
        domains.extend(
            right
                .domains
                .iter()
                .map(|(column, domain)| (column.clone(), *domain)),
        );
        domains
    };
    let inner = || {
        let ties = ties(&join.on, left, right).into_iter();
        let divisor: f64 = ties.map(|tie| tie.divisor(left, right)).product();
        let matched = left.unreduced * right.unreduced / divisor.max(1.0);
        let both = Guess::over([left, right].into_iter());
        let filters = filter.into_iter().flat_map(split_conjunction);
        let share: f64 = filters
            .map(|filter| selectivity::share(filter, &both))
            .product();
        (matched * share).max(1.0)
    };
    let flipped = || -> Vec<(Expr, Expr)> {
        join.on
            .iter()
            .map(|(l, r)| (r.clone(), l.clone()))
            .collect()
    };
    let wide = |rows: f64| {
        let mut guess = Guess::of_rows(rows);
        guess.base = rows.max(left.base).max(right.base);
        guess.domains = both();
        guess
    };
    // Keys below an aggregate leave fewer rows here and are met again above.
    let reducing = |share: f64| {
        let mut guess = left.clone().filtered(share);
        if super::reduce::is_reducing(join) {
            guess.unreduced = left.unreduced;
        }
        guess
    };
    let guess = match join.join_type {
        JoinType::Inner => wide(inner()),
        JoinType::Left => wide(inner().max(left.rows)),
        JoinType::Right => wide(inner().max(right.rows)),
        JoinType::Full => wide(inner().max(left.rows + right.rows)),
        JoinType::LeftSemi => reducing(matched_share(&join.on, filter, left, right)),
        JoinType::RightSemi => {
            let share = matched_share(&flipped(), filter, right, left);
            right.clone().filtered(share)
        }
        JoinType::LeftAnti => {
            let share = unmatched_share(&join.on, filter, left, right);
            left.clone().filtered(share)
        }
        JoinType::RightAnti => {
            let share = unmatched_share(&flipped(), filter, right, left);
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
