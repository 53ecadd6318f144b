//! A cast from a decimal or a float to an integer rounds, as in PostgreSQL: decimals half
//! away from zero, floats half to even. Arrow's cast truncates, so a rounding function is put
//! under it while the plan still says what the user wrote.

use std::sync::{Arc, LazyLock};

use arrow::array::{
    Array, ArrayRef, AsArray, Decimal128Array, Decimal256Array, Float32Array, Float64Array,
};
use arrow::datatypes::{DataType, Decimal128Type, Decimal256Type, Float32Type, Float64Type, i256};
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, DataFusionError, Result, exec_err, plan_err};
use datafusion::logical_expr::expr::{Cast, ScalarFunction, TryCast};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, LogicalPlan, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility,
};

use crate::rules::expressions::rewrite_expressions;

/// The functions a registry needs so that plans made here can be decoded.
pub fn functions() -> Vec<Arc<ScalarUDF>> {
    vec![Arc::clone(&ROUND)]
}

static ROUND: LazyLock<Arc<ScalarUDF>> =
    LazyLock::new(|| Arc::new(ScalarUDF::new_from_impl(RoundToWhole::default())));

/// Puts the rounding under every cast to an integer.
pub(crate) fn round(plan: LogicalPlan) -> Result<LogicalPlan> {
    plan.transform_up_with_subqueries(|plan| rewrite_expressions(plan, round_cast))?
        .map_data(LogicalPlan::recompute_schema)
        .map(|plan| plan.data)
}

fn round_cast(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let (inner, field) = match &expr {
        Expr::Cast(Cast { expr, field }) | Expr::TryCast(TryCast { expr, field }) => (expr, field),
        _ => return Ok(Transformed::no(expr)),
    };
    if !field.data_type().is_integer() || already(inner) {
        return Ok(Transformed::no(expr));
    }
    // A type that is not known here (a parameter of a function yet to be resolved) is no float.
    let fractional = match inner.get_type(schema) {
        Ok(DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale)) => scale > 0,
        Ok(data_type) => data_type.is_floating(),
        Err(_) => false,
    };
    if !fractional {
        return Ok(Transformed::no(expr));
    }
    let rounded = |inner: Box<Expr>| {
        Box::new(Expr::ScalarFunction(ScalarFunction::new_udf(
            Arc::clone(&ROUND),
            vec![*inner],
        )))
    };
    Ok(Transformed::yes(match expr {
        Expr::Cast(Cast { expr, field }) => Expr::Cast(Cast {
            expr: rounded(expr),
            field,
        }),
        Expr::TryCast(TryCast { expr, field }) => Expr::TryCast(TryCast {
            expr: rounded(expr),
            field,
        }),
        other => other,
    }))
}

fn already(expr: &Expr) -> bool {
    matches!(expr, Expr::ScalarFunction(function) if function.name() == NAME)
}

pub(crate) const NAME: &str = "round_to_whole";

/// Rounds to a whole number of the same kind; decimals lose their places.
#[derive(Debug, PartialEq, Eq, Hash)]
struct RoundToWhole {
    signature: Signature,
}

impl Default for RoundToWhole {
    fn default() -> Self {
        Self {
            signature: Signature::any(1, Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for RoundToWhole {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [data_type @ (DataType::Float32 | DataType::Float64)] => Ok(data_type.clone()),
            [DataType::Float16] => Ok(DataType::Float32),
            [DataType::Decimal128(precision, scale)] => Ok(DataType::Decimal128(
                whole_digits(*precision, *scale, 38),
                0,
            )),
            [DataType::Decimal256(precision, scale)] => Ok(DataType::Decimal256(
                whole_digits(*precision, *scale, 76),
                0,
            )),
            _ => plan_err!("{NAME} takes one float or decimal"),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [value] = args.args.as_slice() else {
            return exec_err!("{NAME} takes one argument");
        };
        match value {
            ColumnarValue::Array(array) => Ok(ColumnarValue::Array(round_array(array)?)),
            ColumnarValue::Scalar(scalar) => {
                let array = round_array(&scalar.to_array()?)?;
                let scalar = datafusion::common::ScalarValue::try_from_array(&array, 0)?;
                Ok(ColumnarValue::Scalar(scalar))
            }
        }
    }
}

/// One more digit than stood before the point, for 9.9 becomes 10.
fn whole_digits(precision: u8, scale: i8, most: u8) -> u8 {
    let places = u8::try_from(scale).unwrap_or(0);
    (precision.saturating_sub(places) + 1).clamp(1, most)
}

fn round_array(array: &ArrayRef) -> Result<ArrayRef> {
    let wrong = || DataFusionError::Execution(format!("{NAME} takes a float or a decimal"));
    Ok(match array.data_type() {
        DataType::Float16 => {
            let wide = arrow::compute::cast(array, &DataType::Float32)?;
            round_array(&wide)?
        }
        DataType::Float32 => {
            let rounded: Float32Array = array
                .as_primitive::<Float32Type>()
                .unary(f32::round_ties_even);
            Arc::new(rounded)
        }
        DataType::Float64 => {
            let rounded: Float64Array = array
                .as_primitive::<Float64Type>()
                .unary(f64::round_ties_even);
            Arc::new(rounded)
        }
        DataType::Decimal128(precision, scale) => {
            let places = u32::try_from(*scale).map_err(|_| wrong())?;
            let unit = 10i128.checked_pow(places).ok_or_else(wrong)?;
            let rounded: Decimal128Array = array
                .as_primitive::<Decimal128Type>()
                .unary(|value| round_128(value, unit));
            Arc::new(rounded.with_precision_and_scale(whole_digits(*precision, *scale, 38), 0)?)
        }
        DataType::Decimal256(precision, scale) => {
            let places = u32::try_from(*scale).map_err(|_| wrong())?;
            let unit = i256::from_i128(10).checked_pow(places).ok_or_else(wrong)?;
            let rounded: Decimal256Array = array
                .as_primitive::<Decimal256Type>()
                .unary(|value| round_256(value, unit));
            Arc::new(rounded.with_precision_and_scale(whole_digits(*precision, *scale, 76), 0)?)
        }
        _ => return Err(wrong()),
    })
}

fn round_128(value: i128, unit: i128) -> i128 {
    let (whole, rest) = (value / unit, value % unit);
    // |rest| < unit ≤ 10^38, so its double does not fit; compare with what is missing instead.
    if rest.abs() >= unit - rest.abs() && rest != 0 {
        whole + rest.signum()
    } else {
        whole
    }
}

fn round_256(value: i256, unit: i256) -> i256 {
    let (Some(whole), Some(rest)) = (value.checked_div(unit), value.checked_rem(unit)) else {
        return value;
    };
    let size = rest.wrapping_abs();
    if size >= unit.wrapping_sub(size) && rest != i256::ZERO {
        let away = if rest < i256::ZERO {
            i256::MINUS_ONE
        } else {
            i256::ONE
        };
        whole.wrapping_add(away)
    } else {
        whole
    }
}
