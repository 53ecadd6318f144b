//! Finds out about tables what helps to plan a query: footers first, then a sample of rows.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::concat_batches;
use datafusion::execution::SessionState;
use datafusion::physical_plan::ExecutionPlanProperties;
use futures::future::join_all;
use futures::stream::TryStreamExt;
use tidegate_catalog::{
    Answer, Asked, Cuts, FilesTable, Sample, SampleCache, SampleId, SampleScan, TableEvidence,
};
use tidegate_plan::{Evidence, Question};
use tidegate_runtime::CpuPool;

/// Finds things out for one statement.
pub(crate) struct Gatherer<'a> {
    pub(crate) state: &'a SessionState,
    pub(crate) pool: &'a CpuPool,
    pub(crate) samples: &'a SampleCache,
    /// Row groups or files that may be looked into, of a hundred.
    pub(crate) percent: usize,
}

impl Gatherer<'_> {
    /// Answers questions about tables. What cannot be found out is left out: no query fails for lack of an estimate.
    pub(crate) async fn answer(&self, questions: Vec<Question>) -> Evidence {
        Evidence::new(join_all(questions.into_iter().map(|question| self.one(question))).await)
    }

    async fn one(&self, question: Question) -> (Arc<FilesTable>, TableEvidence) {
        let Question {
            table,
            columns,
            together,
            predicates,
            cuts,
        } = question;
        let mut evidence = table.evidence();
        let in_conditions = predicates.iter().flat_map(|all| all.columns());
        let in_cuts = cuts.iter().flat_map(Cuts::columns);
        let others = in_conditions.chain(together.iter().flatten().cloned());
        let others = others.chain(in_cuts);
        let columns = table.worth_sampling(&evidence, &columns, others);
        let sample = SampleId::of(&table, self.percent, &columns);
        let asked = evidence.asks(sample, &columns, together, &predicates, cuts, self.state);
        if let Some(answers) = self.answers(&table, &columns, sample, &asked).await {
            evidence.learn(&table, asked, &answers);
        }
        (table, evidence)
    }

    /// What was answered before, or else what the sample says.
    async fn answers(
        &self,
        table: &FilesTable,
        columns: &BTreeSet<String>,
        id: SampleId,
        asked: &[Asked],
    ) -> Option<Vec<Answer>> {
        let known: Vec<_> = asked
            .iter()
            .map(|asked| self.samples.answer(asked))
            .collect();
        if let Some(known) = known.iter().cloned().collect() {
            return Some(known);
        }
        let sample = self.sample(table, columns, id).await?;
        let answers = asked.iter().zip(known).map(|(asked, known)| {
            known.unwrap_or_else(|| {
                let answer = sample.answer(asked, self.state);
                self.samples.remember(asked, &answer);
                answer
            })
        });
        Some(answers.collect())
    }

    async fn sample(
        &self,
        table: &FilesTable,
        columns: &BTreeSet<String>,
        id: SampleId,
    ) -> Option<Sample> {
        if let Some(known) = self.samples.get(id) {
            return Some(known);
        }
        let scan = table.sample(self.state, columns, self.percent).ok()??;
        let read = read(scan, self.state, self.pool).await?;
        self.samples.put(id, &read);
        Some(read)
    }
}

/// Reads all places of a sample at the same time. None if one of them fails: the query will say why.
async fn read(scan: SampleScan, state: &SessionState, pool: &CpuPool) -> Option<Sample> {
    let partitions = scan.plan.output_partitioning().partition_count();
    let chunks = (0..partitions).map(|partition| {
        let (plan, context) = (Arc::clone(&scan.plan), state.task_ctx());
        pool.run(async move {
            let mut rows = plan.execute(partition, context).ok()?;
            let (mut batches, mut bytes) = (Vec::<RecordBatch>::new(), 0);
            while bytes < scan.chunk_bytes_max
                && let Some(batch) = rows.try_next().await.ok()?
            {
                // Batches of text share buffers: what their rows take is what counts.
                bytes += batch.columns().iter().map(slice_bytes).sum::<usize>();
                batches.push(batch);
            }
            let is_full = bytes >= scan.chunk_bytes_max;
            Some((concat_batches(&plan.schema(), &batches).ok()?, is_full))
        })
    });
    let chunks = join_all(chunks).await.into_iter();
    let chunks = chunks
        .map(|chunk| chunk.ok()?)
        .collect::<Option<Vec<_>>>()?;
    let is_whole = scan.is_whole && chunks.iter().all(|(_, is_full)| !is_full);
    let chunks = chunks.into_iter().map(|(chunk, _)| chunk);
    Some(Sample::new(chunks.collect(), is_whole))
}

/// What the values of a column take; a view counts as the text it shows, which may lie in a buffer that others share.
fn slice_bytes(column: &ArrayRef) -> usize {
    let shown = |views: &[u128]| -> usize {
        let lengths = views
            .iter()
            .map(|view| (view & u128::from(u32::MAX)) as usize);
        lengths.sum::<usize>() + size_of_val(views)
    };
    if let Some(text) = column.as_string_view_opt() {
        return shown(text.views());
    }
    if let Some(bytes) = column.as_binary_view_opt() {
        return shown(bytes.views());
    }
    let data = column.to_data();
    data.get_slice_memory_size()
        .unwrap_or_else(|_| column.get_array_memory_size())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use arrow::array::StringViewArray;

    use super::*;

    #[test]
    fn a_view_counts_as_its_text() {
        let text = "x".repeat(1000);
        let column: ArrayRef = Arc::new(StringViewArray::from(vec![text.as_str(), "short"]));
        assert_eq!(slice_bytes(&column.slice(0, 1)), 1016);
    }
}
