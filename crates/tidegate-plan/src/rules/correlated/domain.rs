//! A subquery for all values that the query around it hands in, at once.
//!
//! The values that a subquery refers to are taken from the rows around, each combination once: its domain. The subquery
//! is computed over its own rows beside those of the domain, and each operator keeps the rows of one combination apart:
//!
//! ```text
//! (SELECT max(y) FROM u WHERE u.y < t.x)   becomes   domain LEFT JOIN (max(y) GROUP BY x) over
//!                                                      y < x over u × domain,  domain = DISTINCT t.x
//! ```
//!
//! Rows outside and inside belong together where the combinations are the same, NULL and NULL too. This is right for
//! every operator and costs the rows around a second time, so it is for what DataFusion cannot join as it stands.

use std::sync::Arc;

use arrow::datatypes::FieldRef;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{Column, DFSchema, ExprSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::functions_window::row_number::row_number_udwf;
use datafusion::logical_expr::expr::{AggregateFunction, Sort as SortExpr};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{
    Aggregate, BinaryExpr, Distinct, DistinctOn, Expr, ExprFunctionExt, ExprSchemable, FetchType,
    Join, JoinType, Limit, LogicalPlan, LogicalPlanBuilder, Operator, Projection, SkipType,
    SubqueryAlias, Union, Window, lit, when,
};

use super::references::{
    Outer, Reach, lateral, outer_columns, redirected, redirected_subquery, subquery_in,
    subquery_in_mut,
};
use super::refused;

const HINT: &str = "write it as a join, or in a WITH query of its own";

/// The values that a query hands to a subquery.
pub(super) struct Domain {
    /// Each combination once, in columns of names that no other has.
    rows: LogicalPlan,
    columns: Vec<(Outer, String)>,
    number: usize,
    reach: Reach,
}

impl Domain {
    /// The domain of the columns `outer` of the rows around a subquery.
    pub(super) fn new(
        around: LogicalPlan,
        outer: Vec<Outer>,
        number: usize,
        reach: Reach,
    ) -> Result<Self> {
        let named = outer.into_iter().enumerate();
        let columns: Vec<(Outer, String)> = named
            .map(|(at, outer)| (outer, format!("__outer_{number}_{at}")))
            .collect();
        let values = columns
            .iter()
            .map(|(outer, name)| Expr::Column(outer.column.clone()).alias(name));
        let rows = LogicalPlanBuilder::from(around)
            .project(values.collect::<Vec<_>>())?
            .distinct()?
            .build()?;
        Ok(Self {
            rows,
            columns,
            number,
            reach,
        })
    }

    /// The rows of a subquery for the whole domain, with the columns of the domain.
    pub(super) fn push(&self, plan: &LogicalPlan) -> Result<LogicalPlan> {
        if !self.is_in(plan)? {
            return LogicalPlanBuilder::from(plan.clone())
                .cross_join(self.rows.clone())?
                .build();
        }
        match plan {
            LogicalPlan::Projection(projection) => {
                let input = self.push(&projection.input)?;
                let exprs = self.bind_all(plan, &projection.expr, input.schema())?;
                let keys = self.keys(input.schema())?;
                LogicalPlanBuilder::from(input)
                    .project(exprs.into_iter().chain(keys))?
                    .build()
            }
            LogicalPlan::Filter(filter) => {
                let input = self.push(&filter.input)?;
                let predicate = self.bind(filter.predicate.clone(), input.schema())?;
                LogicalPlanBuilder::from(input).filter(predicate)?.build()
            }
            LogicalPlan::SubqueryAlias(alias) => {
                let input = Arc::new(self.push(&alias.input)?);
                let alias = SubqueryAlias::try_new(input, alias.alias.clone())?;
                Ok(LogicalPlan::SubqueryAlias(alias))
            }
            LogicalPlan::Sort(sort) => {
                let input = self.push(&sort.input)?;
                let keys = self.bind_order(&sort.expr, input.schema())?;
                LogicalPlanBuilder::from(input).sort(keys)?.build()
            }
            LogicalPlan::Distinct(Distinct::All(input)) => {
                LogicalPlanBuilder::from(self.push(input)?)
                    .distinct()?
                    .build()
            }
            LogicalPlan::Distinct(Distinct::On(distinct)) => self.push_distinct_on(plan, distinct),
            LogicalPlan::Aggregate(aggregate) => self.push_aggregate(plan, aggregate),
            LogicalPlan::Window(window) => self.push_window(plan, window),
            LogicalPlan::Limit(limit) => self.push_limit(limit),
            LogicalPlan::Join(join) => self.push_join(join),
            LogicalPlan::Union(union) => self.push_union(union),
            LogicalPlan::Unnest(unnest) => LogicalPlanBuilder::from(self.push(&unnest.input)?)
                .unnest_columns_with_options(unnest.exec_columns.clone(), unnest.options.clone())?
                .build(),
            _ => Err(refused("in this place", HINT)),
        }
    }

    /// The columns of the domain in rows that have them.
    pub(super) fn keys(&self, schema: &DFSchema) -> Result<Vec<Expr>> {
        let names = self.columns.iter().map(|(_, name)| name);
        names
            .map(|name| Ok(Expr::Column(key(name, schema)?)))
            .collect()
    }

    /// That rows inside belong to the rows outside, as a condition inside.
    pub(super) fn matches_outside(&self, schema: &DFSchema) -> Result<Expr> {
        self.matches(schema, |outer| {
            Expr::OuterReferenceColumn(FieldRef::clone(&outer.field), outer.column.clone())
        })
    }

    /// That rows inside belong to the rows outside, as the condition of a join of them.
    pub(super) fn matches_columns(&self, schema: &DFSchema) -> Result<Expr> {
        self.matches(schema, |outer| Expr::Column(outer.column.clone()))
    }

    fn matches(&self, schema: &DFSchema, outside: impl Fn(&Outer) -> Expr) -> Result<Expr> {
        let pairs = self.columns.iter().map(|(outer, name)| {
            let inside = Expr::Column(key(name, schema)?);
            Ok(match outer.field.is_nullable() {
                true => same(outside(outer), inside),
                false => outside(outer).eq(inside),
            })
        });
        let pairs = pairs.collect::<Result<Vec<_>>>()?;
        Ok(pairs
            .into_iter()
            .reduce(Expr::and)
            .unwrap_or_else(|| lit(true)))
    }

    /// Whether a plan refers to the domain.
    fn is_in(&self, plan: &LogicalPlan) -> Result<bool> {
        let outer = outer_columns(plan, self.reach)?;
        let handed_in = |outer: &Outer| {
            self.columns
                .iter()
                .any(|(own, _)| own.column == outer.column)
        };
        Ok(outer.iter().any(handed_in))
    }

    /// What the columns of the domain are for subqueries inside of rows that have them.
    fn redirections(&self, schema: &DFSchema) -> Result<Vec<(Column, Outer)>> {
        let all = self.columns.iter().map(|(outer, name)| {
            let column = key(name, schema)?;
            let field = FieldRef::clone(schema.field_from_column(&column)?);
            Ok((outer.column.clone(), Outer { field, column }))
        });
        let found = all.collect::<Result<Vec<_>>>()?;
        // A column of a name that the rows have themselves is theirs.
        Ok(found
            .into_iter()
            .filter(|(column, _)| !schema.has_column(column))
            .collect())
    }

    /// An expression over rows with the columns of the domain.
    fn bind(&self, expr: Expr, schema: &DFSchema) -> Result<Expr> {
        if !expr.contains_outer() && !expr.exists(|e| Ok(subquery_in(e).is_some()))? {
            return Ok(expr);
        }
        let inside = self.redirections(schema)?;
        expr.transform_up(|mut expr| {
            if let Expr::OuterReferenceColumn(_, column) = &expr {
                let own = self
                    .columns
                    .iter()
                    .find(|(outer, _)| outer.column == *column);
                return Ok(match own {
                    Some((_, name)) => Transformed::yes(Expr::Column(key(name, schema)?)),
                    None => Transformed::no(expr),
                });
            }
            match subquery_in_mut(&mut expr) {
                Some(subquery) => {
                    *subquery = redirected_subquery(subquery, &inside)?;
                    Ok(Transformed::yes(expr))
                }
                None => Ok(Transformed::no(expr)),
            }
        })
        .data()
    }

    /// As [`Self::bind`], for expressions whose names the nodes above know.
    fn bind_all(&self, node: &LogicalPlan, exprs: &[Expr], schema: &DFSchema) -> Result<Vec<Expr>> {
        let names = NamePreserver::new(node);
        let bound = exprs.iter().map(|expr| {
            let name = names.save(expr);
            Ok(name.restore(self.bind(expr.clone(), schema)?))
        });
        bound.collect()
    }

    fn bind_order(&self, order: &[SortExpr], schema: &DFSchema) -> Result<Vec<SortExpr>> {
        let bound = order.iter().map(|key| {
            Ok(SortExpr {
                expr: self.bind(key.expr.clone(), schema)?,
                ..key.clone()
            })
        });
        bound.collect()
    }

    fn push_distinct_on(&self, node: &LogicalPlan, distinct: &DistinctOn) -> Result<LogicalPlan> {
        let input = self.push(&distinct.input)?;
        let keys = self.keys(input.schema())?;
        let on = self.bind_all(node, &distinct.on_expr, input.schema())?;
        let on = keys.iter().cloned().chain(on).collect();
        let mut shown = self.bind_all(node, &distinct.select_expr, input.schema())?;
        shown.extend(keys.iter().cloned());
        let order = match &distinct.sort_expr {
            Some(order) => {
                let own = self.bind_order(order, input.schema())?;
                let keys = keys.into_iter().map(|key| key.sort(true, false));
                Some(keys.chain(own).collect())
            }
            None => None,
        };
        let distinct = DistinctOn::try_new(on, shown, order, Arc::new(input))?;
        Ok(LogicalPlan::Distinct(Distinct::On(distinct)))
    }

    fn push_aggregate(&self, node: &LogicalPlan, aggregate: &Aggregate) -> Result<LogicalPlan> {
        let sets = |expr: &Expr| matches!(expr, Expr::GroupingSet(_));
        if aggregate.group_expr.iter().any(sets) {
            return Err(refused("with GROUPING SETS, ROLLUP or CUBE", HINT));
        }
        let input = self.push(&aggregate.input)?;
        let keys = self.keys(input.schema())?;
        let groups = self.bind_all(node, &aggregate.group_expr, input.schema())?;
        let calls = self.bind_all(node, &aggregate.aggr_expr, input.schema())?;
        let grouped = LogicalPlanBuilder::from(input)
            .aggregate(keys.into_iter().chain(groups), calls)?
            .build()?;
        match aggregate.group_expr.is_empty() {
            true => self.a_row_for_each(aggregate, grouped),
            false => Ok(grouped),
        }
    }

    /// An aggregate without GROUP BY has a row also where no row is aggregated.
    fn a_row_for_each(&self, aggregate: &Aggregate, grouped: LogicalPlan) -> Result<LogicalPlan> {
        let found = format!("__outer_{}_found", self.number);
        let columns: Vec<Column> = aggregate.schema.columns();
        let grouped = self.with_other_keys(grouped, &columns, Some(lit(true).alias(&found)))?;
        let rows = LogicalPlanBuilder::from(self.rows.clone())
            .join_on(grouped, JoinType::Left, [self.keys_match()])?
            .build()?;
        let of_none = aggregate
            .aggr_expr
            .iter()
            .map(|call| of_no_rows(call, aggregate));
        let of_none = of_none.collect::<Result<Vec<_>>>()?;
        let missing = Expr::Column(Column::new_unqualified(found)).is_null();
        let values = columns.into_iter().zip(of_none).map(|(column, none)| {
            let value = Expr::Column(column.clone());
            Ok(match none.is_null() {
                true => value,
                false => when(missing.clone(), lit(none))
                    .otherwise(value)?
                    .alias_qualified(column.relation, column.name),
            })
        });
        let values = values.collect::<Result<Vec<_>>>()?;
        let keys = self.keys(rows.schema())?;
        LogicalPlanBuilder::from(rows)
            .project(values.into_iter().chain(keys))?
            .build()
    }

    /// Rows with the columns of the domain under other names, to be joined with rows that have them too.
    fn with_other_keys(
        &self,
        plan: LogicalPlan,
        columns: &[Column],
        more: Option<Expr>,
    ) -> Result<LogicalPlan> {
        let mut exprs: Vec<Expr> = columns.iter().cloned().map(Expr::Column).collect();
        for (_, name) in &self.columns {
            exprs.push(Expr::Column(key(name, plan.schema())?).alias(other(name)));
        }
        exprs.extend(more);
        LogicalPlanBuilder::from(plan).project(exprs)?.build()
    }

    /// That rows and rows [`Self::with_other_keys`] are of the same combination.
    fn keys_match(&self) -> Expr {
        let pairs = self.columns.iter().map(|(outer, name)| {
            let (left, right) = (
                Expr::Column(Column::new_unqualified(name)),
                Expr::Column(Column::new_unqualified(other(name))),
            );
            match outer.field.is_nullable() {
                true => same(left, right),
                false => left.eq(right),
            }
        });
        pairs.reduce(Expr::and).unwrap_or_else(|| lit(true))
    }

    fn push_window(&self, node: &LogicalPlan, window: &Window) -> Result<LogicalPlan> {
        let input = self.push(&window.input)?;
        let keys = self.keys(input.schema())?;
        let names = NamePreserver::new(node);
        let exprs = window.window_expr.iter().map(|expr| {
            let name = names.save(expr);
            let apart = self
                .bind(expr.clone(), input.schema())?
                .transform_up(|expr| match expr {
                    Expr::WindowFunction(mut call) => {
                        call.params.partition_by.extend(keys.iter().cloned());
                        Ok(Transformed::yes(Expr::WindowFunction(call)))
                    }
                    other => Ok(Transformed::no(other)),
                })
                .data()?;
            Ok(name.restore(apart))
        });
        let exprs = exprs.collect::<Result<Vec<_>>>()?;
        LogicalPlanBuilder::from(input).window(exprs)?.build()
    }

    /// The first rows of each combination.
    fn push_limit(&self, limit: &Limit) -> Result<LogicalPlan> {
        // Over a sort by what is not shown there is a projection.
        if let LogicalPlan::Projection(projection) = limit.input.as_ref()
            && matches!(projection.input.as_ref(), LogicalPlan::Sort(_))
        {
            let input = Arc::new(LogicalPlan::Limit(Limit {
                input: Arc::clone(&projection.input),
                ..limit.clone()
            }));
            let projection = Projection::try_new(projection.expr.clone(), input)?;
            return self.push(&LogicalPlan::Projection(projection));
        }
        let (SkipType::Literal(skip), FetchType::Literal(fetch)) =
            (limit.get_skip_type()?, limit.get_fetch_type()?)
        else {
            return Err(refused("with a LIMIT that is computed", HINT));
        };
        let (input, order) = match limit.input.as_ref() {
            LogicalPlan::Sort(sort) if sort.fetch.is_none() => (&sort.input, sort.expr.as_slice()),
            _ => (&limit.input, [].as_slice()),
        };
        let input = self.push(input)?;
        let columns = input.schema().columns();
        let order = self.bind_order(order, input.schema())?;
        let name = format!("__outer_{}_row", self.number);
        let row = row_number_udwf()
            .call(vec![])
            .partition_by(self.keys(input.schema())?);
        // An empty order would be an order by nothing.
        let row = match order.is_empty() {
            true => row.build()?,
            false => row.order_by(order).build()?,
        };
        let row_number = || Expr::Column(Column::new_unqualified(&name));
        let first = skip as u64;
        let mut wanted = row_number().gt(lit(first));
        if let Some(fetch) = fetch {
            wanted = wanted.and(row_number().lt_eq(lit(first.saturating_add(fetch as u64))));
        }
        LogicalPlanBuilder::from(input)
            .window([row.alias(&name)])?
            .filter(wanted)?
            .project(columns.into_iter().map(Expr::Column))?
            .build()
    }

    fn push_join(&self, join: &Join) -> Result<LogicalPlan> {
        let inside = lateral(&join.right).is_some();
        let (in_left, in_right) = (self.is_in(&join.left)?, self.is_in(&join.right)?);
        // The side whose rows are kept has to have the domain.
        let (to_left, to_right) = match join.join_type {
            JoinType::Inner if inside => (true, false),
            JoinType::Inner => (in_left || !in_right, in_right),
            JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => {
                (true, in_right && !inside)
            }
            JoinType::Right | JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => {
                (in_left, true)
            }
            JoinType::Full => (true, true),
        };
        let side = |plan: &Arc<LogicalPlan>, has: bool| match has {
            true => self.push(plan),
            false => Ok(plan.as_ref().clone()),
        };
        let left = side(&join.left, to_left)?;
        let mut right = side(&join.right, to_right)?;
        if inside {
            right = redirected(right, &self.redirections(left.schema())?)?;
        }
        if to_left && to_right {
            right = self.with_other_keys(right, &join.right.schema().columns(), None)?;
        }
        let mut both = left.schema().as_ref().clone();
        both.merge(right.schema());
        let mut filter = match &join.filter {
            Some(filter) => Some(self.bind(filter.clone(), &both)?),
            None => None,
        };
        if to_left && to_right {
            let same = self.keys_match();
            filter = Some(filter.map_or(same.clone(), |filter| filter.and(same)));
        }
        let joined = LogicalPlan::Join(Join::try_new(
            Arc::new(left),
            Arc::new(right),
            join.on.clone(),
            filter,
            join.join_type,
            join.join_constraint,
            join.null_equality,
            join.null_aware,
        )?);
        let columns = join.schema.columns().into_iter().map(Expr::Column);
        let keys = match join.join_type {
            JoinType::Full => self.keys_of_either(),
            _ => self.keys(joined.schema())?,
        };
        LogicalPlanBuilder::from(joined)
            .project(columns.chain(keys).collect::<Vec<_>>())?
            .build()
    }

    /// The combination of a row of a FULL join, which either side may lack.
    fn keys_of_either(&self) -> Vec<Expr> {
        let names = self.columns.iter().map(|(_, name)| name);
        let either = names.map(|name| {
            let sides = [name.clone(), other(name)].map(Column::new_unqualified);
            let sides = sides.map(Expr::Column).to_vec();
            datafusion::functions::core::expr_fn::coalesce(sides).alias(name)
        });
        either.collect()
    }

    fn push_union(&self, union: &Union) -> Result<LogicalPlan> {
        let inputs = union.inputs.iter().map(|input| {
            let columns = input.schema().columns().into_iter().map(Expr::Column);
            let pushed = self.push(input)?;
            let keys = self.columns.iter().map(|(_, name)| {
                let column = key(name, pushed.schema())?;
                Ok(Expr::Column(column).alias(name))
            });
            let keys = keys.collect::<Result<Vec<_>>>()?;
            let input = LogicalPlanBuilder::from(pushed)
                .project(columns.chain(keys).collect::<Vec<_>>())?
                .build()?;
            Ok(Arc::new(input))
        });
        let inputs = inputs.collect::<Result<Vec<_>>>()?;
        Ok(LogicalPlan::Union(Union::try_new_with_loose_types(inputs)?))
    }
}

/// What a column of the domain is called in rows that are joined with others that have it.
fn other(name: &str) -> String {
    format!("{name}_too")
}

/// The column of a name, whatever table it is said to be of.
fn key(name: &str, schema: &DFSchema) -> Result<Column> {
    let field = schema.iter().find(|(_, field)| field.name() == name);
    match field {
        Some((of_table, _)) => Ok(Column::new(of_table.cloned(), name)),
        None => Err(refused("in this place", HINT)),
    }
}

/// Equal, or both NULL.
fn same(left: Expr, right: Expr) -> Expr {
    Expr::BinaryExpr(BinaryExpr {
        left: Box::new(left),
        op: Operator::IsNotDistinctFrom,
        right: Box::new(right),
    })
}

/// What an aggregate gives where there are no rows.
fn of_no_rows(call: &Expr, aggregate: &Aggregate) -> Result<ScalarValue> {
    let schema = aggregate.input.schema();
    let data_type = call.get_type(schema)?;
    match call.clone().unalias_nested().data {
        Expr::AggregateFunction(AggregateFunction { func, .. }) => func.default_value(&data_type),
        _ => Err(refused("with this aggregate", HINT)),
    }
}
