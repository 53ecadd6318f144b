//! A file that is not the listed one is an error.

use super::*;

#[test]
fn a_replaced_file_is_an_error_that_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let text = "id\n".to_owned() + &"1\n".repeat(1000);
    let file = write(dir.path(), "a.csv", text.as_bytes());
    let columns = [("id", DataType::Int64)];
    let scan = Scan::new(csv(), &columns, std::slice::from_ref(&file));
    assert_eq!(scan.rows().unwrap().len(), 1000);
    // Same size, other file.
    let other = write(dir.path(), "b", text.replace('1', "2").as_bytes());
    std::fs::rename(other, &file).unwrap();
    for partitions in [1, 4] {
        let found = message(rows(&scan.dealt(partitions)));
        assert!(
            found.starts_with(&format!("`{}` has changed", file.display())),
            "{found}"
        );
    }
    std::fs::write(&file, "id\n1\n").unwrap();
    let found = message(scan.rows());
    assert!(found.contains("it had 2003 bytes and has 5 now"), "{found}");
    std::fs::remove_file(&file).unwrap();
    let found = message(scan.rows());
    assert!(found.contains("it is no longer there"), "{found}");
}

#[test]
fn a_file_truncated_while_it_is_read_is_an_error() {
    use futures::StreamExt;
    let dir = tempfile::tempdir().unwrap();
    let text = "id\n".to_owned() + &"123456\n".repeat(100_000);
    let file = write(dir.path(), "a.csv", text.as_bytes());
    let columns = [("id", DataType::Int64)];
    let scan = Scan {
        chunk_bytes: 1 << 16,
        ..Scan::new(csv(), &columns, std::slice::from_ref(&file))
    };
    let found = runtime().block_on(async {
        let mut stream = scan.plan().execute(0, task())?;
        stream.next().await.unwrap()?;
        std::fs::OpenOptions::new()
            .write(true)
            .open(&file)
            .unwrap()
            .set_len(70_003)
            .unwrap();
        let mut rows = 0;
        while let Some(batch) = stream.next().await {
            rows += batch?.num_rows();
        }
        Ok(vec![String::new(); rows])
    });
    assert!(message(found).contains("has changed since the query was planned"));
}
