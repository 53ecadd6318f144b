//! A server of S3's protocol on loopback, in memory: as much of it as reading and writing need, which is Google's too,
//! and Azure's. Listings come in small pages, and an object is there only when its upload is completed. The bucket
//! `public` needs no credentials.
#![allow(dead_code, unreachable_pub)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};

/// The key that requests must be signed with.
pub const KEY: &str = "AKIDTIDEGATE";
/// Objects of a page of a listing.
const PAGE: usize = 2;
const MODIFIED: (&str, &str) = ("Wed, 25 Nov 2026 12:00:00 GMT", "2026-11-25T12:00:00.000Z");

/// The server; its threads end with the test.
pub struct Server {
    pub endpoint: String,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// By bucket and key.
    objects: BTreeMap<String, Vec<u8>>,
    /// Parts by upload.
    uploads: BTreeMap<String, BTreeMap<u32, Vec<u8>>>,
    /// Azure's blocks by object and identity.
    blocks: BTreeMap<(String, String), Vec<u8>>,
    /// Method and target of every request.
    requests: Vec<String>,
}

struct Request {
    method: String,
    /// Bucket and key.
    path: String,
    query: BTreeMap<String, String>,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

struct Response {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl Server {
    pub fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let endpoint = format!("http://{}", listener.local_addr().expect("bound"));
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                // A client may hang up as it likes.
                std::thread::spawn(move || serve(socket, &state).is_ok());
            }
        });
        Self { endpoint, state }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no request panics")
    }

    /// Puts an object at `bucket/key`.
    pub fn put(&self, path: &str, text: &str) {
        self.state().objects.insert(path.into(), text.into());
    }

    /// Puts an object of any bytes.
    pub fn put_bytes(&self, path: &str, bytes: Vec<u8>) {
        self.state().objects.insert(path.into(), bytes);
    }

    /// The paths of all objects.
    pub fn paths(&self) -> Vec<String> {
        self.state().objects.keys().cloned().collect()
    }

    /// Uploads that were begun and neither completed nor given up.
    pub fn open_uploads(&self) -> usize {
        let state = self.state();
        state.uploads.len() + state.blocks.len()
    }

    /// Method and target of the requests so far.
    pub fn requests(&self) -> Vec<String> {
        self.state().requests.clone()
    }
}

fn serve(socket: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let mut reader = BufReader::new(socket.try_clone()?);
    let mut writer = socket;
    while let Some(request) = read(&mut reader)? {
        let head = request.method == "HEAD";
        let response = answer(request, &mut state.lock().expect("no request panics"));
        let mut text = format!("HTTP/1.1 {} -\r\n", response.status);
        let length = response
            .headers
            .iter()
            .any(|(name, _)| *name == "Content-Length");
        if !length {
            text.push_str(&format!("Content-Length: {}\r\n", response.body.len()));
        }
        for (name, value) in &response.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("\r\n");
        writer.write_all(text.as_bytes())?;
        if !head {
            writer.write_all(&response.body)?;
        }
    }
    Ok(())
}

/// The next request of a connection.
fn read(reader: &mut impl BufRead) -> std::io::Result<Option<Request>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split(' ');
    let method = words.next().unwrap_or_default().to_owned();
    let target = words.next().unwrap_or_default().to_owned();
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        match line.trim_end().split_once(':') {
            Some((name, value)) => headers.insert(name.to_lowercase(), value.trim().to_owned()),
            None => break,
        };
    }
    let length = headers
        .get("content-length")
        .and_then(|text| text.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body)?;
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(name), decoded(&value.replace('+', " ")))
    };
    Ok(Some(Request {
        method,
        path: decoded(path.trim_start_matches('/')),
        query: query
            .split('&')
            .filter(|text| !text.is_empty())
            .map(pair)
            .collect(),
        headers,
        body,
    }))
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        let code = behind.get(..2).filter(|_| byte == b'%');
        let code = code.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        bytes.push(code.unwrap_or(byte));
        rest = if code.is_some() { &behind[2..] } else { behind };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The account of Azure's own emulator, which stands before each container.
const ACCOUNT: &str = "devstoreaccount1/";

fn answer(mut request: Request, state: &mut State) -> Response {
    state
        .requests
        .push(format!("{} {}", request.method, request.path));
    let signed = request.headers.get("authorization");
    let signed = signed.is_some_and(|text| {
        let by = [format!("Credential={KEY}/"), "SharedKey ".into()];
        by.iter().any(|by| text.contains(by))
    });
    if let Some(path) = request.path.strip_prefix(ACCOUNT) {
        request.path = path.to_owned();
    }
    if !signed && request.path.split('/').next() != Some("public") {
        return failed(403, "AccessDenied");
    }
    let has = |name: &str| request.query.contains_key(name);
    let what = request.query.get("comp").map_or("", String::as_str);
    match request.method.as_str() {
        "GET" if what == "list" => list_blobs(&request, state),
        "PUT" if what == "block" => block(request, state),
        "PUT" if what == "blocklist" => complete_blocks(request, state),
        "GET" if has("list-type") => list(&request, state),
        "GET" | "HEAD" => get(&request, state),
        "PUT" if has("uploadId") => part(request, state),
        "PUT" => {
            let response = tagged(&request.body);
            state.objects.insert(request.path, request.body);
            response
        }
        "POST" if has("uploads") => begin(&request, state),
        "POST" if has("uploadId") => complete(&request, state),
        "DELETE" => {
            match request.query.get("uploadId") {
                Some(upload) => drop(state.uploads.remove(upload)),
                None => drop(state.objects.remove(&request.path)),
            }
            Response {
                status: 204,
                headers: Vec::new(),
                body: Vec::new(),
            }
        }
        _ => failed(501, "NotImplemented"),
    }
}

fn failed(status: u16, code: &str) -> Response {
    xml(
        status,
        &format!("<Error><Code>{code}</Code><Message>{code}</Message></Error>"),
    )
}

fn xml(status: u16, body: &str) -> Response {
    Response {
        status,
        headers: vec![("Content-Type", "application/xml".into())],
        body: format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>{body}").into_bytes(),
    }
}

/// A number that tells contents apart, well enough for a test.
fn tag(bytes: &[u8]) -> String {
    let sum = bytes.iter().fold(7u64, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(u64::from(*byte))
    });
    format!("\"{sum:016x}\"")
}

fn tagged(bytes: &[u8]) -> Response {
    Response {
        status: 200,
        headers: vec![("ETag", tag(bytes))],
        body: Vec::new(),
    }
}

fn get(request: &Request, state: &State) -> Response {
    let Some(object) = state.objects.get(&request.path) else {
        return failed(404, "NoSuchKey");
    };
    let mut response = tagged(object);
    response.headers.push(("Last-Modified", MODIFIED.0.into()));
    response.headers.push(("Accept-Ranges", "bytes".into()));
    let range = request
        .headers
        .get("range")
        .and_then(|text| text.strip_prefix("bytes="));
    let Some((first, last)) = range.and_then(|text| text.split_once('-')) else {
        response
            .headers
            .push(("Content-Length", object.len().to_string()));
        response.body = object.clone();
        return response;
    };
    let size = object.len();
    let (first, end) = match (first.parse::<usize>(), last.parse::<usize>()) {
        (Ok(first), Ok(last)) => (first, (last + 1).min(size)),
        (Ok(first), Err(_)) => (first, size),
        (Err(_), Ok(suffix)) => (size.saturating_sub(suffix), size),
        _ => (size, 0),
    };
    let Some(bytes) = object.get(first..end).filter(|bytes| !bytes.is_empty()) else {
        return failed(416, "InvalidRange");
    };
    response.status = 206;
    let range = format!("bytes {first}-{}/{size}", end - 1);
    response.headers.push(("Content-Range", range));
    response.body = bytes.to_vec();
    response
}

/// Names with their objects, or what all keys have in common up to a delimiter, and where the next page begins.
struct Page<'a> {
    entries: Vec<(String, Option<&'a Vec<u8>>)>,
    next: Option<String>,
}

fn page<'a>(request: &Request, after: &str, state: &'a State) -> Page<'a> {
    let asked = |name: &str| request.query.get(name).map_or("", String::as_str);
    let after = asked(after);
    let bucket = format!("{}/", request.path.trim_end_matches('/'));
    let (prefix, delimiter) = (asked("prefix"), asked("delimiter"));
    let objects = state
        .objects
        .iter()
        .filter_map(|(path, bytes)| Some((path.strip_prefix(&bucket)?, bytes)));
    let mut entries: BTreeMap<String, Option<&Vec<u8>>> = BTreeMap::new();
    for (key, bytes) in objects.filter(|(key, _)| key.starts_with(prefix)) {
        let rest = &key[prefix.len()..];
        match rest.find(delimiter).filter(|_| !delimiter.is_empty()) {
            Some(at) => entries.insert(format!("{prefix}{}", &rest[..at + delimiter.len()]), None),
            None => entries.insert(key.to_owned(), Some(bytes)),
        };
    }
    let mut left = entries
        .into_iter()
        .filter(|(name, _)| name.as_str() > after);
    let entries: Vec<_> = left.by_ref().take(PAGE).collect();
    let next = match (left.next(), entries.last()) {
        (Some(_), Some((last, _))) => Some(last.clone()),
        _ => None,
    };
    Page { entries, next }
}

fn list(request: &Request, state: &State) -> Response {
    let Page { entries, next } = page(request, "continuation-token", state);
    let mut body = format!(
        "<ListBucketResult><KeyCount>{}</KeyCount><IsTruncated>{}</IsTruncated>",
        entries.len(),
        next.is_some()
    );
    if let Some(next) = next {
        body.push_str(&format!(
            "<NextContinuationToken>{}</NextContinuationToken>",
            escaped(&next)
        ));
    }
    for (name, bytes) in &entries {
        let name = escaped(name);
        body.push_str(&match bytes {
            None => format!("<CommonPrefixes><Prefix>{name}</Prefix></CommonPrefixes>"),
            Some(bytes) => format!(
                "<Contents><Key>{name}</Key><LastModified>{}</LastModified><ETag>{}</ETag><Size>{}</Size></Contents>",
                MODIFIED.1,
                escaped(&tag(bytes)),
                bytes.len()
            ),
        });
    }
    xml(200, &format!("{body}</ListBucketResult>"))
}

fn list_blobs(request: &Request, state: &State) -> Response {
    let Page { entries, next } = page(request, "marker", state);
    let mut body = String::from("<EnumerationResults><Blobs>");
    for (name, bytes) in &entries {
        let name = escaped(name);
        body.push_str(&match bytes {
            None => format!("<BlobPrefix><Name>{name}</Name></BlobPrefix>"),
            Some(bytes) => format!(
                "<Blob><Name>{name}</Name><Properties><Last-Modified>{}</Last-Modified><Etag>{}</Etag><Content-Length>{}</Content-Length><Content-Type>text/plain</Content-Type></Properties></Blob>",
                MODIFIED.0,
                escaped(&tag(bytes)),
                bytes.len()
            ),
        });
    }
    let next = escaped(&next.unwrap_or_default());
    xml(
        200,
        &format!("{body}</Blobs><NextMarker>{next}</NextMarker></EnumerationResults>"),
    )
}

fn block(request: Request, state: &mut State) -> Response {
    let id = request.query.get("blockid").cloned().unwrap_or_default();
    state.blocks.insert((request.path, id), request.body);
    Response {
        status: 201,
        headers: Vec::new(),
        body: Vec::new(),
    }
}

fn complete_blocks(request: Request, state: &mut State) -> Response {
    let list = String::from_utf8_lossy(&request.body);
    let ids = list.split("<Uncommitted>").skip(1);
    let ids = ids.filter_map(|rest| rest.split_once('<').map(|(id, _)| id.to_owned()));
    let mut object = Vec::new();
    for id in ids {
        match state.blocks.remove(&(request.path.clone(), id)) {
            Some(block) => object.extend(block),
            None => return failed(400, "InvalidBlockList"),
        }
    }
    let response = tagged(&object);
    state.objects.insert(request.path, object);
    response
}

fn escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    text.replace('>', "&gt;").replace('"', "&quot;")
}

fn begin(request: &Request, state: &mut State) -> Response {
    let upload = format!("upload-{}", state.requests.len());
    state.uploads.insert(upload.clone(), BTreeMap::new());
    let (bucket, key) = request.path.split_once('/').unwrap_or_default();
    xml(
        200,
        &format!(
            "<InitiateMultipartUploadResult><Bucket>{bucket}</Bucket><Key>{}</Key><UploadId>{upload}</UploadId></InitiateMultipartUploadResult>",
            escaped(key)
        ),
    )
}

fn part(request: Request, state: &mut State) -> Response {
    let number = request
        .query
        .get("partNumber")
        .and_then(|text| text.parse().ok());
    let upload = request
        .query
        .get("uploadId")
        .and_then(|id| state.uploads.get_mut(id));
    let (Some(number), Some(upload)) = (number, upload) else {
        return failed(404, "NoSuchUpload");
    };
    let response = tagged(&request.body);
    upload.insert(number, request.body);
    response
}

fn complete(request: &Request, state: &mut State) -> Response {
    let upload = request
        .query
        .get("uploadId")
        .and_then(|id| state.uploads.remove(id));
    let Some(parts) = upload else {
        return failed(404, "NoSuchUpload");
    };
    let object: Vec<u8> = parts.into_values().flatten().collect();
    let body = format!(
        "<CompleteMultipartUploadResult><ETag>{}</ETag></CompleteMultipartUploadResult>",
        escaped(&tag(&object))
    );
    state.objects.insert(request.path.clone(), object);
    xml(200, &body)
}
