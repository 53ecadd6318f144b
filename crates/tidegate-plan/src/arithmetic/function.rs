//! The named functions that stand for `+`, `-`, `*`, `/` and unary minus once the types are known.

use std::sync::Arc;

use arrow::datatypes::{
    DataType, Field, FieldRef, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use datafusion::common::{ScalarValue, exec_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::interval_arithmetic::Interval;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion::logical_expr::type_coercion::binary::BinaryTypeCoercer;
use datafusion::logical_expr::{
    ColumnarValue, Expr, Operator, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility,
};
use datafusion::physical_expr_common::datum::apply;

use super::{decimal_types, kernels, rounded};

/// Which operator a checked function stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// `a + b`
    Add,
    /// `a - b`
    Subtract,
    /// `a * b`
    Multiply,
    /// `- a`
    Negate,
    /// `a / b`, of decimals only: the quotient of integers is exact where it is none of zero.
    Divide,
}

impl Operation {
    /// Every operation.
    pub const ALL: [Operation; 5] = [
        Operation::Add,
        Operation::Subtract,
        Operation::Multiply,
        Operation::Negate,
        Operation::Divide,
    ];

    /// The name of the function, in serialized plans too: never change one.
    pub fn function_name(self) -> &'static str {
        match self {
            Operation::Add => "checked_add",
            Operation::Subtract => "checked_subtract",
            Operation::Multiply => "checked_multiply",
            Operation::Negate => "checked_negate",
            Operation::Divide => "checked_divide",
        }
    }

    /// How the operator is written.
    pub fn symbol(self) -> &'static str {
        match self {
            Operation::Add => "+",
            Operation::Subtract | Operation::Negate => "-",
            Operation::Multiply => "*",
            Operation::Divide => "/",
        }
    }

    pub(super) fn operator(self) -> Operator {
        match self {
            Operation::Add => Operator::Plus,
            Operation::Subtract | Operation::Negate => Operator::Minus,
            Operation::Multiply => Operator::Multiply,
            Operation::Divide => Operator::Divide,
        }
    }
}

/// `+ - *` and unary minus over integers and decimals, an error where the result does not fit.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct CheckedOp {
    operation: Operation,
    signature: Signature,
}

/// One function for each [`Operation`].
pub fn functions() -> Vec<Arc<ScalarUDF>> {
    Operation::ALL
        .map(|operation| Arc::new(CheckedOp::new(operation).into()))
        .to_vec()
}

impl CheckedOp {
    /// The function of an operation.
    pub fn new(operation: Operation) -> Self {
        Self {
            operation,
            signature: Signature::user_defined(Volatility::Immutable),
        }
    }

    /// Which operator this is.
    pub fn operation(&self) -> Operation {
        self.operation
    }

    /// Whether this is a product of decimals of fewer places than its sides have together.
    fn is_rounded(&self, left: &DataType, right: &DataType, out: &DataType) -> bool {
        use decimal_types::scale;
        self.operation == Operation::Multiply
            && matches!(out, DataType::Decimal128(..))
            && scale(out) < scale(left) + scale(right)
    }
}

impl ScalarUDFImpl for CheckedOp {
    fn name(&self) -> &str {
        self.operation.function_name()
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        // As DataFusion names the operator, so that a rewritten expression keeps its column name.
        Ok(match args {
            [left, right] => format!(
                "{} {} {}",
                left.schema_name(),
                self.operation.symbol(),
                right.schema_name()
            ),
            [argument] => format!("(- {})", argument.schema_name()),
            _ => self.name().to_string(),
        })
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        match (self.operation, arg_types) {
            (Operation::Negate, [argument]) => Ok(argument.clone()),
            (operation, [left, right]) => {
                let ours = match operation {
                    Operation::Multiply => decimal_types::product(left, right),
                    Operation::Divide => decimal_types::quotient(left, right),
                    _ => None,
                };
                let operator = operation.operator();
                let theirs = BinaryTypeCoercer::new(left, &operator, right);
                ours.map_or_else(|| theirs.get_result_type(), Ok)
            }
            _ => plan_err!("wrong number of arguments for `{}`", self.name()),
        }
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        match (self.operation, arg_types) {
            (Operation::Negate, [argument]) => Ok(vec![argument.clone()]),
            (operation, [left, right]) => {
                let operator = operation.operator();
                let theirs = BinaryTypeCoercer::new(left, &operator, right);
                let sides = decimal_types::sides(left, right);
                let (left, right) = sides.map_or_else(|| theirs.get_input_types(), Ok)?;
                Ok(vec![left, right])
            }
            _ => plan_err!("wrong number of arguments for `{}`", self.name()),
        }
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let types: Vec<_> = args
            .arg_fields
            .iter()
            .map(|field| field.data_type().clone())
            .collect();
        let nullable = args.arg_fields.iter().any(|field| field.is_nullable());
        Ok(Arc::new(Field::new(
            self.name(),
            self.return_type(&types)?,
            nullable,
        )))
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let out = args.return_field.data_type();
        match args.args.as_slice() {
            [left, right] if self.operation == Operation::Divide => {
                rounded::quotients(left, right, args.number_rows, out)
            }
            [left, right] if self.is_rounded(&left.data_type(), &right.data_type(), out) => {
                rounded::products(left, right, args.number_rows, out)
            }
            [left, right] => compute(self.operation, left, right, out),
            [argument] => compute(self.operation, argument, argument, out),
            _ => exec_err!("wrong number of arguments for `{}`", self.name()),
        }
    }

    fn simplify(&self, mut args: Vec<Expr>, _: &SimplifyContext) -> Result<ExprSimplifyResult> {
        // `x + 0`, `0 + x`, `x - 0`, `x * 1`, `1 * x` over integers: the types of both sides are equal.
        let neutral = |expr: &Expr, add: bool| match expr {
            Expr::Literal(value, _) if value.data_type().is_integer() => {
                let unit = if add {
                    ScalarValue::new_zero(&value.data_type())
                } else {
                    ScalarValue::new_one(&value.data_type())
                };
                unit.is_ok_and(|unit| unit == *value)
            }
            _ => false,
        };
        let (left, right) = match (self.operation, args.as_slice()) {
            (Operation::Add, [l, r]) => (neutral(l, true), neutral(r, true)),
            (Operation::Subtract, [_, r]) => (false, neutral(r, true)),
            (Operation::Multiply, [l, r]) => (neutral(l, false), neutral(r, false)),
            _ => (false, false),
        };
        Ok(match (left, right) {
            (_, true) => ExprSimplifyResult::Simplified(args.swap_remove(0)),
            (true, false) => ExprSimplifyResult::Simplified(args.swap_remove(1)),
            _ => ExprSimplifyResult::Original(args),
        })
    }

    fn evaluate_bounds(&self, inputs: &[&Interval]) -> Result<Interval> {
        match (self.operation, inputs) {
            (Operation::Add, [l, r]) => l.add(*r),
            (Operation::Subtract, [l, r]) => l.sub(*r),
            (Operation::Negate, [argument]) => argument.arithmetic_negate(),
            (Operation::Multiply | Operation::Divide, [l, r]) => {
                let out = self.return_type(&[l.data_type(), r.data_type()])?;
                match self.operation == Operation::Divide
                    || self.is_rounded(&l.data_type(), &r.data_type(), &out)
                {
                    true => Interval::make_unbounded(&out),
                    false => l.mul(*r),
                }
            }
            _ => Interval::make_unbounded(&DataType::Null),
        }
    }

    fn output_ordering(&self, inputs: &[ExprProperties]) -> Result<SortProperties> {
        // Checked results never wrap, so sums keep the order of what is added.
        Ok(match (self.operation, inputs) {
            (Operation::Add, [l, r]) => l.sort_properties.add(&r.sort_properties),
            (Operation::Subtract, [l, r]) => l.sort_properties.sub(&r.sort_properties),
            (Operation::Negate, [argument]) => -argument.sort_properties,
            _ => SortProperties::Unordered,
        })
    }
}

fn compute(
    op: Operation,
    left: &ColumnarValue,
    right: &ColumnarValue,
    out: &DataType,
) -> Result<ColumnarValue> {
    match (left.data_type(), right.data_type()) {
        (DataType::Int8, DataType::Int8) => kernels::integers::<Int8Type>(op, left, right),
        (DataType::Int16, DataType::Int16) => kernels::integers::<Int16Type>(op, left, right),
        (DataType::Int32, DataType::Int32) => kernels::integers::<Int32Type>(op, left, right),
        (DataType::Int64, DataType::Int64) => kernels::integers::<Int64Type>(op, left, right),
        (DataType::UInt8, DataType::UInt8) => kernels::integers::<UInt8Type>(op, left, right),
        (DataType::UInt16, DataType::UInt16) => kernels::integers::<UInt16Type>(op, left, right),
        (DataType::UInt32, DataType::UInt32) => kernels::integers::<UInt32Type>(op, left, right),
        (DataType::UInt64, DataType::UInt64) => kernels::integers::<UInt64Type>(op, left, right),
        (DataType::Decimal128(..), DataType::Decimal128(..))
            if !matches!(op, Operation::Negate | Operation::Divide) =>
        {
            kernels::decimals(op, left, right, out)
        }
        _ => by_arrow(op, left, right, out),
    }
}

/// Types without a loop of ours: arrow's checked kernel, then a look at the precision of decimals.
fn by_arrow(
    op: Operation,
    left: &ColumnarValue,
    right: &ColumnarValue,
    out: &DataType,
) -> Result<ColumnarValue> {
    use arrow::compute::kernels::numeric::{add, div, mul, neg, sub};
    let value = match op {
        Operation::Add => apply(left, right, add)?,
        Operation::Subtract => apply(left, right, sub)?,
        Operation::Multiply => apply(left, right, mul)?,
        Operation::Divide => apply(left, right, div)?,
        Operation::Negate => {
            let array = neg(left.to_array(1)?.as_ref())?;
            match left {
                ColumnarValue::Array(_) => ColumnarValue::Array(array),
                ColumnarValue::Scalar(_) => {
                    ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?)
                }
            }
        }
    };
    super::groups::check_precision(value.to_array(1)?.as_ref(), out, op.symbol())?;
    Ok(value)
}
