//! Which word an operator goes by, and the particulars that follow the word.

use std::sync::Arc;

use datafusion::catalog::memory::MemorySourceConfig;
use datafusion::datasource::physical_plan::FileScanConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::logical_expr::JoinType;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use datafusion::physical_expr::{PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::joins::utils::JoinFilter;
use datafusion::physical_plan::joins::{
    CrossJoinExec, HashJoinExec, NestedLoopJoinExec, PartitionMode, SortMergeJoinExec,
};
use datafusion::physical_plan::limit::{GlobalLimitExec, LocalLimitExec};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::scalar_subquery::ScalarSubqueryExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::windows::{BoundedWindowAggExec, WindowAggExec};
use datafusion::physical_plan::{
    DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, WindowExpr,
};

use tidegate_operators::map::MapBatchesExec;
use tidegate_operators::parquet::GuardedScan;
use tidegate_operators::shuffle::{Ranges, ShuffleExec, ShuffleReadExec, To, bounds_text};

use super::resolve::{self, resolved};
use super::text::{expression, list, plain_name, scalar, sort_key};
use crate::graph::Word;

/// The word and the particulars of an operator.
pub(super) fn of(plan: &dyn ExecutionPlan) -> (Word, String) {
    if let Some(scan) = plan.downcast_ref::<DataSourceExec>() {
        return (Word::Scan, scan_detail(scan));
    }
    if let Some(filter) = plan.downcast_ref::<FilterExec>() {
        return (
            Word::Map,
            format!(
                "where {}",
                shown(filter.predicate(), filter.input().as_ref())
            ),
        );
    }
    if let Some(projection) = plan.downcast_ref::<ProjectionExec>() {
        return (Word::Map, projection_detail(projection));
    }
    if let Some(map) = plan.downcast_ref::<MapBatchesExec>() {
        return (Word::Map, format!("with {}", map.function().name()));
    }
    if let Some(aggregate) = plan.downcast_ref::<AggregateExec>() {
        return (Word::Aggregate, aggregate_detail(aggregate));
    }
    joins(plan)
        .or_else(|| movements(plan))
        .or_else(|| windows(plan))
        .unwrap_or_else(|| by_name(plan))
}

/// An expression over the output of `input` as a person would write it.
fn shown(expr: &Arc<dyn PhysicalExpr>, input: &dyn ExecutionPlan) -> String {
    expression(resolved(expr, input).as_ref())
}

/// The keys of an order over the output of `input`.
fn shown_order<'k>(
    keys: impl IntoIterator<Item = &'k PhysicalSortExpr>,
    input: &dyn ExecutionPlan,
) -> String {
    list(resolve::sort_keys(keys, input).iter().map(sort_key))
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
    let root = root(config.object_store_url.as_str());
    match paths.as_slice() {
        [] => format!("{kind}, no files"),
        [only] => format!("{kind} {root}{only}"),
        [first, rest @ ..] => {
            let distinct: std::collections::BTreeSet<_> = paths.iter().collect();
            let mut shared = *first;
            for path in rest {
                while !path.starts_with(shared) {
                    shared = shared.rfind('/').map_or("", |end| &shared[..end]);
                }
            }
            match distinct.len() {
                1 => format!("{kind} {root}{first}"),
                files => format!("{kind} {root}{shared}, {files} files"),
            }
        }
    }
}

/// What stands before the paths of a store: `/`, or its URL. Who signed for a web address is nobody
/// else's business; a container of Azure is where users are in other URLs.
fn root(store: &str) -> String {
    match store.split_once("://") {
        Some(("file", _)) | None => "/".into(),
        Some((scheme, place)) => {
            let host = match place.split_once('@') {
                Some((_, host)) if scheme.starts_with("http") => host,
                _ => place,
            };
            format!("{scheme}://{}/", host.trim_end_matches('/'))
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
            let text = shown(&item.expr, projection.input().as_ref());
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

/// An expression and its name, where that says more. A name that is the expression without its
/// parentheses, or a window without its frame, says less.
fn named(text: String, name: &str) -> String {
    let name = plain_name(name);
    let window = name.ends_with(" over (…)") && text.contains(" over (");
    let says_less = resolve::is_computed(&name) && (window || resolve::alike(&text, &name));
    if text == name || says_less && !name.starts_with("__") {
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
        .map(|(expr, alias)| named(shown(expr, aggregate.input().as_ref()), alias))
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
        .map(|function| function_text(aggregate, function))
        .collect();
    let head = parts.join(" ");
    match (head.is_empty(), functions.is_empty()) {
        (_, true) => head,
        (true, false) => some(functions),
        (false, false) => format!("{head}: {}", some(functions)),
    }
}

/// An aggregate function with its arguments.
pub(super) fn function_text(aggregate: &AggregateExec, function: &AggregateFunctionExpr) -> String {
    let distinct = if function.is_distinct() {
        "distinct "
    } else {
        ""
    };
    let arguments = resolve::arguments(aggregate, function);
    let args = list(
        arguments
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
        keys => {
            let keys = shown_order(keys, resolve::first_input(aggregate));
            format!(" order by {keys}")
        }
    };
    format!("{}({distinct}{args}{order})", function.fun().name())
}

fn joins(plan: &dyn ExecutionPlan) -> Option<(Word, String)> {
    if let Some(join) = plan.downcast_ref::<HashJoinExec>() {
        let (left, right) = (join.left().as_ref(), join.right().as_ref());
        let how = match join.partition_mode() {
            PartitionMode::CollectLeft => ", left side to all",
            _ => "",
        };
        let kind = kind(join.join_type());
        let on = equalities(join.on(), left, right);
        let and = join.filter().map_or_else(String::new, |filter| {
            format!(" and {}", condition(filter, left, right))
        });
        return Some((Word::Join, format!("{kind} on {on}{and}{how}")));
    }
    if let Some(join) = plan.downcast_ref::<SortMergeJoinExec>() {
        let (left, right) = (join.left().as_ref(), join.right().as_ref());
        let (kind, on) = (kind(&join.join_type()), equalities(join.on(), left, right));
        return Some((Word::Join, format!("{kind} by merging on {on}")));
    }
    if let Some(join) = plan.downcast_ref::<NestedLoopJoinExec>() {
        let (left, right) = (join.left().as_ref(), join.right().as_ref());
        let on = join.filter().map_or_else(String::new, |filter| {
            format!(" on {}", condition(filter, left, right))
        });
        let kind = kind(join.join_type());
        return Some((Word::Join, format!("{kind}{on}, row by row")));
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

/// An expression of the left side, and the one of the right side that it equals.
type Equality = (Arc<dyn PhysicalExpr>, Arc<dyn PhysicalExpr>);

fn equalities(on: &[Equality], left: &dyn ExecutionPlan, right: &dyn ExecutionPlan) -> String {
    let side = |(l, r): &Equality| format!("{} = {}", shown(l, left), shown(r, right));
    list(on.iter().map(side))
}

fn condition(filter: &JoinFilter, left: &dyn ExecutionPlan, right: &dyn ExecutionPlan) -> String {
    expression(resolve::join_filter(filter, left, right).as_ref())
}

fn movements(plan: &dyn ExecutionPlan) -> Option<(Word, String)> {
    if let Some(read) = plan.downcast_ref::<ShuffleReadExec>() {
        return Some((Word::Read, format!("edge {}", read.edge())));
    }
    let shuffle = plan.downcast_ref::<ShuffleExec>()?;
    let input = shuffle.input().as_ref();
    let to = match shuffle.to() {
        To::Hash { keys, partitions } => {
            let keys = list(keys.iter().map(|key| shown(key, input)));
            format!("by hash({keys}) to {partitions} partitions")
        }
        To::RoundRobin { partitions } => format!("in turn to {partitions} partitions"),
        To::Forward { partitions } => format!("as they are, {partitions} partitions"),
        To::Random { partitions, seed } => {
            format!("by chance to {partitions} partitions, seed {seed}")
        }
        To::Range(ranges) => range_text(ranges, input),
        To::Broadcast => "to every partition".into(),
        To::Single { order: None } => format!("to one partition{}", first(plan)),
        To::Single { order: Some(order) } => {
            let order = shown_order(order, input);
            format!("to one partition, kept in order of {order}{}", first(plan))
        }
    };
    Some((Word::Shuffle, to))
}

fn range_text(ranges: &Ranges, input: &dyn ExecutionPlan) -> String {
    let order = shown_order(ranges.order(), input);
    let head = format!("by range({order}) to {} partitions", ranges.count());
    match ranges.bounds() {
        [] => head,
        bounds => format!("{head}, cut at {}", bounds_text(bounds, scalar)),
    }
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
    let input = plan.children().into_iter().next()?;
    let text = |window: &Arc<dyn WindowExpr>| window_text(window.as_ref(), input.as_ref());
    Some((Word::Window, some(windows.iter().map(text).collect())))
}

/// A call of a window function over rows of `input`.
pub(super) fn window_text(window: &dyn WindowExpr, input: &dyn ExecutionPlan) -> String {
    let call = plain_name(window.name());
    let call = call.strip_suffix(" over (…)").unwrap_or(&call);
    let arguments = window.expressions();
    let arguments = list(arguments.iter().map(|expr| shown(expr, input)));
    let call = match call.split_once('(') {
        Some((name, plain)) if resolve::alike(plain, &arguments) => format!("{name}({arguments})"),
        _ => call.to_string(),
    };
    let mut over = vec![];
    if !window.partition_by().is_empty() {
        let keys = window.partition_by().iter().map(|expr| shown(expr, input));
        over.push(format!("partition by {}", list(keys)));
    }
    if !window.order_by().is_empty() {
        over.push(format!(
            "order by {}",
            shown_order(window.order_by(), input)
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
            format!(
                "by {}{within}{}",
                shown_order(sort.expr(), sort.input().as_ref()),
                first(plan)
            ),
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
