//! The rule that puts checked arithmetic into a plan, after type coercion, when the types are known.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, ScalarValue, config::ConfigOptions};
use datafusion::error::Result;
use datafusion::functions_aggregate::average::Avg;
use datafusion::functions_aggregate::min_max::{Max, Min};
use datafusion::functions_aggregate::sum::Sum;
use datafusion::logical_expr::expr::{Case, Cast, InList, ScalarFunction, TryCast, WindowFunction};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{
    AggregateUDF, BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator, ScalarUDF,
    WindowFunctionDefinition, lit, when,
};
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::{AnalyzerRule, OptimizerConfig, OptimizerRule};

use super::aggregate::checked_sum;
use super::average::checked_avg;
use super::extremes::{Extreme, greatest, least};
use super::function::{Operation, functions};
use super::linear;
use super::ordered::Comparable::{self, FloatKey, OneNan};
use super::ordered::ToComparable;
use crate::rules::expressions::rewrite_expressions;

/// Turns `+ - *`, `/` of decimals and unary minus over integers and decimals into checked functions, and DataFusion's
/// `sum`, `avg`, `min` and `max` into ours. Arithmetic of floats gets the one NaN.
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
        rewrite_expressions(plan, |expr, schema| self.rewrite_expr(expr, schema))?
            .transform_data(keys_with_one_nan)
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
                    _ if may_give_nan(op) => one_nan(BinaryExpr { left, op, right }, schema)?,
                    _ => Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right })),
                }
            }
            Expr::Negative(argument) if argument.get_type(schema)?.is_signed_integer() => {
                Transformed::yes(self.call(Operation::Negate, vec![*argument]))
            }
            Expr::Negative(mut argument) if argument.get_type(schema)?.is_floating() => {
                without_one_nan(&mut argument);
                Transformed::yes(OneNan.of(Expr::Negative(argument)))
            }
            Expr::Cast(Cast { expr: ref text, .. })
            | Expr::TryCast(TryCast { expr: ref text, .. })
                if text.get_type(schema)?.is_string() && expr.get_type(schema)?.is_floating() =>
            {
                Transformed::yes(OneNan.of(expr))
            }
            Expr::AggregateFunction(mut aggregate) => {
                let checked = checked_in_place_of(&aggregate.func);
                let mut changed = checked.is_some();
                aggregate.func = checked.unwrap_or(aggregate.func);
                if aggregate.params.distinct {
                    changed |= compare_by(FloatKey, &mut aggregate.params.args, schema)?;
                } else if aggregate.func.inner().is::<Extreme>() {
                    changed |= compare_by(OneNan, &mut aggregate.params.args, schema)?;
                }
                let order = aggregate.params.order_by.iter_mut();
                changed |= compare_by(FloatKey, order.map(|key| &mut key.expr), schema)?;
                Transformed::new_transformed(Expr::AggregateFunction(aggregate), changed)
            }
            Expr::WindowFunction(window) => checked_window(window, schema)?,
            Expr::InList(list) => with_both_zeros(list),
            Expr::Case(case) if case.expr.is_some() => searched(case, schema)?,
            Expr::ScalarFunction(call) if call.name() == "nullif" => nullif(call, schema)?,
            Expr::ScalarFunction(mut call) if is_one_nan(&call) => {
                let twice = call.args.first_mut().is_some_and(without_one_nan);
                Transformed::new_transformed(Expr::ScalarFunction(call), twice)
            }
            Expr::ScalarFunction(ref call) if is_comparable(call) => Transformed::no(expr),
            Expr::ScalarFunction(ref call)
                if !NEVER_NAN.contains(&call.name()) && expr.get_type(schema)?.is_floating() =>
            {
                Transformed::yes(OneNan.of(expr))
            }
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
    let inner = func.inner();
    Some(if inner.is::<Sum>() {
        checked_sum()
    } else if inner.is::<Avg>() {
        checked_avg()
    } else if inner.is::<Min>() {
        least()
    } else if inner.is::<Max>() {
        greatest()
    } else {
        return None;
    })
}

/// Functions of floats that give numbers only.
const NEVER_NAN: [&str; 3] = ["date_part", "pi", "random"];

fn may_give_nan(op: Operator) -> bool {
    use Operator::{Divide, Minus, Modulo, Multiply, Plus};
    matches!(op, Plus | Minus | Multiply | Divide | Modulo)
}

/// One NaN for a computation of floats: a NaN inside is passed on by what is computed with it.
fn one_nan(mut binary: BinaryExpr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let left_inside = without_one_nan(&mut binary.left);
    let right_inside = without_one_nan(&mut binary.right);
    let binary = Expr::BinaryExpr(binary);
    Ok(match binary.get_type(schema)?.is_floating() {
        true => Transformed::yes(OneNan.of(binary)),
        false => Transformed::new_transformed(binary, left_inside || right_inside),
    })
}

/// Takes the function off, if it is there.
fn without_one_nan(expr: &mut Expr) -> bool {
    let inside = match expr {
        Expr::ScalarFunction(call) if is_one_nan(call) => call.args.pop(),
        _ => None,
    };
    match inside {
        Some(inside) => {
            *expr = inside;
            true
        }
        None => false,
    }
}

fn is_one_nan(call: &ScalarFunction) -> bool {
    let function = call.func.inner().downcast_ref::<ToComparable>();
    function.is_some_and(|function| function.kind() == OneNan)
}

fn is_comparable(call: &ScalarFunction) -> bool {
    call.func.inner().is::<ToComparable>()
}

/// Floats as they are compared: a NaN that an embedding program hands in may have a sign.
fn compare_by<'a>(
    kind: Comparable,
    exprs: impl IntoIterator<Item = &'a mut Expr>,
    schema: &DFSchema,
) -> Result<bool> {
    let mut changed = false;
    for expr in exprs {
        if kind == FloatKey {
            without_one_nan(expr);
        }
        let done = matches!(expr, Expr::ScalarFunction(call) if is_comparable(call));
        if !done && expr.get_type(schema)?.is_floating() {
            *expr = kind.of(std::mem::take(expr));
            changed = true;
        }
    }
    Ok(changed)
}

/// Sorts and groups floats of one NaN.
fn keys_with_one_nan(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    match plan {
        LogicalPlan::Sort(mut sort) => {
            let keys = sort.expr.iter_mut().map(|key| &mut key.expr);
            let changed = compare_by(FloatKey, keys, sort.input.schema())?;
            Ok(Transformed::new_transformed(
                LogicalPlan::Sort(sort),
                changed,
            ))
        }
        LogicalPlan::Aggregate(mut aggregate) => {
            let mut changed = false;
            for key in &mut aggregate.group_expr {
                let name = NamePreserver::new_for_projection().save(key);
                let mut value = std::mem::take(key).unalias();
                // Groups know that both zeros are one, and show the first of them.
                changed |= compare_by(OneNan, [&mut value], aggregate.input.schema())?;
                *key = name.restore(value);
            }
            let plan = LogicalPlan::Aggregate(aggregate);
            match changed {
                true => Ok(Transformed::yes(plan.recompute_schema()?)),
                false => Ok(Transformed::no(plan)),
            }
        }
        other => Ok(Transformed::no(other)),
    }
}

fn checked_window(mut window: Box<WindowFunction>, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let mut changed = false;
    if let WindowFunctionDefinition::AggregateUDF(func) = &window.fun
        && let Some(func) = checked_in_place_of(func)
    {
        window.fun = WindowFunctionDefinition::AggregateUDF(func);
        changed = true;
    }
    let params = &mut window.params;
    if let WindowFunctionDefinition::AggregateUDF(func) = &window.fun
        && func.inner().is::<Extreme>()
    {
        changed |= compare_by(OneNan, &mut params.args, schema)?;
    }
    let order = params.order_by.iter_mut().map(|key| &mut key.expr);
    changed |= compare_by(FloatKey, order.chain(&mut params.partition_by), schema)?;
    Ok(Transformed::new_transformed(
        Expr::WindowFunction(window),
        changed,
    ))
}

/// A list is looked up by the bits of its values: one with a zero gets the other zero too.
fn with_both_zeros(mut list: InList) -> Transformed<Expr> {
    let zeros = |value: &ScalarValue| match value {
        ScalarValue::Float32(Some(zero)) if *zero == 0.0 => Some([0f32, -0f32].map(lit)),
        ScalarValue::Float64(Some(zero)) if *zero == 0.0 => Some([0f64, -0f64].map(lit)),
        _ => None,
    };
    let found = list.list.iter().find_map(|item| match item {
        Expr::Literal(value, _) => zeros(value),
        _ => None,
    });
    let missing: Vec<Expr> = found.into_iter().flatten().collect();
    let missing = missing.into_iter().filter(|zero| !list.list.contains(zero));
    let missing: Vec<Expr> = missing.collect();
    let changed = !missing.is_empty();
    list.list.extend(missing);
    Transformed::new_transformed(Expr::InList(list), changed)
}

/// `CASE f WHEN v` of floats as `CASE WHEN f = v`: the first one compares bits.
fn searched(mut case: Case, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let base = match case.expr.take() {
        Some(base) if base.get_type(schema)?.is_floating() && !base.is_volatile() => base,
        base => {
            case.expr = base;
            return Ok(Transformed::no(Expr::Case(case)));
        }
    };
    for (when, _) in &mut case.when_then_expr {
        let value = std::mem::take(when.as_mut());
        **when = base.as_ref().clone().eq(value);
    }
    Ok(Transformed::yes(Expr::Case(case)))
}

/// `nullif(a, b)` of floats as `CASE WHEN a = b THEN NULL ELSE a END`, for the same reason.
fn nullif(call: ScalarFunction, schema: &DFSchema) -> Result<Transformed<Expr>> {
    match call.args.as_slice() {
        [a, b] if a.get_type(schema)?.is_floating() && b.get_type(schema)?.is_floating() => {
            let null = ScalarValue::try_from(&a.get_type(schema)?)?;
            let case = when(a.clone().eq(b.clone()), lit(null)).otherwise(a.clone())?;
            Ok(Transformed::yes(case))
        }
        _ => Ok(Transformed::no(Expr::ScalarFunction(call))),
    }
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
