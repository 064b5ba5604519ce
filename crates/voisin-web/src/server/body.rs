//! Bodies of requests: so many bytes, within so much time, from so many clients at once.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};

use super::answer::Refused;
use crate::{Kind, WebError};

/// Bytes of an upload.
pub const MAX_UPLOAD: usize = 32 << 20;
/// Bytes of a JSON body.
pub const MAX_JSON: usize = 1 << 20;
/// Memory for uploads of all clients together, in [`UNIT`]s.
const BUDGET: usize = 8192;
/// Bytes that are counted as one.
const UNIT: usize = 64 << 10;
/// Between two pieces of a body.
const PAUSE: Duration = Duration::from_secs(10);
/// For a whole body: 32 MB at 4 Mbit/s.
const TOTAL: Duration = Duration::from_secs(64);
/// What is still read of a body that is too large, so that the client gets to read the answer.
const DRAINED: usize = 64 << 20;
/// For as long.
const DRAINING: Duration = Duration::from_secs(3);

/// Reads bodies.
#[derive(Debug)]
pub struct Bodies {
    budget: Arc<Semaphore>,
}

/// A body, and its share of the memory for all.
#[derive(Debug)]
pub struct Upload {
    /// What was sent.
    pub bytes: Vec<u8>,
    _share: Option<OwnedSemaphorePermit>,
}

impl Default for Bodies {
    fn default() -> Bodies {
        Bodies { budget: Arc::new(Semaphore::new(BUDGET)) }
    }
}

impl Bodies {
    /// The bytes of an image.
    ///
    /// # Errors
    /// No image by its content type, an empty body, too many bytes, a client that is too slow, too much memory in use.
    pub async fn image(&self, headers: &HeaderMap, body: Body) -> Result<Upload, Refused> {
        let kind = content_type(headers);
        if !(kind.starts_with("image/") || kind.is_empty() || kind == "application/octet-stream") {
            let error = WebError::new(Kind::BadRequest, format!("the body is {kind:?} where an image is expected"));
            let error = error.hint("send the bytes of the file with Content-Type: image/jpeg (or image/png, ...)");
            return Err(Refused::with(StatusCode::UNSUPPORTED_MEDIA_TYPE, error));
        }
        let upload = self.read(headers, body, MAX_UPLOAD).await?;
        if upload.bytes.is_empty() {
            return Err(WebError::new(Kind::BadRequest, "the body is empty").hint("send the bytes of an image").into());
        }
        Ok(upload)
    }

    /// A JSON object.
    ///
    /// # Errors
    /// Another content type; what is no JSON, or says something unknown; as [`Bodies::image`].
    pub async fn json<T: DeserializeOwned>(&self, headers: &HeaderMap, body: Body) -> Result<T, Refused> {
        let kind = content_type(headers);
        if kind != "application/json" {
            let error = WebError::new(Kind::BadRequest, format!("the body is {kind:?} where application/json is expected"));
            return Err(Refused::with(StatusCode::UNSUPPORTED_MEDIA_TYPE, error.hint("send Content-Type: application/json")));
        }
        let upload = self.read(headers, body, MAX_JSON).await?;
        serde_json::from_slice(&upload.bytes).map_err(|e| {
            let error = WebError::new(Kind::BadRequest, format!("the body: {e}"));
            error.hint("/api/openapi.json says what is expected").into()
        })
    }

    async fn read(&self, headers: &HeaderMap, mut body: Body, most: usize) -> Result<Upload, Refused> {
        let said = headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
        if said.is_some_and(|n| n > most as u64) {
            if !headers.contains_key(header::EXPECT) {
                drain(body, DRAINED).await;
            }
            return Err(too_large(most));
        }
        let deadline = Instant::now() + TOTAL;
        let mut upload = Upload { bytes: Vec::new(), _share: None };
        let mut counted = 0;
        while let Some(frame) =
            timeout_at(deadline, timeout(PAUSE, body.frame())).await.map_err(|_| slow())?.map_err(|_| slow())?
        {
            let frame = frame.map_err(|_| Refused::bad("the body broke off"))?;
            let Ok(data) = frame.into_data() else { continue };
            if upload.bytes.len() + data.len() > most {
                upload.bytes = Vec::new();
                drain(body, DRAINED).await;
                return Err(too_large(most));
            }
            let units = (upload.bytes.len() + data.len()).div_ceil(UNIT);
            if units > counted {
                let more = Arc::clone(&self.budget).try_acquire_many_owned((units - counted) as u32);
                let more =
                    more.map_err(|_| WebError::new(Kind::Busy, "too many uploads at once").hint("try again in a moment"))?;
                match &mut upload._share {
                    Some(share) => share.merge(more),
                    share => *share = Some(more),
                }
                counted = units;
            }
            upload.bytes.extend_from_slice(&data);
        }
        Ok(upload)
    }
}

/// `image/png` of `image/png; x=y`, in small letters.
fn content_type(headers: &HeaderMap) -> String {
    let value = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

async fn drain(mut body: Body, most: usize) {
    let mut left = most;
    let all = async {
        while let Some(Ok(frame)) = body.frame().await {
            left = left.saturating_sub(frame.data_ref().map_or(0, |d| d.len()));
            if left == 0 {
                break;
            }
        }
    };
    let _ = timeout(DRAINING, all).await;
}

fn too_large(most: usize) -> Refused {
    let error = WebError::new(Kind::TooLarge, format!("the body is larger than {} MB", most >> 20));
    error.hint("shrink the image; a few hundred pixels are enough").into()
}

fn slow() -> Refused {
    Refused::with(
        StatusCode::REQUEST_TIMEOUT,
        WebError::new(Kind::BadRequest, "the body did not come in time").hint("send it again"),
    )
}
