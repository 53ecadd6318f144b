//! From the verbs of a dataflow to a logical plan:
//!
//! 1. tables are found as those of SQL are;
//! 2. functions are those of the session, by their names;
//! 3. casts and the like get the meaning that SQL gives them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{Column, DataFusionError, plan_err};
use datafusion::error::Result as DataFusionResult;
use datafusion::execution::SessionState;
use datafusion::logical_expr::expr_rewriter::{normalize_col, normalize_cols, normalize_sorts};
use datafusion::logical_expr::{
    Expr, LogicalPlan, LogicalPlanBuilder, SortExpr, WindowFunctionDefinition,
};
use tidegate_plan::{By, Met, Registry, map_batches, partition, sql};

use super::Step;
use crate::convert;
use crate::error::{Error, Result};
use crate::notice::Notice;
use crate::planner::Planner;
use crate::tables;

/// The plan of some verbs, and what was noticed while their tables were opened.
pub(crate) async fn built(
    step: &Step,
    planner: &Planner,
    registry: &Registry,
) -> Result<(LogicalPlan, Vec<Notice>)> {
    let mut scans = BTreeMap::new();
    names(step, &mut scans);
    let mut notices = Vec::new();
    for (name, scan) in &mut scans {
        let text = format!("SELECT * FROM {}", tables::quoted(&planner.catalog, name));
        // What is wrong has no place: the text is not the user's.
        let planned = planner.view_plan(&text, 0).await;
        let (plan, noticed) = planned.map_err(|error| Error {
            span: None,
            ..error
        })?;
        *scan = Some(plan);
        notices.extend(noticed);
    }
    let building = Building {
        scans,
        state: &planner.state,
        registry,
    };
    let plan = building.plan(step).and_then(sql::given_meaning);
    let plan = plan.map_err(|error| convert::from_plan(error, None, Some(&planner.state)))?;
    Ok((plan, notices))
}

fn names(step: &Step, found: &mut BTreeMap<String, Option<LogicalPlan>>) {
    match step {
        Step::Scan(name) => {
            found.entry(name.clone()).or_default();
        }
        Step::Join(left, right, ..) | Step::Union(left, right) => {
            names(left, found);
            names(right, found);
        }
        Step::Alias(input, _)
        | Step::Filter(input, _)
        | Step::Map(input, _)
        | Step::MapBatches(input, _)
        | Step::Partition(input, ..)
        | Step::Shuffle(input, ..)
        | Step::Aggregate(input, ..)
        | Step::Sort(input, _)
        | Step::Window(input, _)
        | Step::Limit(input, ..) => names(input, found),
    }
}

struct Building<'a> {
    scans: BTreeMap<String, Option<LogicalPlan>>,
    state: &'a SessionState,
    registry: &'a Registry,
}

type Plan = tidegate_plan::Result<LogicalPlan>;

impl Building<'_> {
    fn plan(&self, step: &Step) -> Plan {
        let plan = match step {
            Step::Scan(name) => match self.scans.get(name).cloned().flatten() {
                Some(scan) => return Ok(scan),
                None => return Err(DataFusionError::Plan(format!("`{name}` was not found")).into()),
            },
            Step::Alias(input, name) => self.builder(input)?.alias(name.as_str())?,
            Step::Filter(input, condition) => {
                self.builder(input)?.filter(self.known(condition)?)?
            }
            Step::Map(input, columns) => self.builder(input)?.project(self.all_known(columns)?)?,
            Step::MapBatches(input, name) => return self.map_batches(input, name),
            Step::Partition(input, by, count) => {
                return self.divided(input, by, *count, Met::Stays);
            }
            Step::Shuffle(input, by, count) => return self.divided(input, by, *count, Met::Moves),
            Step::Aggregate(input, keys, aggregates) => {
                let input = self.plan(input)?;
                let columns = self.all_known(&[keys.as_slice(), aggregates].concat())?;
                let columns = normalize_cols(columns, &input)?;
                let (groups, reduced) = columns.split_at(keys.len());
                let plan =
                    LogicalPlanBuilder::from(input).aggregate(bare(groups), bare(reduced))?;
                return named(plan.build()?, &columns);
            }
            Step::Join(left, right, kind, keys) => {
                let (lefts, rights): (Vec<Expr>, Vec<Expr>) = keys.iter().cloned().unzip();
                let keys = (self.all_known(&lefts)?, self.all_known(&rights)?);
                let right = self.plan(right)?;
                self.builder(left)?
                    .join_with_expr_keys(right, *kind, keys, None)?
            }
            Step::Sort(input, keys) => self.builder(input)?.sort(self.sorts(keys)?)?,
            Step::Window(input, columns) => {
                let input = self.plan(input)?;
                let columns = normalize_cols(self.all_known(columns)?, &input)?;
                let rows = input.schema().columns().into_iter().map(Expr::Column);
                let all: Vec<Expr> = rows.chain(columns.iter().cloned()).collect();
                let computed = LogicalPlanBuilder::window_plan(input, bare(&columns))?;
                return named(computed, &all);
            }
            Step::Limit(input, skip, rows) => self.builder(input)?.limit(*skip, *rows)?,
            Step::Union(left, right) => {
                let right = self.plan(right)?;
                self.builder(left)?.union(right)?
            }
        };
        Ok(plan.build()?)
    }

    fn builder(&self, step: &Step) -> tidegate_plan::Result<LogicalPlanBuilder> {
        Ok(LogicalPlanBuilder::from(self.plan(step)?))
    }

    fn map_batches(&self, input: &Step, name: &str) -> Plan {
        let Some(function) = self.registry.map(name) else {
            let message = format!("no function `{name}` over batches is registered");
            return Err(tidegate_plan::Error::Unsupported(message));
        };
        map_batches(self.plan(input)?, Arc::clone(function))
    }

    fn divided(&self, input: &Step, by: &By, count: usize, met: Met) -> Plan {
        let input = self.plan(input)?;
        let by = match by {
            By::Hash(keys) => {
                let keys = self.all_known(keys)?.into_iter();
                let keys = keys.map(|key| normalize_col(key, &input));
                By::Hash(keys.collect::<DataFusionResult<_>>()?)
            }
            By::Range { keys, bounds } => By::Range {
                keys: normalize_sorts(self.sorts(keys)?, &input)?,
                bounds: bounds.clone(),
            },
            other => other.clone(),
        };
        partition(input, by, count, met)
    }

    fn sorts(&self, keys: &[SortExpr]) -> DataFusionResult<Vec<SortExpr>> {
        let keys = keys.iter().map(|key| {
            Ok(SortExpr {
                expr: self.known(&key.expr)?,
                ..key.clone()
            })
        });
        keys.collect()
    }

    fn all_known(&self, exprs: &[Expr]) -> DataFusionResult<Vec<Expr>> {
        exprs.iter().map(|expr| self.known(expr)).collect()
    }

    /// The expression with the session's functions in the places of those that have their names.
    fn known(&self, expr: &Expr) -> DataFusionResult<Expr> {
        let known = expr.clone().transform_up(|node| {
            Ok(match node {
                Expr::ScalarFunction(mut call) => {
                    call.func = found(self.state.scalar_functions(), call.name())?;
                    Transformed::yes(Expr::ScalarFunction(call))
                }
                Expr::AggregateFunction(mut call) => {
                    call.func = found(self.state.aggregate_functions(), call.func.name())?;
                    Transformed::yes(Expr::AggregateFunction(call))
                }
                Expr::WindowFunction(mut call) => {
                    call.fun = match &call.fun {
                        WindowFunctionDefinition::AggregateUDF(function) => {
                            let known = self.state.aggregate_functions();
                            WindowFunctionDefinition::AggregateUDF(found(known, function.name())?)
                        }
                        WindowFunctionDefinition::WindowUDF(function) => {
                            let known = self.state.window_functions();
                            WindowFunctionDefinition::WindowUDF(found(known, function.name())?)
                        }
                    };
                    Transformed::yes(Expr::WindowFunction(call))
                }
                other => Transformed::no(other),
            })
        });
        known.data()
    }
}

/// Expressions without the names they were given.
fn bare(exprs: &[Expr]) -> Vec<Expr> {
    exprs.iter().map(|expr| expr.clone().unalias()).collect()
}

/// A plan whose columns are these expressions, under the names they were given: as SQL does it, by a projection above.
fn named(plan: LogicalPlan, exprs: &[Expr]) -> Plan {
    if !exprs.iter().any(|expr| matches!(expr, Expr::Alias(_))) {
        return Ok(plan);
    }
    // Windows of other orders are computed one after the other: their columns are found by their names.
    let columns = exprs.iter().map(|expr| {
        let column = match expr.clone().unalias() {
            column @ Expr::Column(_) => column,
            computed => Expr::Column(Column::new_unqualified(computed.schema_name().to_string())),
        };
        match expr {
            Expr::Alias(alias) => column.alias(&alias.name),
            _ => column,
        }
    });
    let columns: Vec<Expr> = columns.collect();
    Ok(LogicalPlanBuilder::from(plan).project(columns)?.build()?)
}

fn found<T>(known: &HashMap<String, Arc<T>>, name: &str) -> DataFusionResult<Arc<T>> {
    match known.get(name) {
        Some(function) => Ok(Arc::clone(function)),
        None => plan_err!("there is no function `{name}`: register it with the session"),
    }
}
