//! Where a float meets a decimal, the decimal becomes a float, as in PostgreSQL. DataFusion makes both a decimal of 15
//! places: `1e-20 > 0.0` is false then, and `1e300 > 0.1` an error.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult};
use datafusion::common::{DFSchema, DFSchemaRef};
use datafusion::error::Result;
use datafusion::logical_expr::{
    Expr, ExprSchemable, Join, LogicalPlan, LogicalPlanBuilder, Union, cast,
};
use datafusion::optimizer::AnalyzerRule;

use super::expressions::{change_inside, compared, membership, rewrite_expressions};

/// Comparisons, IN, BETWEEN, CASE, join keys, the columns of VALUES and UNION, and coalesce, greatest, least and nullif.
/// Arithmetic needs no help. It comes before type coercion, which would choose the decimal.
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
    rewrite_expressions(plan, rewrite_expr)?
        .transform_data(rewrite_keys)?
        .transform_data(rewrite_values)?
        .transform_data(rewrite_union)?
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

/// The planner has cast the values of each column already, to the decimal.
fn rewrite_values(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let LogicalPlan::Values(mut values) = plan else {
        return Ok(Transformed::no(plan));
    };
    let empty = DFSchema::empty();
    let was_float = |value: &Expr| match value {
        Expr::Cast(cast) => kind(&cast.expr, &empty) == Kind::Float,
        _ => false,
    };
    let mut fields = values.schema.fields().to_vec();
    let mut changed = false;
    for (at, field) in fields.iter_mut().enumerate() {
        let floats = values.values.iter().any(|row| was_float(&row[at]));
        if !field.data_type().is_decimal() || !floats {
            continue;
        }
        for row in &mut values.values {
            let value = match std::mem::take(&mut row[at]) {
                Expr::Cast(cast) => *cast.expr,
                value => value,
            };
            row[at] = cast(value, DataType::Float64);
        }
        *field = Arc::new(field.as_ref().clone().with_data_type(DataType::Float64));
        changed = true;
    }
    if changed {
        let metadata = values.schema.metadata().clone();
        let fields = arrow::datatypes::Fields::from(fields);
        values.schema = Arc::new(DFSchema::from_unqualified_fields(fields, metadata)?);
    }
    Ok(Transformed::new_transformed(
        LogicalPlan::Values(values),
        changed,
    ))
}

fn rewrite_union(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let LogicalPlan::Union(union) = plan else {
        return Ok(Transformed::no(plan));
    };
    let kinds = |at: usize| {
        let inputs = union.inputs.iter();
        inputs.map(move |input| of(input.schema().field(at).data_type()))
    };
    let mixed: Vec<bool> = (0..union.schema.fields().len())
        .map(|at| {
            kinds(at).any(|kind| kind == Kind::Float) && kinds(at).any(|kind| kind == Kind::Decimal)
        })
        .collect();
    if !mixed.contains(&true) {
        return Ok(Transformed::no(LogicalPlan::Union(union)));
    }
    let inputs = union
        .inputs
        .into_iter()
        .map(|input| {
            let columns = input
                .schema()
                .iter()
                .zip(&mixed)
                .map(|((of_table, field), mixed)| {
                    let column = Expr::from((of_table, field));
                    match *mixed && field.data_type().is_decimal() {
                        true => cast(column, DataType::Float64)
                            .alias_qualified(of_table.cloned(), field.name()),
                        false => column,
                    }
                });
            let columns: Vec<_> = columns.collect();
            let input = LogicalPlanBuilder::new_from_arc(input).project(columns)?;
            input.build().map(Arc::new)
        })
        .collect::<Result<_>>()?;
    let union = Union::try_new_with_loose_types(inputs)?;
    Ok(Transformed::yes(LogicalPlan::Union(union)))
}

fn rewrite_expr(mut expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let mut changed = meet(compared(&mut expr), schema);
    if let Some((predicate, inside)) = membership(&mut expr) {
        match (kind(&predicate.expr, schema), of(&inside)) {
            (Kind::Decimal, Kind::Float) => to_float(&mut predicate.expr),
            (Kind::Float, Kind::Decimal) => change_inside(predicate, to_float)?,
            _ => return Ok(Transformed::no(expr)),
        }
        changed = true;
    }
    changed |= match &mut expr {
        Expr::Case(case) => {
            let thens = case.when_then_expr.iter_mut().map(|(_, then)| &mut **then);
            meet(thens.chain(case.else_expr.as_deref_mut()), schema)
        }
        Expr::ScalarFunction(call) if FUNCTIONS.contains(&call.name()) => {
            meet(&mut call.args, schema)
        }
        _ => false,
    };
    Ok(Transformed::new_transformed(expr, changed))
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

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Float,
    Decimal,
    Other,
}

/// A type that cannot be told yet is left to type coercion.
fn kind(expr: &Expr, schema: &DFSchema) -> Kind {
    expr.get_type(schema).map_or(Kind::Other, |kind| of(&kind))
}

fn of(data_type: &DataType) -> Kind {
    if data_type.is_floating() {
        Kind::Float
    } else if data_type.is_decimal() {
        Kind::Decimal
    } else {
        Kind::Other
    }
}

fn to_float(expr: &mut Expr) {
    let decimal = std::mem::take(expr);
    *expr = cast(decimal, DataType::Float64);
}
