//! An aggregate with DISTINCT and ORDER BY beside one that asks for another order in the same SELECT: DataFusion sorts
//! their input once and may answer the one with DISTINCT in the other's order.

use datafusion::common::DataFusionError;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::{Aggregate, Expr, LogicalPlan, SortExpr};
use datafusion::optimizer::AnalyzerRule;

use crate::sql::{Code, Error};

/// Refuses them.
#[derive(Debug)]
pub struct DistinctOrder;

impl AnalyzerRule for DistinctOrder {
    fn name(&self) -> &str {
        "tidegate_distinct_order"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        plan.apply_with_subqueries(|node| {
            if let LogicalPlan::Aggregate(aggregate) = node
                && differ(aggregate)?
            {
                return Err(DataFusionError::External(Box::new(
                    Error::new(
                        Code::Unsupported,
                        "an aggregate with DISTINCT and ORDER BY beside one with another ORDER BY is not supported",
                    )
                    .hint("compute each in a subquery of its own, and join them"),
                )));
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(plan)
    }
}

fn differ(aggregate: &Aggregate) -> Result<bool> {
    let mut orders: Vec<Vec<SortExpr>> = Vec::new();
    let mut distinct = false;
    for expr in &aggregate.aggr_expr {
        expr.apply(|expr| {
            if let Expr::AggregateFunction(call) = expr
                && !call.params.order_by.is_empty()
            {
                distinct |= call.params.distinct;
                if !orders.contains(&call.params.order_by) {
                    orders.push(call.params.order_by.clone());
                }
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
    }
    Ok(distinct && orders.len() > 1)
}
