//! Where a float meets a decimal, the decimal becomes a float, as in PostgreSQL. DataFusion makes both a decimal of 15
//! places: `1e-20 > 0.0` is false then, and `1e300 > 0.1` an error.

use arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult};
use datafusion::common::{DFSchema, DFSchemaRef};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, ExprSchemable, Join, LogicalPlan, Operator, cast};
use datafusion::optimizer::AnalyzerRule;

use super::expressions::rewrite_expressions;

/// Comparisons, IN, BETWEEN, CASE, join keys, and coalesce, greatest, least and nullif. Arithmetic needs no help. It comes
/// before type coercion, which would choose the decimal.
///
/// Columns of VALUES and of UNION are coerced where the tree is built, before any rule: they stay as DataFusion makes
/// them.
#[derive(Debug)]
pub struct FloatMeetsDecimal;

/// The functions whose arguments are brought to one type.
const FUNCTIONS: [&str; 4] = ["coalesce", "greatest", "least", "nullif"];

impl AnalyzerRule for FloatMeetsDecimal {
    fn name(&self) -> &str {
        "tidegate_float_meets_decimal"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        plan.transform_up_with_subqueries(rewrite_node).data()
    }
}

/// A node whose own expressions stay may give columns of other types, because those below it do.
fn rewrite_node(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    rewrite_expressions(plan, |expr, schema| Ok(rewrite_expr(expr, schema)))?
        .transform_data(rewrite_keys)?
        .map_data(LogicalPlan::recompute_schema)
}

fn rewrite_keys(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let LogicalPlan::Join(mut join) = plan else {
        return Ok(Transformed::no(plan));
    };
    let Join {
        left, right, on, ..
    } = &mut join;
    let (left, right): (&DFSchemaRef, &DFSchemaRef) = (left.schema(), right.schema());
    let mut changed = false;
    for (ours, theirs) in on {
        match (kind(ours, left), kind(theirs, right)) {
            (Kind::Float, Kind::Decimal) => to_float(theirs),
            (Kind::Decimal, Kind::Float) => to_float(ours),
            _ => continue,
        }
        changed = true;
    }
    let join = LogicalPlan::Join(join);
    Ok(match changed {
        true => Transformed::yes(join),
        false => Transformed::no(join),
    })
}

fn rewrite_expr(mut expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let changed = match &mut expr {
        Expr::BinaryExpr(binary) if compares(binary.op) => {
            meet([&mut *binary.left, &mut *binary.right], schema)
        }
        Expr::InList(list) => meet(
            std::iter::once(&mut *list.expr).chain(&mut list.list),
            schema,
        ),
        Expr::Between(between) => meet(
            [&mut *between.expr, &mut *between.low, &mut *between.high],
            schema,
        ),
        Expr::Case(case) => {
            let (mut whens, mut thens) = (Vec::new(), Vec::new());
            for (when, then) in &mut case.when_then_expr {
                whens.push(&mut **when);
                thens.push(&mut **then);
            }
            thens.extend(case.else_expr.as_deref_mut());
            let base = match case.expr.as_deref_mut() {
                Some(base) => meet(std::iter::once(base).chain(whens), schema),
                None => false,
            };
            meet(thens, schema) || base
        }
        Expr::ScalarFunction(call) if FUNCTIONS.contains(&call.name()) => {
            meet(&mut call.args, schema)
        }
        _ => false,
    };
    match changed {
        true => Transformed::yes(expr),
        false => Transformed::no(expr),
    }
}

fn compares(operator: Operator) -> bool {
    use Operator::{Eq, Gt, GtEq, IsDistinctFrom, IsNotDistinctFrom, Lt, LtEq, NotEq};
    matches!(
        operator,
        Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom
    )
}

/// Makes the decimals floats if there is a float among them.
fn meet<'a>(exprs: impl IntoIterator<Item = &'a mut Expr>, schema: &DFSchema) -> bool {
    let (mut floats, mut decimals) = (false, Vec::new());
    for expr in exprs {
        match kind(expr, schema) {
            Kind::Float => floats = true,
            Kind::Decimal => decimals.push(expr),
            Kind::Other => {}
        }
    }
    let changes = floats && !decimals.is_empty();
    if changes {
        decimals.into_iter().for_each(to_float);
    }
    changes
}

#[derive(Clone, Copy)]
enum Kind {
    Float,
    Decimal,
    Other,
}

/// A type that cannot be told yet is left to type coercion.
fn kind(expr: &Expr, schema: &DFSchema) -> Kind {
    match expr.get_type(schema) {
        Ok(kind) if kind.is_floating() => Kind::Float,
        Ok(kind) if kind.is_decimal() => Kind::Decimal,
        _ => Kind::Other,
    }
}

fn to_float(expr: &mut Expr) {
    let decimal = std::mem::take(expr);
    *expr = cast(decimal, DataType::Float64);
}
