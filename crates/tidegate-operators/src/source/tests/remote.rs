//! Files in an object store: the same rows, and the same care for changes.

use super::*;
use datafusion::datasource::physical_plan::FileSource;
use object_store::memory::InMemory;
use object_store::path::Path as StorePath;
use object_store::{ObjectStore, ObjectStoreExt};

const URL: &str = "memory://bucket";

struct Remote {
    store: Arc<InMemory>,
    context: SessionContext,
    runtime: tokio::runtime::Runtime,
}

impl Remote {
    fn new() -> Self {
        let (store, context) = (Arc::new(InMemory::new()), SessionContext::new());
        let url = ObjectStoreUrl::parse(URL).unwrap();
        context.register_object_store(url.as_ref(), Arc::clone(&store) as Arc<dyn ObjectStore>);
        Self {
            store,
            context,
            runtime: runtime(),
        }
    }

    fn put(&self, name: &str, bytes: Vec<u8>) -> PartitionedFile {
        let path = StorePath::from(name);
        self.runtime
            .block_on(self.store.put(&path, bytes.into()))
            .unwrap();
        let meta = self.runtime.block_on(self.store.head(&path)).unwrap();
        PartitionedFile::new_from_meta(meta)
    }

    fn rows(&self, scan: &Scan, partitions: usize) -> Result<Vec<String>> {
        let table = TableSchema::from(&scan.schema);
        let source = RecordSource::new(scan.format.clone(), table)?.with_chunk_bytes(64);
        let url = ObjectStoreUrl::parse(URL)?;
        let config = FileScanConfigBuilder::new(url, Arc::new(source.clone()))
            .with_file_group(FileGroup::new(scan.files.clone()))
            .build();
        let dealt = source
            .repartitioned(partitions, 1, None, &config)?
            .unwrap_or(config);
        let plan: Arc<dyn ExecutionPlan> = DataSourceExec::from_data_source(dealt);
        let collected = datafusion::physical_plan::collect(plan, self.context.task_ctx());
        Ok(self
            .runtime
            .block_on(collected)?
            .iter()
            .flat_map(text_of)
            .collect())
    }
}

const COLUMNS: [(&str, DataType); 2] = [("a", DataType::Int64), ("b", DataType::Utf8)];

#[test]
fn every_format_is_read_from_a_store() {
    let remote = Remote::new();
    let text: String = (0..300).map(|i| format!("{i},\"t\n{i}\"\n")).collect();
    let text = format!("a,b\n{text}");
    let lines: String = (0..300)
        .map(|i| format!("{{\"a\":{i},\"b\":\"t{i}\"}}\n"))
        .collect();
    let mut files = vec![
        (csv(), "a.csv", text.clone().into_bytes()),
        (json(), "a.json", lines.into_bytes()),
    ];
    for (kind, bytes) in crate::input::compressed(text.as_bytes()) {
        files.push((csv(), kind, bytes));
    }
    files.extend(super::binary::sample(300, 70));
    for (format, name, bytes) in files {
        let mut scan = Scan::new(format, &COLUMNS, &[]);
        scan.files = vec![remote.put(name, bytes)];
        for partitions in [1, 4] {
            assert_eq!(remote.rows(&scan, partitions).unwrap().len(), 300, "{name}");
        }
    }
}

#[test]
fn a_replaced_object_is_an_error_that_names_it() {
    let remote = Remote::new();
    let text = "a,b\n".to_owned() + &"1,x\n".repeat(100);
    let mut scan = Scan::new(csv(), &COLUMNS, &[]);
    scan.files = vec![remote.put("a.csv", text.clone().into_bytes())];
    remote.put("a.csv", text.replace('1', "2").into_bytes());
    for partitions in [1, 4] {
        let found = message(remote.rows(&scan, partitions));
        assert!(
            found.starts_with("`memory://bucket/a.csv` has changed"),
            "{found}"
        );
    }
}
