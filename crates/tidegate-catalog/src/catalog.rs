//! From a path to a table: understand, list, tell the format, infer the columns, unite them.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use datafusion::execution::object_store::ObjectStoreUrl;
use object_store::ObjectStore;
use parking_lot::RwLock;
use tidegate_operators::source::ScanAccess;
use url::Url;

use crate::access::Access;
use crate::cache::FileCache;
use crate::error::{Error, Kind, Result};
use crate::file::DataFile;
use crate::footer::FileFacts;
use crate::format::Format;
use crate::infer::{Columns, Inference, Remembering};
use crate::learned::SampleCache;
use crate::names::Names;
use crate::options::ReaderOptions;
use crate::path::{Location, Place};
use crate::pattern::is_pattern;
use crate::remote::{Asked, RemoteListing};
use crate::stores::{self, Stores};
use crate::table::FilesTable;
use crate::walk::{self, Listing, Rules, some_of};

/// What the catalog is told when a session is built.
#[derive(Clone)]
pub struct Settings {
    /// Where relative paths start.
    pub place: Place,
    /// A listing with more files is an error.
    pub files_max: usize,
    /// How many local files are opened at the same time while their columns are inferred.
    pub threads: usize,
    /// The same for files of object stores, which are slow to answer.
    pub requests: usize,
    /// How many columns are remembered, over all files, with their statistics.
    pub columns_max: usize,
    /// How many bytes of samples of rows are kept between statements.
    pub sample_bytes_max: usize,
    /// Footers and limits of scans; the reject log is attached to a plan when it runs.
    pub scan: ScanAccess,
    /// Spools standard input to a private file and names it; called at most once. Without it `-` is an error.
    pub stdin: Option<Spool>,
}

/// Writes standard input to a private file and names it.
pub type Spool = Arc<dyn Fn() -> std::io::Result<PathBuf> + Send + Sync>;

impl Default for Settings {
    fn default() -> Self {
        Self {
            place: Place::default(),
            files_max: 1_000_000,
            threads: 4,
            requests: 32,
            columns_max: 1_000_000,
            sample_bytes_max: 32 << 20,
            scan: ScanAccess::default(),
            stdin: None,
        }
    }
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("place", &self.place)
            .field("files_max", &self.files_max)
            .finish_non_exhaustive()
    }
}

/// Resolves paths and names to tables. Cheap to clone; clones share their names and caches.
#[derive(Debug, Clone)]
pub struct Catalog {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    access: Access,
    stores: Arc<Stores>,
    settings: Settings,
    facts: FileCache<FileFacts>,
    columns: FileCache<arrow::datatypes::Fields>,
    samples: SampleCache,
    stdin: OnceLock<PathBuf>,
    names: RwLock<Names>,
}

impl Catalog {
    /// A catalog that may touch what `access` allows.
    pub fn new(access: Access, stores: Arc<Stores>, settings: Settings) -> Self {
        let shared = Shared {
            access,
            stores,
            facts: FileCache::new(settings.columns_max),
            columns: FileCache::new(settings.columns_max),
            samples: SampleCache::new(settings.sample_bytes_max),
            settings,
            stdin: OnceLock::new(),
            names: RwLock::default(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// What may be touched.
    pub fn access(&self) -> &Access {
        &self.shared.access
    }

    /// The object stores, for DataFusion's runtime environment.
    pub fn stores(&self) -> &Arc<Stores> {
        &self.shared.stores
    }

    /// Samples that were read.
    pub fn samples(&self) -> &SampleCache {
        &self.shared.samples
    }

    pub(crate) fn names(&self) -> &RwLock<Names> {
        &self.shared.names
    }

    /// The table of a file, directory, glob or URL, as it is now: every call lists again.
    pub async fn resolve_path(
        &self,
        text: &str,
        options: &ReaderOptions,
    ) -> Result<Arc<FilesTable>> {
        let inputs = self.inputs(text, options).await?;
        self.table(crate::path::without_secrets(text), inputs, options)
            .await
    }

    /// As [`Catalog::resolve_path`], for a table that is to be written: with declared columns a directory that does not
    /// exist yet is an empty table.
    pub async fn resolve_target(
        &self,
        text: &str,
        options: &ReaderOptions,
    ) -> Result<Arc<FilesTable>> {
        let inputs = self.inputs_or(text, options, Missing::Empty).await?;
        self.table(crate::path::without_secrets(text), inputs, options)
            .await
    }

    /// All files of several paths as one table. They must be in one store; a file named twice is read twice.
    pub async fn resolve_paths(
        &self,
        texts: &[String],
        options: &ReaderOptions,
    ) -> Result<Arc<FilesTable>> {
        let (first, others) = texts
            .split_first()
            .ok_or_else(|| Error::new(Kind::Invalid, "the list of paths is empty"))?;
        let mut all = self.inputs(first, options).await?;
        for text in others {
            let more = self.inputs(text, options).await?;
            if more.url != all.url {
                let what = format!(
                    "`{}` and `{}` are in different stores",
                    shown(first),
                    shown(text)
                );
                return Err(Error::new(Kind::Unsupported, what)
                    .hint("read them apart and combine them with UNION ALL BY NAME"));
            }
            all.add(more);
        }
        let text = texts
            .iter()
            .map(|text| shown(text))
            .collect::<Vec<_>>()
            .join(", ");
        self.table(text, all, options).await
    }

    /// Footers and limits of scans.
    pub(crate) fn scan_access(&self) -> &ScanAccess {
        &self.shared.settings.scan
    }

    pub(crate) async fn table(
        &self,
        text: String,
        inputs: Inputs,
        options: &ReaderOptions,
    ) -> Result<Arc<FilesTable>> {
        let (shared, options) = (Arc::clone(&self.shared), options.clone());
        blocking(move || shared.table(&text, inputs, &options))
            .await
            .map(Arc::new)
    }

    /// What the files are, without making one table of them.
    pub(crate) async fn found(
        &self,
        text: String,
        mut inputs: Inputs,
    ) -> Result<(Format, Columns)> {
        let shared = Arc::clone(&self.shared);
        blocking(move || {
            let options = ReaderOptions::default();
            let inference = shared.inference(&text, &inputs, &options);
            inference.found(&mut inputs)
        })
        .await
    }

    pub(crate) async fn inputs(&self, text: &str, options: &ReaderOptions) -> Result<Inputs> {
        self.inputs_or(text, options, Missing::Error).await
    }

    async fn inputs_or(
        &self,
        text: &str,
        options: &ReaderOptions,
        missing: Missing,
    ) -> Result<Inputs> {
        let (shared, options) = (Arc::clone(&self.shared), options.clone());
        match Location::parse(text, &self.shared.settings.place)? {
            Location::Local { path, unwritten } => {
                let asked = LocalPath {
                    path,
                    unwritten,
                    missing,
                };
                blocking(move || shared.local(&asked, &options)).await
            }
            Location::Stdin => blocking(move || shared.stdin()).await,
            Location::Remote { store, key, query } => {
                shared
                    .remote(&store, &key, query.as_deref(), &options)
                    .await
            }
        }
    }

    /// The path of an existing directory of this machine that may be read.
    pub(crate) fn local_directory(&self, text: &str) -> Result<PathBuf> {
        let Location::Local { path, .. } = Location::parse(text, &self.shared.settings.place)?
        else {
            return Err(Error::new(
                Kind::Unsupported,
                format!("`{text}` is no directory of this machine"),
            ));
        };
        let path = match self.shared.access.restricts_paths() {
            true => self.shared.access.check_read(path.as_ref())?,
            false => PathBuf::from(path),
        };
        match path.metadata() {
            Ok(found) if found.is_dir() => Ok(path),
            Ok(_) => Err(Error::new(
                Kind::Invalid,
                format!("`{text}` is no directory"),
            )),
            Err(error) => Err(Error::io(text, error)),
        }
    }
}

/// What a directory that does not exist is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Missing {
    Error,
    /// A table nobody has written to yet, if its columns are declared.
    Empty,
}

/// A path of this machine.
struct LocalPath {
    /// Absolute.
    path: String,
    /// How many leading components the user did not write.
    unwritten: usize,
    missing: Missing,
}

/// Runs file system work on a thread that may wait.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|failed| {
            Err(Error::new(Kind::Io, "reading the files failed unexpectedly").caused_by(failed))
        })
}

fn shown(text: &str) -> String {
    crate::path::without_secrets(text)
}

/// The files of a path, and where they are.
pub(crate) struct Inputs {
    pub(crate) files: Vec<DataFile>,
    pub(crate) notices: Vec<String>,
    pub(crate) single: bool,
    pub(crate) unwritten: usize,
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) url: ObjectStoreUrl,
    /// The directory or prefix that the path names, if it names one.
    pub(crate) location: Option<String>,
}

impl Inputs {
    fn add(&mut self, more: Inputs) {
        self.files.extend(more.files);
        self.files.sort_by(|a, b| a.path.cmp(&b.path));
        self.notices.extend(more.notices);
        self.single &= more.single;
        self.unwritten = self.unwritten.min(more.unwritten);
        self.location = None;
    }
}

impl Shared {
    fn table(&self, text: &str, inputs: Inputs, options: &ReaderOptions) -> Result<FilesTable> {
        self.inference(text, &inputs, options).table(inputs)
    }

    fn inference<'a>(
        &'a self,
        text: &'a str,
        inputs: &Inputs,
        options: &'a ReaderOptions,
    ) -> Inference<'a> {
        let settings = &self.settings;
        let threads = if inputs.url.as_str().starts_with("file:") {
            settings.threads
        } else {
            settings.requests
        };
        let remembering = Remembering {
            facts: &self.facts,
            columns: &self.columns,
        };
        Inference {
            text,
            options,
            threads,
            scan: &settings.scan,
            remembering,
        }
    }

    fn stdin(&self) -> Result<Inputs> {
        let spool = self.settings.stdin.as_ref().ok_or_else(|| {
            Error::new(Kind::Unsupported, "standard input cannot be read here").hint("name a file")
        })?;
        let path = match self.stdin.get() {
            Some(path) => path.clone(),
            None => {
                let path = spool().map_err(|error| Error::io("-", error))?;
                self.stdin.get_or_init(|| path).clone()
            }
        };
        let found = std::fs::metadata(&path).map_err(|error| Error::io("-", error))?;
        if found.len() == 0 {
            return Err(Error::new(Kind::Invalid, "standard input is empty").file("-"));
        }
        let file = walk::LocalFile::new(path.display().to_string(), &found);
        self.on_this_machine(
            Listing {
                files: vec![file],
                single: true,
                unwritten: usize::MAX,
                ..Listing::default()
            },
            None,
        )
    }

    fn local(&self, asked: &LocalPath, options: &ReaderOptions) -> Result<Inputs> {
        let (path, unwritten) = (asked.path.as_str(), asked.unwritten);
        let rules = Rules {
            access: &self.access,
            files_max: options.files_max.unwrap_or(self.settings.files_max),
            table_formats: options.table_format_files,
        };
        let mut found = walk::list(path, unwritten, rules);
        if let Ok(listing) = &found
            && !listing.staged.is_empty()
        {
            listing
                .staged
                .iter()
                .try_for_each(|dir| self.recover(dir))?;
            found = walk::list(path, unwritten, rules);
        }
        let listing = match found {
            // An external table over a directory that nobody has written to yet.
            Err(error) if error.kind == Kind::NotFound && may_be_empty(asked, options) => {
                self.access.check_read(path.as_ref())?;
                Listing {
                    unwritten,
                    ..Listing::default()
                }
            }
            Ok(listing) if listing.files.is_empty() && options.columns.is_empty() => {
                return Err(
                    Error::new(Kind::NotFound, format!("`{path}` has no data file")).file(path),
                );
            }
            other => other?,
        };
        let is_location = !listing.single && !is_pattern(path) || Path::new(path).is_dir();
        self.on_this_machine(listing, is_location.then(|| path.to_owned()))
    }

    fn on_this_machine(&self, listing: Listing, location: Option<String>) -> Result<Inputs> {
        let mut notices = listing.notices;
        notices.extend(without_a_byte(&listing.empty));
        Ok(Inputs {
            files: listing
                .files
                .into_iter()
                .map(DataFile::local)
                .collect::<Result<_>>()?,
            notices,
            single: listing.single,
            unwritten: listing.unwritten,
            store: self.stores.local(),
            url: ObjectStoreUrl::local_filesystem(),
            location,
        })
    }

    async fn remote(
        &self,
        base: &Url,
        key: &str,
        query: Option<&str>,
        options: &ReaderOptions,
    ) -> Result<Inputs> {
        let base = &stores::signed(base, query);
        let store = self.stores.open(base, query).await?;
        let asked = Asked {
            store: Arc::clone(&store),
            base,
            key,
            files_max: options.files_max.unwrap_or(self.settings.files_max),
            table_formats: options.table_format_files,
        };
        let RemoteListing {
            files,
            empty,
            single,
        } = asked.list().await?;
        let url = stores::store_url(base)?;
        // The scheme and the host are no directories.
        let is_location = !single && !is_pattern(key);
        let location =
            is_location.then(|| format!("{}/{key}", base.as_str().trim_end_matches('/')));
        let notices = without_a_byte(&empty).into_iter().collect();
        Ok(Inputs {
            files,
            notices,
            single,
            unwritten: 2,
            store,
            url,
            location,
        })
    }

    /// Completes or undoes what a killed write left in `dir`.
    fn recover(&self, dir: &Path) -> Result<()> {
        let shown = dir.display().to_string();
        let failed = |error: tidegate_checkpoint::Error| {
            Error::new(
                Kind::Io,
                format!("an interrupted write into `{shown}` cannot be put right: {error}"),
            )
            .file(&shown)
            .caused_by(error)
        };
        let vfs = tidegate_checkpoint::RealVfs;
        if !self.access.is_read_only() {
            return tidegate_checkpoint::recover(&vfs, dir)
                .map(|_| ())
                .map_err(failed);
        }
        match tidegate_checkpoint::staged::pending(&vfs, dir).map_err(failed)? {
            false => Ok(()),
            true => Err(Error::new(
                Kind::Denied,
                format!(
                    "a write into `{shown}` was interrupted, and this session may not complete it"
                ),
            )
            .file(&shown)
            .hint("read it once without `--read-only`")),
        }
    }
}

/// Whether a path without a file is an empty table: its columns are declared, and it is a directory or may become one.
fn may_be_empty(asked: &LocalPath, options: &ReaderOptions) -> bool {
    if options.columns.is_empty() || is_pattern(&asked.path) {
        return false;
    }
    let path = Path::new(&asked.path);
    let looks_like_file =
        !asked.path.ends_with('/') && crate::format::by_extension(&asked.path).is_some();
    path.is_dir() || asked.missing == Missing::Empty && !path.exists() && !looks_like_file
}

fn without_a_byte(empty: &[String]) -> Option<String> {
    (!empty.is_empty()).then(|| {
        format!(
            "skipped {} without a byte: {}",
            count(empty.len()),
            some_of(empty)
        )
    })
}

/// "1 file", "7 files".
pub(crate) fn count(files: usize) -> String {
    if files == 1 {
        "1 file".into()
    } else {
        format!("{files} files")
    }
}
