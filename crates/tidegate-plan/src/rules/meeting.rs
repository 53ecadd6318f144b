//! Where values of several types meet, the type they have in common, where DataFusion takes another one.
//!
//! - Where a float meets a decimal, the decimal becomes a float, as in PostgreSQL. DataFusion makes both a decimal of 15
//!   places: `1e-20 > 0.0` is false then, and `1e300 > 0.1` an error.
//! - Where a timestamp meets a date or a text, both become timestamps of its unit, of microseconds at least for a text.
//!   DataFusion makes all of them nanoseconds, which end in the year 2262.

use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult};
use datafusion::common::{DFSchema, DFSchemaRef, DataFusionError, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::{
    Between, BinaryExpr, Expr, ExprSchemable, Join, LogicalPlan, LogicalPlanBuilder, Operator,
    Union, cast, not,
};
use datafusion::optimizer::AnalyzerRule;

use super::common_type::Common;
use super::expressions::{change_inside, compared, compares, membership, rewrite_expressions};
use super::session_zone::zone_of;
use super::time_casts::is_text;

/// Comparisons, IN, BETWEEN, CASE, join keys, the columns of VALUES and UNION, differences of times, and coalesce,
/// greatest, least and nullif. It comes before type coercion, which would choose for itself.
#[derive(Debug)]
pub struct Meeting;

/// The functions whose arguments are brought to one type.
const FUNCTIONS: [&str; 5] = ["coalesce", "greatest", "least", "nullif", "make_array"];

impl AnalyzerRule for Meeting {
    fn name(&self) -> &str {
        "tidegate_meeting"
    }

    fn analyze(&self, plan: LogicalPlan, config: &ConfigOptions) -> Result<LogicalPlan> {
        let zone = zone_of(config);
        plan.transform_up_with_subqueries(|plan| rewrite_node(plan, zone))
            .data()
    }
}

/// A node whose own expressions stay may give columns of other types, because those below it do.
fn rewrite_node(plan: LogicalPlan, zone: &str) -> Result<Transformed<LogicalPlan>> {
    rewrite_expressions(plan, |expr, schema| rewrite_expr(expr, schema, zone))?
        .transform_data(|plan| rewrite_keys(plan, zone))?
        .transform_data(|plan| rewrite_values(plan, zone))?
        .transform_data(|plan| rewrite_union(plan, zone))?
        .map_data(LogicalPlan::recompute_schema)
}

fn rewrite_keys(plan: LogicalPlan, zone: &str) -> Result<Transformed<LogicalPlan>> {
    let LogicalPlan::Join(mut join) = plan else {
        return Ok(Transformed::no(plan));
    };
    let Join {
        left, right, on, ..
    } = &mut join;
    let (left, right): (&DFSchemaRef, &DFSchemaRef) = (left.schema(), right.schema());
    let mut changed = false;
    for (ours, theirs) in on {
        let kinds = [kind(ours, left), kind(theirs, right)];
        if let Some(common) = Common::of(&kinds, zone) {
            changed |= common.cast(ours, &kinds[0]) | common.cast(theirs, &kinds[1]);
        }
    }
    let join = LogicalPlan::Join(join);
    Ok(Transformed::new_transformed(join, changed))
}

/// The planner has cast the values of each column already, to the type of its choice.
fn rewrite_values(plan: LogicalPlan, zone: &str) -> Result<Transformed<LogicalPlan>> {
    let LogicalPlan::Values(mut values) = plan else {
        return Ok(Transformed::no(plan));
    };
    let empty = DFSchema::empty();
    let mut fields = values.schema.fields().to_vec();
    let mut changed = false;
    for (at, field) in fields.iter_mut().enumerate() {
        let kinds = values.values.iter().map(|row| match &row[at] {
            Expr::Literal(value, _) if value.is_null() => DataType::Null,
            Expr::Cast(cast) if cast.field.data_type() == field.data_type() => {
                kind(&cast.expr, &empty)
            }
            value => kind(value, &empty),
        });
        let kinds: Vec<DataType> = kinds.collect();
        let chosen = field.data_type();
        let ours = |common: &Common| common.takes(chosen) && !is_text(chosen);
        let Some(common) = Common::of(&kinds, zone).filter(ours) else {
            continue;
        };
        for (row, kind) in values.values.iter_mut().zip(kinds) {
            let value = match std::mem::take(&mut row[at]) {
                Expr::Cast(cast) if cast.field.data_type() == field.data_type() => *cast.expr,
                value => value,
            };
            row[at] = match kind == common.to {
                true => value,
                false => cast(value, common.to.clone()),
            };
        }
        *field = Arc::new(field.as_ref().clone().with_data_type(common.to));
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

fn rewrite_union(plan: LogicalPlan, zone: &str) -> Result<Transformed<LogicalPlan>> {
    let LogicalPlan::Union(union) = plan else {
        return Ok(Transformed::no(plan));
    };
    let common: Vec<Option<Common>> = (0..union.schema.fields().len())
        .map(|at| {
            let kinds = union.inputs.iter();
            let kinds = kinds.map(|input| input.schema().field(at).data_type().clone());
            Common::of(&kinds.collect::<Vec<_>>(), zone)
        })
        .collect();
    if common.iter().all(Option::is_none) {
        return Ok(Transformed::no(LogicalPlan::Union(union)));
    }
    let inputs = union
        .inputs
        .into_iter()
        .map(|input| {
            let columns = input
                .schema()
                .iter()
                .zip(&common)
                .map(|((of_table, field), common)| {
                    let mut column = Expr::from((of_table, field));
                    match common {
                        Some(common) if common.cast(&mut column, field.data_type()) => {
                            column.alias_qualified(of_table.cloned(), field.name())
                        }
                        _ => column,
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

fn rewrite_expr(expr: Expr, schema: &DFSchema, zone: &str) -> Result<Transformed<Expr>> {
    let mut expr = match expr {
        Expr::Between(between) if is_beyond(&between, schema) => {
            let Between {
                expr,
                negated,
                low,
                high,
            } = between;
            let compared = |op, bound| {
                let compared = Expr::BinaryExpr(BinaryExpr::new(expr.clone(), op, bound));
                Ok::<_, DataFusionError>(rewrite_expr(compared, schema, zone)?.data)
            };
            let both = compared(Operator::GtEq, low)?.and(compared(Operator::LtEq, high)?);
            return Ok(Transformed::yes(if negated { not(both) } else { both }));
        }
        other => other,
    };
    let mut changed = fit_beyond(&mut expr, schema);
    changed |= meet(compared(&mut expr), schema, zone);
    if let Some((predicate, inside)) = membership(&mut expr) {
        let kinds = [kind(&predicate.expr, schema), inside];
        if let Some(common) = Common::of(&kinds, zone) {
            changed |= common.cast(&mut predicate.expr, &kinds[0]);
            if common.takes(&kinds[1]) {
                change_inside(predicate, |inside| {
                    common.cast(inside, &kinds[1]);
                })?;
                changed = true;
            }
        }
    }
    changed |= match &mut expr {
        Expr::Case(case) => {
            let thens = case.when_then_expr.iter_mut().map(|(_, then)| &mut **then);
            let results = thens.chain(case.else_expr.as_deref_mut());
            meet(results.collect(), schema, zone)
        }
        Expr::ScalarFunction(call) if FUNCTIONS.contains(&call.name()) => {
            meet(call.args.iter_mut().collect(), schema, zone)
        }
        // DataFusion would make nanoseconds of a date or text.
        Expr::ScalarFunction(call) if ["date_trunc", "date_part"].contains(&call.name()) => {
            let takes_dates = call.name() == "date_part";
            match call.args.get_mut(1) {
                Some(time) => to_micros(time, takes_dates, schema),
                None => false,
            }
        }
        Expr::ScalarFunction(call) if ["range", "generate_series"].contains(&call.name()) => {
            to_nanos(&mut call.args, schema)
        }
        Expr::BinaryExpr(binary) if binary.op == Operator::Minus => {
            let sides = vec![&mut *binary.left, &mut *binary.right];
            let is_time = |side: &&mut Expr| {
                use DataType::{Date32, Date64, Timestamp};
                matches!(kind(side, schema), Timestamp(..) | Date32 | Date64)
            };
            sides.iter().all(is_time) && meet(sides, schema, zone)
        }
        _ => false,
    };
    Ok(Transformed::new_transformed(expr, changed))
}

/// Brings values to the type they have in common.
fn meet(exprs: Vec<&mut Expr>, schema: &DFSchema, zone: &str) -> bool {
    let kinds: Vec<DataType> = exprs.iter().map(|expr| kind(expr, schema)).collect();
    let mut changed = false;
    if let Some(common) = Common::of(&kinds, zone) {
        for (expr, kind) in exprs.into_iter().zip(&kinds) {
            changed |= common.cast(expr, kind);
        }
    }
    changed
}

/// The type of a value. One that cannot be told yet is left to type coercion.
fn kind(expr: &Expr, schema: &DFSchema) -> DataType {
    expr.get_type(schema).unwrap_or(DataType::Null)
}

/// Casts a text, or a date unless the function takes dates.
fn to_micros(time: &mut Expr, takes_dates: bool, schema: &DFSchema) -> bool {
    let changes = match kind(time, schema) {
        DataType::Date32 | DataType::Date64 => !takes_dates,
        kind => is_text(&kind),
    };
    if changes {
        *time = cast(std::mem::take(time), MICROS);
    }
    changes
}

/// DataFusion casts timestamps for these functions too, but gives NULL for what nanoseconds do not reach.
fn to_nanos(times: &mut [Expr], schema: &DFSchema) -> bool {
    let mut changed = false;
    for time in times {
        if let DataType::Timestamp(unit, zone) = kind(time, schema)
            && unit != TimeUnit::Nanosecond
        {
            let nanos = DataType::Timestamp(TimeUnit::Nanosecond, zone);
            *time = cast(std::mem::take(time), nanos);
            changed = true;
        }
    }
    changed
}

const MICROS: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);
const NANOS: DataType = DataType::Timestamp(TimeUnit::Nanosecond, None);

/// Nanoseconds are compared as microseconds with a time that they do not reach: none of them is equal to it.
fn fit_beyond(expr: &mut Expr, schema: &DFSchema) -> bool {
    let Expr::BinaryExpr(binary) = expr else {
        return false;
    };
    if !compares(binary.op) {
        return false;
    }
    let (left, right) = (&mut *binary.left, &mut *binary.right);
    let (nanos, other) = match nanoseconds(left, schema) {
        Some(_) => (left, right),
        None => (right, left),
    };
    match nanoseconds(nanos, schema) {
        Some(zone) if is_beyond_nanoseconds(other) => {
            let kind = DataType::Timestamp(TimeUnit::Microsecond, zone);
            *nanos = cast(std::mem::take(nanos), kind);
            true
        }
        _ => false,
    }
}

fn is_beyond(between: &Between, schema: &DFSchema) -> bool {
    nanoseconds(&between.expr, schema).is_some()
        && (is_beyond_nanoseconds(&between.low) || is_beyond_nanoseconds(&between.high))
}

/// The zone of a value that is a timestamp of nanoseconds.
fn nanoseconds(expr: &Expr, schema: &DFSchema) -> Option<Option<Arc<str>>> {
    match kind(expr, schema) {
        DataType::Timestamp(TimeUnit::Nanosecond, zone) => Some(zone),
        _ => None,
    }
}

fn is_beyond_nanoseconds(expr: &Expr) -> bool {
    let fits = |value: &ScalarValue, kind| value.cast_to(kind).is_ok_and(|value| !value.is_null());
    constant(expr).is_some_and(|value| fits(&value, &MICROS) && !fits(&value, &NANOS))
}

fn constant(expr: &Expr) -> Option<ScalarValue> {
    match expr {
        Expr::Literal(value, _) => Some(value.clone()),
        Expr::Cast(cast) => constant(&cast.expr)?.cast_to(cast.field.data_type()).ok(),
        _ => None,
    }
}
