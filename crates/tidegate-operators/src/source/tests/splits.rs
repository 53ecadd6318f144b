//! CSV: the same rows however the file is cut, compressed or ordered.

use super::*;

fn tricky(rows: usize) -> String {
    let mut text = String::from("id,name,amount\r\n");
    for i in 0..rows {
        let name = match i % 5 {
            0 => format!("\"line one {i}\nline \"\"two\"\", three\""),
            1 => "\"\"".to_owned(),
            2 => String::new(),
            3 => "\"a,\r\nb\"".to_owned(),
            _ => format!("plain {i}"),
        };
        text += &format!("{i},{name},{}.25\n", i * 3);
        if i % 7 == 0 {
            text.push('\n');
        }
    }
    text
}

const COLUMNS: [(&str, DataType); 3] = [
    ("id", DataType::Int64),
    ("name", DataType::Utf8),
    ("amount", DataType::Float64),
];

fn sorted(mut rows: Vec<String>) -> Vec<String> {
    rows.sort();
    rows
}

#[test]
fn rows_do_not_depend_on_the_number_of_partitions() {
    let dir = tempfile::tempdir().unwrap();
    let file = write(dir.path(), "a.csv", tricky(500).as_bytes());
    for chunk_bytes in [1, 7, 64, 1 << 20] {
        let scan = Scan {
            chunk_bytes,
            ..Scan::new(csv(), &COLUMNS, std::slice::from_ref(&file))
        };
        let expect = sorted(scan.rows().unwrap());
        assert_eq!(expect.len(), 500);
        for partitions in [1, 2, 7, 32] {
            let found = sorted(rows(&scan.dealt(partitions)).unwrap());
            assert_eq!(
                found, expect,
                "{partitions} partitions, chunks of {chunk_bytes}"
            );
        }
    }
}

#[test]
fn one_partition_alone_reads_its_own_rows() {
    let dir = tempfile::tempdir().unwrap();
    let file = write(dir.path(), "a.csv", tricky(300).as_bytes());
    let scan = Scan::new(csv(), &COLUMNS, &[file]);
    let runtime = runtime();
    let mut found = Vec::new();
    for partition in (0..7).rev() {
        // A plan of its own for each: nothing is shared, so the prefix is walked over again.
        let plan = scan.dealt(7);
        assert_eq!(plan.properties().output_partitioning().partition_count(), 7);
        let config = plan
            .downcast_ref::<DataSourceExec>()
            .unwrap()
            .downcast_to_file_source::<RecordSource>()
            .unwrap()
            .0;
        let mut alone = config.clone();
        alone.file_groups = vec![config.file_groups[partition].clone()];
        let plan: Arc<dyn ExecutionPlan> = DataSourceExec::from_data_source(alone);
        let stream = plan.execute(0, task()).unwrap();
        let batches = runtime
            .block_on(datafusion::physical_plan::common::collect(stream))
            .unwrap();
        found.extend(batches.iter().flat_map(text_of));
    }
    assert_eq!(sorted(found), sorted(scan.rows().unwrap()));
}

#[test]
fn compression_is_told_by_content() {
    let dir = tempfile::tempdir().unwrap();
    let text = tricky(200);
    let expect = Scan::new(
        csv(),
        &COLUMNS,
        &[write(dir.path(), "plain.csv", text.as_bytes())],
    )
    .rows()
    .unwrap();
    for (name, bytes) in crate::input::compressed(text.as_bytes()) {
        let file = write(dir.path(), &format!("{name}.csv"), &bytes);
        let scan = Scan::new(csv(), &COLUMNS, &[file]);
        assert_eq!(scan.rows().unwrap(), expect, "{name}");
        assert_eq!(
            sorted(rows(&scan.dealt(3)).unwrap()),
            sorted(expect.clone()),
            "{name} dealt"
        );
    }
}

#[test]
fn columns_are_matched_by_name_and_missing_ones_are_null() {
    let dir = tempfile::tempdir().unwrap();
    let files = [
        write(dir.path(), "a.csv", b"id,name,amount\n1,x,1.5\n"),
        write(dir.path(), "b.csv", b"amount,extra,id\n2.5,?,2\n"),
    ];
    let scan = Scan::new(csv(), &COLUMNS, &files);
    assert_eq!(sorted(scan.rows().unwrap()), ["1|x|1.5", "2|∅|2.5"]);
    let projected = Scan {
        columns: Some(vec![2, 0]),
        ..scan
    };
    assert_eq!(sorted(projected.rows().unwrap()), ["1.5|1", "2.5|2"]);
}

#[test]
fn partition_columns_and_counts_need_no_file_column() {
    let dir = tempfile::tempdir().unwrap();
    let text = b"id,name,amount\n1,x,1\n2,y,2\n";
    let files = [
        write(dir.path(), "day=mon/a.csv", text),
        write(dir.path(), "day=tue/a.csv", text),
    ];
    let mut scan = Scan::new(csv(), &COLUMNS, &files);
    for (file, day) in scan.files.iter_mut().zip(["mon", "tue"]) {
        file.partition_values = vec![hive("day", day).1];
    }
    scan.partition_columns = vec![hive("day", "").0];
    scan.columns = Some(vec![3]);
    assert_eq!(sorted(scan.rows().unwrap()), ["mon", "mon", "tue", "tue"]);
    scan.columns = Some(Vec::new());
    let counted: usize = batches(&scan.plan())
        .unwrap()
        .iter()
        .map(RecordBatch::num_rows)
        .sum();
    assert_eq!(counted, 4);
}

#[test]
fn an_error_names_file_and_line_whoever_finds_it() {
    let dir = tempfile::tempdir().unwrap();
    let text = tricky(300) + "x300,bad,1\n" + "301,good,1\n";
    let line = text[..text.find("x300").unwrap()].matches('\n').count() + 1;
    let file = write(dir.path(), "a.csv", text.as_bytes());
    let scan = Scan::new(csv(), &COLUMNS, std::slice::from_ref(&file));
    for partitions in [1, 5] {
        let found = message(rows(&scan.dealt(partitions)));
        let place = format!("`{}` line {line}, column `id`", file.display());
        assert!(
            found.starts_with(&place),
            "{partitions} partitions: {found}, expected {place}"
        );
    }
}

#[test]
fn skipped_rows_are_counted_once_and_row_numbers_stay_true() {
    use datafusion::functions::core::expr_fn::file_row_index;
    let dir = tempfile::tempdir().unwrap();
    let text = "id,name,amount\n0,a,1\nx,a,1\n2,a,1\n\n3,a,z\n4,\"a\nb\",1\n";
    let file = write(dir.path(), "a.csv", text.as_bytes());
    let log = Arc::new(crate::rejects::RejectLog::default());
    for partitions in [1, 4] {
        let access = ScanAccess {
            rejects: Some(Arc::clone(&log)),
            ..ScanAccess::default()
        };
        let before = log.count();
        let scan = Scan {
            access,
            chunk_bytes: 8,
            ..Scan::new(skipping(), &COLUMNS, std::slice::from_ref(&file))
        };
        let plan = with_projection(
            &scan,
            partitions,
            &[
                ("row", file_row_index()),
                ("id", datafusion::prelude::col("id")),
            ],
        );
        assert_eq!(sorted(rows(&plan).unwrap()), ["0|0", "2|2", "4|4"]);
        assert_eq!(log.count() - before, 2);
    }
    let lines: Vec<u64> = log.rows().iter().map(|reject| reject.line).collect();
    assert_eq!(lines, [3, 3, 6, 6]);
}

/// The scan with expressions pushed into it.
pub(super) fn with_projection(
    scan: &Scan,
    partitions: usize,
    columns: &[(&str, datafusion::prelude::Expr)],
) -> Arc<dyn ExecutionPlan> {
    use datafusion::common::DFSchema;
    use datafusion::datasource::physical_plan::FileSource;
    use datafusion::physical_expr::projection::{ProjectionExpr, ProjectionExprs};
    let plan = scan.dealt(partitions);
    let (config, source) = plan
        .downcast_ref::<DataSourceExec>()
        .unwrap()
        .downcast_to_file_source::<RecordSource>()
        .unwrap();
    let schema = DFSchema::try_from(source.table_schema().table_schema().as_ref().clone()).unwrap();
    let context = SessionContext::new();
    let exprs = columns.iter().map(|(name, expr)| {
        let physical = context.create_physical_expr(expr.clone(), &schema).unwrap();
        ProjectionExpr::new(physical, (*name).to_owned())
    });
    let projection = ProjectionExprs::new(exprs.collect::<Vec<_>>());
    let file_source = source
        .try_pushdown_projection(&projection)
        .unwrap()
        .unwrap();
    let mut pushed = config.clone();
    pushed.file_source = file_source;
    DataSourceExec::from_data_source(pushed)
}

#[test]
fn file_names_come_with_the_rows() {
    use datafusion::functions::core::expr_fn::input_file_name;
    let dir = tempfile::tempdir().unwrap();
    let file = write(dir.path(), "a.csv", b"id,name,amount\n1,x,1.5\n");
    let scan = Scan::new(csv(), &COLUMNS, std::slice::from_ref(&file));
    let plan = with_projection(&scan, 1, &[("file", input_file_name())]);
    let name = file.to_str().unwrap().trim_start_matches('/').to_owned();
    assert_eq!(rows(&plan).unwrap(), [name]);
}

#[test]
fn other_encodings_are_read_whole() {
    let dir = tempfile::tempdir().unwrap();
    let text: String = (0..100).map(|i| format!("{i},é{i},1\n")).collect();
    let text = format!("id,name,amount\n{text}");
    let utf16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let file = write(dir.path(), "a.csv", &utf16);
    let dialect = Dialect {
        encoding: crate::csv::Encoding::Utf16Le,
        ..Dialect::default()
    };
    let format = Format::Csv {
        dialect,
        said: Vec::new(),
    };
    let scan = Scan::new(format, &COLUMNS, &[file]);
    for partitions in [1, 4] {
        let found = rows(&scan.dealt(partitions)).unwrap();
        assert_eq!(found.len(), 100);
        assert_eq!(found[99], "99|é99|1.0");
    }
}
