//! Lists the files of this machine that a path or glob names: one walk, sorted by path. Every directory that can
//! match is entered at every depth; nothing is skipped silently.
//!
//! A directory is walked with the set of pattern parts that may match next, so `a/**/b/*.csv` reads each directory once.

use std::collections::BTreeSet;
use std::fs::{FileType, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::access::Access;
use crate::error::{Error, Kind, Result};
use crate::near;
use crate::pattern::{self, Part};

/// How deep directories may nest below a path.
const DEPTH_MAX: usize = 128;
/// What a write of ours keeps its files in until they are published.
const STAGING: &str = "_tidegate";
/// How many names a message lists.
const NAMES_SHOWN: usize = 3;

/// A regular file of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LocalFile {
    pub(crate) path: String,
    pub(crate) size: u64,
    pub(crate) mtime_ns: i64,
    pub(crate) inode: u64,
}

/// What a walk found.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// Sorted by path, no path twice.
    pub(crate) files: Vec<LocalFile>,
    /// Files of zero bytes: left out.
    pub(crate) empty: Vec<String>,
    /// What else was left out, and why.
    pub(crate) notices: Vec<String>,
    /// Directories in which a write of ours is staged, or was when its process was killed.
    pub(crate) staged: Vec<PathBuf>,
    /// Directories that are tables of a table format, and of which.
    pub(crate) tables: Vec<(PathBuf, &'static str)>,
    /// Whether the path names exactly one file.
    pub(crate) single: bool,
    /// How many leading components of the paths the user did not write.
    pub(crate) unwritten: usize,
}

/// What a walk may do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules<'a> {
    pub(crate) access: &'a Access,
    pub(crate) files_max: usize,
    /// Whether the files of a table format may be read as plain files.
    pub(crate) table_formats: bool,
}

/// Lists `text`, an absolute path. A file of exactly this name comes first, then a directory, then the glob.
pub(crate) fn list(text: &str, unwritten: usize, rules: Rules<'_>) -> Result<Listing> {
    let exact = Path::new(text);
    let patterns = match std::fs::metadata(exact) {
        Ok(found) if found.is_dir() => vec![directory(&exact_parts(text))],
        Ok(_) => vec![exact_parts(text)],
        Err(_) if pattern::is_pattern(text) => {
            let mut patterns = pattern::parse(text)?;
            if text.ends_with('/') {
                patterns
                    .iter_mut()
                    .for_each(|parts| *parts = directory(parts));
            }
            patterns
        }
        Err(error) => {
            rules.access.check_read(exact)?;
            return Err(missing(text, &exact_parts(text), error));
        }
    };
    let single =
        patterns.len() == 1 && patterns[0].iter().all(|part| matches!(part, Part::Name(_)));
    if !single && !rules.table_formats {
        let base = patterns.iter().map(|parts| to_path(parts)).reduce(common);
        refuse_inside(&base.unwrap_or_default(), rules.access)?;
    }
    let mut unwritten = unwritten;
    let patterns = patterns
        .into_iter()
        .map(|parts| anchor(parts, rules.access, &mut unwritten))
        .collect::<Result<Vec<_>>>()?;
    let mut walk = Walk {
        rules,
        patterns: &patterns,
        above: Vec::new(),
        directories: 0,
        named: patterns
            .iter()
            .map(|parts| names_at_first(parts))
            .min()
            .unwrap_or(0),
        found: Listing::default(),
    };
    walk.start()?;
    let directories = walk.directories;
    let mut found = walk.found;
    found.files.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    found.files.dedup_by(|a, b| a.path == b.path);
    found.empty.sort_unstable();
    (found.single, found.unwritten) = (single, unwritten);
    if !rules.table_formats {
        refuse_table_formats(&found)?;
    }
    if found.files.is_empty() && found.staged.is_empty() {
        return Err(nothing_found(text, &patterns, &found, directories));
    }
    Ok(found)
}

/// The names directly inside `dir` that a listing would not skip, sorted; for suggestions and catalogs.
pub(crate) fn names(dir: &Path) -> std::io::Result<Vec<String>> {
    let mut names: Vec<String> = std::fs::read_dir(dir)?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| !pattern::is_hidden(name))
        .collect();
    names.sort_unstable();
    Ok(names)
}

/// A name or two of each kind, for notices: "`a`, `b`, `c` and 7 more".
pub(crate) fn some_of(names: &[String]) -> String {
    let shown: Vec<String> = names
        .iter()
        .take(NAMES_SHOWN)
        .map(|name| format!("`{name}`"))
        .collect();
    match names.len().saturating_sub(NAMES_SHOWN) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

fn exact_parts(text: &str) -> Vec<Part> {
    let names = text
        .split('/')
        .filter(|name| !name.is_empty() && *name != ".");
    names.map(|name| Part::Name(name.to_owned())).collect()
}

fn directory(parts: &[Part]) -> Vec<Part> {
    let mut parts = parts.to_vec();
    if parts.last() != Some(&Part::Any) {
        parts.push(Part::Any);
    }
    parts
}

/// Replaces the leading names of a pattern by their canonical path where the path holds `..`, or where the
/// sandbox wants to know what it really is.
fn anchor(parts: Vec<Part>, access: &Access, unwritten: &mut usize) -> Result<Vec<Part>> {
    let names = names_at_first(&parts);
    let dots = parts[..names]
        .iter()
        .rposition(|part| *part == Part::Name("..".into()))
        .map(|at| at + 1);
    let cut = if access.restricts_paths() {
        names
    } else {
        dots.unwrap_or(0)
    };
    if cut == 0 && !access.restricts_paths() {
        return Ok(parts);
    }
    let typed = to_path(&parts[..cut]);
    let real = access.check_read(&typed)?;
    let real = real.to_str().ok_or_else(|| not_utf8(&real))?;
    let mut anchored = exact_parts(real);
    if anchored != parts[..cut] {
        *unwritten = (*unwritten).min(anchored.len());
    }
    anchored.extend_from_slice(&parts[cut..]);
    Ok(anchored)
}

/// How many parts are names before the first that is none.
fn names_at_first(parts: &[Part]) -> usize {
    let is_name = |part: &&Part| matches!(part, Part::Name(_));
    parts.iter().take_while(is_name).count()
}

fn to_path(parts: &[Part]) -> PathBuf {
    let mut path = PathBuf::from("/");
    path.extend(parts.iter().map_while(|part| match part {
        Part::Name(name) => Some(name),
        _ => None,
    }));
    path
}

fn not_utf8(path: &Path) -> Error {
    let shown = path.to_string_lossy().into_owned();
    Error::new(
        Kind::Unsupported,
        format!("the file name `{shown}` is not valid UTF-8"),
    )
    .file(shown)
    .hint("rename the file, or use a glob that does not match it")
}

/// (pattern, part): the part that may match the next component.
type State = BTreeSet<(usize, usize)>;

struct Walk<'a> {
    rules: Rules<'a>,
    patterns: &'a [Vec<Part>],
    /// Device and inode of the directories above: a link to one of them is a cycle.
    above: Vec<(u64, u64)>,
    /// Directories that a last part matched.
    directories: usize,
    /// How many names the patterns begin with: the directories above were looked at before.
    named: usize,
    found: Listing,
}

impl Walk<'_> {
    fn start(&mut self) -> Result<()> {
        let mut state = State::new();
        (0..self.patterns.len()).for_each(|pattern| self.activate(&mut state, pattern, 0));
        self.enter(Path::new("/"), &state)
    }

    /// Adds a position, and the one behind it if it is `**`, which may stand for nothing.
    fn activate(&self, state: &mut State, pattern: usize, part: usize) {
        state.insert((pattern, part));
        if self.patterns[pattern].get(part) == Some(&Part::Any) {
            state.insert((pattern, part + 1));
        }
    }

    fn enter(&mut self, dir: &Path, state: &State) -> Result<()> {
        if self.above.len() > DEPTH_MAX {
            return Err(Error::new(
                Kind::Limit,
                format!(
                    "`{}` is more than {DEPTH_MAX} directories deep",
                    dir.display()
                ),
            ));
        }
        let only_names: Option<Vec<&str>> = state
            .iter()
            .map(|(pattern, part)| match self.patterns[*pattern].get(*part) {
                Some(Part::Name(name)) => Some(name.as_str()),
                _ => None,
            })
            .collect();
        if only_names.is_some() && !state.iter().all(|(_, part)| *part < self.named) {
            for log in LOGS.into_iter().filter(|log| dir.join(log).is_dir()) {
                self.note_table_format(dir, log);
            }
        }
        match only_names {
            Some(names) => names
                .into_iter()
                .collect::<BTreeSet<_>>()
                .into_iter()
                .try_for_each(|name| match dir.join(name).symlink_metadata() {
                    Ok(found) => self.visit(dir, name, found.file_type(), state),
                    Err(_) => Ok(()),
                }),
            None => self.read(dir, state),
        }
    }

    fn read(&mut self, dir: &Path, state: &State) -> Result<()> {
        let shown = dir.display().to_string();
        let failed = |error| Error::io(&shown, error);
        for entry in std::fs::read_dir(dir).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            let kind = entry.file_type().map_err(failed)?;
            match name.to_str() {
                Some(name) => {
                    self.note_table_format(dir, name);
                    if name == STAGING {
                        self.found.staged.push(dir.to_owned());
                    }
                    self.visit(dir, name, kind, state)?;
                }
                None if kind.is_dir() || name.to_string_lossy().starts_with(['.', '_']) => {}
                None => return Err(not_utf8(&entry.path())),
            }
        }
        Ok(())
    }

    fn visit(&mut self, dir: &Path, name: &str, kind: FileType, state: &State) -> Result<()> {
        let (mut next, mut accepted) = (State::new(), false);
        for (pattern, part) in state {
            let parts = &self.patterns[*pattern];
            let Some(this) = parts.get(*part).filter(|this| this.matches(name)) else {
                continue;
            };
            accepted |= *part + 1 == parts.len();
            match this {
                Part::Any => self.activate(&mut next, *pattern, *part),
                _ if *part + 1 < parts.len() => self.activate(&mut next, *pattern, *part + 1),
                _ => {}
            }
        }
        if next.is_empty() && !accepted {
            return Ok(());
        }
        let mut path = dir.join(name);
        if kind.is_symlink() && self.rules.access.restricts_paths() {
            path = self.rules.access.check_read(&path)?;
        }
        if kind.is_file() && !accepted {
            return Ok(());
        }
        let found = match std::fs::metadata(&path) {
            Ok(found) => found,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !kind.is_symlink() => {
                return Ok(());
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let shown = path.display().to_string();
                return Err(Error::new(
                    Kind::NotFound,
                    format!("`{shown}` is a link to a file that does not exist"),
                )
                .file(shown)
                .caused_by(error));
            }
            Err(error) => return Err(Error::io(&path.display().to_string(), error)),
        };
        self.take(&path, &found, accepted, kind.is_symlink(), &next)
    }

    fn take(
        &mut self,
        path: &Path,
        found: &Metadata,
        accepted: bool,
        link: bool,
        next: &State,
    ) -> Result<()> {
        if found.is_dir() {
            self.directories += usize::from(accepted);
            let id = (found.dev(), found.ino());
            if link && self.above.contains(&id) {
                self.found.notices.push(format!(
                    "not followed: the link `{}` leads back to a directory above it",
                    path.display()
                ));
                return Ok(());
            }
            if next.is_empty() {
                return Ok(());
            }
            self.above.push(id);
            self.enter(path, next)?;
            self.above.pop();
            return Ok(());
        }
        if !accepted {
            return Ok(());
        }
        let shown = path.to_str().ok_or_else(|| not_utf8(path))?.to_owned();
        if !found.is_file() {
            self.found
                .notices
                .push(format!("skipped `{shown}`: it is not a regular file"));
        } else if found.len() == 0 {
            self.found.empty.push(shown);
        } else if self.found.files.len() >= self.rules.files_max {
            return Err(Error::new(
                Kind::Limit,
                format!("more than {} files", self.rules.files_max),
            )
            .hint("narrow the glob, or raise `files_max`"));
        } else {
            self.found.files.push(LocalFile::new(shown, found));
        }
        Ok(())
    }

    /// Notes a directory that a table format keeps its log in.
    fn note_table_format(&mut self, dir: &Path, name: &str) {
        if let Some(format) = format_kept_in(dir, name) {
            self.found.tables.push((dir.to_owned(), format));
        }
    }
}

/// Where table formats keep their log.
pub(crate) const LOGS: [&str; 3] = ["_delta_log", ".hoodie", ICEBERG_LOG];
/// A usual name: only files of Iceberg in it make it a log.
pub(crate) const ICEBERG_LOG: &str = "metadata";

/// The table format of `dir` if its entry `name` is the log of one.
fn format_kept_in(dir: &Path, name: &str) -> Option<&'static str> {
    match name {
        "_delta_log" => Some("a Delta Lake table"),
        ".hoodie" => Some("a Hudi table"),
        ICEBERG_LOG if is_iceberg(&dir.join(name)) => Some("an Iceberg table"),
        _ => None,
    }
}

/// An error if `dir` is the directory of a table format, or lies in one.
pub(crate) fn refuse_inside(dir: &Path, access: &Access) -> Result<()> {
    // Links are followed: what counts is where the files are.
    let real = dir.canonicalize();
    let dir = real.as_deref().unwrap_or(dir);
    for above in dir.ancestors() {
        if access.restricts_paths() && access.check_read(above).is_err() {
            break;
        }
        let has = |log: &&str| above.join(log).is_dir();
        let mut logs = LOGS.into_iter().filter(has);
        if let Some(format) = logs.find_map(|log| format_kept_in(above, log)) {
            return Err(table_format(&above.display().to_string(), format));
        }
    }
    Ok(())
}

/// The directories that both paths begin with.
fn common(one: PathBuf, other: PathBuf) -> PathBuf {
    let both = one.components().zip(other.components());
    both.take_while(|(a, b)| a == b).map(|(a, _)| a).collect()
}

/// The files of a table format may hold rows that its log has deleted: reading them would be wrong.
fn refuse_table_formats(found: &Listing) -> Result<()> {
    let read = |root: &Path| {
        found.files.is_empty()
            || found
                .files
                .iter()
                .any(|file| Path::new(&file.path).starts_with(root))
    };
    match found.tables.iter().find(|(root, _)| read(root)) {
        None => Ok(()),
        Some((root, format)) => Err(table_format(&root.display().to_string(), format)),
    }
}

/// The refusal of a table format.
pub(crate) fn table_format(shown: &str, format: &str) -> Error {
    Error::new(
        Kind::Unsupported,
        format!("`{shown}` is {format}: its files may hold rows that are deleted"),
    )
    .file(shown)
    .hint("export it to plain files, or read every file as it is with `table_format = 'files'`")
}

impl LocalFile {
    pub(crate) fn new(path: String, found: &Metadata) -> Self {
        let mtime_ns = found
            .mtime()
            .saturating_mul(1_000_000_000)
            .saturating_add(found.mtime_nsec());
        Self {
            path,
            size: found.len(),
            mtime_ns,
            inode: found.ino(),
        }
    }
}

fn is_iceberg(metadata: &Path) -> bool {
    names(metadata).is_ok_and(|names| names.iter().any(|name| name.ends_with(".metadata.json")))
}

/// The error for an exact path that is not there, with the names that are near it.
fn missing(text: &str, parts: &[Part], error: std::io::Error) -> Error {
    if error.kind() != std::io::ErrorKind::NotFound {
        return Error::io(text, error);
    }
    let error = Error::io(text, error);
    let existing = (0..parts.len())
        .rev()
        .find(|count| to_path(&parts[..*count]).is_dir())
        .unwrap_or(0);
    let (dir, Some(Part::Name(wanted))) = (to_path(&parts[..existing]), parts.get(existing)) else {
        return error;
    };
    let names = names(&dir).unwrap_or_default();
    let near = near::near_names(wanted, names.iter().map(String::as_str));
    if let Some(hint) = near::did_you_mean(&near) {
        return error.hint(hint);
    }
    let shown = dir.display();
    match (existing + 1 == parts.len(), names.is_empty()) {
        (false, _) => error.hint(format!("there is no `{wanted}` in `{shown}`")),
        (true, true) => error.hint(format!("`{shown}` is empty")),
        (true, false) => error.hint(format!("`{shown}` has {}", some_of(&names))),
    }
}

/// The error for a directory or glob without a file.
fn nothing_found(text: &str, patterns: &[Vec<Part>], found: &Listing, directories: usize) -> Error {
    if found.empty == [text] {
        return Error::new(Kind::Invalid, format!("`{text}` is empty: it has no bytes")).file(text);
    }
    let not_found = |what: String| Error::new(Kind::NotFound, what).file(text);
    if !found.empty.is_empty() {
        return not_found(format!(
            "`{text}` has only empty files: {}",
            some_of(&found.empty)
        ));
    }
    if let Some(notice) = found.notices.first() {
        return not_found(format!("`{text}` has no data file")).hint(notice.clone());
    }
    if Path::new(text).is_dir() {
        return not_found(format!("the directory `{text}` has no data file"))
            .hint("names that start with `.` or `_` are skipped");
    }
    let error = not_found(format!("no file matches `{text}`"));
    if directories > 0 {
        return error.hint(format!(
            "it matches {directories} directories; add `/**` to read what is in them"
        ));
    }
    let Some(parts) = patterns.first() else {
        return error;
    };
    let named = names_at_first(parts);
    let base = to_path(&parts[..named]);
    if !base.is_dir() {
        let gone = std::io::Error::from(std::io::ErrorKind::NotFound);
        let hint = missing(text, &parts[..named], gone).hint;
        return Error { hint, ..error };
    }
    match names(&base) {
        Ok(names) if !names.is_empty() => {
            error.hint(format!("`{}` has {}", base.display(), some_of(&names)))
        }
        _ => error.hint(format!("`{}` is empty", base.display())),
    }
}
