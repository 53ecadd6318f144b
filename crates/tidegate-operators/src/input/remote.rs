//! Files in object stores: every request carries the pin as a condition.

use std::future::Future;
use std::io::{self, Read};
use std::ops::Range;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use object_store::{GetOptions, GetRange, ObjectStore};
use tokio::runtime::Handle;

use super::{Error, InputFile};

/// A blocking reader asks for this much at a time.
const REQUEST_BYTES: u64 = 8 << 20;

/// Gets `range` of the pinned version, or says that the file is another one now.
pub(super) async fn fetch(input: &InputFile, range: Range<u64>) -> Result<Bytes, Error> {
    if range.is_empty() {
        return Ok(Bytes::new());
    }
    let pin = &input.meta;
    let length = range.end - range.start;
    // A weak tag never passes as a condition: it is compared with the answer below.
    let condition = pin.e_tag.clone().filter(|tag| !tag.starts_with("W/"));
    let options = GetOptions {
        range: Some(GetRange::Bounded(range)),
        if_match: condition,
        version: pin.version.clone(),
        ..GetOptions::default()
    };
    let store_error = |source| match source {
        object_store::Error::Precondition { .. } => input.changed("it was replaced"),
        object_store::Error::NotFound { .. } => input.changed("it is no longer there"),
        source => Error::Store {
            file: Arc::clone(input.name()),
            source,
        },
    };
    let answer = input
        .store
        .get_opts(&pin.location, options)
        .await
        .map_err(store_error)?;
    if answer.meta.size != pin.size {
        let what = format!("it had {} bytes and has {} now", pin.size, answer.meta.size);
        return Err(input.changed(what));
    }
    if let (Some(now), Some(then)) = (&answer.meta.e_tag, &pin.e_tag)
        && now != then
    {
        return Err(input.changed("it was replaced"));
    }
    let bytes = answer.bytes().await.map_err(store_error)?;
    if bytes.len() as u64 != length {
        return Err(input.changed("it was truncated"));
    }
    Ok(bytes)
}

/// Waits for `future` on a thread that may wait.
pub(crate) fn block_on<T>(future: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    match Handle::try_current() {
        Ok(handle) => handle.block_on(future),
        Err(_) => futures::executor::block_on(future),
    }
}

/// A remote file from its first byte to its last.
pub(super) struct RemoteReader {
    input: InputFile,
    next: u64,
    bytes: Bytes,
}

impl RemoteReader {
    pub(super) fn new(input: &InputFile) -> Result<Self, Error> {
        Ok(Self {
            input: input.clone(),
            next: 0,
            bytes: Bytes::new(),
        })
    }
}

impl Read for RemoteReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let size = self.input.meta.size;
        if self.bytes.is_empty() && self.next < size {
            let range = self.next..size.min(self.next + REQUEST_BYTES);
            self.next = range.end;
            self.bytes = block_on(fetch(&self.input, range)).map_err(Error::into_io)?;
        }
        let read = buffer.len().min(self.bytes.len());
        self.bytes.copy_to_slice(&mut buffer[..read]);
        Ok(read)
    }
}
