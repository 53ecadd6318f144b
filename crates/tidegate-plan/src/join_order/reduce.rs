//! Aggregates that are joined by their group key read only the groups that the join can use.
//!
//! A subquery that was decorrelated aggregates a whole table, and a join then keeps few of its groups. Where another
//! leaf has few of the keys, those keys are put as a semi join below the aggregate: the groups that stay are whole,
//! and those that go would have found no partner.

use std::sync::Arc;

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Column, JoinConstraint, JoinType, NullEquality};
use datafusion::error::Result;
use datafusion::logical_expr::{
    Aggregate, Expr, ExprSchemable, Join, LogicalPlan, Projection, SubqueryAlias,
};

use super::guess::{Guess, Guesser};
use super::region::{Region, Set};
use super::search::members;

/// A leaf is worth reading twice if it has less than this share of the keys, ...
const KEYS_SHARE_MAX: f64 = 0.3;
/// ... and if it reads less than this share of the rows that are read for the aggregate.
const ROWS_SHARE_MAX: f64 = 0.5;

/// The name of the keys under the aggregate; no other column is called so.
const KEY: &str = "__reducing_key";

/// Whether a semi join is one of those put below an aggregate.
pub(super) fn is_reducing(join: &Join) -> bool {
    join.right
        .schema()
        .columns()
        .iter()
        .any(|column| column.name == KEY)
}

/// A leaf and its key.
type Member = (usize, Expr);

/// Puts semi joins below the aggregates of a region where they leave few groups, and says which leaves have one now.
pub(super) fn reduce(
    region: &mut Region,
    guesses: &[Guess],
    guesser: &Guesser<'_>,
) -> Result<Vec<usize>> {
    let mut changed = Vec::new();
    for leaf in 0..region.leaves.len() {
        if let Some(plan) = reduced(region, leaf, guesses, guesser)? {
            region.leaves[leaf].plan = plan;
            changed.push(leaf);
        }
    }
    Ok(changed)
}

fn reduced(
    region: &Region,
    leaf: usize,
    guesses: &[Guess],
    guesser: &Guesser<'_>,
) -> Result<Option<LogicalPlan>> {
    let plan = &region.leaves[leaf].plan;
    let mut best: Option<(f64, Found<'_>, Member)> = None;
    for (key, partners) in keys(region, leaf) {
        let Some(found) = key.try_as_col().and_then(|column| find(plan, column)) else {
            continue;
        };
        let input = guesser.guess(&found.aggregate.input);
        let read = guesser.rows_read(&found.aggregate.input);
        let group = &found.aggregate.group_expr[found.group];
        for (partner, expr) in partners {
            let source = &region.leaves[partner].plan;
            if !can_be_read_twice(source)? {
                continue;
            }
            let same_type = group.get_type(found.aggregate.input.schema().as_ref())?
                == expr.get_type(source.schema().as_ref())?;
            let share = guesses[partner].distinct(&expr) / input.domain(group);
            let is_small = guesser.rows_read(source) < ROWS_SHARE_MAX * read;
            let is_better = best.as_ref().is_none_or(|(known, ..)| share < *known);
            if same_type && is_small && share < KEYS_SHARE_MAX && is_better {
                best = Some((share, found.clone(), (partner, expr)));
            }
        }
    }
    let Some((_, found, (partner, expr))) = best else {
        return Ok(None);
    };
    let source = region.with_conditions(partner, &region.leaves[partner].plan);
    rebuild(plan, &found, source, expr).map(Some)
}

/// Whether a plan gives the same rows whenever it runs, and nothing else: it is read here and where it stands. A limit,
/// a window or an aggregate may choose other rows the next time; what a reader leaves out would be counted twice.
fn can_be_read_twice(plan: &LogicalPlan) -> Result<bool> {
    let mut can = true;
    plan.apply_with_subqueries(|node| {
        let is_simple = match node {
            LogicalPlan::TableScan(scan) => {
                scan.fetch.is_none() && crate::evidence::reads_every_row(scan)
            }
            LogicalPlan::Filter(_)
            | LogicalPlan::Projection(_)
            | LogicalPlan::SubqueryAlias(_)
            | LogicalPlan::Join(_) => true,
            _ => false,
        };
        can &= is_simple && !node.expressions().iter().any(Expr::is_volatile);
        Ok(match can {
            true => TreeNodeRecursion::Continue,
            false => TreeNodeRecursion::Stop,
        })
    })?;
    Ok(can)
}

/// The keys of a leaf, each with the members of other leaves that equal it in every row that stays.
fn keys(region: &Region, leaf: usize) -> Vec<(Expr, Vec<Member>)> {
    let own: Vec<(Expr, Vec<Member>)> = match &region.leaves[leaf].decides {
        Some(decides) => {
            let pairs = decides.on.iter();
            pairs
                .map(|(owner, key)| (key.clone(), equals(region, owner, decides.owners)))
                .collect()
        }
        None => {
            let classes = region.classes.iter().map(|class| &class.members);
            let own = classes.flat_map(|members| {
                let keys = members.iter().filter(|(of, _)| *of == leaf);
                keys.map(move |(_, key)| (key.clone(), members.clone()))
            });
            own.collect()
        }
    };
    own.into_iter()
        .map(|(key, mut partners)| {
            partners.extend(deciding(region, &partners));
            partners.retain(|(partner, _)| *partner != leaf);
            (key, partners)
        })
        .collect()
}

/// What equals an expression over one of `owners`, itself with it.
fn equals(region: &Region, expr: &Expr, owners: Set) -> Vec<Member> {
    let is_it = |(leaf, other): &Member| owners & 1 << leaf != 0 && other == expr;
    let class = region
        .classes
        .iter()
        .find(|class| class.members.iter().any(is_it));
    match class {
        Some(class) => class.members.clone(),
        None => {
            let is_over = |leaf: &usize| {
                let schema = region.leaves[*leaf].plan.schema();
                expr.column_refs()
                    .iter()
                    .all(|column| schema.has_column(column))
            };
            let leaf = members(owners).find(is_over);
            leaf.map(|leaf| (leaf, expr.clone())).into_iter().collect()
        }
    }
}

/// The keys of semi joins whose owners are among `partners`.
fn deciding(region: &Region, partners: &[Member]) -> Vec<Member> {
    let leaves = region.leaves.iter().enumerate();
    let deciding = leaves.filter_map(|(at, leaf)| Some((at, leaf.decides.as_ref()?)));
    deciding
        .filter(|(_, decides)| !decides.is_anti)
        .flat_map(|(at, decides)| {
            let keys = decides.on.iter().filter(|(owner, _)| {
                partners
                    .iter()
                    .any(|(leaf, expr)| decides.owners & 1 << leaf != 0 && expr == owner)
            });
            keys.map(move |(_, key)| (at, key.clone()))
        })
        .collect()
}

/// An aggregate below renamings and filters, and which of its groups a column is.
#[derive(Debug, Clone)]
struct Found<'a> {
    aggregate: &'a Aggregate,
    group: usize,
}

fn find<'a>(plan: &'a LogicalPlan, column: &Column) -> Option<Found<'a>> {
    let at = plan.schema().maybe_index_of_column(column)?;
    match plan {
        LogicalPlan::SubqueryAlias(alias) => {
            let inner = Column::from(alias.input.schema().qualified_field(at));
            find(&alias.input, &inner)
        }
        LogicalPlan::Projection(projection) => {
            let mut expr = &projection.expr[at];
            while let Expr::Alias(alias) = expr {
                expr = &alias.expr;
            }
            find(&projection.input, expr.try_as_col()?)
        }
        LogicalPlan::Filter(filter) => find(&filter.input, column),
        LogicalPlan::Aggregate(aggregate) => {
            let is_simple = !matches!(aggregate.group_expr.as_slice(), [Expr::GroupingSet(_)]);
            let is_group = at < aggregate.group_expr.len();
            (is_simple && is_group && !aggregate.group_expr[at].is_volatile()).then_some(Found {
                aggregate,
                group: at,
            })
        }
        _ => None,
    }
}

/// The same plan with the aggregate's input reduced to the keys that `source` has.
fn rebuild(
    plan: &LogicalPlan,
    found: &Found<'_>,
    source: LogicalPlan,
    key: Expr,
) -> Result<LogicalPlan> {
    if let LogicalPlan::Aggregate(aggregate) = plan {
        let keys = Projection::try_new(vec![key.alias(KEY)], Arc::new(source))?;
        let keys = SubqueryAlias::try_new(Arc::new(LogicalPlan::Projection(keys)), KEY)?;
        let keys = LogicalPlan::SubqueryAlias(keys);
        let on = vec![(
            aggregate.group_expr[found.group].clone(),
            Expr::Column(Column::new(Some(KEY), KEY)),
        )];
        let reduced = Join::try_new(
            Arc::clone(&aggregate.input),
            Arc::new(keys),
            on,
            None,
            JoinType::LeftSemi,
            JoinConstraint::On,
            NullEquality::NullEqualsNothing,
            false,
        )?;
        let mut aggregate = aggregate.clone();
        aggregate.input = Arc::new(LogicalPlan::Join(reduced));
        return Ok(LogicalPlan::Aggregate(aggregate));
    }
    let inputs = plan.inputs();
    let inputs = inputs
        .into_iter()
        .map(|input| rebuild(input, found, source.clone(), key.clone()))
        .collect::<Result<Vec<_>>>()?;
    plan.with_new_exprs(plan.expressions(), inputs)
}
