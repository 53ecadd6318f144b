//! The rule that puts checked arithmetic into a plan, after type coercion, when the types are known.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, config::ConfigOptions};
use datafusion::error::Result;
use datafusion::functions_aggregate::average::Avg;
use datafusion::functions_aggregate::sum::Sum;
use datafusion::logical_expr::expr::{ScalarFunction, WindowFunction};
use datafusion::logical_expr::{
    AggregateUDF, BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator, ScalarUDF,
    WindowFunctionDefinition,
};
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::{AnalyzerRule, OptimizerConfig, OptimizerRule};

use super::aggregate::checked_sum;
use super::average::checked_avg;
use super::function::{Operation, functions};
use super::linear;
use crate::rules::expressions::rewrite_expressions;

/// Turns `+ - *`, `/` of decimals and unary minus over integers and decimals into checked functions, and DataFusion's `sum` into ours.
///
/// It is an analyzer rule, and once more the last optimizer rule, for what DataFusion's rules wrote themselves.
#[derive(Debug)]
pub struct CheckedArithmetic {
    functions: Vec<Arc<ScalarUDF>>,
}

impl Default for CheckedArithmetic {
    fn default() -> Self {
        Self {
            functions: functions(),
        }
    }
}

impl AnalyzerRule for CheckedArithmetic {
    fn name(&self) -> &str {
        "tidegate_checked_arithmetic"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        let shared = plan.transform_up_with_subqueries(|plan| match linear::split(&plan)? {
            Some(plan) => Ok(Transformed::yes(plan)),
            None => Ok(Transformed::no(plan)),
        })?;
        Ok(shared
            .data
            .transform_up_with_subqueries(|plan| self.rewrite_node(plan))?
            .data)
    }
}

impl OptimizerRule for CheckedArithmetic {
    fn name(&self) -> &str {
        "tidegate_checked_arithmetic"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        None
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        _: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        plan.transform_up_with_subqueries(|plan| self.rewrite_node(plan))
    }
}

impl CheckedArithmetic {
    fn rewrite_node(&self, plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
        rewrite_expressions(plan, |expr, schema| self.rewrite_expr(expr, schema))
    }

    fn rewrite_expr(&self, expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
        Ok(match expr {
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
                let operation = match op {
                    Operator::Plus => Some(Operation::Add),
                    Operator::Minus => Some(Operation::Subtract),
                    Operator::Multiply => Some(Operation::Multiply),
                    Operator::Divide => Some(Operation::Divide),
                    _ => None,
                };
                match operation {
                    Some(operation)
                        if needs_check(
                            operation,
                            &left.get_type(schema)?,
                            &right.get_type(schema)?,
                        ) =>
                    {
                        Transformed::yes(self.call(operation, vec![*left, *right]))
                    }
                    _ => Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right })),
                }
            }
            Expr::Negative(argument) if argument.get_type(schema)?.is_signed_integer() => {
                Transformed::yes(self.call(Operation::Negate, vec![*argument]))
            }
            Expr::AggregateFunction(mut aggregate) => match checked_in_place_of(&aggregate.func) {
                Some(func) => {
                    aggregate.func = func;
                    Transformed::yes(Expr::AggregateFunction(aggregate))
                }
                None => Transformed::no(Expr::AggregateFunction(aggregate)),
            },
            Expr::WindowFunction(window) => checked_window(window),
            other => Transformed::no(other),
        })
    }

    fn call(&self, operation: Operation, args: Vec<Expr>) -> Expr {
        Expr::ScalarFunction(ScalarFunction::new_udf(
            Arc::clone(&self.functions[operation as usize]),
            args,
        ))
    }
}

/// Ours, where an expression was built with DataFusion's own function instead of by its name.
fn checked_in_place_of(func: &AggregateUDF) -> Option<Arc<AggregateUDF>> {
    let is_sum = func.inner().is::<Sum>();
    let is_avg = func.inner().is::<Avg>();
    is_sum
        .then(checked_sum)
        .or_else(|| is_avg.then(checked_avg))
}

fn checked_window(mut window: Box<WindowFunction>) -> Transformed<Expr> {
    if let WindowFunctionDefinition::AggregateUDF(func) = &window.fun
        && let Some(func) = checked_in_place_of(func)
    {
        window.fun = WindowFunctionDefinition::AggregateUDF(func);
        return Transformed::yes(Expr::WindowFunction(window));
    }
    Transformed::no(Expr::WindowFunction(window))
}

/// Whether the result of these types may leave its type. Coercion has made integers equal on both sides.
fn needs_check(operation: Operation, left: &DataType, right: &DataType) -> bool {
    if operation == Operation::Divide {
        // The others are right as they are: quotients of integers, and wider decimals but for the rounding.
        return matches!(
            (left, right),
            (DataType::Decimal128(..), DataType::Decimal128(..))
        );
    }
    (left.is_integer() && left == right) || (left.is_decimal() && right.is_decimal())
}
