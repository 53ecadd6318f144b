//! Files at the cursor. A directory is completed with its `/`, a file with the closing quote.

use std::path::Path;

use super::place::Quote;
use super::{Candidate, starts_with};

/// Entries of a directory that are looked at: completion stays quick in a huge one.
const ENTRIES_MAX: usize = 10_000;

/// The files and directories that what was typed can become.
pub(super) fn complete(typed: &str, quote: Quote) -> Vec<Candidate> {
    let plain = match quote {
        Quote::Single => typed.replace("''", "'"),
        Quote::None => typed.trim_start_matches(['\'', '"']).to_string(),
    };
    if plain.contains("://") || plain.contains(['*', '?', '[']) {
        return vec![];
    }
    let (directory, part) = match plain.rfind('/') {
        Some(at) => plain.split_at(at + 1),
        None => ("", plain.as_str()),
    };
    let place = if directory.is_empty() { "." } else { directory };
    let Ok(entries) = std::fs::read_dir(Path::new(place)) else {
        return vec![];
    };
    let mut found: Vec<_> = entries
        .take(ENTRIES_MAX)
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let hidden = name.starts_with(['.', '_']) && part.is_empty();
            if hidden || !starts_with(&name, part) || name.contains(char::is_control) {
                return None;
            }
            // Follows links, unlike the entry's own type.
            let is_directory = entry.path().is_dir();
            Some(candidate(directory, &name, is_directory, typed, quote))
        })
        .collect();
    found.sort();
    found
}

fn candidate(
    directory: &str,
    name: &str,
    is_directory: bool,
    typed: &str,
    quote: Quote,
) -> Candidate {
    let slash = if is_directory { "/" } else { "" };
    let path = format!("{directory}{name}{slash}");
    let text = match quote {
        Quote::Single => {
            let end = if is_directory { "" } else { "'" };
            format!("{}{end}", path.replace('\'', "''"))
        }
        Quote::None if typed.starts_with(['\'', '"']) => {
            let mark = &typed[..1];
            let end = if is_directory { "" } else { mark };
            format!("{mark}{path}{end}")
        }
        Quote::None if path.contains(char::is_whitespace) => {
            let end = if is_directory { "" } else { "'" };
            format!("'{path}{end}")
        }
        Quote::None => path,
    };
    Candidate {
        shown: format!("{name}{slash}"),
        text,
    }
}
