//! How many rows a plan gives and how many different values its columns have: estimates from evidence, for the
//! choice between plans that give the same rows.

mod joins;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use datafusion::common::{Column, DFSchema};
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{
    Aggregate, Distinct, Expr, FetchType, Filter, Limit, LogicalPlan, Operator, SkipType,
    TableScan, Window,
};
use tidegate_catalog::{Share, TableEvidence};

use super::{having, selectivity};
use crate::evidence::{Evidence, own_rows, predicates};
pub(super) use joins::{divisor, matched_share, unmatched_share};

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
    /// An aggregate stands above those keys.
    is_grouped: bool,
    /// How many those keys are.
    reducing: Option<f64>,
    /// Whether a table below has no number of rows: then this is no guess at all.
    pub(super) is_blind: bool,
    /// Rows before filters: no combination of columns has more different values.
    pub(super) base: f64,
    domains: BTreeMap<Column, Domain>,
    /// Columns of one source, and the combinations of values that they have together.
    together: Vec<(BTreeSet<Column>, f64)>,
}

/// The different values of a column before filters: what keys are drawn from.
#[derive(Debug, Clone, Copy)]
struct Domain {
    values: f64,
    source: Source,
    /// The least and the greatest of them, of numbers.
    bounds: Option<Bounds>,
    /// The share of rows in which an outer join found no value.
    absent: f64,
}

/// The least and the greatest value of a column.
pub(super) type Bounds = (f64, f64);

/// The share of the values between `own` bounds that lie between all of the bounds.
pub(super) fn overlap(own: Bounds, all: impl Iterator<Item = Bounds>) -> f64 {
    let (least, most) = all.fold(own, |(least, most), one| {
        (least.max(one.0), most.min(one.1))
    });
    ((most - least + 1.0).max(0.0) / (own.1 - own.0 + 1.0)).clamp(0.0, 1.0)
}

/// Where a column comes from, and how many rows that has.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Source {
    number: u32,
    rows: f64,
    /// Rows that its own conditions leave.
    left: f64,
}

impl Guess {
    /// Different values of an expression among its domain.
    pub(super) fn domain(&self, expr: &Expr) -> f64 {
        let columns = expr.column_refs();
        let known = columns.iter().map(|column| self.domains.get(*column));
        let all = known.map(|domain| domain.map_or(self.base, |domain| domain.values));
        all.product::<f64>().min(self.base).max(1.0)
    }

    /// The combinations of several columns among their domain, if they are known.
    pub(super) fn combinations<'e>(&self, keys: impl Iterator<Item = &'e Expr>) -> Option<f64> {
        let columns: Option<BTreeSet<&Column>> = keys.map(Expr::try_as_col).collect();
        let columns = columns?;
        let mut known = self.together.iter();
        let found = known.find(|(all, _)| {
            all.len() == columns.len() && all.iter().all(|column| columns.contains(column))
        });
        found.map(|(_, values)| *values)
    }

    /// The bounds of a column.
    pub(super) fn bounds(&self, expr: &Expr) -> Option<Bounds> {
        match expr {
            Expr::Column(column) => self.domains.get(column)?.bounds,
            Expr::Alias(alias) => self.bounds(&alias.expr),
            Expr::Cast(cast) => self.bounds(&cast.expr),
            _ => None,
        }
    }

    /// The share of rows in which an expression is NULL because an outer join found no partner; none if there was none.
    pub(super) fn absent(&self, expr: &Expr) -> Option<f64> {
        let domain = self.domains.get(expr.try_as_col()?)?;
        (domain.absent > 0.0).then_some(domain.absent)
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

    /// The number of the source that an expression comes from.
    pub(super) fn table(&self, expr: &Expr) -> Option<u32> {
        self.source(expr).map(|source| source.number)
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
            over.together.extend(guess.together.iter().cloned());
            over.base = over.base.max(guess.base);
            over.is_blind |= guess.is_blind;
        }
        // All of the values that are left are met.
        over.rows = f64::INFINITY;
        over
    }

    /// The rows that a join above reckons with: it brings the keys again that were put below an aggregate.
    pub(super) fn met(&self) -> f64 {
        match self.is_grouped {
            true => self.unreduced,
            false => self.rows,
        }
    }

    /// The same where a share of the rows passes.
    pub(super) fn filtered(mut self, share: f64) -> Self {
        self.rows = (self.rows * share).max(1.0);
        self.unreduced = (self.unreduced * share).max(1.0);
        self
    }

    /// A column that equals one of a few constants has no other values.
    fn fix(&mut self, condition: &Expr) {
        for column in condition.column_refs() {
            if let Some(domain) = self.domains.get_mut(column)
                && let Some(values) = values_left(condition, column)
            {
                domain.values = domain.values.min(values);
            }
        }
    }

    /// A column that is compared with a constant has so large a share of its values left.
    fn narrow(&mut self, condition: &Expr, share: f64) {
        let Expr::BinaryExpr(binary) = condition else {
            return;
        };
        let column = match (binary.left.as_ref(), binary.right.as_ref()) {
            (Expr::Column(column), Expr::Literal(..)) => column,
            (Expr::Literal(..), Expr::Column(column)) => column,
            _ => return,
        };
        let is_range = matches!(
            binary.op,
            Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq
        );
        if is_range && let Some(domain) = self.domains.get_mut(column) {
            domain.values = (domain.values * share).max(1.0);
        }
    }

    /// Whether no two rows have the same keys.
    pub(super) fn is_unique<'e>(&self, keys: impl Iterator<Item = &'e Expr>) -> bool {
        const NEARLY: f64 = 0.9;
        let (mut largest, mut product) = (0.0f64, 1.0);
        for key in keys {
            let values = match self.source(key) {
                Some(_) => self.domain(key),
                None => return false,
            };
            (largest, product) = (largest.max(values), product * values);
        }
        // Keys of groups tell groups apart together.
        let values = if self.is_grouped { product } else { largest };
        values >= NEARLY * self.base
    }

    /// The columns of `from` under the names that `to` has at the same places.
    fn renamed(&self, from: &DFSchema, to: &DFSchema) -> Self {
        let pairs = from.columns().into_iter().zip(to.columns());
        let pairs: BTreeMap<Column, Column> = pairs.collect();
        let domains = pairs
            .iter()
            .filter_map(|(old, new)| Some((new.clone(), *self.domains.get(old)?)));
        Self {
            domains: domains.collect(),
            together: self.together_as(&pairs),
            ..*self
        }
    }

    /// The combinations of columns under new names; those that lose one are left out.
    fn together_as(&self, names: &BTreeMap<Column, Column>) -> Vec<(BTreeSet<Column>, f64)> {
        let renamed = self.together.iter().filter_map(|(columns, values)| {
            let columns = columns.iter().map(|column| names.get(column).cloned());
            Some((columns.collect::<Option<_>>()?, *values))
        });
        renamed.collect()
    }

    fn of_rows(rows: f64) -> Self {
        let rows = rows.max(1.0);
        Self {
            rows,
            unreduced: rows,
            is_grouped: false,
            reducing: None,
            is_blind: false,
            base: rows,
            domains: BTreeMap::new(),
            together: Vec::new(),
        }
    }
}

/// How many values of a column a condition leaves at most, if it names them.
fn values_left(condition: &Expr, column: &Column) -> Option<f64> {
    let is_it = |expr: &Expr| matches!(expr, Expr::Column(other) if other == column);
    match condition {
        Expr::InList(list) if !list.negated && is_it(&list.expr) => Some(list.list.len() as f64),
        Expr::BinaryExpr(binary) => {
            let (left, right) = (binary.left.as_ref(), binary.right.as_ref());
            let sides = || (values_left(left, column), values_left(right, column));
            match (binary.op, left, right) {
                (Operator::Eq, own, Expr::Literal(..)) | (Operator::Eq, Expr::Literal(..), own) => {
                    is_it(own).then_some(1.0)
                }
                (Operator::Or, ..) => sides().0.zip(sides().1).map(|(l, r)| l + r),
                (Operator::And, ..) => match sides() {
                    (Some(l), Some(r)) => Some(l.min(r)),
                    (l, r) => l.or(r),
                },
                _ => None,
            }
        }
        _ => None,
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
        Source {
            number,
            rows,
            left: rows,
        }
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
            (LogicalPlan::Join(join), [left, right]) => self.joined(join, left, right),
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
            (LogicalPlan::Window(window), [input]) => self.window(window, input),
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
        guess.together = evidence.map_or_else(Vec::new, |known| together(known, &columns));
        guess.domains = columns
            .into_iter()
            .filter_map(|column| {
                let values = evidence?.distinct(&column.name)?.min(guess.base);
                let bounds = evidence?.bounds(&column.name);
                let domain = Domain {
                    values,
                    source,
                    bounds,
                    absent: 0.0,
                };
                Some((column, domain))
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
        for condition in scan.filters.iter().chain(above) {
            guess.fix(condition);
        }
        for domain in guess.domains.values_mut() {
            domain.source.left = (domain.source.rows * share).max(1.0);
        }
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
        let most = input.reducing.map_or(f64::INFINITY, |reducing| {
            // One of the keys has no more values than were put below.
            let others = keys.iter().map(|key| input.domain(key));
            let (product, largest) = others.fold((1.0, 1.0f64), |(product, largest), domain| {
                (product * domain, largest.max(domain))
            });
            reducing * product / largest
        });
        let mut guess = Guess::of_rows(groups(input.rows).min(most));
        guess.unreduced = groups(input.unreduced);
        guess.is_grouped = true;
        guess.is_blind = input.is_blind && !keys.is_empty();
        guess.base = guess.unreduced;
        let source = self.source(guess.base);
        let columns = aggregate.schema.columns().into_iter();
        let keys = keys
            .iter()
            .map(|key| (input.domain(key), input.bounds(key)));
        // A least or greatest value is one of the column; other results are taken to differ from group to group.
        let results = aggregate
            .aggr_expr
            .iter()
            .map(|result| match one_of(result) {
                Some(column) => (input.domain(column), input.bounds(column)),
                None => (guess.base, None),
            });
        let of_sets = usize::from(sets > 1.0);
        let of_sets = std::iter::repeat_n((sets, None), of_sets);
        let values = keys.chain(of_sets).chain(results);
        guess.domains = columns
            .zip(values)
            .map(|(column, (values, bounds))| {
                let domain = Domain {
                    values: values.min(guess.base),
                    source,
                    bounds,
                    absent: 0.0,
                };
                (column, domain)
            })
            .collect();
        guess
    }

    /// The numbers of rows within their partitions are as many as a partition has rows, and tell rows apart together
    /// with what divides the partitions.
    fn window(&self, window: &Window, input: &Guess) -> Guess {
        let mut guess = input.clone();
        let columns = window.schema.columns().into_iter();
        let own = columns.skip(window.input.schema().fields().len());
        for (column, expr) in own.zip(&window.window_expr) {
            let Some(keys) = having::numbered(expr) else {
                continue;
            };
            let source = keys.first().and_then(|key| input.source(key));
            let source = source.unwrap_or_else(|| self.source(input.base));
            let values = (input.rows / self.partitions(keys, input)).max(1.0);
            let domain = Domain {
                values,
                source,
                bounds: None,
                absent: 0.0,
            };
            guess.domains.insert(column, domain);
        }
        guess
    }

    /// How many partitions a window has.
    pub(super) fn partitions(&self, keys: &[Expr], input: &Guess) -> f64 {
        match keys.is_empty() {
            true => 1.0,
            false => drawn(self.groups(keys, input), input.rows),
        }
    }

    /// How many groups there can be: keys of one source together are no more than it has rows left.
    fn groups(&self, keys: &[Expr], input: &Guess) -> f64 {
        let mut by_source: BTreeMap<u32, (f64, f64)> = BTreeMap::new();
        let mut all = 1.0;
        for key in keys {
            match input.source(key) {
                Some(source) => {
                    let known = by_source.entry(source.number).or_insert((1.0, source.left));
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
        let mut guess = input.clone();
        let mut share = 1.0;
        for condition in conjuncts {
            let left = self.condition(condition, &[&filter.input], input);
            guess.fix(condition);
            guess.narrow(condition, left);
            share *= left;
        }
        guess.filtered(share)
    }
}

/// The combinations of columns of a scan.
fn together(evidence: &TableEvidence, columns: &[Column]) -> Vec<(BTreeSet<Column>, f64)> {
    let named = |name: &String| columns.iter().find(|column| column.name == *name).cloned();
    let known = evidence.together();
    known
        .filter_map(|(names, values)| {
            Some((names.iter().map(named).collect::<Option<_>>()?, values))
        })
        .collect()
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
    let names = schema.columns().into_iter().zip(exprs);
    let names = names.filter_map(|(column, expr)| Some((plain_column(expr)?.clone(), column)));
    let columns = schema.columns().into_iter().zip(exprs);
    let domains = columns.filter_map(|(column, expr)| {
        let domain = Domain {
            values: input.domain(expr),
            source: input.source(expr)?,
            bounds: input.bounds(expr),
            absent: input.absent(expr).unwrap_or_default(),
        };
        Some((column, domain))
    });
    Guess {
        domains: domains.collect(),
        together: input.together_as(&names.collect()),
        ..*input
    }
}

fn plain_column(expr: &Expr) -> Option<&Column> {
    match expr {
        Expr::Alias(alias) => plain_column(&alias.expr),
        expr => expr.try_as_col(),
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
