//! Subqueries that refer to the query around them. DataFusion makes them joins by pulling the conditions that refer
//! outwards up through the subquery, which is right for a plain chain of operators only: through a window, a LIMIT, an
//! outer join or an aggregate without GROUP BY it gives wrong rows without a word, and others it cannot plan.
//!
//! 1. A plain chain is left to DataFusion, with a name of its own for each column that is compared with one outside
//!    where the name alone would not tell two apart ([`chain`]).
//! 2. Any other subquery is computed once for all values that the query around hands to it ([`domain`]).
//! 3. One that is used as a value and may have several rows has them counted ([`only_row`]).

mod arguments;
mod chain;
mod domain;
mod only_row;
mod references;

use std::cell::Cell;
use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, DataFusionError};
use datafusion::error::Result;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::{conjunction, merge_schema, split_conjunction};
use datafusion::logical_expr::{
    Expr, Join, JoinType, LogicalPlan, LogicalPlanBuilder, Subquery, SubqueryAlias,
};
use datafusion::optimizer::AnalyzerRule;

use chain::Kind;
use domain::Domain;
pub(crate) use only_row::functions as only_row_functions;
use only_row::has_one_row;
use references::{Outer, Reach, lateral, outer_columns, subquery_in, subquery_in_mut};

use crate::sql::{Code, Error};

/// Gives subqueries that refer outwards a form that DataFusion joins rightly. Comes after `ThreeValuedIn`, which writes
/// such subqueries itself, and before type coercion.
#[derive(Debug)]
pub struct Correlated;

impl AnalyzerRule for Correlated {
    fn name(&self) -> &str {
        "tidegate_correlated"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        let statement = Statement {
            last: Cell::default(),
            reach: Reach::of(&plan)?,
        };
        // From outside in: what a query hands inwards is a column of the next one before that is looked at.
        plan.transform_down_with_subqueries(|node| rewrite_node(node, &statement))
            .data()
    }
}

/// What is known of a whole statement: numbers for names that no other has, and how far out its subqueries refer.
struct Statement {
    last: Cell<usize>,
    reach: Reach,
}

impl Statement {
    fn next_number(&self) -> usize {
        let number = self.last.get() + 1;
        self.last.set(number);
        number
    }
}

fn rewrite_node(node: LogicalPlan, statement: &Statement) -> Result<Transformed<LogicalPlan>> {
    match node {
        LogicalPlan::Join(join) if lateral(&join.right).is_some() => {
            rewrite_lateral(join, statement)
        }
        LogicalPlan::Aggregate(aggregate) => {
            match arguments::over_columns(&aggregate, statement)? {
                Some(node) => Ok(Transformed::yes(rewrite_values(node, statement)?.data)),
                None => rewrite_values(LogicalPlan::Aggregate(aggregate), statement),
            }
        }
        node => rewrite_values(node, statement),
    }
}

fn rewrite_values(node: LogicalPlan, statement: &Statement) -> Result<Transformed<LogicalPlan>> {
    let expressions = node.expressions();
    let mut expressions = expressions.iter();
    if !expressions.any(|expr| refers_outwards(expr, statement.reach)) {
        return Ok(Transformed::no(node));
    }
    let rewrite = Rewrite {
        schema: merge_schema(&node.inputs()),
        statement,
    };
    rewrite.node(node)
}

/// Whether a query refers to columns of the queries around it, be it from a subquery in it.
pub(super) fn is_correlated(plan: &LogicalPlan) -> Result<bool> {
    Ok(!outer_columns(plan, Reach::Further)?.is_empty())
}

fn refers_outwards(expr: &Expr, reach: Reach) -> bool {
    let found = expr.exists(|expr| {
        let subquery = subquery_in(expr);
        Ok(subquery.is_some_and(|subquery| {
            outer_columns(&subquery.subquery, reach).is_ok_and(|outer| !outer.is_empty())
        }))
    });
    found.unwrap_or(false)
}

/// The rewriting of one node whose expressions hold subqueries.
struct Rewrite<'a> {
    /// What the subqueries may refer to.
    schema: DFSchema,
    statement: &'a Statement,
}

impl Rewrite<'_> {
    fn node(&self, node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
        let names = NamePreserver::new(&node);
        let mut values = Vec::new();
        let rewritten = node.clone().map_expressions(|expr| {
            let name = names.save(&expr);
            let expr = expr
                .transform_down(|expr| self.expr(expr, &node, takes_values(&node), &mut values))?;
            Ok(expr.update_data(|expr| name.restore(expr)))
        })?;
        if !rewritten.transformed {
            return Ok(Transformed::no(node));
        }
        let beside = |input| {
            let mut values = values.iter();
            values
                .try_fold(input, |input, value| value.beside(input))
                .map(Transformed::yes)
        };
        let rewritten = rewritten
            .data
            .map_children(beside)?
            .data
            .recompute_schema()?;
        let columns = node.schema().columns();
        // Filters, windows and sorts pass on all they get.
        let rewritten = match rewritten.schema().fields().len() == columns.len() {
            true => rewritten,
            false => LogicalPlanBuilder::from(rewritten)
                .project(columns.into_iter().map(Expr::Column))?
                .build()?,
        };
        Ok(Transformed::yes(rewritten))
    }

    /// Rewrites an expression that may be a subquery; `takes_values` if DataFusion takes one here that is a value.
    fn expr(
        &self,
        mut expr: Expr,
        node: &LogicalPlan,
        takes_values: bool,
        values: &mut Vec<Value>,
    ) -> Result<Transformed<Expr>> {
        let mut changed = false;
        if let Expr::InSubquery(predicate) = &mut expr {
            // The left side goes into the condition of a join.
            let left = std::mem::take(predicate.expr.as_mut())
                .transform_down(|expr| self.expr(expr, node, false, values))?;
            changed = left.transformed;
            *predicate.expr = left.data;
        }
        let rewritten = self.subquery(expr, node, takes_values, values)?;
        let changed = changed || rewritten.transformed;
        Ok(Transformed::new(rewritten.data, changed, rewritten.tnr))
    }

    fn subquery(
        &self,
        mut expr: Expr,
        node: &LogicalPlan,
        takes_values: bool,
        values: &mut Vec<Value>,
    ) -> Result<Transformed<Expr>> {
        let value = matches!(expr, Expr::ScalarSubquery(_));
        let kind = match &expr {
            Expr::Exists(_) => Kind::Exists,
            Expr::ScalarSubquery(_) => Kind::Value,
            _ => Kind::Membership,
        };
        let Some(subquery) = subquery_in_mut(&mut expr) else {
            return Ok(Transformed::no(expr));
        };
        let outer = outer_columns(&subquery.subquery, self.statement.reach)?;
        // A column of a query further out than this one is handed in from there.
        if outer.is_empty() || !self.has_all(&outer) {
            return Ok(Transformed::no(expr));
        }
        let plan = chain::conditions_above_joins(subquery.subquery.as_ref().clone())?;
        let only = value && !has_one_row(&plan);
        let plan = match only {
            true => only_row::counted(plan)?,
            false => plan,
        };
        let shown = |value: Expr| match only {
            true => only_row::only_value(value),
            false => value,
        };
        let plain = chain::is_plain(&plan, kind, self.statement.reach)? && (!value || takes_values);
        if plain {
            let plan = chain::with_own_names(
                plan,
                &outer,
                self.statement.next_number(),
                self.statement.reach,
            )?;
            *subquery = over(plan, subquery);
            return Ok(Transformed::new(shown(expr), true, TreeNodeRecursion::Jump));
        }
        if value {
            let number = self.statement.next_number();
            let domain = Domain::new(around(node)?, outer, number, self.statement.reach)?;
            let value = Value::new(&plan, &domain, number)?;
            let column = Expr::Column(value.column.clone());
            values.push(value);
            return Ok(Transformed::yes(shown(column)));
        }
        let domain = Domain::new(
            around(node)?,
            outer,
            self.statement.next_number(),
            self.statement.reach,
        )?;
        let rows = domain.push(&plan)?;
        let own = domain.matches_outside(rows.schema())?;
        let rows = LogicalPlanBuilder::from(rows).filter(own)?;
        let rows = match kind {
            Kind::Exists => rows.build()?,
            _ => rows
                .project([Expr::Column(Column::from(plan.schema().qualified_field(0)))])?
                .build()?,
        };
        *subquery = over(rows, subquery);
        Ok(Transformed::yes(expr))
    }

    fn has_all(&self, outer: &[Outer]) -> bool {
        outer
            .iter()
            .all(|outer| self.schema.has_column(&outer.column))
    }
}

/// Whether DataFusion takes a subquery that is a value here.
fn takes_values(node: &LogicalPlan) -> bool {
    matches!(node, LogicalPlan::Projection(_) | LogicalPlan::Filter(_))
}

fn over(plan: LogicalPlan, subquery: &Subquery) -> Subquery {
    Subquery {
        outer_ref_columns: plan.all_out_ref_exprs(),
        subquery: Arc::new(plan),
        spans: subquery.spans.clone(),
    }
}

/// The rows of the query around that a subquery in a node is computed for.
fn around(node: &LogicalPlan) -> Result<LogicalPlan> {
    let plan = match (node, node.inputs().as_slice()) {
        (LogicalPlan::Filter(filter), _) => {
            let plain = split_conjunction(&filter.predicate)
                .into_iter()
                .filter(|part| {
                    // More values than there are do no harm; what refers further out would have to be handed in.
                    let beyond = |e: &Expr| subquery_in(e).is_some() || e.contains_outer();
                    !part.exists(|e| Ok(beyond(e))).unwrap_or(true)
                });
            let input = LogicalPlanBuilder::new_from_arc(Arc::clone(&filter.input));
            match conjunction(plain.cloned()) {
                Some(predicate) => input.filter(predicate)?.build()?,
                None => input.build()?,
            }
        }
        (_, [input]) => (*input).clone(),
        _ => {
            return Err(refused(
                "in the condition of an outer join",
                "compute it in a subquery below the join, as a column",
            ));
        }
    };
    steady(plan)
}

/// Rows that are the same each time they are computed.
fn steady(plan: LogicalPlan) -> Result<LogicalPlan> {
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| match expr.is_volatile() {
            true => Err(refused(
                "beside a function that is drawn anew each time",
                "write the rows with CREATE TABLE … AS first",
            )),
            false => Ok(TreeNodeRecursion::Continue),
        })
    })?;
    Ok(plan)
}

/// Tells what a subquery that refers outwards cannot be, or where it cannot stand.
fn refused(what: &str, hint: &str) -> DataFusionError {
    let text = format!(
        "a subquery that refers to a column of the query around it is not supported {what}"
    );
    DataFusionError::External(Box::new(Error::new(Code::Unsupported, text).hint(hint)))
}

/// A subquery used as a value, as a column beside those it belongs to.
struct Value {
    rows: LogicalPlan,
    matches: Expr,
    column: Column,
}

impl Value {
    fn new(plan: &LogicalPlan, domain: &Domain, number: usize) -> Result<Self> {
        let name = format!("__value_{number}");
        let first = Expr::Column(Column::from(plan.schema().qualified_field(0)));
        let rows = domain.push(plan)?;
        let keys = domain.keys(rows.schema())?;
        let rows = LogicalPlanBuilder::from(rows)
            .project(std::iter::once(first.alias(&name)).chain(keys))?
            .build()?;
        Ok(Self {
            matches: domain.matches_columns(rows.schema())?,
            column: Column::new_unqualified(name),
            rows,
        })
    }

    fn beside(&self, input: LogicalPlan) -> Result<LogicalPlan> {
        LogicalPlanBuilder::from(input)
            .join_on(self.rows.clone(), JoinType::Left, [self.matches.clone()])?
            .build()
    }
}

/// `t, LATERAL (SELECT …)`.
fn rewrite_lateral(mut join: Join, statement: &Statement) -> Result<Transformed<LogicalPlan>> {
    let Some((subquery, alias)) = lateral(&join.right) else {
        return Ok(Transformed::no(LogicalPlan::Join(join)));
    };
    let outer = outer_columns(&subquery.subquery, statement.reach)?;
    let known = matches!(join.join_type, JoinType::Inner | JoinType::Left)
        && outer
            .iter()
            .all(|outer| join.left.schema().has_column(&outer.column));
    if outer.is_empty() || !known {
        return Ok(Transformed::no(LogicalPlan::Join(join)));
    }
    let named = |plan: LogicalPlan| -> Result<Arc<LogicalPlan>> {
        Ok(Arc::new(match alias {
            Some(alias) => {
                LogicalPlan::SubqueryAlias(SubqueryAlias::try_new(Arc::new(plan), alias.clone())?)
            }
            None => plan,
        }))
    };
    let columns = join.schema.columns();
    let plan = chain::conditions_above_joins(subquery.subquery.as_ref().clone())?;
    if chain::is_plain(&plan, Kind::Lateral, statement.reach)? {
        let plan = chain::with_own_names(plan, &outer, statement.next_number(), statement.reach)?;
        join.right = named(LogicalPlan::Subquery(over(plan, subquery)))?;
        return Ok(Transformed::yes(LogicalPlan::Join(join)));
    }
    let left = steady(join.left.as_ref().clone())?;
    let domain = Domain::new(left, outer, statement.next_number(), statement.reach)?;
    let right = named(domain.push(&plan)?)?;
    let matches = domain.matches_columns(right.schema())?;
    join.right = right;
    join.filter = Some(match join.filter.take() {
        Some(filter) => filter.and(matches),
        None => matches,
    });
    let join = Join::try_new(
        join.left,
        join.right,
        join.on,
        join.filter,
        join.join_type,
        join.join_constraint,
        join.null_equality,
        join.null_aware,
    )?;
    let joined = LogicalPlanBuilder::from(LogicalPlan::Join(join))
        .project(columns.into_iter().map(Expr::Column))?
        .build()?;
    Ok(Transformed::yes(joined))
}
