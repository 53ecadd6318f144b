//! Tidiness as a test: heads of files, sizes, the line of crates, the paths the README names, and
//! what lies under `sql/`.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const FILE_LINES_MAX: usize = 800;
const FUNCTION_LINES_MAX: usize = 100;

/// Files that are longer, with their length. Lower a number when the file shrinks; add none.
const LONG_FILES: &[(&str, usize)] = &[];

/// Functions that are longer, as `file:name`, with their length. Lower a number; add none.
const LONG_FUNCTIONS: &[(&str, usize)] = &[];

/// The line of crates: each may use those behind it, never those before it.
const LINE: [&str; 7] = [
    "tidegate-cli",
    "tidegate",
    "tidegate-runtime",
    "tidegate-plan",
    "tidegate-catalog",
    "tidegate-operators",
    "tidegate-checkpoint",
];

/// The arrows between crates. A new one is a commit of its own that says why.
const ARROWS: &[(&str, &[&str])] = &[
    ("tidegate-cli", &["tidegate"]),
    (
        "tidegate",
        &[
            "tidegate-catalog",
            "tidegate-checkpoint",
            "tidegate-operators",
            "tidegate-plan",
            "tidegate-runtime",
        ],
    ),
    (
        "tidegate-runtime",
        &["tidegate-checkpoint", "tidegate-operators", "tidegate-plan"],
    ),
    ("tidegate-plan", &["tidegate-catalog", "tidegate-operators"]),
    (
        "tidegate-catalog",
        &["tidegate-checkpoint", "tidegate-operators"],
    ),
    ("tidegate-operators", &["tidegate-checkpoint"]),
    ("tidegate-checkpoint", &[]),
    ("tidegate-testing", &[]),
];

fn top() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.join("../..").canonicalize().unwrap()
}

/// Every file below a directory, sorted.
fn files(below: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![below.to_path_buf()];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true if path.file_name().is_some_and(|name| name == "target") => {}
                true => open.push(path),
                false => found.push(path),
            }
        }
    }
    found.sort();
    found
}

/// Every source file, by its path from the top, with its text.
fn sources() -> BTreeMap<String, String> {
    let top = top();
    let all = [files(&top.join("crates")), files(&top.join("benches"))].concat();
    let rust = all
        .into_iter()
        .filter(|path| path.extension().is_some_and(|e| e == "rs"));
    rust.map(|path| {
        let name = path.strip_prefix(&top).unwrap().display().to_string();
        (name, std::fs::read_to_string(path).unwrap())
    })
    .collect()
}

#[test]
fn every_source_file_opens_by_saying_what_it_is() {
    let bare: Vec<String> = sources()
        .into_iter()
        .filter(|(_, text)| !text.starts_with("//! "))
        .map(|(name, _)| name)
        .collect();
    assert!(bare.is_empty(), "these do not begin with `//!`: {bare:#?}");
}

#[test]
fn files_and_functions_keep_their_size() {
    let (mut long_files, mut long_functions) = (Vec::new(), Vec::new());
    let mut measured = 0;
    for (name, text) in sources() {
        let lines = text.lines().count();
        if lines > FILE_LINES_MAX {
            long_files.push((name.clone(), lines));
        }
        for (function, lines) in functions(&text) {
            measured += 1;
            if lines > FUNCTION_LINES_MAX {
                long_functions.push((format!("{name}:{function}"), lines));
            }
        }
    }
    assert!(measured > 1000, "only {measured} functions were found");
    assert_eq!(
        long_files,
        owned(LONG_FILES),
        "longer than {FILE_LINES_MAX} lines"
    );
    assert_eq!(
        long_functions,
        owned(LONG_FUNCTIONS),
        "longer than {FUNCTION_LINES_MAX} lines"
    );
}

fn owned(list: &[(&str, usize)]) -> Vec<(String, usize)> {
    list.iter()
        .map(|(name, lines)| (name.to_string(), *lines))
        .collect()
}

/// Names and lengths of functions. The code is formatted, so a function ends where a closing
/// brace stands as deep as its first line.
fn functions(text: &str) -> Vec<(String, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let Some(name) = function_name(line) else {
            continue;
        };
        let depth = line.len() - line.trim_start().len();
        let close = format!("{}}}", &line[..depth]);
        let signature_only = lines[start..]
            .iter()
            .find(|line| line.ends_with(['{', ';', '}']))
            .is_some_and(|line| line.ends_with(';'));
        if signature_only || line.ends_with('}') {
            continue;
        }
        if let Some(length) = lines[start..].iter().position(|line| *line == close) {
            found.push((name, length + 1));
        }
    }
    found
}

/// The name of the function that begins on this line.
fn function_name(line: &str) -> Option<String> {
    let mut words = line.split_whitespace().peekable();
    while let Some(word) = words.next() {
        match word {
            "fn" => {
                let rest = words.next()?;
                let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_');
                return Some(rest[..end.unwrap_or(rest.len())].to_string());
            }
            "pub" | "async" | "const" | "unsafe" | "extern" | "\"C\"" => {}
            word if word.starts_with("pub(") => {}
            _ => return None,
        }
    }
    None
}

/// Names of crates of this workspace in the sections of a manifest that the library is built from.
fn dependencies(manifest: &str) -> Vec<String> {
    let mut section = "";
    let mut found = Vec::new();
    for line in manifest.lines().map(str::trim) {
        if line.starts_with('[') {
            section = line;
        }
        let name = line.split(['.', ' ', '=']).next().unwrap_or_default();
        if section == "[dependencies]" && name.starts_with("tidegate") {
            found.push(name.to_string());
        }
    }
    found.sort();
    found
}

#[test]
fn crates_stand_in_one_line() {
    let mut arrows = BTreeMap::new();
    for entry in std::fs::read_dir(top().join("crates")).unwrap() {
        let directory = entry.unwrap().path();
        let name = directory.file_name().unwrap().to_str().unwrap().to_string();
        let manifest = std::fs::read_to_string(directory.join("Cargo.toml")).unwrap();
        arrows.insert(name, dependencies(&manifest));
    }
    let expected: BTreeMap<String, Vec<String>> = ARROWS
        .iter()
        .map(|(from, to)| {
            (
                from.to_string(),
                to.iter().map(ToString::to_string).collect(),
            )
        })
        .collect();
    assert_eq!(arrows, expected, "a new arrow is a commit of its own");
    for (from, to) in ARROWS {
        let place = |name: &str| LINE.iter().position(|krate| *krate == name);
        for to in *to {
            assert!(
                place(from) < place(to),
                "`{from}` uses `{to}`, which stands before it"
            );
        }
    }
}

#[test]
fn every_path_the_readme_names_exists() {
    let top = top();
    let readme = std::fs::read_to_string(top.join("README.md")).unwrap();
    // What the tour runs is checked by the tour, and may name on purpose what is not there.
    let prose: String = readme
        .split("```")
        .filter(|part| !part.starts_with("console"))
        .collect();
    let prefixes = ["crates/", "sql/", "testdata/", "benches/", "docs/", ".ci/"];
    let mut missing = Vec::new();
    let mut named = 0;
    let breaks = |c: char| c.is_whitespace() || "`'\"()[]<>|,;".contains(c);
    for word in prose.split(breaks) {
        let word = word.trim_end_matches(['.', ':', '…']);
        if prefixes.iter().any(|prefix| word.starts_with(prefix)) && !word.contains(['*', '{']) {
            named += 1;
            if !top.join(word).exists() {
                missing.push(word.to_string());
            }
        }
    }
    assert!(named >= 10, "the README names only {named} paths");
    assert!(
        missing.is_empty(),
        "the README names what is not there: {missing:?}"
    );
}

#[test]
fn everything_under_sql_is_run() {
    let top = top();
    let runner = "crates/tidegate/tests/slt.rs";
    assert!(
        top.join(runner).exists(),
        "`{runner}` runs the files under sql/"
    );
    let tpch =
        std::fs::read_to_string(top.join("crates/tidegate-plan/tests/tpch/data.rs")).unwrap();
    assert!(
        tpch.contains("sql/tpch"),
        "the queries of TPC-H are planned and encoded"
    );
    for path in files(&top.join("sql")) {
        let queries = path
            .parent()
            .is_some_and(|parent| parent.ends_with("sql/tpch"));
        let extension = path.extension().and_then(|extension| extension.to_str());
        let run = match queries {
            true => matches!(extension, Some("sql" | "slt")),
            false => extension == Some("slt"),
        };
        assert!(run, "`{}` is not run by any test", path.display());
    }
}

#[test]
fn nothing_is_left_for_later() {
    // In pieces, so that this file does not find itself.
    let marks = [
        ["tod", "o!("],
        ["unimplem", "ented!("],
        ["#[ign", "ore"],
        ["#[should", "_panic"],
    ]
    .map(|halves| halves.concat());
    let mut found = Vec::new();
    for (name, text) in sources() {
        for mark in marks.iter().filter(|mark| text.contains(mark.as_str())) {
            found.push(format!("{name}: {mark}"));
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}
