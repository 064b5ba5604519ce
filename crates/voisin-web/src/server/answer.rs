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

/// What is written to the log of the server about an answer, under a reference that the answer has too.
#[derive(Clone, Debug)]
pub struct ForLog(pub String);

/// What goes out of an error of the server's own, and what stays: such an error may name files of this machine.
fn kept_back(error: WebError) -> (WebError, ForLog) {
    let mut bytes = [0u8; 4];
    let _ = getrandom::fill(&mut bytes); // without random numbers all have one reference
    let reference = format!("{:08x}", u32::from_le_bytes(bytes));
    let whole = error.hint.map_or_else(|| error.message.clone(), |hint| format!("{} ({hint})", error.message));
    // one line, whatever is in it
    let whole: String = whole.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let told = WebError::new(Kind::Internal, format!("the server could not answer this (reference {reference})"));
    let told = told.hint("its log, on the terminal where it runs, says more under this reference");
    (WebError { reference: Some(reference.clone()), ..told }, ForLog(format!("error {reference}: {whole}")))
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let (error, log) = match self.error.kind {
            Kind::Internal => {
                let (told, log) = kept_back(self.error);
                (told, Some(log))
            }
            _ => (self.error, None),
        };
        let mut response = (self.status, Json(json!({"error": error}))).into_response();
        log.map(|log| response.extensions_mut().insert(log));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_names_a_file_stays_here() {
        let error = WebError::new(Kind::Internal, "/home/me/secret/index/1-0.vsn: damaged\nrow 3").hint("restore /home/me");
        let (told, ForLog(line)) = kept_back(error);
        let reference = told.reference.clone().expect("one");
        let sent = serde_json::to_string(&told).expect("JSON");
        assert!(!sent.contains("/home") && told.message.contains(&reference) && reference.len() == 8, "{sent}");
        assert_eq!(line, format!("error {reference}: /home/me/secret/index/1-0.vsn: damaged row 3 (restore /home/me)"));
        let refused = Refused::from(WebError::new(Kind::Internal, "x")).into_response();
        assert!(refused.status() == 500 && refused.extensions().get::<ForLog>().is_some());
        assert!(Refused::bad("x").into_response().extensions().get::<ForLog>().is_none());
    }
}
