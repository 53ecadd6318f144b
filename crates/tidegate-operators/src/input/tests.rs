//! Opening, pinning, decompressing.
#![allow(clippy::unwrap_used)]

use std::io::Write;

use super::*;

/// `bytes` in every compression, gzip also as two members.
pub(crate) fn compressed(bytes: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let gzip = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    let (front, back) = bytes.split_at(bytes.len() / 3);
    let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    bzip2.write_all(bytes).unwrap();
    let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
    xz.write_all(bytes).unwrap();
    vec![
        ("gz", gzip(bytes)),
        ("members", [gzip(front), gzip(back)].concat()),
        ("zst", zstd::encode_all(bytes, 1).unwrap()),
        ("bz2", bzip2.finish().unwrap()),
        ("xz", xz.finish().unwrap()),
    ]
}

#[test]
fn compression_is_seen_through_whatever_the_name() {
    let dir = tempfile::tempdir().unwrap();
    let content = "some text\n".repeat(1000);
    for (name, bytes) in compressed(content.as_bytes()) {
        let path = dir.path().join("plain.txt");
        std::fs::write(&path, bytes).unwrap();
        let file = InputFile::local(&path).unwrap();
        let mut text = String::new();
        file.open().unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, content, "{name}");
        let head = file.read_head(14).unwrap();
        assert_eq!(
            (head.bytes.as_slice(), head.whole),
            (&b"some text\nsome"[..], false)
        );
    }
}

#[test]
fn a_cut_short_file_names_itself() {
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in compressed("some text\n".repeat(1000).as_bytes()) {
        let path = dir.path().join(name);
        std::fs::write(&path, &bytes[..bytes.len() - 5]).unwrap();
        let mut reader = InputFile::local(&path).unwrap().open().unwrap();
        let error = reader.read_to_end(&mut Vec::new()).unwrap_err().to_string();
        assert!(
            error.contains(name) && error.contains("damaged"),
            "{name}: {error}"
        );
    }
}

#[test]
fn ranges_come_from_the_pinned_version_only() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    std::fs::write(&path, "0123456789").unwrap();
    let file = InputFile::local(&path).unwrap();
    assert_eq!(file.read_range(2..5).unwrap(), "234");
    assert!(
        file.read_range(8..11)
            .unwrap_err()
            .to_string()
            .contains("it has 10")
    );
    std::fs::write(&path, "0123456789a").unwrap();
    assert!(matches!(file.read_range(2..5), Err(Error::Changed { .. })));
}

#[test]
fn names_with_odd_characters_are_found_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a b%20ü#?.csv");
    std::fs::write(&path, "x").unwrap();
    let listed = InputFile::local(&path).unwrap();
    let url = ObjectStoreUrl::local_filesystem();
    let file = InputFile::new(Arc::clone(&listed.store), &url, listed.meta.clone());
    assert_eq!(file.local.as_deref(), Some(path.as_path()));
    assert_eq!(file.read_head(9).unwrap().bytes, b"x");
}
