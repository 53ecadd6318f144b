//! Makes object stores from the standard credential chains: environment, shared files, instance metadata.

use std::path::Path;
use std::sync::Arc;

use object_store::ObjectStore;
use url::Url;

use crate::error::{Error, Kind, Result};

/// Makes the store of `url`. May ask the network for the region of a bucket.
#[cfg(feature = "cloud")]
pub(crate) async fn open(
    url: &Url,
    query: Option<&str>,
    home: Option<&Path>,
) -> Result<Arc<dyn ObjectStore>> {
    match url.scheme() {
        "s3" | "s3a" => s3(url, home).await,
        "gs" | "gcs" => {
            let builder = object_store::gcp::GoogleCloudStorageBuilder::from_env()
                .with_bucket_name(host(url));
            made(url, builder.build())
        }
        "az" | "azure" | "abfs" | "abfss" => {
            let builder =
                object_store::azure::MicrosoftAzureBuilder::from_env().with_url(url.as_str());
            made(url, builder.build())
        }
        "http" | "https" => {
            let options = object_store::ClientOptions::new().with_allow_http(true);
            let mut address = url.clone();
            if query.is_some() {
                address.set_query(query);
                let _ = address.set_username("");
            }
            let builder = object_store::http::HttpBuilder::new()
                .with_url(address.as_str())
                .with_client_options(options);
            made(url, builder.build())
        }
        other => Err(Error::new(
            Kind::Unsupported,
            format!("there is no object store for `{other}`"),
        )),
    }
}

/// Without the feature there are only local files.
#[cfg(not(feature = "cloud"))]
pub(crate) async fn open(
    url: &Url,
    _query: Option<&str>,
    _home: Option<&Path>,
) -> Result<Arc<dyn ObjectStore>> {
    Err(Error::new(
        Kind::Unsupported,
        format!(
            "this build has no object stores: `{}` cannot be read",
            url.scheme()
        ),
    ))
}

/// Environment, then the shared files of `~/.aws`, then what object_store tries: web identity, container, instance.
#[cfg(feature = "cloud")]
async fn s3(url: &Url, home: Option<&Path>) -> Result<Arc<dyn ObjectStore>> {
    use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey as Key};

    let mut builder = AmazonS3Builder::from_env().with_bucket_name(host(url));
    let name = std::env::var("AWS_PROFILE").unwrap_or_else(|_| "default".to_owned());
    let profile = home
        .map(|home| crate::profile::Profile::read(home, &name))
        .unwrap_or_default();
    let has = |builder: &AmazonS3Builder, key: Key| builder.get_config_value(&key).is_some();
    if !has(&builder, Key::AccessKeyId)
        && let (Some(id), Some(secret)) = (profile.access_key_id, profile.secret_access_key)
    {
        builder = builder
            .with_access_key_id(id)
            .with_secret_access_key(secret);
        if let Some(token) = profile.session_token {
            builder = builder.with_token(token);
        }
    }
    if let Some(endpoint) = profile
        .endpoint_url
        .filter(|_| !has(&builder, Key::Endpoint))
    {
        builder = builder.with_endpoint(endpoint);
    }
    if let Some(region) = profile.region.filter(|_| !has(&builder, Key::Region)) {
        builder = builder.with_region(region);
    }
    let endpoint = builder.get_config_value(&Key::Endpoint);
    if endpoint.as_deref().is_some_and(is_loopback) {
        builder = builder.with_allow_http(true);
    }
    if !has(&builder, Key::Region) && endpoint.is_none() {
        let options = object_store::ClientOptions::new();
        let region = object_store::aws::resolve_bucket_region(host(url), &options).await;
        builder = builder.with_region(region.map_err(|error| failed(url, error))?);
    }
    made(url, builder.build())
}

#[cfg(feature = "cloud")]
fn is_loopback(endpoint: &str) -> bool {
    Url::parse(endpoint)
        .is_ok_and(|url| matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]")))
}

#[cfg(feature = "cloud")]
fn host(url: &Url) -> &str {
    url.host_str().unwrap_or_default()
}

#[cfg(feature = "cloud")]
fn made<S: ObjectStore>(url: &Url, store: object_store::Result<S>) -> Result<Arc<dyn ObjectStore>> {
    store
        .map(|store| Arc::new(store) as Arc<dyn ObjectStore>)
        .map_err(|error| failed(url, error))
}

#[cfg(feature = "cloud")]
fn failed(url: &Url, error: object_store::Error) -> Error {
    let shown = format!("{}://{}", url.scheme(), host(url));
    Error::new(
        Kind::Io,
        format!(
            "`{shown}` cannot be opened: {}",
            crate::footer::first_line(&error)
        ),
    )
    .caused_by(error)
}
