//! From a read query and the tables found for it to a logical plan: names fitted, virtual
//! columns and parameters filled in, DataFusion's planner with our types and options, then
//! what PostgreSQL's meaning of casts and names asks for.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef, TimeUnit};
use datafusion::catalog::TableFunctionArgs;
use datafusion::catalog::TableProvider;
use datafusion::common::config::ConfigOptions;
use datafusion::common::{
    DFSchema, Result as DataFusionResult, TableReference, plan_datafusion_err,
};
use datafusion::datasource::cte_worktable::CteWorkTable;
use datafusion::datasource::provider_as_source;
use datafusion::execution::SessionState;
use datafusion::logical_expr::planner::{
    ContextProvider, ExprPlanner, RelationPlanner, TypePlanner,
};
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{
    AggregateUDF, Expr, HigherOrderUDF, LogicalPlan, ScalarUDF, TableSource, WindowUDF,
};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::sql::planner::{NullOrdering, ParserOptions, SqlToRel};
use datafusion::sql::sqlparser::ast;

use super::blame;
use super::describe;
use super::error::{Code, Error, Result};
use super::errors;
use super::exponents;
use super::names;
use super::naming;
use super::otherwise;
use super::parameters::{self, Parameters};
use super::stack;
use super::statement::{Insert, Parsed, Query, Statement};
use super::types::Types;
use super::{calls, cast_names, casts, distribute_by, using, virtual_columns, zones};

/// How often a missed column may be respelt before the error stands.
const RESPELL_MAX: usize = 64;

/// What planning needs besides the statement.
pub struct Inputs<'a> {
    /// Functions, expression planners and options.
    pub state: &'a SessionState,
    /// The tables of the statement, by the `key` of its `TableRef`s.
    pub tables: &'a HashMap<String, Arc<dyn TableProvider>>,
    /// The values of `$name` and `$1`.
    pub parameters: &'a Parameters,
}

/// Plans the query of a statement: the rows of SELECT, the source of COPY, INSERT and CREATE,
/// the rows that DESCRIBE and SUMMARIZE show, what EXPLAIN explains.
pub fn plan(parsed: &Parsed, inputs: &Inputs<'_>) -> Result<LogicalPlan> {
    stack::with_room(parsed.nesting, 0, || {
        let work = std::panic::AssertUnwindSafe(|| statement(&parsed.statement, parsed, inputs));
        std::panic::catch_unwind(work).unwrap_or_else(|_| Err(stack::defect()))
    })
    .map_err(|error| placed(error, parsed))
}

/// An error without a place stands at what it speaks of, else at the start of the statement.
pub(crate) fn placed(error: Error, parsed: &Parsed) -> Error {
    if error.span.is_some() {
        return error;
    }
    let place = blame::place(parsed, &error.message);
    error.at(place.unwrap_or_else(|| blame::start(parsed)))
}

fn statement(statement_: &Statement, parsed: &Parsed, inputs: &Inputs<'_>) -> Result<LogicalPlan> {
    let failed = |error| errors::translate(error, Some(&parsed.source), Some(inputs.state));
    match statement_ {
        Statement::Query(query) => self::query(query, parsed, inputs),
        Statement::Copy(copy) => self::query(&copy.query, parsed, inputs),
        Statement::Explain(explain) => statement(&explain.statement, parsed, inputs),
        Statement::Describe(query) | Statement::Show(super::statement::Show::Columns(query)) => {
            let plan = self::query(query, parsed, inputs)?;
            describe::columns(plan.schema().as_arrow()).map_err(failed)
        }
        Statement::Summarize(query) => {
            let plan = self::query(query, parsed, inputs)?;
            describe::summary(plan).map_err(failed)
        }
        Statement::CreateTableAs(create) => {
            let plan = self::query(&create.query, parsed, inputs)?;
            describe::renamed(plan, &create.columns)
        }
        Statement::CreateView(view) => {
            let plan = self::query(&view.query, parsed, inputs)?;
            describe::renamed(plan, &view.columns)
        }
        Statement::Insert(insert) => {
            let plan = self::query(&insert.query, parsed, inputs)?;
            self::insert(insert, plan, inputs).and_then(|plan| casts::round(plan).map_err(failed))
        }
        Statement::CreateExternalTable(_)
        | Statement::Drop(_)
        | Statement::Set(_)
        | Statement::Reset(_)
        | Statement::Show(_) => Err(Error::unsupported(format!(
            "{} has no plan",
            statement_.verb()
        ))),
    }
}

fn query(query: &Query, parsed: &Parsed, inputs: &Inputs<'_>) -> Result<LogicalPlan> {
    let mut ast = query.ast.clone();
    let schemas: Vec<SchemaRef> = query
        .tables
        .iter()
        .filter_map(|table| inputs.tables.get(&table.key))
        .map(|table| table.schema())
        .collect();
    let columns = schemas
        .iter()
        .flat_map(|schema| schema.fields().iter().map(|f| f.name().as_str()));
    exponents::to_doubles(&mut ast);
    otherwise::rewrite(&mut ast);
    zones::rewrite(&mut ast, session_zone(inputs.state));
    names::fit(&mut ast, columns);
    virtual_columns::rewrite(&mut ast, inputs.tables, &parsed.source)?;
    let replaced = names::with_replaced_checked(&ast);
    using::write_out(&mut ast, inputs.tables, &parsed.source)?;
    parameters::bind(&mut ast, inputs.parameters, &parsed.source)?;
    calls::check(&ast, inputs.state, &parsed.source)?;

    let failed = |error| errors::translate(error, Some(&parsed.source), Some(inputs.state));
    let mut context = Context::new(inputs);
    let divided = distribute_by::place(&ast);
    if divided.is_some() {
        // Rows of a partition stay in the order in which they come.
        let config = Arc::make_mut(&mut context.config);
        config.sql_parser.enable_subquery_sort_elimination = false;
    }
    let (mut tries, mut marked) = (0, false);
    let plan = loop {
        let planner = SqlToRel::new_with_options(&context, options());
        match planner.sql_statement_to_plan(ast::Statement::Query(ast.clone())) {
            Ok(plan) if marked => break cast_names::unmark(plan).map_err(failed)?,
            Ok(plan) if cast_names::are_repeated(&plan) && cast_names::mark(&mut ast) => {
                marked = true;
            }
            Ok(plan) => break plan,
            Err(error) if tries < RESPELL_MAX && names::respell(&mut ast, &error) => tries += 1,
            Err(error) if !marked && cast_names::is_repeated(&error) => {
                marked = cast_names::mark(&mut ast);
                if !marked {
                    return Err(failed(error));
                }
            }
            Err(error) => return Err(failed(error)),
        }
    };
    if let Some(checked) = replaced {
        let planner = SqlToRel::new_with_options(&context, options());
        let checked = planner.sql_statement_to_plan(ast::Statement::Query(Box::new(checked)));
        // A name that two tables have is there.
        match checked.map_err(failed) {
            Err(error) if error.code != Code::AmbiguousColumn => return Err(error),
            _ => {}
        }
    }
    let plan = distribute_by::restore(plan).map_err(|error| match error {
        crate::Error::DataFusion(error) => failed(error),
        error => {
            let place = divided.and_then(|span| parsed.source.range(span));
            Error::new(Code::Invalid, error.to_string()).at(place)
        }
    })?;
    let plan = casts::round(plan).map_err(failed)?;
    naming::restore(plan).map_err(failed)
}

/// Gives a plan that was built of expressions the meaning that SQL gives them.
pub fn given_meaning(plan: LogicalPlan) -> crate::Result<LogicalPlan> {
    Ok(casts::round(plan)?)
}

fn session_zone(state: &SessionState) -> &str {
    let zone = &state.config_options().execution.time_zone;
    zone.as_deref().unwrap_or("UTC")
}

/// The rows of an INSERT in the order and types of the table.
fn insert(insert: &Insert, plan: LogicalPlan, inputs: &Inputs<'_>) -> Result<LogicalPlan> {
    let Some(table) = inputs.tables.get(&insert.table.key) else {
        return Ok(plan);
    };
    describe::inserted(insert, plan, &table.schema())
}

/// The meaning of literals, names and order, whatever the session says.
fn options() -> ParserOptions {
    ParserOptions::new()
        .with_parse_float_as_decimal(true)
        .with_collect_spans(true)
        // Case is kept; names that differ in case only are fitted by `names`.
        .with_enable_ident_normalization(false)
        .with_default_null_ordering(NullOrdering::NullsMax)
}

/// The planner's view of the session and of the tables handed in.
struct Context<'a> {
    inputs: &'a Inputs<'a>,
    sources: HashMap<&'a str, Arc<dyn TableSource>>,
    types: Arc<dyn TypePlanner>,
    config: Arc<ConfigOptions>,
}

impl<'a> Context<'a> {
    fn new(inputs: &'a Inputs<'a>) -> Self {
        let sources = inputs
            .tables
            .iter()
            .map(|(key, table)| (key.as_str(), provider_as_source(Arc::clone(table))))
            .collect();
        let zone = session_zone(inputs.state).to_owned();
        Self {
            inputs,
            sources,
            types: Arc::new(Types { zone }),
            config: Arc::clone(inputs.state.config_options()),
        }
    }
}

impl ContextProvider for Context<'_> {
    fn get_table_source(&self, name: TableReference) -> DataFusionResult<Arc<dyn TableSource>> {
        self.sources
            .get(name.to_string().as_str())
            .cloned()
            .ok_or_else(|| plan_datafusion_err!("table '{name}' not found"))
    }

    fn get_table_function_source(
        &self,
        name: &str,
        args: Vec<Expr>,
    ) -> DataFusionResult<Arc<dyn TableSource>> {
        let state = self.inputs.state;
        let function = state
            .table_functions()
            .get(&name.to_lowercase())
            .ok_or_else(|| plan_datafusion_err!("table function '{name}' not found"))?;
        let context = SimplifyContext::builder()
            .with_config_options(Arc::clone(state.config_options()))
            .with_query_execution_start_time(state.execution_props().query_execution_start_time)
            .build();
        let simplifier = ExprSimplifier::new(context);
        let schema = DFSchema::empty();
        let args = args
            .into_iter()
            .map(|arg| {
                simplifier
                    .coerce(arg, &schema)
                    .and_then(|arg| simplifier.simplify(arg))
                    .and_then(in_nanoseconds)
            })
            .collect::<DataFusionResult<Vec<_>>>()?;
        let table =
            function.create_table_provider_with_args(TableFunctionArgs::new(&args, state))?;
        Ok(provider_as_source(table))
    }

    fn create_cte_work_table(
        &self,
        name: &str,
        schema: SchemaRef,
    ) -> DataFusionResult<Arc<dyn TableSource>> {
        Ok(provider_as_source(Arc::new(CteWorkTable::new(
            name, schema,
        ))))
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        self.inputs.state.expr_planners()
    }

    fn get_relation_planners(&self) -> &[Arc<dyn RelationPlanner>] {
        self.inputs.state.relation_planners()
    }

    fn get_type_planner(&self) -> Option<Arc<dyn TypePlanner>> {
        Some(Arc::clone(&self.types))
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        let found = self.inputs.state.scalar_functions().get(name).cloned();
        found.or_else(|| cast_names::function(name))
    }

    fn get_higher_order_meta(&self, name: &str) -> Option<Arc<HigherOrderUDF>> {
        self.inputs
            .state
            .higher_order_functions()
            .get(name)
            .cloned()
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        self.inputs.state.aggregate_functions().get(name).cloned()
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        self.inputs.state.window_functions().get(name).cloned()
    }

    fn get_variable_type(&self, _names: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        &self.config
    }

    fn udf_names(&self) -> Vec<String> {
        self.inputs
            .state
            .scalar_functions()
            .keys()
            .cloned()
            .collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        self.inputs
            .state
            .higher_order_functions()
            .keys()
            .cloned()
            .collect()
    }

    fn udaf_names(&self) -> Vec<String> {
        self.inputs
            .state
            .aggregate_functions()
            .keys()
            .cloned()
            .collect()
    }

    fn udwf_names(&self) -> Vec<String> {
        self.inputs
            .state
            .window_functions()
            .keys()
            .cloned()
            .collect()
    }
}

/// Table functions of DataFusion take timestamps of nanoseconds only.
fn in_nanoseconds(arg: Expr) -> DataFusionResult<Expr> {
    match arg {
        Expr::Literal(value, metadata) => Ok(match value.data_type() {
            DataType::Timestamp(_, zone) => {
                let kind = DataType::Timestamp(TimeUnit::Nanosecond, zone);
                Expr::Literal(value.cast_to(&kind)?, metadata)
            }
            _ => Expr::Literal(value, metadata),
        }),
        other => Ok(other),
    }
}

/// The tables a statement reads, and the one it writes into.
pub fn references(statement: &Statement) -> Vec<super::statement::TableRef> {
    let mut found = match statement {
        Statement::Show(super::statement::Show::Columns(query)) => query.tables.clone(),
        other => other
            .query()
            .map(|query| query.tables.clone())
            .unwrap_or_default(),
    };
    let mut inner = statement;
    while let Statement::Explain(explain) = inner {
        inner = &explain.statement;
    }
    if let Statement::Insert(insert) = inner
        && !found.iter().any(|table| table.key == insert.table.key)
    {
        found.push(insert.table.clone());
    }
    found
}
