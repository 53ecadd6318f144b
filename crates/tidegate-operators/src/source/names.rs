//! Which column of a file is which column of the table: the one of the same name, else the one whose name differs in
//! case only. Where a file or the table has several names that differ in case only, only the exact ones count.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::error::Result;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr_adapter::{
    DefaultPhysicalExprAdapterFactory, PhysicalExprAdapter, PhysicalExprAdapterFactory,
};

/// For each name of `table`, its place in `own`, the names of a file.
///
/// ```
/// use tidegate_operators::source::places;
/// assert_eq!(places(["ID", "v"], ["v", "id", "x"]), [Some(1), Some(0), None]);
/// assert_eq!(places(["Id", "id"], ["Id", "ID"]), [Some(0), None]);
/// ```
pub fn places<'a>(
    own: impl IntoIterator<Item = &'a str>,
    table: impl IntoIterator<Item = &'a str>,
) -> Vec<Option<usize>> {
    let own: Vec<&str> = own.into_iter().collect();
    let table: Vec<&str> = table.into_iter().collect();
    // Backwards, so that the first of equal names stays.
    let exact: HashMap<&str, usize> = (0..own.len()).rev().map(|at| (own[at], at)).collect();
    let found: Vec<Option<usize>> = table.iter().map(|name| exact.get(name).copied()).collect();
    if found.iter().all(Option::is_some) {
        return found;
    }
    let (own, folded) = (folded(&own), folded(&table));
    let without_case = |name: &str| {
        let name = name.to_lowercase();
        match (own.get(&name), folded.get(&name)) {
            (Some(Some(place)), Some(Some(_))) => Some(*place),
            _ => None,
        }
    };
    let both = table.iter().zip(found);
    both.map(|(name, exact)| exact.or_else(|| without_case(name)))
        .collect()
}

/// The places of names without regard to case; none where there are several.
fn folded(names: &[&str]) -> HashMap<String, Option<usize>> {
    let mut folded = HashMap::with_capacity(names.len());
    for (place, name) in names.iter().enumerate() {
        folded
            .entry(name.to_lowercase())
            .and_modify(|known| *known = None)
            .or_insert(Some(place));
    }
    folded
}

/// DataFusion's adapter of Parquet files, which knows exact names only, with [`places`] before it.
#[derive(Debug)]
pub struct NamesAdapterFactory;

impl PhysicalExprAdapterFactory for NamesAdapterFactory {
    fn create(
        &self,
        logical_file_schema: SchemaRef,
        physical_file_schema: SchemaRef,
    ) -> Result<Arc<dyn PhysicalExprAdapter>> {
        let own = physical_file_schema.fields();
        let places = places(
            own.iter().map(|field| field.name().as_str()),
            logical_file_schema
                .fields()
                .iter()
                .map(|field| field.name().as_str()),
        );
        let mut renamed = HashMap::new();
        let mut fields = Vec::with_capacity(places.len());
        for (field, place) in logical_file_schema.fields().iter().zip(places) {
            match place.map(|place| own[place].name()) {
                Some(name) if name != field.name() => {
                    renamed.insert(field.name().clone(), name.clone());
                    fields.push(Arc::new(field.as_ref().clone().with_name(name)));
                }
                _ => fields.push(Arc::clone(field)),
            }
        }
        if renamed.is_empty() {
            return DefaultPhysicalExprAdapterFactory
                .create(logical_file_schema, physical_file_schema);
        }
        let spelled = arrow::datatypes::Schema::new_with_metadata(
            fields,
            logical_file_schema.metadata().clone(),
        );
        let inner =
            DefaultPhysicalExprAdapterFactory.create(Arc::new(spelled), physical_file_schema)?;
        Ok(Arc::new(NamesAdapter { renamed, inner }))
    }
}

/// Spells columns as one file does.
#[derive(Debug)]
struct NamesAdapter {
    renamed: HashMap<String, String>,
    inner: Arc<dyn PhysicalExprAdapter>,
}

impl PhysicalExprAdapter for NamesAdapter {
    fn rewrite(&self, expr: Arc<dyn PhysicalExpr>) -> Result<Arc<dyn PhysicalExpr>> {
        let spelled = expr.transform(|node| {
            let column = node.downcast_ref::<Column>();
            let name = column.and_then(|column| self.renamed.get(column.name()));
            match (column, name) {
                (Some(column), Some(name)) => Ok(Transformed::yes(Arc::new(Column::new(
                    name,
                    column.index(),
                )) as _)),
                _ => Ok(Transformed::no(node)),
            }
        });
        self.inner.rewrite(spelled.data()?)
    }
}
