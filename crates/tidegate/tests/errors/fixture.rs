//! The files that the mistakes of the table are about: good ones, and every way to break them.

use std::path::Path;

use tidegate::Session;

/// Text files: where, and what is in them.
const TEXTS: &[(&str, &str)] = &[
    (
        "zones/north.csv",
        "zone_id,zone,opened\n1,Airport,1961-01-15\n2,Harbour,1962-02-15\n",
    ),
    (
        "zones/south.csv",
        "zone_id,zone,opened\n7,Hill,1967-11-20\n",
    ),
    ("dir_mixed/a.csv", "a,b\n1,2\n"),
    ("dir_mixed/b.ndjson", "{\"a\": 1}\n"),
    ("dir_hidden/_staged.csv", "a\n1\n"),
    ("dir_clash/1.csv", "id,day\n1,2026-01-01\n"),
    ("dir_clash/2.csv", "id,day\n2,true\n"),
    ("dir_hive/year=2024/a.csv", "x\n1\n"),
    ("dir_hive/month=1/a.csv", "x\n1\n"),
    ("lake/_delta_log/00000000000000000000.json", "{}\n"),
    ("iceberg/metadata/v1.metadata.json", "{}\n"),
    ("hudi/.hoodie/hoodie.properties", "x=1\n"),
    (
        "csv/ragged_short.csv",
        "id,amount,day\n1,10.5,2026-01-01\n2,7.25\n3,1.0,2026-01-03\n",
    ),
    (
        "csv/ragged_long.csv",
        "id,amount\n1,10.5\n2,7.25,extra\n3,1.0\n",
    ),
    ("csv/open_quote.csv", "id,name\n1,Ann\n2,\"Bob\n3,Cleo\n"),
    ("csv/inner_quote.csv", "id,name\n1,\"Ann\" Lee\n2,Bob\n"),
    ("csv/unsure.csv", "a;b,c\n1;2,3\n4;5,6\n"),
    ("csv/numbers.csv", "id,amount\n1,10\n2,20\n"),
    ("csv/header_only.csv", "id,amount\n"),
    ("csv/duplicate.csv", "id,ID\n1,2\n"),
    ("csv/huge.csv", "n\n9223372036854775807\n1\n"),
    ("csv/empty.csv", ""),
    ("csv/notes.csv", "# hello\n# all\nid,name\n1,Ann\n"),
    ("csv/german_dates.csv", "day\n31.12.2024\n"),
    ("csv/american_dates.csv", "day\n12/31/2024\n"),
    ("json/broken.ndjson", "{\"a\": 1}\n{\"a\": 2\n{\"a\": 3}\n"),
    ("json/broken.json", "[{\"a\": 1}, {\"a\": 2}"),
    ("json/scalar.json", "42\n"),
    ("json/clash.ndjson", "{\"a\": 1}\n{\"a\": {\"b\": 2}}\n"),
    ("bad/garbage.parquet", "this is no parquet file at all\n"),
    ("bad/garbage.arrow", "this is no arrow file at all\n"),
    ("bad/garbage.avro", "this is no avro file at all\n"),
    ("bad/noise.xyz", "\u{1}\u{2}\u{3}\u{0}\u{0}\u{7}"),
    ("full/keep.csv", "a\n1\n"),
];

/// Makes all of them under a directory.
pub(crate) async fn make(top: &Path) {
    for (path, text) in TEXTS {
        put(top, path, text.as_bytes());
    }
    std::fs::create_dir(top.join("dir_empty")).unwrap();
    put(
        top,
        "csv/latin1.csv",
        b"name,city\nAnn,Bonn\nJos\xe9,Lima\n",
    );
    let late: String = (0..30_000)
        .map(|row| match row {
            25_000 => format!("{row},n/a\n"),
            row => format!("{row},{}\n", row % 7),
        })
        .collect();
    put(top, "csv/late.csv", format!("id,amount\n{late}").as_bytes());
    let session = Session::builder().working_dir(top).build().unwrap();
    for format in ["parquet", "arrow"] {
        let sql = format!(
            "COPY (SELECT value AS id, value * 2 AS twice FROM range(0, 1000)) TO 'good.{format}'"
        );
        session.sql(&sql).await.unwrap().collect().await.unwrap();
    }
    breakage(top);
}

/// Good files, broken.
fn breakage(top: &Path) {
    let parquet = std::fs::read(top.join("good.parquet")).unwrap();
    put(top, "bad/cut.parquet", &parquet[..parquet.len() / 2]);
    put(top, "bad/head.parquet", b"PAR1");
    let mut huge = parquet.clone();
    let at = huge.len() - 8;
    huge[at..at + 4].copy_from_slice(&0x7fff_ffff_u32.to_le_bytes());
    put(top, "bad/huge_footer.parquet", &huge);
    let mut noise = parquet.clone();
    for byte in &mut noise[at - 40..at] {
        *byte = 0xff;
    }
    put(top, "bad/noisy_footer.parquet", &noise);
    let mut page = parquet;
    for byte in &mut page[4..60] {
        *byte = 0xff;
    }
    put(top, "bad/noisy_page.parquet", &page);
    let arrow = std::fs::read(top.join("good.arrow")).unwrap();
    put(top, "bad/cut.arrow", &arrow[..arrow.len() / 2]);
    put(top, "bad/cut.avro", b"Obj\x01\x04\x14avro.codec");
    put(
        top,
        "bad/cut.csv.gz",
        b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\x4b\x4c",
    );
}

fn put(top: &Path, path: &str, bytes: &[u8]) {
    let path = top.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}
