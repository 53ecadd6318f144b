//! The builder of queries: verbs in place of SQL. What it builds goes the one way that every statement goes.

mod build;
mod output;

use std::fmt;

use futures::future::BoxFuture;
use tidegate_plan::By;

use crate::Value;
use crate::commands;
use crate::error::Result;
use crate::expr::{Expr, JoinType, SortExpr};
use crate::query::Query;
use crate::session::Session;

pub(crate) use build::built;
pub use output::Output;

/// How rows are divided into partitions.
#[derive(Debug, Clone, PartialEq)]
pub struct Division(pub(crate) By);

impl Division {
    /// By a hash of keys: rows with equal keys are in one partition.
    pub fn hash(keys: impl IntoIterator<Item = Expr>) -> Self {
        Self(By::Hash(keys.into_iter().collect()))
    }

    /// By ranges of an order, of about equal size: the rows of a partition come before those of the next one. The first
    /// key must come from files.
    pub fn range(keys: impl IntoIterator<Item = SortExpr>) -> Self {
        let (keys, bounds) = (keys.into_iter().collect(), None);
        Self(By::Range { keys, bounds })
    }

    /// By ranges of an order, cut at bounds: each has a value for each key, and there is one fewer than partitions.
    pub fn range_at(
        keys: impl IntoIterator<Item = SortExpr>,
        bounds: impl IntoIterator<Item = Vec<Value>>,
    ) -> Self {
        let (keys, bounds) = (keys.into_iter().collect(), bounds.into_iter().collect());
        Self(By::Range {
            keys,
            bounds: Some(bounds),
        })
    }

    /// Evenly: as files are dealt, or row by row in turn.
    pub fn round_robin() -> Self {
        Self(By::RoundRobin)
    }

    /// Row by row by chance, the same for the same seed.
    pub fn random(seed: u64) -> Self {
        Self(By::Random { seed })
    }
}

/// One verb and what it is applied to.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Scan(String),
    Alias(Box<Step>, String),
    Filter(Box<Step>, Expr),
    Map(Box<Step>, Vec<Expr>),
    MapBatches(Box<Step>, String),
    Partition(Box<Step>, By, usize),
    Shuffle(Box<Step>, By, usize),
    Aggregate(Box<Step>, Vec<Expr>, Vec<Expr>),
    Join(Box<Step>, Box<Step>, JoinType, Vec<(Expr, Expr)>),
    Sort(Box<Step>, Vec<SortExpr>),
    Window(Box<Step>, Vec<Expr>),
    Limit(Box<Step>, usize, Option<usize>),
    Union(Box<Step>, Box<Step>),
}

/// A query that is being built, verb by verb. Nothing is looked up and nothing runs before [`Dataflow::query`].
///
/// ```
/// use tidegate::expr::{col, count_all, lit, sum};
/// use tidegate::{Division, Session};
///
/// # fn main() -> Result<(), tidegate::Error> {
/// # let testdata = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata");
/// let session = Session::builder().build()?;
/// let flow = session
///     .scan(&format!("{testdata}/trips/"))
///     .filter(col("fare").gt(lit(40)))
///     .partition(Division::hash([col("payment")]), 4)
///     .aggregate([col("payment")], [count_all().alias("trips"), sum(col("fare")).alias("fares")])
///     .sort([col("trips").sort(false, false)]);
/// let query = session.block_on(flow.query())?;
/// let batches = session.block_on(query.collect())?;
/// assert_eq!(batches.iter().map(|batch| batch.num_rows()).sum::<usize>(), 3);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Dataflow {
    session: Session,
    pub(crate) step: Step,
    pub(crate) output: Option<Output>,
}

impl Session {
    /// Begins a query with all rows of a table, a view, a file, a directory, a glob or a URL.
    ///
    /// ```
    /// # fn main() -> Result<(), tidegate::Error> {
    /// # let session = tidegate::Session::builder().build()?;
    /// # let zones = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/zones/");
    /// let query = session.block_on(session.scan(zones).limit(3).query())?;
    /// let batches = session.block_on(query.collect())?;
    /// assert_eq!(batches[0].num_rows(), 3);
    /// # Ok(())
    /// # }
    /// ```
    pub fn scan(&self, table: &str) -> Dataflow {
        Dataflow {
            session: self.clone(),
            step: Step::Scan(table.to_string()),
            output: None,
        }
    }
}

impl Dataflow {
    fn then(self, verb: impl FnOnce(Box<Step>) -> Step) -> Self {
        Self {
            step: verb(Box::new(self.step)),
            ..self
        }
    }

    /// Gives the rows a name, by which [`col`](crate::expr::col) tells their columns from others of the same name.
    pub fn alias(self, name: &str) -> Self {
        self.then(|step| Step::Alias(step, name.to_string()))
    }

    /// Keeps the rows for which a condition holds.
    pub fn filter(self, condition: Expr) -> Self {
        self.then(|step| Step::Filter(step, condition))
    }

    /// Computes columns, row by row; these take the place of those that were there.
    pub fn map(self, columns: impl IntoIterator<Item = Expr>) -> Self {
        let columns = columns.into_iter().collect();
        self.then(|step| Step::Map(step, columns))
    }

    /// Applies a function of the program, by the name it was registered under with [`Session::register_map`].
    pub fn map_batches(self, function: &str) -> Self {
        self.then(|step| Step::MapBatches(step, function.to_string()))
    }

    /// Asks that rows be divided so. Where they are already, nothing moves.
    pub fn partition(self, by: Division, count: usize) -> Self {
        self.then(|step| Step::Partition(step, by.0, count))
    }

    /// Moves rows so that they are divided so, whether they are already or not.
    pub fn shuffle(self, by: Division, count: usize) -> Self {
        self.then(|step| Step::Shuffle(step, by.0, count))
    }

    /// Reduces the rows with equal keys to one row each; without keys all rows to one.
    pub fn aggregate(
        self,
        keys: impl IntoIterator<Item = Expr>,
        aggregates: impl IntoIterator<Item = Expr>,
    ) -> Self {
        let (keys, aggregates) = (keys.into_iter().collect(), aggregates.into_iter().collect());
        self.then(|step| Step::Aggregate(step, keys, aggregates))
    }

    /// Brings rows together whose keys are equal, each pair one of these rows and one of the other ones.
    pub fn join(
        self,
        other: Dataflow,
        kind: JoinType,
        keys: impl IntoIterator<Item = (Expr, Expr)>,
    ) -> Self {
        let (other, keys) = (Box::new(other.step), keys.into_iter().collect());
        self.then(|step| Step::Join(step, other, kind, keys))
    }

    /// Orders the rows.
    pub fn sort(self, keys: impl IntoIterator<Item = SortExpr>) -> Self {
        let keys = keys.into_iter().collect();
        self.then(|step| Step::Sort(step, keys))
    }

    /// Adds columns that are computed over neighbouring rows.
    ///
    /// ```
    /// use tidegate::expr::{ExprFunctionExt, col, row_number};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let session = tidegate::Session::builder().build()?;
    /// # let zones = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/zones/");
    /// let nth = row_number().order_by(vec![col("zone").sort(true, false)]).build()?;
    /// let flow = session.scan(zones).window([nth.alias("nth")]);
    /// assert_eq!(session.block_on(flow.query())?.schema().fields().len(), 5);
    /// # Ok(())
    /// # }
    /// ```
    pub fn window(self, columns: impl IntoIterator<Item = Expr>) -> Self {
        let columns = columns.into_iter().collect();
        self.then(|step| Step::Window(step, columns))
    }

    /// Stops after so many rows.
    pub fn limit(self, rows: usize) -> Self {
        self.then(|step| Step::Limit(step, 0, Some(rows)))
    }

    /// Leaves out the first rows.
    pub fn skip(self, rows: usize) -> Self {
        self.then(|step| Step::Limit(step, rows, None))
    }

    /// Puts all rows of both together. Their columns go by their places.
    pub fn union(self, other: Dataflow) -> Self {
        let other = Box::new(other.step);
        self.then(|step| Step::Union(step, other))
    }

    /// Writes the rows into files, one for each partition of a directory; the query then gives one row, their number.
    /// It is the last verb: those that follow are applied to what is written.
    pub fn write(self, output: Output) -> Self {
        Self {
            output: Some(output),
            ..self
        }
    }

    /// Plans it. Nothing has run when this returns.
    pub async fn query(self) -> Result<Query> {
        let session = self.session.clone();
        let of = session.clone();
        let planned: BoxFuture<'static, Result<Query>> =
            Box::pin(async move { commands::flow(&of, &self).await });
        session.planned(planned).await
    }

    /// The graph of stages that would run, as `EXPLAIN` prints it.
    pub async fn explain(self) -> Result<String> {
        Ok(self.query().await?.explain().to_string())
    }
}

impl fmt::Debug for Dataflow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut flow = f.debug_struct("Dataflow");
        flow.field("step", &self.step).field("output", &self.output);
        flow.finish_non_exhaustive()
    }
}
