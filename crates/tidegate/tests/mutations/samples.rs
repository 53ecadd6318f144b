//! The sound files that are damaged: small ones of every format, most written by the engine.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::arrow_avro::compression::CompressionCodec;
use datafusion::arrow_avro::writer::{AvroWriter, WriterBuilder, format::AvroOcfFormat};
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::basic::{Compression, Encoding};
use datafusion::parquet::file::properties::{WriterProperties, WriterVersion};
use tidegate::arrow::array::RecordBatch;
use tidegate::arrow::ipc::writer::StreamWriter;
use tidegate::{Session, Settings};

const FLAT: &str = "SELECT value AS n, value % 2 = 0 AS b, value * 0.25 AS m, \
    CAST(value AS DOUBLE) / 3 AS d, CASE WHEN value % 3 = 0 THEN NULL ELSE value END AS h, \
    'text ' || CAST(value % 7 AS VARCHAR) AS s, \
    to_timestamp(value * 86400) AS t, DATE '2024-02-29' AS y \
    FROM generate_series(1, 300)";
const NESTED: &str = "SELECT value AS n, make_array(value, NULL, value + 1) AS l, \
    named_struct('a', value, 'b', make_array('x', 'y')) AS o FROM generate_series(1, 100)";
const TEXT: &str = "SELECT value AS n, 'a \"quoted\"' || chr(10) || 'line, ' || value AS s, \
    CASE WHEN value % 3 = 0 THEN NULL ELSE value * 1.5 END AS h FROM generate_series(1, 200)";

const WRITTEN: &[(&str, &str, &str)] = &[
    ("flat.parquet", FLAT, "FORMAT parquet"),
    (
        "zstd.parquet",
        FLAT,
        "FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 100",
    ),
    ("gzip.parquet", FLAT, "FORMAT parquet, COMPRESSION gzip"),
    ("nested.parquet", NESTED, "FORMAT parquet"),
    ("plain.csv", FLAT, "FORMAT csv"),
    ("quoted.csv", TEXT, "FORMAT csv"),
    ("tabs.tsv", TEXT, "FORMAT csv, DELIMITER '\t'"),
    ("packed.csv.gz", TEXT, "FORMAT csv"),
    ("packed.csv.zst", FLAT, "FORMAT csv"),
    ("flat.ndjson", FLAT, "FORMAT ndjson"),
    ("nested.ndjson", NESTED, "FORMAT ndjson"),
    ("nested.json", NESTED, "FORMAT json"),
    ("packed.ndjson.gz", TEXT, "FORMAT ndjson"),
    ("flat.arrow", FLAT, "FORMAT arrow"),
    ("nested.arrow", NESTED, "FORMAT arrow"),
];

/// The names of all samples, in order.
pub(crate) fn names() -> Vec<&'static str> {
    let written = WRITTEN.iter().map(|(name, ..)| *name);
    written
        .chain([
            "delta.parquet",
            "stream.arrows",
            "flat.avro",
            "nested.avro",
            "snappy.avro",
        ])
        .collect()
}

/// Writes all samples into `dir`.
pub(crate) fn make(dir: &Path) {
    let settings = Settings::default().threads(1);
    let session = Session::builder().settings(settings).build().unwrap();
    for (name, query, options) in WRITTEN {
        let path = dir.join(name);
        let sql = format!("COPY ({query}) TO '{}' ({options})", path.display());
        session
            .block_on(async { session.sql(&sql).await?.collect().await })
            .unwrap();
    }
    let rows = |sql: &str| -> Vec<RecordBatch> {
        session
            .block_on(async { session.sql(sql).await?.collect().await })
            .unwrap()
    };
    let avro = "SELECT n, b, d, h, s, t FROM 'flat.parquet'".replace("flat", &text(dir, "flat"));
    delta(&rows(FLAT), dir.join("delta.parquet"));
    stream(&rows(NESTED), dir.join("stream.arrows"));
    avro_file(&rows(&avro), None, dir.join("flat.avro"));
    avro_file(
        &rows(NESTED),
        Some(CompressionCodec::Deflate),
        dir.join("nested.avro"),
    );
    avro_file(
        &rows(&avro),
        Some(CompressionCodec::Snappy),
        dir.join("snappy.avro"),
    );
}

fn text(dir: &Path, name: &str) -> String {
    dir.join(name).display().to_string()
}

/// Encodings that the engine reads and does not write.
fn delta(rows: &[RecordBatch], path: PathBuf) {
    let properties = WriterProperties::builder()
        .set_writer_version(WriterVersion::PARQUET_2_0)
        .set_dictionary_enabled(false)
        .set_bloom_filter_enabled(true)
        .set_compression(Compression::LZ4_RAW)
        .set_column_encoding("d".into(), Encoding::BYTE_STREAM_SPLIT)
        .set_column_encoding("s".into(), Encoding::DELTA_BYTE_ARRAY)
        .build();
    let file = File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, rows[0].schema(), Some(properties)).unwrap();
    rows.iter().for_each(|batch| writer.write(batch).unwrap());
    writer.close().unwrap();
}

fn stream(rows: &[RecordBatch], path: PathBuf) {
    let mut writer = StreamWriter::try_new(File::create(path).unwrap(), &rows[0].schema()).unwrap();
    rows.iter().for_each(|batch| writer.write(batch).unwrap());
    writer.finish().unwrap();
}

fn avro_file(rows: &[RecordBatch], codec: Option<CompressionCodec>, path: PathBuf) {
    let schema = Arc::unwrap_or_clone(rows[0].schema());
    let builder = WriterBuilder::new(schema).with_compression(codec);
    let mut writer: AvroWriter<File> = builder
        .build::<_, AvroOcfFormat>(File::create(path).unwrap())
        .unwrap();
    rows.iter().for_each(|batch| writer.write(batch).unwrap());
    writer.finish().unwrap();
}
