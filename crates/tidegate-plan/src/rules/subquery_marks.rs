//! IN and EXISTS outside of WHERE: in a SELECT list, in GROUP BY, ORDER BY and the arguments of aggregates and windows.

use std::sync::Arc;

use datafusion::common::internal_err;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::error::Result;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Expr, Filter, LogicalPlan, LogicalPlanBuilder};
use datafusion::optimizer::decorrelate_predicate_subquery::DecorrelatePredicateSubquery;
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

use super::in_subquery::has_predicate_subquery;

/// Puts the mark of each such predicate beside the columns of the node's input and refers to it. DataFusion's own rule
/// makes the marks, but for filters only: each predicate is handed to it as a filter, which is then taken off again.
#[derive(Debug, Default)]
pub struct SubqueryMarks {
    filters: DecorrelatePredicateSubquery,
}

impl SubqueryMarks {
    /// The rule that this one has to come before.
    pub(super) fn before(&self) -> &str {
        self.filters.name()
    }
}

impl OptimizerRule for SubqueryMarks {
    fn name(&self) -> &str {
        "tidegate_subquery_marks"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        None
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        config: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        plan.transform_up_with_subqueries(|plan| self.rewrite_node(plan, config))
    }
}

impl SubqueryMarks {
    fn rewrite_node(
        &self,
        plan: LogicalPlan,
        config: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        let takes_marks = matches!(
            plan,
            LogicalPlan::Projection(_)
                | LogicalPlan::Aggregate(_)
                | LogicalPlan::Window(_)
                | LogicalPlan::Sort(_)
        );
        if !takes_marks || !plan.expressions().iter().any(has_predicate_subquery) {
            return Ok(Transformed::no(plan));
        }
        let [input] = plan.inputs()[..] else {
            return Ok(Transformed::no(plan));
        };
        let mut marked = input.clone();
        let names = NamePreserver::new(&plan);
        let exprs = plan
            .expressions()
            .into_iter()
            .map(|expr| {
                let name = names.save(&expr);
                let expr = expr
                    .transform_down(|expr| match expr {
                        Expr::InSubquery(_) | Expr::Exists(_) => {
                            let (expr, input) = self.mark(expr, marked.clone(), config)?;
                            marked = input;
                            Ok(Transformed::yes(expr))
                        }
                        other => Ok(Transformed::no(other)),
                    })
                    .data()?;
                Ok(name.restore(expr))
            })
            .collect::<Result<Vec<_>>>()?;
        let columns = plan.schema().columns();
        let rewritten = plan.with_new_exprs(exprs, vec![marked])?;
        let rewritten = match rewritten.schema().fields().len() == columns.len() {
            true => rewritten,
            // A window and a sort pass on all they get.
            false => LogicalPlanBuilder::from(rewritten)
                .project(columns.into_iter().map(Expr::Column))?
                .build()?,
        };
        Ok(Transformed::yes(rewritten))
    }

    /// The expression that stands for a predicate, and the input with its mark.
    fn mark(
        &self,
        predicate: Expr,
        input: LogicalPlan,
        config: &dyn OptimizerConfig,
    ) -> Result<(Expr, LogicalPlan)> {
        let filter = Filter::try_new(predicate.is_not_null(), Arc::new(input))?;
        let marked = self
            .filters
            .rewrite(LogicalPlan::Filter(filter), config)?
            .data;
        let filter = match marked {
            LogicalPlan::Projection(projection) => Arc::unwrap_or_clone(projection.input),
            other => other,
        };
        match filter {
            LogicalPlan::Filter(Filter {
                predicate: Expr::IsNotNull(mark),
                input,
                ..
            }) => Ok((*mark, Arc::unwrap_or_clone(input))),
            _ => internal_err!("a subquery's mark is not where it is put"),
        }
    }
}
