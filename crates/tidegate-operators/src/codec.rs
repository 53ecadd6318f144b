//! Serialization of this crate's nodes, as pieces for the one codec of plans.
//!
//! Each piece begins with a mark, a version and a kind. A scan is DataFusion's own message about
//! files and projection, and ours about the format; what it runs with is attached again later.

mod shuffle;

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::datasource::object_store::ObjectStoreUrl;
use datafusion::datasource::physical_plan::{
    FileGroup, FileScanConfig, FileScanConfigBuilder, ParquetSource,
};
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::execution::object_store::{DefaultObjectStoreRegistry, ObjectStoreRegistry};
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::physical_plan::from_proto::{
    parse_protobuf_file_scan_config, parse_table_schema_from_proto,
};
use datafusion_proto::physical_plan::to_proto::serialize_file_scan_config;
use datafusion_proto::physical_plan::{
    AsExecutionPlan, PhysicalExtensionCodec, PhysicalPlanDecodeContext,
    PhysicalProtoConverterExtension,
};
use datafusion_proto::protobuf::physical_plan_node::PhysicalPlanType;
use datafusion_proto::protobuf::{AvroScanExecNode, FileScanExecConf, PhysicalPlanNode};
use object_store::ObjectStore;
use object_store::memory::InMemory;
use serde::{Deserialize, Serialize};

use self::shuffle::Codec;
use crate::shuffle::{ShuffleExec, ShuffleReadExec};
use crate::source::{Format, RecordSource, record_scan};

/// What every piece begins with.
const MARK: &[u8; 4] = b"TGop";

/// Raised when the pieces change so that an older program cannot read them.
const VERSION: u8 = 1;

/// The kinds of nodes.
const RECORD_SCAN: u8 = 1;
const SHUFFLE: u8 = 2;
const SHUFFLE_READ: u8 = 3;

/// What DataFusion's message about a scan leaves out.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RecordScan {
    format: Format,
    chunk_bytes: u64,
    /// Tags and versions of the files, by location: parts of the pin.
    pins: Pins,
    preserve_order: bool,
    /// DataFusion's message has 32 bits for it.
    limit: Option<u64>,
}

/// Appends `node` to `out` if it is one of ours; says whether it is.
pub fn try_encode(
    node: &Arc<dyn ExecutionPlan>,
    out: &mut Vec<u8>,
    codec: &dyn PhysicalExtensionCodec,
    converter: &dyn PhysicalProtoConverterExtension,
) -> Result<bool> {
    if let Some(moved) = node.downcast_ref::<ShuffleExec>() {
        let (ours, theirs) = Codec { codec, converter }.encode(moved)?;
        append(out, SHUFFLE, &ours, &theirs)?;
        return Ok(true);
    }
    if let Some(read) = node.downcast_ref::<ShuffleReadExec>() {
        let (ours, theirs) = Codec { codec, converter }.encode_read(read)?;
        append(out, SHUFFLE_READ, &ours, &theirs)?;
        return Ok(true);
    }
    let Some((config, source)) = record_scan(node) else {
        return Ok(false);
    };
    let ours = RecordScan {
        format: source.format().clone(),
        chunk_bytes: source.chunk_bytes(),
        pins: pins(config),
        preserve_order: config.preserve_order,
        limit: config.limit.map(|limit| limit as u64),
    };
    let ours = serde_json::to_vec(&ours).map_err(external)?;
    let theirs = serialize_file_scan_config(config, codec, converter)?;
    append(out, RECORD_SCAN, &ours, &wrap(theirs))?;
    Ok(true)
}

fn append(out: &mut Vec<u8>, kind: u8, ours: &[u8], theirs: &PhysicalPlanNode) -> Result<()> {
    out.extend_from_slice(MARK);
    out.extend_from_slice(&[VERSION, kind]);
    out.extend_from_slice(&(ours.len() as u64).to_le_bytes());
    out.extend_from_slice(ours);
    theirs.try_encode(out)
}

fn damaged() -> DataFusionError {
    DataFusionError::Execution("a stored plan is damaged".to_owned())
}

/// Decodes a node of ours; none if `bytes` are of another codec.
pub fn try_decode(
    bytes: &[u8],
    inputs: &[Arc<dyn ExecutionPlan>],
    context: &TaskContext,
    codec: &dyn PhysicalExtensionCodec,
    converter: &dyn PhysicalProtoConverterExtension,
) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let Some(rest) = bytes.strip_prefix(MARK) else {
        return Ok(None);
    };
    let (&[version, kind], rest) = rest.split_first_chunk().ok_or_else(damaged)?;
    if version != VERSION || ![RECORD_SCAN, SHUFFLE, SHUFFLE_READ].contains(&kind) {
        let what = format!(
            "a stored plan has a step of kind {kind}, version {version}, which this version of Tidegate does not know"
        );
        return Err(DataFusionError::Execution(what));
    }
    let (length, rest) = rest.split_first_chunk::<8>().ok_or_else(damaged)?;
    let length = usize::try_from(u64::from_le_bytes(*length)).map_err(|_| damaged())?;
    let (ours, theirs) = rest.split_at_checked(length).ok_or_else(damaged)?;
    let shuffles = Codec { codec, converter };
    match (kind, inputs) {
        (SHUFFLE, [input]) => return shuffles.decode(ours, theirs, input, context).map(Some),
        (SHUFFLE, _) => return Err(damaged()),
        (SHUFFLE_READ, _) => return shuffles.decode_read(ours, theirs, context).map(Some),
        _ => {}
    }
    let ours: RecordScan = serde_json::from_slice(ours).map_err(external)?;
    let theirs = unwrap(PhysicalPlanNode::try_decode(theirs)?).ok_or_else(damaged)?;
    let table = parse_table_schema_from_proto(&theirs)?;
    let source = RecordSource::new(ours.format, table)?.with_chunk_bytes(ours.chunk_bytes);
    let context = PhysicalPlanDecodeContext::new(context, codec);
    let mut config =
        parse_protobuf_file_scan_config(&theirs, &context, converter, Arc::new(source))?;
    config.preserve_order = ours.preserve_order;
    config.limit = ours
        .limit
        .map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
    config.file_groups = pinned(&config, &ours.pins);
    Ok(Some(DataSourceExec::from_data_source(config)))
}

/// Their message stands alone only inside a node; which one does not matter.
fn wrap(theirs: FileScanExecConf) -> PhysicalPlanNode {
    let scan = AvroScanExecNode {
        base_conf: Some(theirs),
    };
    PhysicalPlanNode {
        physical_plan_type: Some(PhysicalPlanType::AvroScan(scan)),
    }
}

fn unwrap(node: PhysicalPlanNode) -> Option<FileScanExecConf> {
    match node.physical_plan_type? {
        PhysicalPlanType::AvroScan(scan) => scan.base_conf,
        _ => None,
    }
}

fn external(error: impl std::error::Error + Send + Sync + 'static) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// What plans are decoded in: DataFusion looks up the store of a Parquet scan then. Any store does, for what scans read
/// with is attached later.
pub fn decoding_runtime() -> Arc<RuntimeEnv> {
    static RUNTIME: LazyLock<Arc<RuntimeEnv>> = LazyLock::new(|| {
        Arc::new(RuntimeEnv {
            object_store_registry: Arc::new(AnyStore(DefaultObjectStoreRegistry::new())),
            ..RuntimeEnv::default()
        })
    });
    Arc::clone(&RUNTIME)
}

/// Has an empty store for every URL that is not of this machine.
#[derive(Debug)]
struct AnyStore(DefaultObjectStoreRegistry);

impl ObjectStoreRegistry for AnyStore {
    fn register_store(
        &self,
        _: &url::Url,
        _: Arc<dyn ObjectStore>,
    ) -> Option<Arc<dyn ObjectStore>> {
        None
    }

    fn get_store(&self, url: &url::Url) -> Result<Arc<dyn ObjectStore>> {
        let known = self.0.get_store(url);
        Ok(known.unwrap_or_else(|_| Arc::new(InMemory::new())))
    }
}

/// The tag and the version of files, by their place: what tells a file from a changed one beside its size and time.
pub type Pins = BTreeMap<String, (Option<String>, Option<String>)>;

/// The pins of the Parquet scans of a plan: DataFusion, which writes them down, leaves these out.
pub fn parquet_pins(plan: &Arc<dyn ExecutionPlan>) -> Result<Pins> {
    let mut found = Pins::new();
    plan.apply(|node| {
        if let Some((config, _)) = parquet_scan(node) {
            found.extend(pins(config));
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(found)
}

/// The plan with these pins in its Parquet scans.
pub fn with_parquet_pins(
    plan: Arc<dyn ExecutionPlan>,
    pins: &Pins,
) -> Result<Arc<dyn ExecutionPlan>> {
    if pins.is_empty() {
        return Ok(plan);
    }
    plan.transform_up(|node| {
        let Some((config, _)) = parquet_scan(&node) else {
            return Ok(Transformed::no(node));
        };
        let groups = pinned(config, pins);
        let builder = FileScanConfigBuilder::from(config.clone()).with_file_groups(groups);
        Ok(Transformed::yes(DataSourceExec::from_data_source(
            builder.build(),
        )))
    })
    .data()
}

fn parquet_scan(node: &Arc<dyn ExecutionPlan>) -> Option<(&FileScanConfig, &ParquetSource)> {
    node.downcast_ref::<DataSourceExec>()?
        .downcast_to_file_source::<ParquetSource>()
}

fn pins(config: &FileScanConfig) -> Pins {
    let files = config.file_groups.iter().flat_map(FileGroup::iter);
    files
        .map(|file| &file.object_meta)
        .filter(|meta| meta.e_tag.is_some() || meta.version.is_some())
        .map(|meta| {
            (
                place(&config.object_store_url, &meta.location),
                (meta.e_tag.clone(), meta.version.clone()),
            )
        })
        .collect()
}

fn place(store: &ObjectStoreUrl, location: &object_store::path::Path) -> String {
    format!("{}{location}", store.as_str())
}

fn pinned(config: &FileScanConfig, pins: &Pins) -> Vec<FileGroup> {
    let groups = config.file_groups.clone();
    let pin = |group: FileGroup| {
        let mut files = group.into_inner();
        for file in &mut files {
            if let Some((tag, version)) =
                pins.get(&place(&config.object_store_url, &file.object_meta.location))
            {
                file.object_meta.e_tag.clone_from(tag);
                file.object_meta.version.clone_from(version);
            }
        }
        FileGroup::new(files)
    };
    groups.into_iter().map(pin).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::csv::Dialect;
    use arrow::datatypes::{DataType, Field, Schema};
    use datafusion::datasource::listing::PartitionedFile;
    use datafusion::datasource::table_schema::TableSchema;
    use datafusion::execution::object_store::ObjectStoreUrl;
    use datafusion::prelude::SessionContext;
    use datafusion::scalar::ScalarValue;
    use datafusion_proto::physical_plan::{
        DefaultPhysicalExtensionCodec, DefaultPhysicalProtoConverter,
    };

    fn scan() -> Arc<dyn ExecutionPlan> {
        let schema = Arc::new(Schema::new(vec![
            Field::new("a", DataType::Int64, true),
            Field::new("b", DataType::Utf8View, true),
        ]));
        let day = Arc::new(Field::new("day", DataType::Utf8, true));
        let table = TableSchema::builder(schema)
            .with_table_partition_cols(vec![day])
            .build();
        let dialect = Dialect {
            delimiter: b'|',
            ..Dialect::default()
        };
        let format = Format::Csv {
            dialect,
            said: vec!["a".to_owned()],
        };
        let source = RecordSource::new(format, table)
            .unwrap()
            .with_chunk_bytes(77);
        let mut file = PartitionedFile::new("x/day=mon/a.csv", 5000)
            .with_range(77, 154)
            .with_partition_values(vec![ScalarValue::from("mon")]);
        file.object_meta.e_tag = Some("tag".to_owned());
        let config =
            FileScanConfigBuilder::new(ObjectStoreUrl::local_filesystem(), Arc::new(source))
                .with_projection_indices(Some(vec![2, 0]))
                .unwrap()
                .with_file(file)
                .with_limit(Some(5_000_000_000))
                .build();
        DataSourceExec::from_data_source(config)
    }

    fn encoded(plan: &Arc<dyn ExecutionPlan>) -> Vec<u8> {
        let mut bytes = Vec::new();
        let (codec, converter) = (
            DefaultPhysicalExtensionCodec {},
            DefaultPhysicalProtoConverter {},
        );
        assert!(try_encode(plan, &mut bytes, &codec, &converter).unwrap());
        bytes
    }

    fn decoded(bytes: &[u8]) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let context = SessionContext::new().task_ctx();
        let (codec, converter) = (
            DefaultPhysicalExtensionCodec {},
            DefaultPhysicalProtoConverter {},
        );
        try_decode(bytes, &[], &context, &codec, &converter)
    }

    #[test]
    fn a_scan_comes_back_as_it_was() {
        let plan = scan();
        let bytes = encoded(&plan);
        let back = decoded(&bytes).unwrap().unwrap();
        let ((config, source), (old, old_source)) =
            (record_scan(&back).unwrap(), record_scan(&plan).unwrap());
        assert_eq!(source.format(), old_source.format());
        assert_eq!(source.chunk_bytes(), 77);
        assert_eq!(config.limit, Some(5_000_000_000));
        assert_eq!(back.schema(), plan.schema());
        let (file, old) = (
            &config.file_groups[0].files()[0],
            &old.file_groups[0].files()[0],
        );
        assert_eq!(file.object_meta, old.object_meta);
        assert_eq!(file.range, old.range);
        assert_eq!(file.partition_values, old.partition_values);
        assert_eq!(encoded(&back), bytes);
    }

    #[test]
    fn other_and_damaged_bytes_are_told_apart() {
        assert!(decoded(b"other").unwrap().is_none());
        let bytes = encoded(&scan());
        for end in 4..bytes.len() - 1 {
            // A shorter message can be a message too, but never a panic.
            let _ = decoded(&bytes[..end]);
        }
        let mut later = bytes;
        later[4] = 9;
        let error = decoded(&later).unwrap_err().to_string();
        assert!(error.contains("does not know"), "{error}");
    }
}
