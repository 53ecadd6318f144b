//! A physical plan in Tidegate's words: scan, map, shuffle, aggregate, join, sort, window, limit, union, write.

mod detail;
mod resolve;
mod text;

pub(crate) use text::{expression, list, ordering};

use std::sync::Arc;

use datafusion::common::stats::Precision;
use datafusion::physical_plan::execution_plan::CardinalityEffect;
use datafusion::physical_plan::{ExecutionPlan, StatisticsArgs, StatisticsContext};

use crate::Result;
use crate::graph::{Estimate, Step, StepTree, Word};
use crate::join_order::Noted;
use crate::repeats;

/// The steps of a plan. Operators that only pass rows on have no step of their own; filters and projections that
/// follow each other are one `map`.
pub(crate) fn describe(plan: &Arc<dyn ExecutionPlan>, noted: &Noted) -> Result<StepTree> {
    let mut walk = Walk {
        noted,
        statistics: StatisticsContext::new(),
        next: 0,
    };
    Ok(StepTree {
        root: walk.step(plan),
    })
}

struct Walk<'a> {
    noted: &'a Noted,
    statistics: StatisticsContext,
    next: usize,
}

impl Walk<'_> {
    fn step(&mut self, plan: &Arc<dyn ExecutionPlan>) -> Step {
        let position = self.next;
        self.next += 1;
        let mut inputs: Vec<Step> = plan
            .children()
            .into_iter()
            .map(|child| self.step(child))
            .collect();
        if passes_on(plan.name()) && inputs.len() == 1 {
            let mut step = inputs.remove(0);
            if self.noted.rows(plan).is_some() {
                step.estimate = self.estimate(plan, &[]);
            }
            step.operators.push(position);
            return step;
        }
        let (word, detail) = detail::of(plan.as_ref());
        let given: Vec<_> = inputs.iter().map(|input| input.repeats).collect();
        let step = Step {
            word,
            detail,
            output: resolve::distribution(plan.as_ref()),
            estimate: self.estimate(plan, &inputs),
            repeats: repeats::step(plan.as_ref(), &given),
            operators: vec![position],
            inputs,
        };
        fused(step)
    }

    /// What was noted when the joins were ordered, or what DataFusion's statistics say.
    fn estimate(&self, plan: &Arc<dyn ExecutionPlan>, inputs: &[Step]) -> Estimate {
        let of_rows = |rows| Estimate {
            rows: Some(rows),
            ..Estimate::default()
        };
        if let Some(rows) = self.noted.rows(plan) {
            return of_rows(rows as u64);
        }
        let keeps_rows = matches!(plan.cardinality_effect(), CardinalityEffect::Equal);
        if let [
            Step {
                estimate:
                    Estimate {
                        rows: Some(rows),
                        bytes: None,
                        exact: false,
                    },
                ..
            },
        ] = inputs
            && keeps_rows
        {
            return of_rows(*rows);
        }
        // An operator that cannot estimate says so here and nowhere else: a guess is no reason to fail a query.
        let Ok(statistics) = self
            .statistics
            .compute(plan.as_ref(), &StatisticsArgs::new())
        else {
            return Estimate::default();
        };
        let known = |value: Precision<usize>| value.get_value().map(|value| *value as u64);
        Estimate {
            rows: known(statistics.num_rows),
            bytes: known(statistics.total_byte_size),
            exact: matches!(statistics.num_rows, Precision::Exact(_)),
        }
    }
}

fn passes_on(operator: &str) -> bool {
    matches!(
        operator,
        "CooperativeExec"
            | "CoalesceBatchesExec"
            | "BufferExec"
            | "SpillScopeExec"
            | "OutputRequirementExec"
    )
}

/// A map over a map is one map.
fn fused(mut step: Step) -> Step {
    let follows =
        step.word == Word::Map && step.inputs.len() == 1 && step.inputs[0].word == Word::Map;
    if !follows {
        return step;
    }
    let first = step.inputs.remove(0);
    step.detail = match (first.detail.is_empty(), step.detail.is_empty()) {
        (true, _) => step.detail,
        (_, true) => first.detail,
        _ => format!("{}; {}", first.detail, step.detail),
    };
    step.operators.extend(first.operators);
    step.inputs = first.inputs;
    step
}
