//! The tables of joins that the tasks of a stage have made in this process.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::error::Result;
use datafusion::physical_plan::ExecutionPlan;
use parking_lot::Mutex;
use tidegate_plan::Builds;

/// By stage, while tasks of it run.
#[derive(Default)]
pub(super) struct BuildsOfStages {
    of: Mutex<HashMap<usize, Arc<Builds>>>,
}

impl BuildsOfStages {
    /// A plan of a stage, with the tables that there are and those that it will make.
    pub(super) fn shared_by(
        &self,
        stage: usize,
        plan: Arc<dyn ExecutionPlan>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let mut of = self.of.lock();
        let builds = match of.get(&stage) {
            Some(builds) => Arc::clone(builds),
            None => {
                let builds = Arc::new(Builds::of(&plan)?);
                of.insert(stage, Arc::clone(&builds));
                builds
            }
        };
        drop(of);
        builds.shared_by(plan)
    }

    /// A stage is complete.
    pub(super) fn forget(&self, stage: usize) {
        self.of.lock().remove(&stage);
    }

    /// A task failed: a table may be what failed, or be made of what is lost.
    pub(super) fn forget_all(&self) {
        self.of.lock().clear();
    }
}
