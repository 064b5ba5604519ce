//! What goes back: JSON, bytes, refusals.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;

use crate::{Kind, WebError};

/// A refusal with its status.
#[derive(Debug)]
pub struct Refused {
    /// Of the answer.
    pub status: StatusCode,
    /// Its body.
    pub error: WebError,
}

/// What a handler gives.
pub type Answer = Result<Response, Refused>;

impl Refused {
    /// A refusal whose status is not the usual one of its kind (405, 408, 415).
    pub fn with(status: StatusCode, error: WebError) -> Refused {
        Refused { status, error }
    }

    /// 400.
    pub fn bad(message: impl Into<String>) -> Refused {
        WebError::new(Kind::BadRequest, message).into()
    }
}

impl From<WebError> for Refused {
    fn from(error: WebError) -> Refused {
        let status = match error.kind {
            Kind::BadRequest => StatusCode::BAD_REQUEST,
            Kind::Unauthorized => StatusCode::UNAUTHORIZED,
            Kind::Forbidden => StatusCode::FORBIDDEN,
            Kind::NotFound => StatusCode::NOT_FOUND,
            Kind::Unable => StatusCode::CONFLICT,
            Kind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Kind::Unreadable => StatusCode::UNPROCESSABLE_ENTITY,
            Kind::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Refused { status, error }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(json!({"error": self.error}))).into_response();
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

/// 200 with a JSON body that nobody keeps.
pub fn json_of(body: &impl Serialize) -> Response {
    ([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
}

/// 200 with bytes of this type; `keep` says for how long a browser may keep them.
pub fn bytes_of(content_type: &'static str, keep: &'static str, body: impl IntoResponse) -> Response {
    ([(header::CONTENT_TYPE, content_type), (header::CACHE_CONTROL, keep)], body).into_response()
}
