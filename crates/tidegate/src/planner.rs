//! From a parsed statement to a graph of stages: a snapshot of the session for one statement.

use std::sync::Arc;

use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlan;
use tidegate_catalog::Catalog;
use tidegate_operators::rejects::RejectLog;
use tidegate_plan::sql::{self, Inputs, Parameters, Parsed, Statement};
use tidegate_plan::{Optimized, PlanInputs, PlanSettings, StageGraph};
use tidegate_runtime::CpuPool;

use crate::convert;
use crate::error::{Error, Result};
use crate::evidence::Gatherer;
use crate::notice::Notice;
use crate::session::StepHook;
use crate::settings::Settings;
use crate::tables::{self, Tables};

/// All that planning one statement needs.
pub(crate) struct Planner {
    pub(crate) catalog: Catalog,
    pub(crate) settings: Settings,
    pub(crate) plan_settings: Arc<PlanSettings>,
    pub(crate) state: SessionState,
    pub(crate) parameters: Parameters,
    /// Where samples are read.
    pub(crate) pool: CpuPool,
    /// Rows that the last statements rejected.
    pub(crate) rejects: Arc<RejectLog>,
    pub(crate) between_steps: Option<StepHook>,
}

impl Planner {
    /// The logical plan of a statement and what was noticed on the way.
    pub(crate) async fn logical(&self, parsed: &Parsed) -> Result<(LogicalPlan, Vec<Notice>)> {
        self.logical_at(parsed, 0).await
    }

    async fn logical_at(
        &self,
        parsed: &Parsed,
        depth: usize,
    ) -> Result<(LogicalPlan, Vec<Notice>)> {
        let references = tables::references(&parsed.statement);
        let target = tables::target(&parsed.statement);
        let tables = Tables::of(self, &references, target, depth).await?;
        let inputs = Inputs {
            state: &self.state,
            tables: &tables.providers,
            parameters: &self.parameters,
        };
        let plan = sql::plan(parsed, &inputs).map_err(convert::from_sql)?;
        Ok((plan, tables.notices))
    }

    /// The plan of a view's text.
    pub(crate) async fn view_plan(
        &self,
        text: &str,
        depth: usize,
    ) -> Result<(LogicalPlan, Vec<Notice>)> {
        let parsed = one(sql::parse_script(text).map_err(convert::from_sql)?)?;
        self.logical_at(&parsed, depth).await
    }

    /// The graph of stages of a logical plan: the one way every statement goes.
    pub(crate) async fn graph(
        &self,
        plan: LogicalPlan,
        parsed: Option<&Parsed>,
    ) -> Result<StageGraph> {
        let graph = async {
            self.step_done();
            let plan = Optimized::new(&plan, &self.state)?;
            self.step_done();
            let questions = plan.questions(&self.plan_settings)?;
            let gatherer = Gatherer {
                state: &self.state,
                pool: &self.pool,
                samples: self.catalog.samples(),
                percent: self.settings.sampling_budget,
            };
            let inputs = PlanInputs {
                state: self.state.clone(),
                settings: Arc::clone(&self.plan_settings),
                evidence: gatherer.answer(questions).await,
            };
            plan.compile(&inputs).await
        };
        graph
            .await
            .map_err(|error| convert::from_plan(error, parsed, Some(&self.state)))
    }

    fn step_done(&self) {
        if let Some(hook) = &self.between_steps {
            hook();
        }
    }
}

/// The only statement of a text.
pub(crate) fn one(mut statements: Vec<Parsed>) -> Result<Parsed> {
    use crate::error::ErrorKind;
    match statements.len() {
        1 => Ok(statements.remove(0)),
        0 => Err(Error::new(
            ErrorKind::Usage,
            "empty",
            "there is no statement in the text",
        )),
        n => Err(Error::new(
            ErrorKind::Usage,
            "many_statements",
            format!("the text has {n} statements where one is expected"),
        )
        .with_hint("use `script` to run several")),
    }
}

/// Whether a statement gives rows, writes files, or has an effect on the session only.
pub(crate) fn kind(statement: &Statement) -> crate::query::QueryKind {
    use crate::query::QueryKind;
    match statement {
        Statement::Query(_)
        | Statement::Explain(_)
        | Statement::Show(_)
        | Statement::Describe(_)
        | Statement::Summarize(_) => QueryKind::Rows,
        Statement::Copy(_) | Statement::Insert(_) | Statement::CreateTableAs(_) => QueryKind::Write,
        Statement::CreateExternalTable(_)
        | Statement::CreateView(_)
        | Statement::Drop(_)
        | Statement::Set(_)
        | Statement::Reset(_) => QueryKind::Command,
    }
}
