//! The one function registry: what SQL can name, and what a decoded plan may refer to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

use datafusion::catalog::{TableFunction, TableFunctionImpl};
use datafusion::execution::SessionStateDefaults;
use datafusion::logical_expr::{AggregateUDF, HigherOrderUDF, ScalarUDF, WindowUDF};

use tidegate_operators::map::MapFunction;

use crate::arithmetic;

/// DataFusion's functions, ours in place of those that would be silently wrong, and the user's.
///
/// ```
/// use tidegate_plan::Registry;
/// let registry = Registry::new();
/// assert!(registry.scalar("checked_add").is_some());
/// assert!(registry.aggregate("sum").is_some());
/// ```
#[derive(Clone, Debug)]
pub struct Registry {
    scalars: BTreeMap<String, Arc<ScalarUDF>>,
    aggregates: BTreeMap<String, Arc<AggregateUDF>>,
    windows: BTreeMap<String, Arc<WindowUDF>>,
    higher_order: Vec<Arc<HigherOrderUDF>>,
    tables: BTreeMap<String, Arc<TableFunction>>,
    maps: BTreeMap<String, Arc<MapFunction>>,
}

/// The scalar functions that only plans call.
fn internal_scalars() -> impl Iterator<Item = Arc<ScalarUDF>> {
    arithmetic::functions()
        .into_iter()
        .chain(arithmetic::Comparable::ALL.map(arithmetic::Comparable::function))
        .chain(arithmetic::interval_functions())
        .chain(crate::sql::functions())
        .chain([crate::rules::maybe_null()])
        .chain(crate::rules::only_row_functions())
        .chain(crate::times::internal())
}

/// Whether a function is one that only plans call: no user should be told of it.
pub fn is_internal(function: &str) -> bool {
    static NAMES: LazyLock<BTreeSet<String>> = LazyLock::new(|| {
        let aggregates = arithmetic::reproducible();
        let aggregates = aggregates.iter().map(|udaf| udaf.name().to_string());
        let scalars = internal_scalars().map(|udf| udf.name().to_string());
        scalars.chain(aggregates).collect()
    });
    NAMES.contains(function)
}

impl Default for Registry {
    fn default() -> Self {
        Self::new()
    }
}

impl Registry {
    /// The functions every session has.
    pub fn new() -> Self {
        let mut registry = Self {
            scalars: BTreeMap::new(),
            aggregates: BTreeMap::new(),
            windows: BTreeMap::new(),
            higher_order: SessionStateDefaults::default_higher_order_functions(),
            tables: BTreeMap::new(),
            maps: BTreeMap::new(),
        };
        SessionStateDefaults::default_scalar_functions()
            .into_iter()
            .for_each(|udf| registry.add_scalar(udf));
        SessionStateDefaults::default_aggregate_functions()
            .into_iter()
            .for_each(|udaf| registry.add_aggregate(udaf));
        SessionStateDefaults::default_window_functions()
            .into_iter()
            .for_each(|udwf| registry.add_window(udwf));
        for function in SessionStateDefaults::default_table_functions() {
            registry
                .tables
                .insert(function.name().to_string(), function);
        }
        internal_scalars().for_each(|udf| registry.add_scalar(udf));
        crate::times::functions().for_each(|udf| registry.add_scalar(udf));
        for aggregate in [
            arithmetic::checked_sum(),
            arithmetic::checked_avg(),
            arithmetic::least(),
            arithmetic::greatest(),
            arithmetic::percentile(),
        ] {
            registry.add_aggregate(aggregate);
        }
        arithmetic::reproducible()
            .into_iter()
            .for_each(|aggregate| registry.add_aggregate(aggregate));
        registry
    }

    /// Adds a scalar function, in place of one of the same name.
    pub fn add_scalar(&mut self, udf: Arc<ScalarUDF>) {
        self.scalars.insert(udf.name().to_string(), udf);
    }

    /// Adds an aggregate function, in place of one of the same name.
    pub fn add_aggregate(&mut self, udaf: Arc<AggregateUDF>) {
        self.aggregates.insert(udaf.name().to_string(), udaf);
    }

    /// Adds a window function, in place of one of the same name.
    pub fn add_window(&mut self, udwf: Arc<WindowUDF>) {
        self.windows.insert(udwf.name().to_string(), udwf);
    }

    /// Adds a table function, in place of one of the same name.
    pub fn add_table_function(&mut self, name: &str, function: Arc<dyn TableFunctionImpl>) {
        self.tables.insert(
            name.to_string(),
            Arc::new(TableFunction::new(name.to_string(), function)),
        );
    }

    /// Adds a function over batches, in place of one of the same name.
    pub fn add_map(&mut self, function: MapFunction) {
        self.maps
            .insert(function.name().to_string(), Arc::new(function));
    }

    /// The function over batches of a name.
    pub fn map(&self, name: &str) -> Option<&Arc<MapFunction>> {
        self.maps.get(name)
    }

    /// The scalar function of a name or alias.
    pub fn scalar(&self, name: &str) -> Option<&Arc<ScalarUDF>> {
        let aliased = || {
            self.scalars
                .values()
                .find(|udf| udf.aliases().iter().any(|alias| alias == name))
        };
        self.scalars.get(name).or_else(aliased)
    }

    /// The aggregate function of a name or alias.
    pub fn aggregate(&self, name: &str) -> Option<&Arc<AggregateUDF>> {
        let aliased = || {
            self.aggregates
                .values()
                .find(|udaf| udaf.aliases().iter().any(|alias| alias == name))
        };
        self.aggregates.get(name).or_else(aliased)
    }

    /// The window function of a name or alias.
    pub fn window(&self, name: &str) -> Option<&Arc<WindowUDF>> {
        let aliased = || {
            self.windows
                .values()
                .find(|udwf| udwf.aliases().iter().any(|alias| alias == name))
        };
        self.windows.get(name).or_else(aliased)
    }

    /// Every scalar function, by name.
    pub fn scalars(&self) -> impl Iterator<Item = &Arc<ScalarUDF>> {
        self.scalars.values()
    }

    /// Every aggregate function, by name.
    pub fn aggregates(&self) -> impl Iterator<Item = &Arc<AggregateUDF>> {
        self.aggregates.values()
    }

    /// Every window function, by name.
    pub fn windows(&self) -> impl Iterator<Item = &Arc<WindowUDF>> {
        self.windows.values()
    }

    /// Every function over arrays that takes a lambda.
    pub fn higher_order(&self) -> impl Iterator<Item = &Arc<HigherOrderUDF>> {
        self.higher_order.iter()
    }

    /// Every table function, by name.
    pub fn table_functions(&self) -> impl Iterator<Item = &Arc<TableFunction>> {
        self.tables.values()
    }
}
