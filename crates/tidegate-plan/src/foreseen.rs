//! What a statement is expected to need of memory and disk, told before its first task.
//!
//! Sorts and aggregates go to the disk when memory runs short; the tables of joins do not. So these are what is reckoned.

use datafusion::physical_plan::ExecutionPlanProperties;
use datafusion::physical_plan::joins::{
    CrossJoinExec, HashJoinExec, NestedLoopJoinExec, PartitionMode,
};

use crate::durable::Choices;
use crate::graph::{EdgeForm, Word};
use crate::work::{Plan, Work};

/// What a table of a join takes for a row beside the row itself.
const TABLE_BYTES_PER_ROW: f64 = 24.0;

/// What a statement is expected to need. Zero where nothing is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Foreseen {
    /// Bytes that its joins keep in memory at the same time.
    pub memory: u64,
    /// Bytes that its stages write for each other.
    pub disk: u64,
}

impl Foreseen {
    /// Of a plan whose shuffles are all sealed, or all stream.
    pub(crate) fn of(work: &Work<'_>, nodes: &[&Plan], form: EdgeForm) -> Self {
        let mut needs = Needs {
            nodes,
            form,
            most: 0.0,
            disk: 0.0,
        };
        let last = needs.visit(work);
        Self {
            memory: needs.most.max(last) as u64,
            disk: needs.disk as u64,
        }
    }

    /// With what is sealed by choice, of a statement that otherwise streams.
    pub(crate) fn sealing(self, choices: &Choices) -> Self {
        let sealed = choices.edges.iter().filter(|edge| edge.sealed);
        let disk: f64 = sealed.map(|edge| edge.bytes).sum();
        Self {
            disk: disk as u64,
            ..self
        }
    }
}

struct Needs<'a> {
    nodes: &'a [&'a Plan],
    form: EdgeForm,
    /// Of the stages that were left.
    most: f64,
    disk: f64,
}

impl Needs<'_> {
    /// Memory of the stage that a step stands in, as far as that is below.
    fn visit(&mut self, work: &Work<'_>) -> f64 {
        let below: f64 = work.inputs.iter().map(|input| self.visit(input)).sum();
        match (work.step.word, work.inputs.as_slice()) {
            (Word::Join, [build, ..]) if self.builds(work) => below + self.table(work, build),
            (Word::Shuffle, _) if self.form == EdgeForm::Sealed => {
                self.disk += work.bytes;
                self.most = self.most.max(below);
                0.0
            }
            _ => below,
        }
    }

    /// Whether a step keeps all of its first input.
    fn builds(&self, work: &Work<'_>) -> bool {
        let mut operators = work
            .step
            .operators
            .iter()
            .filter_map(|at| self.nodes.get(*at));
        operators.any(|plan| {
            plan.is::<HashJoinExec>()
                || plan.is::<NestedLoopJoinExec>()
                || plan.is::<CrossJoinExec>()
        })
    }

    /// Bytes of the table of a join: where stages run apart, one task has that of its partition.
    fn table(&self, work: &Work<'_>, build: &Work<'_>) -> f64 {
        let whole = build.bytes + build.rows * TABLE_BYTES_PER_ROW;
        let join = work.step.operators.iter().find_map(|at| {
            let plan = self.nodes.get(*at)?;
            plan.downcast_ref::<HashJoinExec>()
        });
        let is_divided =
            join.is_some_and(|join| *join.partition_mode() == PartitionMode::Partitioned);
        match (self.form, join) {
            (EdgeForm::Sealed, Some(join)) if is_divided => {
                whole / join.left().output_partitioning().partition_count().max(1) as f64
            }
            _ => whole,
        }
    }
}
