//! Object stores by URL, made when they are first needed. Credentials come from the usual chains of each
//! provider; they are never shown.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use datafusion::execution::object_store::{ObjectStoreRegistry, ObjectStoreUrl};
use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use parking_lot::RwLock;
use url::Url;

use crate::access::Access;
use crate::error::{Error, Kind, Result};

/// What the user of a signed web address begins with.
const SIGNED: &str = "tidegate-signed-";

/// The object stores of a session. Hand it to DataFusion's runtime environment as its registry.
pub struct Stores {
    access: Access,
    local: Arc<LocalFileSystem>,
    /// Where credentials may be in shared files.
    home: Option<PathBuf>,
    /// By scheme and authority.
    known: RwLock<BTreeMap<String, Arc<dyn ObjectStore>>>,
}

impl Stores {
    /// Only local files yet; whatever else is made on demand, if `access` has the network.
    pub fn new(access: Access) -> Self {
        Self {
            access,
            local: Arc::new(LocalFileSystem::new()),
            home: None,
            known: RwLock::default(),
        }
    }

    /// Also looks for credentials in shared files below this directory, such as `.aws/credentials`.
    pub fn with_home(mut self, home: Option<PathBuf>) -> Self {
        self.home = home;
        self
    }

    /// The store of `url`, made now if it is new. Finding a bucket's region may ask the network. `query` is that of
    /// a signed web address.
    pub async fn open(&self, url: &Url, query: Option<&str>) -> Result<Arc<dyn ObjectStore>> {
        if url.scheme() == "file" {
            return Ok(Arc::clone(&self.local) as Arc<dyn ObjectStore>);
        }
        self.access.check_network(url.as_str())?;
        if let Some(store) = self.known.read().get(&key(url)) {
            return Ok(Arc::clone(store));
        }
        let store = crate::cloud::open(url, query, self.home.as_deref()).await?;
        self.known.write().insert(key(url), Arc::clone(&store));
        Ok(store)
    }

    /// The store of local files.
    pub fn local(&self) -> Arc<dyn ObjectStore> {
        Arc::clone(&self.local) as Arc<dyn ObjectStore>
    }
}

/// The name under which plans refer to the store of `url`.
pub(crate) fn store_url(url: &Url) -> Result<ObjectStoreUrl> {
    ObjectStoreUrl::parse(key(url)).map_err(|error| {
        Error::new(Kind::Invalid, format!("`{}` is not a valid URL", key(url))).caused_by(error)
    })
}

/// How a signed web address is told from others of its host: the query itself is a secret and stays out of plans.
pub(crate) fn signed(base: &Url, query: Option<&str>) -> Url {
    let mut base = base.clone();
    if let Some(query) = query {
        let digest = blake3::hash(query.as_bytes()).to_hex();
        // A web address always has a host, so it can have a user.
        let _ = base.set_username(&format!("{SIGNED}{}", &digest[..16]));
        let _ = base.set_password(None);
    }
    base
}

fn key(url: &Url) -> String {
    match url.scheme() {
        "file" => "file:///".to_owned(),
        scheme => {
            let host = url.host_str().unwrap_or_default();
            let port = url
                .port()
                .map(|port| format!(":{port}"))
                .unwrap_or_default();
            // The container of an Azure URL stands where others have a user.
            let container = match url.username() {
                user if scheme.starts_with("abfs") && !user.is_empty() => format!("{user}@"),
                user if scheme.starts_with("http") && user.starts_with(SIGNED) => {
                    format!("{user}@")
                }
                _ => String::new(),
            };
            format!("{scheme}://{container}{host}{port}/")
        }
    }
}

impl std::fmt::Debug for Stores {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stores")
            .field("known", &self.known.read().keys().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

impl ObjectStoreRegistry for Stores {
    fn register_store(
        &self,
        url: &Url,
        store: Arc<dyn ObjectStore>,
    ) -> Option<Arc<dyn ObjectStore>> {
        self.known.write().insert(key(url), store)
    }

    fn deregister_store(&self, url: &Url) -> datafusion::error::Result<Arc<dyn ObjectStore>> {
        self.known.write().remove(&key(url)).ok_or_else(|| {
            Error::new(
                Kind::NotFound,
                format!("no object store is registered for `{}`", key(url)),
            )
            .into()
        })
    }

    fn get_store(&self, url: &Url) -> datafusion::error::Result<Arc<dyn ObjectStore>> {
        if url.scheme() == "file" {
            return Ok(self.local());
        }
        self.access.check_network(url.as_str())?;
        self.known.read().get(&key(url)).cloned().ok_or_else(|| {
            Error::new(
                Kind::NotFound,
                format!("no object store is registered for `{}`", key(url)),
            )
            .into()
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn stores_are_known_by_scheme_and_authority_without_secrets() {
        let check = |text: &str, expect: &str| assert_eq!(key(&Url::parse(text).unwrap()), expect);
        check("s3://bucket/a/b", "s3://bucket/");
        check("https://user:pw@host:8080/a?sig=1", "https://host:8080/");
        check(
            "abfss://c@acc.dfs.core.windows.net/x",
            "abfss://c@acc.dfs.core.windows.net/",
        );
        check("file:///a/b", "file:///");
    }

    #[test]
    fn the_network_can_be_off() {
        let stores = Stores::new(Access::everything().without_network());
        let url = Url::parse("s3://bucket/").unwrap();
        stores.register_store(&url, stores.local());
        assert!(
            stores
                .get_store(&url)
                .unwrap_err()
                .to_string()
                .contains("no network")
        );
        assert!(stores.get_store(&Url::parse("file:///x").unwrap()).is_ok());
    }
}
