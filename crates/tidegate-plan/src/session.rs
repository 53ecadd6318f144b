//! DataFusion's session state as Tidegate uses it: made from plain settings, with our rules and the one registry.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::execution::SessionStateDefaults;
use datafusion::execution::TaskContext;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::execution_props::ExecutionProps;
use datafusion::logical_expr::planner::ExprPlanner;
use datafusion::prelude::SessionConfig;

use crate::arithmetic::{DecimalTypes, IntervalScaling};
use crate::times::Extract;
use crate::{PlanSettings, Registry, given, rules, write};

/// The state that plans and runs one query.
pub fn session_state(
    settings: &PlanSettings,
    runtime: Arc<RuntimeEnv>,
    registry: &Registry,
) -> SessionState {
    let config = session_config(settings);
    let mut props = ExecutionProps::new().with_query_execution_start_time(settings.now);
    props.config_options = Some(Arc::clone(config.options()));
    SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(runtime)
        .with_execution_props(props)
        .with_analyzer_rules(rules::analyzer(settings.strict))
        .with_optimizer_rules(rules::optimizer())
        .with_physical_optimizer_rules(rules::physical())
        .with_query_planner(Arc::new(write::Planner))
        .with_expr_planners(expr_planners())
        .with_scalar_functions(
            registry
                .scalars()
                .cloned()
                .chain(given::functions(settings))
                .collect(),
        )
        .with_aggregate_functions(registry.aggregates().cloned().collect())
        .with_window_functions(registry.windows().cloned().collect())
        .with_higher_order_functions(registry.higher_order().cloned().collect())
        .with_table_function_list(registry.table_functions().cloned().collect())
        .build()
}

/// Ours come first: DataFusion's leave to none what they do not know.
fn expr_planners() -> Vec<Arc<dyn ExprPlanner>> {
    let mut planners: Vec<Arc<dyn ExprPlanner>> = vec![
        Arc::new(IntervalScaling),
        Arc::new(DecimalTypes::default()),
        Arc::new(Extract),
    ];
    planners.extend(SessionStateDefaults::default_expr_planners());
    planners
}

/// DataFusion's configuration for these settings. What is not named here keeps DataFusion's default, which is the
/// configuration of its command line too.
pub(crate) fn session_config(settings: &PlanSettings) -> SessionConfig {
    let mut options = ConfigOptions::new();
    options.catalog.default_catalog = "tidegate".into();
    options.catalog.information_schema = settings.information_schema;
    options.sql_parser.parse_float_as_decimal = true;
    options.sql_parser.collect_spans = true;
    options.sql_parser.default_null_ordering = "nulls_max".into();
    options.execution.collect_statistics = true;
    options.execution.time_zone = Some(settings.time_zone.clone());
    options.execution.parquet.pushdown_filters = settings.pushdown_filters;
    options.execution.parquet.reorder_filters = settings.pushdown_filters;
    options.execution.sort_spill_reservation_bytes = settings.sort_spill_reservation_bytes;
    options.execution.planning_concurrency = settings.partitions.max(1);
    // Shuffles are logical: nothing of this may add a movement, or take one for another.
    let optimizer = &mut options.optimizer;
    // Tables deal their files when they are planned: how many partitions there are is known before.
    optimizer.repartition_file_scans = false;
    optimizer.enable_round_robin_repartition = false;
    optimizer.subset_repartition_threshold = 1;
    optimizer.top_down_join_key_reordering = false;
    optimizer.enable_sort_pushdown = false;
    optimizer.prefer_existing_union = true;
    // A rule that fails is an error: skipping it could leave a guard out.
    options.optimizer.skip_failed_rules = false;
    SessionConfig::from(options)
        .with_target_partitions(settings.partitions.max(1))
        .with_batch_size(settings.batch_rows.max(1))
        .with_extension(Arc::new(settings.execution))
        .with_extension(Arc::new(settings.batching))
}

/// The context that plans are decoded in: functions and configuration, no resources.
pub(crate) fn decode_context(settings: &PlanSettings, registry: &Registry) -> TaskContext {
    let scalars: Vec<_> = registry
        .scalars()
        .cloned()
        .chain(given::functions(settings))
        .collect();
    TaskContext::new(
        None,
        String::new(),
        session_config(settings),
        scalars
            .iter()
            .flat_map(|udf| named(udf.name(), udf.aliases(), udf))
            .collect(),
        registry
            .higher_order()
            .map(|function| (function.name().to_string(), Arc::clone(function)))
            .collect(),
        registry
            .aggregates()
            .flat_map(|udaf| named(udaf.name(), udaf.aliases(), udaf))
            .collect(),
        registry
            .windows()
            .flat_map(|udwf| named(udwf.name(), udwf.aliases(), udwf))
            .collect(),
        tidegate_operators::codec::decoding_runtime(),
    )
}

fn named<'a, T>(
    name: &'a str,
    aliases: &'a [String],
    function: &'a Arc<T>,
) -> impl Iterator<Item = (String, Arc<T>)> + 'a {
    let names = std::iter::once(name).chain(aliases.iter().map(String::as_str));
    names.map(|name| (name.to_string(), Arc::clone(function)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_reach_the_configuration() {
        let settings = PlanSettings {
            partitions: 3,
            batch_rows: 77,
            ..PlanSettings::at(chrono::DateTime::UNIX_EPOCH)
        };
        let state = session_state(&settings, Arc::new(RuntimeEnv::default()), &Registry::new());
        let options = state.config_options();
        assert_eq!(options.execution.target_partitions, 3);
        assert_eq!(options.execution.batch_size.get(), 77);
        assert!(options.sql_parser.parse_float_as_decimal);
        assert!(options.sql_parser.collect_spans);
        assert!(options.sql_parser.map_string_types_to_utf8view);
        assert!(options.execution.collect_statistics);
        assert!(!options.execution.parquet.pushdown_filters);
        assert_eq!(
            state.execution_props().query_execution_start_time,
            Some(settings.now)
        );
    }
}
