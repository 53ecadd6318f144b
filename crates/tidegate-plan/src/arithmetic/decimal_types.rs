//! Which types products and quotients of decimals have, told to DataFusion's planner from the start.
//!
//! DataFusion's quotient has four places more than its dividend, so `1 / 7000000.0` is zero, and its product has the
//! places of both sides, so that of two quotients has no room before the point. PostgreSQL chooses by the values.

use std::sync::Arc;

use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DECIMAL128_MAX_SCALE, DataType};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::type_coercion::binary::BinaryTypeCoercer;
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator, ScalarUDF};
use datafusion::optimizer::AnalyzerRule;
use datafusion::sql::sqlparser::ast::BinaryOperator;

use super::Operation;
use super::function::functions;
use crate::rules::expressions::rewrite_expressions;

/// The places of a quotient at least, and those that no product loses.
const SCALE: i16 = 16;
/// The most places that a quotient has beyond those of its dividend: 16 digits are left before the point.
const SCALE_MAX: i16 = 22;
const PRECISION_MAX: i16 = DECIMAL128_MAX_PRECISION as i16;

/// The scale of a decimal, zero of other types.
pub(super) fn scale(data_type: &DataType) -> i16 {
    match data_type {
        DataType::Decimal128(_, scale) => i16::from(*scale),
        _ => 0,
    }
}

/// The type of `left / right` of two decimals: 16 places, those of each side, four more than the dividend's.
pub(super) fn quotient(left: &DataType, right: &DataType) -> Option<DataType> {
    let (_, left) = parts(left)?;
    let (_, right) = parts(right)?;
    let more = right.max(left + 4).min(SCALE_MAX);
    Some(decimal(PRECISION_MAX, left.max(more).max(SCALE)))
}

/// The type of `left * right` of two decimals. Where 38 digits are too few for all of them, those before the point go
/// first, but 16 places and those of each side are kept.
pub(super) fn product(left: &DataType, right: &DataType) -> Option<DataType> {
    let ((left_digits, left), (right_digits, right)) = (parts(left)?, parts(right)?);
    let (digits, scale) = (left_digits + right_digits + 1, left + right);
    if digits <= PRECISION_MAX {
        return Some(decimal(digits, scale));
    }
    let room = PRECISION_MAX - (digits - scale);
    let kept = scale.min(SCALE.max(left).max(right));
    Some(decimal(PRECISION_MAX, room.max(kept)))
}

fn parts(data_type: &DataType) -> Option<(i16, i16)> {
    match data_type {
        DataType::Decimal128(digits, scale) => Some((i16::from(*digits), i16::from(*scale))),
        _ => None,
    }
}

fn decimal(digits: i16, scale: i16) -> DataType {
    let digits = u8::try_from(digits).unwrap_or(DECIMAL128_MAX_PRECISION);
    let scale = i8::try_from(scale).unwrap_or(DECIMAL128_MAX_SCALE);
    DataType::Decimal128(
        digits.min(DECIMAL128_MAX_PRECISION),
        scale.min(DECIMAL128_MAX_SCALE),
    )
}

/// What the sides of a product or quotient become, if both become decimals of 128 bits.
pub(super) fn sides(left: &DataType, right: &DataType) -> Option<(DataType, DataType)> {
    // For a sum DataFusion brings them to the same types, and knows of no scale that is too great.
    let sides = BinaryTypeCoercer::new(left, &Operator::Plus, right).get_input_types();
    let (left, right) = sides.ok()?;
    parts(&left)?;
    parts(&right)?;
    Some((left, right))
}

/// Plans what gets another type than DataFusion's as checked functions: the types of all that is built on it are right
/// from the start then.
#[derive(Debug)]
pub struct DecimalTypes {
    functions: Vec<Arc<ScalarUDF>>,
}

impl Default for DecimalTypes {
    fn default() -> Self {
        Self {
            functions: functions(),
        }
    }
}

impl DecimalTypes {
    /// The function that stands for an operator of these sides.
    fn function(
        &self,
        op: Operator,
        (left, right): (&Expr, &Expr),
        schema: &DFSchema,
    ) -> Option<&Arc<ScalarUDF>> {
        let operation = match op {
            Operator::Multiply => Operation::Multiply,
            Operator::Divide => Operation::Divide,
            _ => return None,
        };
        let (left, right) = (left.get_type(schema).ok()?, right.get_type(schema).ok()?);
        // Those of 64 bits with and without a sign would meet as decimals.
        if left.is_integer() && right.is_integer() {
            return None;
        }
        let (left, right) = sides(&left, &right)?;
        let theirs = BinaryTypeCoercer::new(&left, &op, &right).get_result_type();
        let ours = match operation {
            Operation::Multiply => product(&left, &right),
            _ => quotient(&left, &right),
        };
        match theirs.ok() == ours {
            true => None,
            false => self.functions.get(operation as usize),
        }
    }
}

impl ExprPlanner for DecimalTypes {
    fn plan_binary_op(
        &self,
        expr: RawBinaryExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawBinaryExpr>> {
        let op = match expr.op {
            BinaryOperator::Multiply => Operator::Multiply,
            BinaryOperator::Divide => Operator::Divide,
            _ => return Ok(PlannerResult::Original(expr)),
        };
        Ok(match self.function(op, (&expr.left, &expr.right), schema) {
            Some(function) => PlannerResult::Planned(function.call(vec![expr.left, expr.right])),
            None => PlannerResult::Original(expr),
        })
    }
}

/// For what the planner did not know the types of. It comes before type coercion, which chooses by them.
impl AnalyzerRule for DecimalTypes {
    fn name(&self) -> &str {
        "tidegate_decimal_types"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        plan.transform_up_with_subqueries(|plan| {
            let plan = rewrite_expressions(plan, |expr, schema| match expr {
                Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
                    match self.function(op, (&left, &right), schema) {
                        Some(function) => Ok(Transformed::yes(function.call(vec![*left, *right]))),
                        None => Ok(Transformed::no(Expr::BinaryExpr(BinaryExpr {
                            left,
                            op,
                            right,
                        }))),
                    }
                }
                other => Ok(Transformed::no(other)),
            })?;
            plan.map_data(LogicalPlan::recompute_schema)
        })
        .data()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(
        of: fn(&DataType, &DataType) -> Option<DataType>,
        sides: [(u8, i8); 2],
        out: (u8, i8),
    ) {
        let [left, right] = sides.map(|(digits, scale)| DataType::Decimal128(digits, scale));
        assert_eq!(
            of(&left, &right),
            Some(DataType::Decimal128(out.0, out.1)),
            "{left} {right}"
        );
    }

    #[test]
    fn quotients_have_sixteen_digits_on_both_sides_of_the_point() {
        check(quotient, [(20, 0), (8, 1)], (38, 16));
        check(quotient, [(38, 4), (38, 4)], (38, 16));
        check(quotient, [(38, 16), (38, 16)], (38, 20));
        check(quotient, [(38, 20), (38, 2)], (38, 22));
        check(quotient, [(38, 22), (38, 2)], (38, 22));
        check(quotient, [(38, 30), (38, 2)], (38, 30));
        check(quotient, [(38, 38), (38, 38)], (38, 38));
        check(quotient, [(38, 2), (38, 18)], (38, 18));
        check(quotient, [(38, 2), (38, 38)], (38, 22));
        check(quotient, [(5, -2), (5, 2)], (38, 16));
    }

    #[test]
    fn products_lose_places_before_digits() {
        check(product, [(15, 2), (20, 2)], (36, 4));
        check(product, [(15, 2), (23, 2)], (38, 4));
        check(product, [(18, 10), (18, 10)], (37, 20));
        check(product, [(18, 10), (20, 10)], (38, 19));
        check(product, [(38, 16), (38, 16)], (38, 16));
        check(product, [(38, 16), (4, 1)], (38, 16));
        check(product, [(38, 20), (38, 16)], (38, 20));
        check(product, [(38, 38), (38, 38)], (38, 38));
        check(product, [(38, 0), (38, 0)], (38, 0));
    }
}
