//! Listings against a naive walker, and what a listing says when there is nothing to list.
#![allow(clippy::unwrap_used, missing_docs)]

mod dir;

use std::path::Path;
use std::sync::Arc;

use dir::Dir;
use tidegate_catalog::{Access, Error, Kind, ReaderOptions, Settings, Value};

impl Dir {
    /// With these files, of one column and three rows.
    fn of(files: &[&str]) -> Self {
        let dir = Self::new(&[]);
        files.iter().for_each(|file| dir.parquet(file));
        dir
    }

    fn parquet(&self, file: &str) {
        let column: arrow::array::ArrayRef =
            Arc::new(arrow::array::Int32Array::from(vec![1, 2, 3]));
        let batch = arrow::array::RecordBatch::try_from_iter([("a", column)]).unwrap();
        let mut bytes = Vec::new();
        let mut writer =
            parquet::arrow::ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        self.write(file, &bytes);
    }

    async fn list(&self, text: &str) -> Result<Vec<String>, Error> {
        self.list_with(text, &ReaderOptions::default(), Access::everything())
            .await
    }

    async fn list_with(
        &self,
        text: &str,
        options: &ReaderOptions,
        access: Access,
    ) -> Result<Vec<String>, Error> {
        let table = self
            .catalog_with(Settings::default(), access)
            .resolve_path(text, options)
            .await?;
        let base = format!("{}/", self.path().display());
        Ok(table
            .files()
            .iter()
            .map(|file| {
                file.path
                    .strip_prefix(&base)
                    .unwrap_or(&file.path)
                    .to_owned()
            })
            .collect())
    }

    async fn fails(&self, text: &str) -> String {
        self.shown(&self.list(text).await.unwrap_err())
    }
}

#[tokio::test]
async fn paths_dirs_and_globs_find_their_files() {
    let dir = Dir::of(&[
        "a/1.parquet",
        "a/b/2.parquet",
        "a/b/c/3.parquet",
        "a/_hidden/4.parquet",
        "a/.hidden/5.parquet",
        "a/_x=1/6.parquet",
        "a/b/_7.parquet",
        "a[1].parquet",
        "a1.parquet",
    ]);
    let all = "a/1.parquet a/_x=1/6.parquet a/b/2.parquet a/b/c/3.parquet";
    for (text, expect) in [
        ("a", all),
        ("a/", all),
        ("./a/../a/.", all),
        ("a/**", all),
        ("a/**/*.parquet", all),
        ("a/**/**/*.parquet", all),
        ("**/3.parquet", "a/b/c/3.parquet"),
        ("a/*", "a/1.parquet"),
        ("a/*/*.parquet", "a/_x=1/6.parquet a/b/2.parquet"),
        ("a/*/", "a/_x=1/6.parquet a/b/2.parquet a/b/c/3.parquet"),
        ("a/_hidden/*", "a/_hidden/4.parquet"),
        ("a/_*/4.parquet", "a/_hidden/4.parquet"),
        ("a/b/_7.parquet", "a/b/_7.parquet"),
        ("a/**/b/**/*.parquet", "a/b/2.parquet a/b/c/3.parquet"),
        ("a/{1,b/2}.parquet", "a/1.parquet a/b/2.parquet"),
        ("{a,a/b}/*.parquet", "a/1.parquet a/b/2.parquet"),
        ("a[1].parquet", "a[1].parquet"),
        ("a[12].parquet", "a1.parquet"),
        ("a[[]1].parquet", "a[1].parquet"),
    ] {
        assert_eq!(dir.list(text).await.unwrap().join(" "), expect, "{text}");
        let absolute = format!("{}/{text}", dir.path().display());
        assert_eq!(
            dir.list(&absolute).await.unwrap().join(" "),
            expect,
            "{absolute}"
        );
    }
}

#[tokio::test]
async fn what_is_missing_is_said_with_near_names() {
    let dir = Dir::of(&["trips/2026.parquet", "zones.parquet", "sub/x/1.parquet"]);
    dir.write("empty.csv", b"");
    std::fs::create_dir(dir.path().join("nothing")).unwrap();
    for (text, expect) in [
        (
            "zone.parquet",
            "`DIR/zone.parquet` does not exist | did you mean `zones.parquet`?",
        ),
        (
            "zones.csv",
            "`DIR/zones.csv` does not exist | did you mean `zones.parquet`?",
        ),
        (
            "tripz/2026.parquet",
            "`DIR/tripz/2026.parquet` does not exist | did you mean `trips`?",
        ),
        (
            "qqq",
            "`DIR/qqq` does not exist | `DIR` has `empty.csv`, `nothing`, `sub` and 2 more",
        ),
        (
            "trips/*.csv",
            "no file matches `DIR/trips/*.csv` | `DIR/trips` has `2026.parquet`",
        ),
        (
            "tripz/*.csv",
            "no file matches `DIR/tripz/*.csv` | did you mean `trips`?",
        ),
        (
            "sub/*",
            "no file matches `DIR/sub/*` | it matches 1 directories; add `/**` to read what is in them",
        ),
        (
            "nothing",
            "the directory `DIR/nothing` has no data file | names that start with `.` or `_` are skipped",
        ),
        ("empty.csv", "`DIR/empty.csv` is empty: it has no bytes | "),
        (
            "zones.parquet/x",
            "`DIR/zones.parquet/x` does not exist: a part of it is a file | ",
        ),
        (
            "a[b",
            "the pattern `DIR/a[b` has a `[` without its `]` | write `[[]` for the character itself",
        ),
    ] {
        assert_eq!(dir.fails(text).await, expect, "{text}");
    }
}

#[tokio::test]
async fn what_is_left_out_is_noticed() {
    let dir = Dir::of(&["d/1.parquet", "e/1.parquet"]);
    dir.write("d/0.parquet", b"");
    dir.write("d/README.md", b"# d");
    dir.write("e/x.csv", b"a\n1\n");
    let table = dir
        .catalog()
        .resolve_path("d", &ReaderOptions::default())
        .await
        .unwrap();
    let notices = table
        .notices()
        .join("; ")
        .replace(&dir.path().display().to_string(), "DIR");
    assert_eq!(
        notices,
        "skipped 1 file without a byte: `DIR/d/0.parquet`; skipped 1 file whose names say they are no data: `DIR/d/README.md`"
    );
    assert_eq!(
        dir.fails("e").await,
        "`e` has files of several formats: parquet (`DIR/e/1.parquet`), csv (`DIR/e/x.csv`) | \
         choose with a glob such as `e/**/*.parquet`, or read all as one with `format = '…'`"
    );
}

#[tokio::test]
async fn table_formats_are_refused_by_name() {
    let dir = Dir::of(&[
        "delta/1.parquet",
        "delta/y=1/1.parquet",
        "hudi/1.parquet",
        "ice/data/1.parquet",
        "plain/metadata/1.parquet",
    ]);
    dir.write("delta/_delta_log/0.json", b"{}");
    std::os::unix::fs::symlink(dir.path().join("delta/y=1"), dir.path().join("link")).unwrap();
    dir.write("hudi/.hoodie/x", b"");
    dir.write("ice/metadata/v1.metadata.json", b"{}");
    assert!(
        dir.fails("delta")
            .await
            .starts_with("`DIR/delta` is a Delta Lake table")
    );
    assert!(
        dir.fails("delta/*.parquet")
            .await
            .starts_with("`DIR/delta` is a Delta Lake table")
    );
    assert!(
        dir.fails("hudi")
            .await
            .starts_with("`DIR/hudi` is a Hudi table")
    );
    assert!(
        dir.fails("ice")
            .await
            .starts_with("`DIR/ice` is an Iceberg table")
    );
    assert!(dir.list("plain").await.is_ok());
    for inside in [
        "delta/y=1",
        "delta/y=1/",
        "delta/*/*.parquet",
        "*/y=1/*.parquet",
        "delta/**/1.parquet",
        "link",
    ] {
        assert!(
            dir.fails(inside)
                .await
                .starts_with("`DIR/delta` is a Delta Lake table"),
            "{inside}"
        );
    }
    assert!(
        dir.fails("ice/data")
            .await
            .starts_with("`DIR/ice` is an Iceberg table")
    );
    // One file by its name is what the user wants.
    assert!(dir.list("delta/y=1/1.parquet").await.is_ok());
    for root in ["delta", "delta/y=1"] {
        let error = dir.catalog().register_directory(root).unwrap_err();
        assert!(
            dir.shown(&error)
                .starts_with("`DIR/delta` is a Delta Lake table"),
            "{root}"
        );
    }
    let mut options = ReaderOptions::default();
    options.set("table_format", Value::from("files")).unwrap();
    assert_eq!(
        dir.list_with("delta", &options, Access::everything())
            .await
            .unwrap(),
        ["delta/1.parquet", "delta/y=1/1.parquet"]
    );
}

#[tokio::test]
async fn linked_directories_are_followed_and_cycles_end() {
    let dir = Dir::of(&["a/1.parquet", "other/2.parquet"]);
    let link = |to: &str, at: &str| {
        std::os::unix::fs::symlink(dir.path().join(to), dir.path().join(at)).unwrap()
    };
    link("other", "a/linked");
    link("a", "a/cycle");
    let table = dir
        .catalog()
        .resolve_path("a", &ReaderOptions::default())
        .await
        .unwrap();
    assert_eq!(table.files().len(), 2);
    assert!(
        table.notices()[0].contains("leads back to a directory above it"),
        "{:?}",
        table.notices()
    );
    link("gone", "a/broken.parquet");
    assert_eq!(
        dir.fails("a").await,
        "`DIR/a/broken.parquet` is a link to a file that does not exist | "
    );
}

#[tokio::test]
async fn the_sandbox_holds_for_every_way_in() {
    let dir = Dir::of(&["in/1.parquet", "out/2.parquet"]);
    std::os::unix::fs::symlink(dir.path().join("out"), dir.path().join("in/escape")).unwrap();
    let access = Access::everything()
        .with_allow_paths([dir.path().join("in")])
        .unwrap();
    let denied = |text: &'static str| {
        let (dir, access) = (&dir, access.clone());
        async move {
            dir.list_with(text, &ReaderOptions::default(), access)
                .await
                .unwrap_err()
                .kind
        }
    };
    let ok = dir
        .list_with("in/1.parquet", &ReaderOptions::default(), access.clone())
        .await
        .unwrap();
    assert_eq!(ok, ["in/1.parquet"]);
    for text in [
        "out",
        "out/2.parquet",
        "*/*.parquet",
        "in/../out/*",
        "in",
        "in/**",
        "in/escape/*",
        "out/missing",
        "/etc/passwd",
        "/*/passwd",
    ] {
        assert_eq!(denied(text).await, Kind::Denied, "{text}");
    }
}

/// A tiny generator, so that a failure can be repeated from its seed.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n
    }

    fn pick<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.below(words.len())]
    }
}

/// Whether the pattern's components match the path's, by trying everything.
fn naive(pattern: &[&str], path: &[&str]) -> bool {
    match (pattern, path) {
        ([], []) => true,
        (["**"], []) => false,
        (["**"], [name]) => !hidden(name),
        (["**", rest @ ..], _) => {
            naive(rest, path) || path.len() > 1 && !hidden(path[0]) && naive(pattern, &path[1..])
        }
        ([first, rest @ ..], [name, names @ ..]) => {
            (!hidden(name) || first.starts_with(['.', '_']))
                && wild(first.as_bytes(), name.as_bytes())
                && naive(rest, names)
        }
        _ => false,
    }
}

fn hidden(name: &str) -> bool {
    name.starts_with('.') || name.starts_with('_') && !name.contains('=')
}

fn wild(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern, name) {
        ([], []) => true,
        ([b'*', rest @ ..], _) => wild(rest, name) || !name.is_empty() && wild(pattern, &name[1..]),
        ([b'?', rest @ ..], [_, names @ ..]) => wild(rest, names),
        ([c, rest @ ..], [n, names @ ..]) => c == n && wild(rest, names),
        _ => false,
    }
}

#[tokio::test]
async fn globs_find_what_a_naive_walker_finds() {
    let seed = std::env::var("SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or(20_261_123);
    let mut random = Random(seed);
    let names = ["a", "b", "ab", "ba", "_a", ".b", "_k=1"];
    for round in 0..12 {
        let mut files = std::collections::BTreeSet::new();
        for _ in 0..30 {
            let depth = random.below(4);
            let dirs: String = (0..depth)
                .map(|_| format!("{}/", random.pick(&names)))
                .collect();
            files.insert(format!(
                "{dirs}{}{}.parquet",
                random.pick(&["", "", "_"]),
                random.pick(&["x", "y", "xy"])
            ));
        }
        let dir = Dir::of(&files.iter().map(String::as_str).collect::<Vec<_>>());
        for _ in 0..60 {
            let parts = ["**", "*", "a", "a*", "?", "*b", "**", "_*", "b"];
            let mut pattern: Vec<&str> =
                (0..random.below(4)).map(|_| random.pick(&parts)).collect();
            pattern.push(random.pick(&["*.parquet", "x*", "**", "?.parquet", "_*", "x.parquet"]));
            if !pattern.iter().any(|part| part.contains(['*', '?'])) {
                continue;
            }
            let expect: Vec<&str> = files
                .iter()
                .map(String::as_str)
                .filter(|file| naive(&pattern, &file.split('/').collect::<Vec<_>>()))
                .collect();
            let text = pattern.join("/");
            let found = match dir.list(&text).await {
                Ok(found) => found,
                Err(error) if error.kind == Kind::NotFound => Vec::new(),
                Err(error) => unreachable!("seed {seed} round {round} {text}: {error}"),
            };
            let mut expect = expect;
            expect.sort_unstable();
            assert_eq!(found, expect, "seed {seed} round {round} pattern {text}");
        }
    }
    assert!(Path::new("/").is_dir());
}
