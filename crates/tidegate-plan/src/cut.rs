//! Cuts a plan into stages at its shuffles, puts stages together again, and restricts a stage to one of its tasks.
//!
//! ```text
//! sort ◀─ ShuffleExec ◀─ aggregate ◀─ ShuffleExec ◀─ scan
//!      stage 2        │     stage 1             │   stage 0
//! ```
//!
//! A stage ends with its shuffle and begins with what reads the shuffles before it. Stages whose edge streams are put
//! together into one plan before they run: then nothing lies between them.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::common::internal_err;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::error::{DataFusionError, Result};
use datafusion::physical_expr::scalar_subquery::ScalarSubqueryExpr;
use datafusion::physical_plan::recursive_query::RecursiveQueryExec;
use datafusion::physical_plan::scalar_subquery::ScalarSubqueryExec;
use datafusion::physical_plan::union::UnionExec;
use datafusion::physical_plan::{
    ExecutionPlan, ExecutionPlanProperties, StatisticsArgs, StatisticsContext,
    replace_children_if_necessary,
};
use tidegate_operators::shuffle::{Filters, OnePartitionExec, ShuffleExec, ShuffleReadExec, To};

use crate::foreseen::Foreseen;
use crate::graph::{Edge, EdgeForm, Stage, StageGraph, StageId, Step, StepTree, Word};
use crate::join_order::Noted;
use crate::work::{self, Work};
use crate::{PlanSettings, steps};

type Plan = Arc<dyn ExecutionPlan>;

/// The stages of a plan, inputs before their consumers: cut at every shuffle, or at those that are sealed.
pub(crate) fn cut(
    plan: Plan,
    noted: &Noted,
    form: EdgeForm,
    seals: Option<&HashMap<usize, bool>>,
    settings: &Arc<PlanSettings>,
) -> crate::Result<StageGraph> {
    let described = steps::describe(&plan, noted)?;
    let nodes = work::operators(&plan);
    let foreseen = Foreseen::of(&Work::of(&described.root, &nodes), &nodes, form);
    let mut cut = Cut {
        form,
        seals,
        position: 0,
        stages: Vec::new(),
        at: HashMap::new(),
        values: None,
    };
    let mut inputs = Vec::new();
    // A shuffle at the end is a part of the last stage: nothing reads it but who asked.
    let plan = match plan.is::<ShuffleExec>() {
        true => {
            cut.position = 1;
            let plan = cut.children(&plan, &mut inputs)?;
            cut.with_values(plan, &mut inputs)?
        }
        false => cut.visit(&plan, &mut inputs)?,
    };
    cut.stages.push((plan, inputs));
    let mut trees = Trees {
        at: &cut.at,
        of: HashMap::new(),
    };
    let last = trees.split(described.root);
    let result = cut.stages.len() - 1;
    trees.of.insert(result, last);
    let mut stages = Vec::new();
    for (number, (plan, inputs)) in cut.stages.into_iter().enumerate() {
        let Some(root) = trees.of.remove(&number) else {
            let lost = format!("stage {number} has no steps");
            return Err(DataFusionError::Internal(lost).into());
        };
        stages.push(Stage {
            inputs,
            output: root.output.clone(),
            repeats: root.repeats,
            estimate: root.estimate,
            steps: StepTree { root },
            plan,
            settings: Arc::clone(settings),
        });
    }
    Ok(StageGraph::new(stages)?.with_foreseen(foreseen))
}

struct Cut<'a> {
    form: EdgeForm,
    /// Whether a shuffle is sealed, by its position; where nothing is said, all are cut.
    seals: Option<&'a HashMap<usize, bool>>,
    /// The number of the next operator, parents first.
    position: usize,
    stages: Vec<(Plan, Vec<Edge>)>,
    /// The stage that each cut shuffle ends, by the shuffle's position.
    at: HashMap<usize, usize>,
    /// Where the values come from that expressions below refer to, when stages run apart.
    values: Option<Values>,
}

impl Cut<'_> {
    fn visit(&mut self, plan: &Plan, inputs: &mut Vec<Edge>) -> Result<Plan> {
        let position = self.position;
        self.position += 1;
        // A recursion runs its plan again and again: it is a part of one stage.
        if plan.is::<RecursiveQueryExec>() {
            self.position += count(plan) - 1;
            return Ok(Arc::clone(plan));
        }
        if plan.is::<ScalarSubqueryExec>() {
            return self.with_subqueries(plan, inputs);
        }
        let streams = |seals: &HashMap<usize, bool>| seals.get(&position) == Some(&false);
        if !plan.is::<ShuffleExec>() || self.seals.is_some_and(streams) {
            return self.children(plan, inputs);
        }
        self.stage(position, plan, inputs)
    }

    /// Cuts a shuffle off.
    fn stage(&mut self, position: usize, shuffle: &Plan, inputs: &mut Vec<Edge>) -> Result<Plan> {
        let mut own = Vec::new();
        let stage = self.children(shuffle, &mut own)?;
        let stage = self.with_values(stage, &mut own)?;
        self.end(position, stage, own, inputs)
    }

    fn children(&mut self, plan: &Plan, inputs: &mut Vec<Edge>) -> Result<Plan> {
        let children = plan.children().into_iter();
        let children = children.map(|child| self.visit(child, inputs));
        let children = children.collect::<Result<Vec<_>>>()?;
        replace_children_if_necessary(Arc::clone(plan), children)
    }

    /// The subqueries are cut first: stages of the main input may need their values.
    fn with_subqueries(&mut self, plan: &Plan, inputs: &mut Vec<Edge>) -> Result<Plan> {
        let children = plan.children();
        let (input, subqueries) = (children[0], &children[1..]);
        // Positions are those of a walk through the main input first.
        let start = self.position;
        self.position = start + count(input);
        let outer = self.values.take();
        let cut = subqueries.iter().map(|subquery| match self.form {
            EdgeForm::Stream => self.visit(subquery, inputs),
            EdgeForm::Sealed => self.value(subquery, inputs),
        });
        let mut cut = cut.collect::<Result<Vec<_>>>()?;
        let end = std::mem::replace(&mut self.position, start);
        self.values = (self.form == EdgeForm::Sealed).then(|| Values {
            plan: Arc::clone(plan),
            reads: cut.clone(),
            edges: inputs[inputs.len() - cut.len()..].to_vec(),
        });
        let main = self.visit(input, inputs);
        self.values = outer;
        self.position = end;
        cut.insert(0, main?);
        replace_children_if_necessary(Arc::clone(plan), cut)
    }

    /// A subquery as a stage of its own: every stage that needs its value reads the same one.
    fn value(&mut self, subquery: &Plan, inputs: &mut Vec<Edge>) -> Result<Plan> {
        let position = self.position;
        if subquery.is::<ShuffleExec>() {
            self.position += 1;
            return self.stage(position, subquery, inputs);
        }
        let mut own = Vec::new();
        let stage = self.visit(subquery, &mut own)?;
        let to = To::Single { order: None };
        let shuffle = ShuffleExec::try_new(stage, to, Filters::Stop)?;
        self.end(position, Arc::new(shuffle), own, inputs)
    }

    /// A stage that runs apart from the subqueries whose values it needs has them itself.
    fn with_values(&self, shuffle: Plan, inputs: &mut Vec<Edge>) -> Result<Plan> {
        let Some(values) = &self.values else {
            return Ok(shuffle);
        };
        let body = Arc::clone(shuffle.children()[0]);
        if !refers_to_values(&body)? {
            return Ok(shuffle);
        }
        let mut children = vec![body];
        for (read, edge) in values.reads.iter().zip(&values.edges) {
            let Some(read) = read.downcast_ref::<ShuffleReadExec>() else {
                return internal_err!("a subquery is not a stage");
            };
            children.push(Arc::new(read.along(inputs.len())));
            inputs.push(*edge);
        }
        let body = replace_children_if_necessary(Arc::clone(&values.plan), children)?;
        replace_children_if_necessary(shuffle, vec![body])
    }

    /// Ends a stage with its shuffle, and gives what reads it.
    fn end(
        &mut self,
        position: usize,
        shuffle: Plan,
        own: Vec<Edge>,
        inputs: &mut Vec<Edge>,
    ) -> Result<Plan> {
        let statistics =
            StatisticsContext::new().compute(shuffle.as_ref(), &StatisticsArgs::new())?;
        let Some(node) = shuffle.downcast_ref::<ShuffleExec>() else {
            return internal_err!("a stage ends with a shuffle");
        };
        let read = ShuffleReadExec::of(node, inputs.len(), statistics);
        let number = self.stages.len();
        self.stages.push((shuffle, own));
        self.at.insert(position, number);
        inputs.push(Edge {
            from: StageId(number),
            form: self.form,
        });
        Ok(Arc::new(read))
    }
}

/// The subqueries of the plan that is being cut.
struct Values {
    /// What hands their values to the expressions below it.
    plan: Plan,
    reads: Vec<Plan>,
    edges: Vec<Edge>,
}

/// Whether an expression of a plan is the value of a subquery.
fn refers_to_values(plan: &Plan) -> Result<bool> {
    let mut found = false;
    plan.apply(|node| {
        node.apply_expressions(&mut |expr| {
            found |= expr.exists(|expr| Ok(expr.is::<ScalarSubqueryExpr>()))?;
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(found)
}

fn count(plan: &Plan) -> usize {
    1 + plan.children().into_iter().map(count).sum::<usize>()
}

/// The steps of a whole plan, by stage.
struct Trees<'a> {
    at: &'a HashMap<usize, usize>,
    of: HashMap<usize, Step>,
}

impl Trees<'_> {
    /// A step without what belongs to earlier stages.
    fn split(&mut self, mut step: Step) -> Step {
        let inputs = std::mem::take(&mut step.inputs);
        step.inputs = inputs.into_iter().map(|input| self.split(input)).collect();
        let ends = step.operators.iter().find_map(|at| self.at.get(at));
        let Some(stage) = ends.copied() else {
            return step;
        };
        let read = Step {
            word: Word::Read,
            detail: format!("stage {stage}"),
            inputs: vec![],
            ..step.clone()
        };
        self.of.insert(stage, step);
        read
    }
}

/// A graph that streams as one stage: a region.
pub(crate) fn as_region(graph: &StageGraph) -> crate::Result<StageGraph> {
    let mut stage = joined(graph)?.result().clone();
    stage.inputs = Vec::new();
    Ok(StageGraph::new(vec![stage])?.with_foreseen(graph.foreseen()))
}

/// The graph with each stage's inputs put in the place where it reads them: its result stage is the whole query.
pub(crate) fn joined(graph: &StageGraph) -> crate::Result<StageGraph> {
    let mut stages: Vec<Stage> = Vec::new();
    for stage in graph.stages() {
        let plan = Arc::clone(&stage.plan).transform_up(|node| {
            let Some(read) = node.downcast_ref::<ShuffleReadExec>() else {
                return Ok(Transformed::no(node));
            };
            let edge = stage.inputs.get(read.edge());
            let from = edge.and_then(|edge| stages.get(edge.from.0));
            match from {
                Some(from) => Ok(Transformed::yes(Arc::clone(&from.plan))),
                None => Err(DataFusionError::Internal(
                    "a stage reads a stage that is not in the graph".into(),
                )),
            }
        });
        stages.push(Stage {
            plan: plan.data()?,
            ..stage.clone()
        });
    }
    StageGraph::new(stages)
}

/// The plan of one task: a stage of which every operator has one partition.
pub fn restricted(plan: &Plan, partition: usize) -> Result<Plan> {
    if let Some(shuffle) = plan.downcast_ref::<ShuffleExec>() {
        let input = restricted(shuffle.input(), partition)?;
        return replace_children_if_necessary(Arc::clone(plan), vec![input]);
    }
    let partitions = plan.output_partitioning().partition_count();
    if let Some(read) = plan.downcast_ref::<ShuffleReadExec>() {
        return Ok(match partitions {
            1 => Arc::clone(plan),
            _ => Arc::new(read.restricted(partition)),
        });
    }
    if plan.children().is_empty() {
        return Ok(match partitions {
            1 => Arc::clone(plan),
            _ => Arc::new(OnePartitionExec::new(Arc::clone(plan), partition)),
        });
    }
    if plan.is::<UnionExec>() {
        let mut before = 0;
        for child in plan.children() {
            let own = child.output_partitioning().partition_count();
            if partition < before + own {
                return restricted(child, partition - before);
            }
            before += own;
        }
    }
    if plan.is::<RecursiveQueryExec>() {
        return Ok(Arc::clone(plan));
    }
    let children = plan.children().into_iter();
    let children = children.map(|child| {
        match child.output_partitioning().partition_count() {
            1 => restricted(child, 0),
            own if own == partitions => restricted(child, partition),
            // One operator that takes all partitions of its input: it runs as one task.
            _ => Ok(Arc::clone(child)),
        }
    });
    let children = children.collect::<Result<Vec<_>>>()?;
    replace_children_if_necessary(Arc::clone(plan), children)
}
