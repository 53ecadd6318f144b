//! How the rows of a plan are divided already, and how that is said above a projection, an alias or a join.

use datafusion::common::Column;
use datafusion::logical_expr::{Expr, Join, JoinType, Projection, SubqueryAlias};

/// How rows are divided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Known {
    /// Somehow, among some partitions.
    Anyhow,
    /// All are in one partition.
    Single,
    /// By a hash of keys in their order, into so many partitions. What is known to be equal to a key stands beside it; a
    /// key that is no longer among the columns has nothing left.
    Hash(Vec<Vec<Expr>>, usize),
}

impl Known {
    /// By a hash of these keys.
    pub(super) fn hash(keys: &[Expr], partitions: usize) -> Self {
        let keys = keys.iter().map(|key| vec![bare(key)]);
        Known::Hash(keys.collect(), partitions)
    }

    /// Whether rows are divided by exactly these keys in this order, into so many partitions.
    pub(super) fn is_by(&self, keys: &[Expr], partitions: usize) -> bool {
        match self {
            Known::Hash(_, count) => *count == partitions && self.has_keys(keys),
            _ => false,
        }
    }

    fn has_keys(&self, keys: &[Expr]) -> bool {
        let Known::Hash(by, _) = self else {
            return false;
        };
        let mut pairs = by.iter().zip(keys);
        by.len() == keys.len() && pairs.all(|(equal, key)| equal.contains(&bare(key)))
    }

    /// Whether rows with equal keys are in one partition. Partitions by the same keys in another order are not told
    /// from others by the operators, so they do not count.
    pub(super) fn brings_together(&self, keys: &[Expr]) -> bool {
        let keys_bare: Vec<Expr> = keys.iter().map(bare).collect();
        match self {
            Known::Anyhow => false,
            Known::Single => true,
            Known::Hash(by, _) if by.len() < keys.len() => by
                .iter()
                .all(|equal| equal.iter().any(|key| keys_bare.contains(key))),
            Known::Hash(..) => self.has_keys(keys),
        }
    }

    /// The same with each key as `f` says it; a key of which it says nothing is lost, and the division with it.
    fn mapped(self, f: impl Fn(&Expr) -> Vec<Expr>) -> Self {
        let Known::Hash(by, partitions) = self else {
            return self;
        };
        let mapped = by
            .iter()
            .map(|equal| equal.iter().flat_map(&f).collect::<Vec<_>>());
        let mapped: Vec<Vec<Expr>> = mapped.collect();
        match mapped.iter().any(Vec::is_empty) {
            true => Known::Anyhow,
            false => Known::Hash(mapped, partitions),
        }
    }

    pub(super) fn above_projection(self, projection: &Projection) -> Self {
        self.renamed_as(&projection.expr, &projection.schema.columns())
    }

    /// Of the groups of an aggregate: its keys are its first columns.
    pub(super) fn above_group(self, keys: &[Expr], columns: &[Column]) -> Self {
        self.renamed_as(keys, columns)
    }

    /// What was an expression is the column at its place.
    fn renamed_as(self, exprs: &[Expr], columns: &[Column]) -> Self {
        self.mapped(|key| {
            let outputs = exprs.iter().zip(columns);
            let same = outputs.filter(|(expr, _)| bare(expr) == *key);
            same.map(|(_, column)| Expr::Column(column.clone()))
                .collect()
        })
    }

    pub(super) fn above_alias(self, alias: &SubqueryAlias) -> Self {
        let (inner, outer) = (alias.input.schema().columns(), alias.schema.columns());
        self.mapped(|key| renamed(key, &inner, &outer).into_iter().collect())
    }

    /// Of the rows of a join whose sides were divided by its keys.
    pub(super) fn above_join(join: &Join, partitions: usize) -> Self {
        use JoinType::{
            Full, Inner, Left, LeftAnti, LeftMark, LeftSemi, Right, RightAnti, RightMark, RightSemi,
        };
        let sides = join.on.iter().map(|(left, right)| match join.join_type {
            Inner => vec![bare(left), bare(right)],
            Left | LeftSemi | LeftAnti | LeftMark => vec![bare(left)],
            Right | RightSemi | RightAnti | RightMark => vec![bare(right)],
            Full => vec![],
        });
        let by: Vec<Vec<Expr>> = sides.collect();
        match by.iter().any(Vec::is_empty) {
            true => Known::Anyhow,
            false => Known::Hash(by, partitions),
        }
    }
}

/// A column of the one list of columns as the other one names it.
fn renamed(key: &Expr, inner: &[Column], outer: &[Column]) -> Option<Expr> {
    let Expr::Column(column) = key else {
        return None;
    };
    let at = inner.iter().position(|known| known == column)?;
    Some(Expr::Column(outer.get(at)?.clone()))
}

/// An expression without the names it was given.
pub(super) fn bare(expr: &Expr) -> Expr {
    match expr {
        Expr::Alias(alias) => bare(&alias.expr),
        other => other.clone(),
    }
}
