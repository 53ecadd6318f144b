//! Which word an operator goes by, and the particulars that follow the word.

use datafusion::catalog::memory::MemorySourceConfig;
use datafusion::datasource::physical_plan::FileScanConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::logical_expr::JoinType;
use datafusion::physical_expr::Partitioning;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::joins::utils::JoinFilter;
use datafusion::physical_plan::joins::{
    CrossJoinExec, HashJoinExec, NestedLoopJoinExec, PartitionMode, SortMergeJoinExec,
};
use datafusion::physical_plan::limit::{GlobalLimitExec, LocalLimitExec};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::scalar_subquery::ScalarSubqueryExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::windows::{BoundedWindowAggExec, WindowAggExec};
use datafusion::physical_plan::{
    DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, WindowExpr,
};

use tidegate_operators::parquet::GuardedScan;

use super::text::{expression, list, ordering, plain_name, sort_key};
use crate::graph::Word;

/// The word and the particulars of an operator.
pub(super) fn of(plan: &dyn ExecutionPlan) -> (Word, String) {
    if let Some(scan) = plan.downcast_ref::<DataSourceExec>() {
        return (Word::Scan, scan_detail(scan));
    }
    if let Some(filter) = plan.downcast_ref::<FilterExec>() {
        return (
            Word::Map,
            format!("where {}", expression(filter.predicate().as_ref())),
        );
    }
    if let Some(projection) = plan.downcast_ref::<ProjectionExec>() {
        return (Word::Map, projection_detail(projection));
    }
    if let Some(aggregate) = plan.downcast_ref::<AggregateExec>() {
        return (Word::Aggregate, aggregate_detail(aggregate));
    }
    joins(plan)
        .or_else(|| movements(plan))
        .or_else(|| windows(plan))
        .unwrap_or_else(|| by_name(plan))
}

fn scan_detail(scan: &DataSourceExec) -> String {
    let mut parts = vec![];
    let source = match scan.data_source().downcast_ref::<GuardedScan>() {
        Some(guarded) => guarded.inner(),
        None => scan.data_source(),
    };
    if let Some(config) = source.downcast_ref::<FileScanConfig>() {
        parts.push(files(config));
        if let Some(predicate) = config.file_source().filter() {
            parts.push(format!("where {}", expression(predicate.as_ref())));
        }
        if let Some(limit) = config.limit {
            parts.push(format!("at most {limit} rows"));
        }
    } else if source.downcast_ref::<MemorySourceConfig>().is_some() {
        parts.push("memory".into());
    } else {
        parts.push("table".into());
    }
    let schema = scan.schema();
    let names: Vec<_> = schema
        .fields()
        .iter()
        .map(|field| plain_name(field.name()))
        .collect();
    parts.insert(
        1,
        if names.is_empty() {
            "no columns".into()
        } else {
            format!("columns {}", some(names))
        },
    );
    parts.join("; ")
}

/// The files of a scan: how many, of which format, and where they have their common directory.
fn files(config: &FileScanConfig) -> String {
    let paths: Vec<&str> = config
        .file_groups
        .iter()
        .flat_map(|group| group.iter())
        .map(|file| file.object_meta.location.as_ref())
        .collect();
    let kind = config.file_source().file_type();
    match paths.as_slice() {
        [] => format!("{kind}, no files"),
        [only] => format!("{kind} {only}"),
        [first, rest @ ..] => {
            let distinct: std::collections::BTreeSet<_> = paths.iter().collect();
            let mut shared = *first;
            for path in rest {
                while !path.starts_with(shared) {
                    shared = shared.rfind('/').map_or("", |end| &shared[..end]);
                }
            }
            match distinct.len() {
                1 => format!("{kind} {first}"),
                files => format!("{kind} {shared}, {files} files"),
            }
        }
    }
}

/// A list that stays readable.
fn some(mut items: Vec<String>) -> String {
    const SHOWN: usize = 12;
    if items.len() > SHOWN {
        let more = items.len() - SHOWN;
        items.truncate(SHOWN);
        items.push(format!("… {more} more"));
    }
    items.join(", ")
}

fn projection_detail(projection: &ProjectionExec) -> String {
    let input = projection.input().schema();
    let columns: Vec<_> = projection
        .expr()
        .iter()
        .map(|item| {
            let text = expression(item.expr.as_ref());
            named(text, &item.alias)
        })
        .collect();
    let only_columns = input.fields().len() == columns.len()
        && columns
            .iter()
            .zip(input.fields())
            .all(|(column, field)| column == field.name());
    if only_columns {
        String::new()
    } else {
        some(columns)
    }
}

/// An expression and its name, where that says more.
fn named(text: String, name: &str) -> String {
    let name = plain_name(name);
    if text == name {
        text
    } else {
        format!("{text} as {name}")
    }
}

fn aggregate_detail(aggregate: &AggregateExec) -> String {
    let phase = match aggregate.mode() {
        AggregateMode::Partial => "partial",
        AggregateMode::PartialReduce => "combine",
        AggregateMode::Final | AggregateMode::FinalPartitioned => "final",
        AggregateMode::Single | AggregateMode::SinglePartitioned => "",
    };
    let keys: Vec<_> = aggregate
        .group_expr()
        .expr()
        .iter()
        .map(|(expr, alias)| {
            let text = expression(expr.as_ref());
            named(text, alias)
        })
        .collect();
    let mut parts = vec![];
    if !phase.is_empty() {
        parts.push(phase.to_string());
    }
    if !keys.is_empty() {
        parts.push(format!("by {}", some(keys)));
    }
    let functions: Vec<_> = aggregate
        .aggr_expr()
        .iter()
        .map(|function| function_text(function))
        .collect();
    let head = parts.join(" ");
    match (head.is_empty(), functions.is_empty()) {
        (_, true) => head,
        (true, false) => some(functions),
        (false, false) => format!("{head}: {}", some(functions)),
    }
}

fn function_text(function: &AggregateFunctionExpr) -> String {
    let distinct = if function.is_distinct() {
        "distinct "
    } else {
        ""
    };
    let args = list(
        function
            .expressions()
            .iter()
            .map(|argument| expression(argument.as_ref())),
    );
    let args = if function.fun().name() == "count" && args == "1" {
        "*".into()
    } else {
        args
    };
    let order = match function.order_bys() {
        [] => String::new(),
        keys => format!(" order by {}", list(keys.iter().map(sort_key))),
    };
    format!("{}({distinct}{args}{order})", function.fun().name())
}

fn joins(plan: &dyn ExecutionPlan) -> Option<(Word, String)> {
    if let Some(join) = plan.downcast_ref::<HashJoinExec>() {
        let sides = join
            .on()
            .iter()
            .map(|(l, r)| format!("{} = {}", expression(l.as_ref()), expression(r.as_ref())));
        let how = match join.partition_mode() {
            PartitionMode::CollectLeft => ", left side to all",
            _ => "",
        };
        let on = list(sides);
        return Some((
            Word::Join,
            format!(
                "{} on {on}{}{how}",
                kind(join.join_type()),
                extra(join.filter())
            ),
        ));
    }
    if let Some(join) = plan.downcast_ref::<SortMergeJoinExec>() {
        let sides = join
            .on()
            .iter()
            .map(|(l, r)| format!("{} = {}", expression(l.as_ref()), expression(r.as_ref())));
        return Some((
            Word::Join,
            format!("{} by merging on {}", kind(&join.join_type()), list(sides)),
        ));
    }
    if let Some(join) = plan.downcast_ref::<NestedLoopJoinExec>() {
        let on = join
            .filter()
            .map(|filter| format!(" on {}", expression(filter.expression().as_ref())));
        return Some((
            Word::Join,
            format!(
                "{}{}, row by row",
                kind(join.join_type()),
                on.unwrap_or_default()
            ),
        ));
    }
    if plan.is::<CrossJoinExec>() {
        return Some((Word::Join, "cross".into()));
    }
    let subqueries = plan
        .downcast_ref::<ScalarSubqueryExec>()?
        .subqueries()
        .len();
    let what = match subqueries {
        1 => "with the value of a scalar subquery".into(),
        many => format!("with the values of {many} scalar subqueries"),
    };
    Some((Word::Join, what))
}

fn kind(join_type: &JoinType) -> String {
    match join_type {
        JoinType::Inner => "inner",
        JoinType::Left => "left",
        JoinType::Right => "right",
        JoinType::Full => "full",
        JoinType::LeftSemi => "left semi",
        JoinType::RightSemi => "right semi",
        JoinType::LeftAnti => "left anti",
        JoinType::RightAnti => "right anti",
        JoinType::LeftMark => "left mark",
        JoinType::RightMark => "right mark",
    }
    .into()
}

fn extra(filter: Option<&JoinFilter>) -> String {
    filter.map_or_else(String::new, |filter| {
        format!(" and {}", expression(filter.expression().as_ref()))
    })
}

fn movements(plan: &dyn ExecutionPlan) -> Option<(Word, String)> {
    if let Some(shuffle) = plan.downcast_ref::<RepartitionExec>() {
        let to = match shuffle.partitioning() {
            Partitioning::Hash(keys, _) => format!(
                "by hash({})",
                list(keys.iter().map(|key| expression(key.as_ref())))
            ),
            Partitioning::RoundRobinBatch(_) => "in turn".into(),
            _ => "by range".into(),
        };
        let count = shuffle.partitioning().partition_count();
        return Some((Word::Shuffle, format!("{to} to {count} partitions")));
    }
    if let Some(merge) = plan.downcast_ref::<SortPreservingMergeExec>() {
        return Some((
            Word::Shuffle,
            format!(
                "to one partition, kept in order of {}{}",
                ordering(merge.expr()),
                first(plan)
            ),
        ));
    }
    (plan.name() == "CoalescePartitionsExec")
        .then(|| (Word::Shuffle, format!("to one partition{}", first(plan))))
}

fn first(plan: &dyn ExecutionPlan) -> String {
    plan.fetch()
        .map_or_else(String::new, |rows| format!(", first {rows} rows"))
}

fn windows(plan: &dyn ExecutionPlan) -> Option<(Word, String)> {
    let windows = plan
        .downcast_ref::<WindowAggExec>()
        .map(|window| window.window_expr())
        .or_else(|| {
            plan.downcast_ref::<BoundedWindowAggExec>()
                .map(|window| window.window_expr())
        })?;
    Some((
        Word::Window,
        some(
            windows
                .iter()
                .map(|window| window_text(window.as_ref()))
                .collect(),
        ),
    ))
}

fn window_text(window: &dyn WindowExpr) -> String {
    let call = plain_name(window.name());
    let call = call.strip_suffix(" over (…)").unwrap_or(&call);
    let mut over = vec![];
    if !window.partition_by().is_empty() {
        let keys = window
            .partition_by()
            .iter()
            .map(|expr| expression(expr.as_ref()));
        over.push(format!("partition by {}", list(keys)));
    }
    if !window.order_by().is_empty() {
        over.push(format!(
            "order by {}",
            list(window.order_by().iter().map(sort_key))
        ));
    }
    format!("{call} over ({})", over.join(" "))
}

fn by_name(plan: &dyn ExecutionPlan) -> (Word, String) {
    if let Some(sort) = plan.downcast_ref::<SortExec>() {
        let within = if plan.output_partitioning().partition_count() > 1 {
            " within each partition"
        } else {
            ""
        };
        return (
            Word::Sort,
            format!("by {}{within}{}", ordering(sort.expr()), first(plan)),
        );
    }
    if let Some(limit) = plan.downcast_ref::<GlobalLimitExec>() {
        let skip = if limit.skip() > 0 {
            format!(", after {}", limit.skip())
        } else {
            String::new()
        };
        let rows = limit
            .fetch()
            .map_or_else(|| "all rows".into(), |rows| format!("{rows} rows"));
        return (Word::Limit, format!("{rows}{skip}"));
    }
    if let Some(limit) = plan.downcast_ref::<LocalLimitExec>() {
        return (
            Word::Limit,
            format!("{} rows of each partition", limit.fetch()),
        );
    }
    match plan.name() {
        "UnionExec" | "InterleaveExec" => (Word::Union, "all".into()),
        "EmptyExec" => (Word::Scan, "no rows".into()),
        "PlaceholderRowExec" => (Word::Scan, "one row".into()),
        "LazyMemoryExec" => (Word::Scan, "generated rows".into()),
        "WorkTableExec" => (Word::Scan, "rows of the last round".into()),
        "RecursiveQueryExec" => (Word::Union, "rounds, until one is empty".into()),
        "UnnestExec" => (Word::Map, "unnest".into()),
        "PartitionedTopKExec" => (Word::Sort, "first rows of each group".into()),
        "PartialSortExec" => (Word::Sort, "within equal keys".into()),
        "WriteExec" => (Word::Write, plain(plan, "WriteExec: ")),
        name => (
            Word::Other,
            plain(plan, "").replacen(name, name.trim_end_matches("Exec"), 1),
        ),
    }
}

/// An operator's own line, for those that no word is known for.
fn plain(plan: &dyn ExecutionPlan, without: &str) -> String {
    struct Line<'a>(&'a dyn ExecutionPlan);
    impl std::fmt::Display for Line<'_> {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            self.0.fmt_as(DisplayFormatType::Default, f)
        }
    }
    let line = Line(plan).to_string();
    line.strip_prefix(without).unwrap_or(&line).to_string()
}
