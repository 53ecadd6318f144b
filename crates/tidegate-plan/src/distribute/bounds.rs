//! The bounds of ranges: where the rows of a table, as a sample of it shows them, are cut into equal parts.
//!
//! 1. the keys are followed down the plan to the table they come from ([`asked`]);
//! 2. the catalog says at which values of them it is cut;
//! 3. these become part of the plan ([`with_bounds`]), the same for every task.
//!
//! Bounds decide how even the partitions are, and nothing else: any will do.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, ScalarValue};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{Distinct, Expr, Extension, LogicalPlan, SortExpr, TableScan};
use tidegate_catalog::Cuts;

use super::known::bare;
use super::partition::{By, Partition, as_partition};
use crate::evidence::{self, Evidence};
use crate::{Error, Result};

/// Where a table is to be cut, that ranges have bounds.
pub(crate) struct Asked<'a> {
    pub(crate) scan: &'a TableScan,
    pub(crate) cuts: Cuts,
}

/// What is to be found out for a division by ranges; nothing if its first key comes from no table of files.
pub(crate) fn asked(partition: &Partition) -> Option<Asked<'_>> {
    let By::Range { keys, bounds: None } = &partition.by else {
        return None;
    };
    let exprs: Vec<Expr> = keys.iter().map(|key| bare(&key.expr)).collect();
    let (scan, exprs, conditions) = origin(exprs, &partition.input)?;
    let order = exprs.iter().zip(keys).map(|(expr, key)| SortExpr {
        expr: evidence::unqualified(expr),
        ..key.clone()
    });
    let cuts = Cuts {
        order: order.collect(),
        conditions: evidence::predicates(scan, conditions),
        parts: partition.count,
    };
    evidence::is_files(scan).then_some(Asked { scan, cuts })
}

/// The plan with the bounds of all its ranges.
pub(crate) fn with_bounds(plan: LogicalPlan, evidence: &Evidence) -> Result<LogicalPlan> {
    let mut unknown = None;
    let bounded = plan.transform_up_with_subqueries(|node| {
        let Some(partition) = as_partition(&node) else {
            return Ok(Transformed::no(node));
        };
        let By::Range { keys, bounds: None } = &partition.by else {
            return Ok(Transformed::no(node));
        };
        let bounds = found(partition, evidence);
        if bounds.is_none() {
            unknown = keys.first().map(|key| key.expr.to_string());
        }
        let keys = keys.clone();
        let node = Arc::new(Partition {
            by: By::Range { keys, bounds },
            ..partition.clone()
        });
        Ok(Transformed::yes(LogicalPlan::Extension(Extension { node })))
    });
    match (unknown, bounded.data()?) {
        (None, plan) => Ok(plan),
        (Some(key), _) => Err(Error::Unsupported(format!(
            "rows cannot be divided by ranges of `{key}`: its values are not known before the query runs; \
             divide by a column of files, or USING HASH"
        ))),
    }
}

fn found(partition: &Partition, evidence: &Evidence) -> Option<Vec<Vec<ScalarValue>>> {
    let asked = asked(partition)?;
    let known = evidence.of(asked.scan)?;
    if let Some(cuts) = known.cuts(&asked.cuts) {
        return Some(cuts.to_vec());
    }
    // Without a sample, as of object stores: evenly between the least and the greatest number.
    let key = asked.cuts.order.first()?;
    let (least, most) = known.bounds(&key.expr.try_as_col()?.name)?;
    let parts = asked.cuts.parts;
    let at = |part: usize| {
        let share = match key.asc {
            true => part as f64 / parts as f64,
            false => (parts - part) as f64 / parts as f64,
        };
        least + (most - least) * share
    };
    let values: Vec<f64> = (1..parts).map(at).collect();
    let finite = values.iter().all(|value| value.is_finite());
    finite.then(|| values.into_iter().map(|value| vec![value.into()]).collect())
}

type Origin<'a> = (&'a TableScan, Vec<Expr>, Vec<&'a Expr>);

/// The scan that keys over the output of a plan come from, as many of them as come from one, over its columns; and the
/// conditions right above it.
fn origin(keys: Vec<Expr>, plan: &LogicalPlan) -> Option<Origin<'_>> {
    let (keys, input) = match plan {
        LogicalPlan::TableScan(scan) => return Some((scan, keys, vec![])),
        LogicalPlan::Filter(filter) => {
            let (scan, keys, mut conditions) = origin(keys, &filter.input)?;
            if matches!(filter.input.as_ref(), LogicalPlan::TableScan(_)) {
                conditions.extend(split_conjunction(&filter.predicate));
            }
            return Some((scan, keys, conditions));
        }
        LogicalPlan::Projection(projection) => {
            let keys = renamed(keys, &projection.schema.columns(), &projection.expr)?;
            (keys, projection.input.as_ref())
        }
        LogicalPlan::SubqueryAlias(alias) => {
            let keys = renamed(
                keys,
                &alias.schema.columns(),
                &columns(alias.input.schema()),
            )?;
            (keys, alias.input.as_ref())
        }
        LogicalPlan::Aggregate(aggregate) => {
            let outputs = aggregate.schema.columns();
            let groups = outputs.get(..aggregate.group_expr.len())?;
            (
                renamed(keys, groups, &aggregate.group_expr)?,
                aggregate.input.as_ref(),
            )
        }
        LogicalPlan::Union(union) => {
            let first = union.inputs.first()?;
            (
                renamed(keys, &union.schema.columns(), &columns(first.schema()))?,
                first.as_ref(),
            )
        }
        LogicalPlan::Join(join) => {
            let sides = [join.left.as_ref(), join.right.as_ref()];
            let first = keys.first()?;
            let side = sides
                .into_iter()
                .find(|side| is_over(first, side.schema()))?;
            (those_over(keys, side.schema())?, side)
        }
        LogicalPlan::Sort(_)
        | LogicalPlan::Limit(_)
        | LogicalPlan::Window(_)
        | LogicalPlan::Repartition(_)
        | LogicalPlan::Distinct(Distinct::All(_)) => {
            let input = plan.inputs().into_iter().next()?;
            (those_over(keys, input.schema())?, input)
        }
        other => (keys, &as_partition(other)?.input),
    };
    origin(keys, input)
}

fn columns(schema: &DFSchema) -> Vec<Expr> {
    schema.columns().into_iter().map(Expr::Column).collect()
}

/// Keys over `outputs` as keys over what each of these is, the first ones that are over these alone; none if none is.
fn renamed(keys: Vec<Expr>, outputs: &[Column], are: &[Expr]) -> Option<Vec<Expr>> {
    let below = |column: &Column| {
        let at = outputs.iter().position(|output| output == column)?;
        Some(bare(are.get(at)?))
    };
    let one = |key: Expr| {
        let mut is_known = true;
        let renamed = key.transform_down(|node| {
            let Expr::Column(column) = &node else {
                return Ok(Transformed::no(node));
            };
            Ok(match below(column) {
                Some(expr) => {
                    // What it is has columns of its own, which are not those above.
                    Transformed::new(expr, true, TreeNodeRecursion::Jump)
                }
                None => {
                    is_known = false;
                    Transformed::no(node)
                }
            })
        });
        let renamed: DataFusionResult<Expr> = renamed.data();
        renamed
            .ok()
            .filter(|expr| is_known && !has_more_than_rows(expr))
    };
    not_empty(keys.into_iter().map_while(one).collect())
}

/// Whether an expression is not computed of one row.
fn has_more_than_rows(expr: &Expr) -> bool {
    let is_one = |node: &Expr| {
        Ok(matches!(
            node,
            Expr::GroupingSet(_)
                | Expr::AggregateFunction(_)
                | Expr::WindowFunction(_)
                | Expr::ScalarSubquery(_)
                | Expr::OuterReferenceColumn(..)
        ))
    };
    expr.exists(is_one).unwrap_or(true) || expr.is_volatile()
}

fn is_over(key: &Expr, schema: &DFSchema) -> bool {
    key.column_refs()
        .into_iter()
        .all(|column| schema.has_column(column))
}

fn those_over(keys: Vec<Expr>, schema: &DFSchema) -> Option<Vec<Expr>> {
    not_empty(
        keys.into_iter()
            .take_while(|key| is_over(key, schema))
            .collect(),
    )
}

fn not_empty(keys: Vec<Expr>) -> Option<Vec<Expr>> {
    (!keys.is_empty()).then_some(keys)
}
