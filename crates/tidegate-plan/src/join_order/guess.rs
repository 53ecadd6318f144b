//! How many rows a plan gives and how many different values its columns have: estimates from evidence, for the
//! choice between plans that give the same rows.

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

/// Rows that an unnested row becomes.
const ROWS_UNNESTED: f64 = 4.0;

/// What is guessed of the rows of a plan.
#[derive(Debug, Clone, Default)]
pub(super) struct Guess {
    pub(super) rows: f64,
    /// Rows before filters: no combination of columns has more different values.
    pub(super) base: f64,
    /// Different values by column, before filters: the domain that keys are drawn from.
    distinct: BTreeMap<Column, f64>,
}

impl Guess {
    /// Different values of an expression among its domain.
    pub(super) fn domain(&self, expr: &Expr) -> f64 {
        let columns = expr.column_refs();
        let known = columns.iter().map(|column| self.distinct.get(*column));
        let all = known.map(|distinct| distinct.copied().unwrap_or(self.base));
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

    /// Knows the columns of another guess too.
    pub(super) fn add(&mut self, other: &Self) {
        let columns = other.distinct.iter();
        self.distinct
            .extend(columns.map(|(column, distinct)| (column.clone(), *distinct)));
        self.rows = self.rows.max(other.rows);
        self.base = self.base.max(other.base);
    }

    pub(super) fn filtered(mut self, share: f64) -> Self {
        self.rows = (self.rows * share).max(1.0);
        self
    }

    /// The columns of `from` under the names that `to` has at the same places.
    fn renamed(&self, from: &DFSchema, to: &DFSchema) -> Self {
        let pairs = from.columns().into_iter().zip(to.columns());
        let distinct = pairs.filter_map(|(old, new)| Some((new, *self.distinct.get(&old)?)));
        Self {
            distinct: distinct.collect(),
            ..*self
        }
    }

    fn of_rows(rows: f64) -> Self {
        Self {
            rows: rows.max(1.0),
            base: rows.max(1.0),
            distinct: BTreeMap::new(),
        }
    }
}

/// How many of `domain` values are met in `rows` drawings.
fn drawn(domain: f64, rows: f64) -> f64 {
    (domain * (1.0 - (-rows / domain.max(1.0)).exp())).clamp(1.0, domain.max(1.0))
}

/// Guesses about plans.
#[derive(Debug, Clone, Copy)]
pub(super) struct Guesser<'a> {
    pub(super) evidence: &'a Evidence,
}

impl Guesser<'_> {
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
            (LogicalPlan::Aggregate(aggregate), [input]) => aggregated(aggregate, input),
            (LogicalPlan::Join(join), [left, right]) => joined(join, left, right),
            (LogicalPlan::Distinct(distinct), [input]) => distincted(distinct, input),
            (LogicalPlan::Union(union), inputs) => {
                let rows = inputs.iter().map(|input| input.rows).sum();
                let mut all = Guess::of_rows(rows);
                for (plan, input) in union.inputs.iter().zip(inputs) {
                    for (column, distinct) in input.renamed(plan.schema(), &union.schema).distinct {
                        let known = all.distinct.entry(column).or_default();
                        *known = known.max(distinct);
                    }
                }
                all
            }
            (LogicalPlan::Limit(limit), [input]) => {
                let mut guess = input.clone();
                guess.rows = guess.rows.min(limited(limit)).max(1.0);
                guess
            }
            (LogicalPlan::Unnest(_), [input]) => {
                let mut guess = input.clone();
                guess.rows *= ROWS_UNNESTED;
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
        let columns = scan.projected_schema.columns();
        guess.distinct = columns
            .into_iter()
            .filter_map(|column| {
                let distinct = evidence?.distinct(&column.name)?;
                Some((column, distinct.min(guess.base)))
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
            Some(Share::Below(share)) => guessed().min((share * guessed()).sqrt()),
            None => guessed(),
        };
        guess.filtered(share)
    }

    fn filter(&self, filter: &Filter, input: &Guess) -> Guess {
        let conjuncts = split_conjunction(&filter.predicate);
        if let LogicalPlan::TableScan(scan) = filter.input.as_ref() {
            return self.scan(scan, conjuncts);
        }
        let shares = conjuncts
            .into_iter()
            .map(|expr| selectivity::share(expr, input));
        let share = shares.product();
        input.clone().filtered(share)
    }
}

fn projected(exprs: &[Expr], schema: &DFSchema, input: &Guess) -> Guess {
    let columns = schema.columns().into_iter().zip(exprs);
    let distinct = columns.map(|(column, expr)| (column, input.domain(expr)));
    Guess {
        distinct: distinct.collect(),
        ..*input
    }
}

fn aggregated(aggregate: &Aggregate, input: &Guess) -> Guess {
    let (keys, sets) = match aggregate.group_expr.as_slice() {
        [Expr::GroupingSet(sets)] => {
            let keys = sets
                .distinct_expr()
                .into_iter()
                .cloned()
                .collect::<Vec<_>>();
            (keys, 2.0)
        }
        keys => (keys.to_vec(), 1.0),
    };
    let domain: f64 = keys.iter().map(|key| input.distinct(key)).product();
    let rows = drawn(domain.max(1.0), input.rows) * sets;
    let mut guess = Guess::of_rows(if keys.is_empty() { 1.0 } else { rows });
    let columns = aggregate.schema.columns();
    guess.distinct = columns
        .into_iter()
        .zip(&keys)
        .map(|(column, key)| (column, input.distinct(key).min(guess.rows)))
        .collect();
    guess
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
    guess.rows = rows;
    guess.base = rows;
    guess
}

fn limited(limit: &Limit) -> f64 {
    match (limit.get_skip_type(), limit.get_fetch_type()) {
        (Ok(SkipType::Literal(_)), Ok(FetchType::Literal(Some(fetch)))) => fetch as f64,
        _ => f64::INFINITY,
    }
}

/// The share of the rows of the left side that find a partner, with equal keys and a condition.
pub(super) fn matched_share(
    on: &[(Expr, Expr)],
    filter: Option<&Expr>,
    left: &Guess,
    right: &Guess,
) -> f64 {
    if on.is_empty() {
        return filter.map_or(1.0, |_| 0.5);
    }
    let domain: f64 = on.iter().map(|(key, _)| left.domain(key)).product();
    let right_domain: f64 = on.iter().map(|(_, key)| right.domain(key)).product();
    // Keys are drawn from the domain that both sides share.
    let domain = domain
        .min(left.base)
        .max(right_domain.min(right.base))
        .max(1.0);
    let keys = drawn(right_domain.min(right.base).max(1.0), right.rows);
    // With a condition some keys keep no partner.
    let kept = filter.map_or(1.0, |_| 0.9);
    (keys / domain * kept).clamp(0.0, 1.0)
}

fn joined(join: &Join, left: &Guess, right: &Guess) -> Guess {
    let both = || {
        let mut distinct = left.distinct.clone();
        distinct.extend(
            right
                .distinct
                .iter()
                .map(|(column, count)| (column.clone(), *count)),
        );
        distinct
    };
    let inner = || {
        let mut divisor: f64 = 1.0;
        for (l, r) in &join.on {
            divisor *= left.domain(l).max(right.domain(r));
        }
        // Several keys together have no more values than the smaller table has rows.
        let most = match join.on.len() {
            0 | 1 => f64::INFINITY,
            _ => left.base.min(right.base),
        };
        let matched = left.rows * right.rows / divisor.min(most).max(1.0);
        let filters = join.filter.iter().flat_map(split_conjunction);
        let both = Guess {
            rows: matched,
            base: matched.max(1.0),
            distinct: both(),
        };
        let share: f64 = filters
            .map(|filter| selectivity::share(filter, &both))
            .product();
        (matched * share).max(1.0)
    };
    let share = |flip: bool| {
        let flipped: Vec<_>;
        let (on, left, right) = match flip {
            false => (&join.on, left, right),
            true => {
                flipped = join
                    .on
                    .iter()
                    .map(|(l, r)| (r.clone(), l.clone()))
                    .collect();
                (&flipped, right, left)
            }
        };
        matched_share(on, join.filter.as_ref(), left, right)
    };
    let wide = |rows: f64| Guess {
        rows: rows.max(1.0),
        base: rows.max(left.base).max(right.base),
        distinct: both(),
    };
    match join.join_type {
        JoinType::Inner => wide(inner()),
        JoinType::Left => wide(inner().max(left.rows)),
        JoinType::Right => wide(inner().max(right.rows)),
        JoinType::Full => wide(inner().max(left.rows + right.rows)),
        JoinType::LeftSemi => left.clone().filtered(share(false)),
        JoinType::LeftAnti => left.clone().filtered(1.0 - share(false)),
        JoinType::LeftMark => left.clone(),
        JoinType::RightSemi => right.clone().filtered(share(true)),
        JoinType::RightAnti => right.clone().filtered(1.0 - share(true)),
        JoinType::RightMark => right.clone(),
    }
}
