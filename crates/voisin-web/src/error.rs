//! Errors as the API answers them.

use serde::Serialize;

/// What kind of refusal it is; the server makes the status of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// 400: a parameter is wrong.
    BadRequest,
    /// 401: the token is missing or wrong.
    Unauthorized,
    /// 403: not from there, or switched off.
    Forbidden,
    /// 404: no such collection, item or image.
    NotFound,
    /// 409: the collection cannot do this (no model for images, say).
    Unable,
    /// 413: more than is allowed.
    TooLarge,
    /// 422: an image that cannot be read.
    Unreadable,
    /// 503: too much at once.
    Busy,
    /// 500: the index or a file of it.
    Internal,
}

/// A refusal: what is wrong, and what to do.
#[derive(Clone, Debug, thiserror::Error, Serialize)]
#[error("{message}")]
pub struct WebError {
    /// Which kind.
    pub kind: Kind,
    /// What was asked, expected and found.
    pub message: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Under which the server's log says more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
}

impl WebError {
    /// A refusal.
    pub fn new(kind: Kind, message: impl Into<String>) -> WebError {
        WebError { kind, message: message.into(), hint: None, reference: None }
    }

    /// The same with what to do.
    pub fn hint(self, hint: impl Into<String>) -> WebError {
        WebError { hint: Some(hint.into()), ..self }
    }
}

impl From<voisin::Error> for WebError {
    fn from(e: voisin::Error) -> WebError {
        let kind = match e {
            voisin::Error::Param { .. } | voisin::Error::Dimension { .. } => Kind::BadRequest,
            voisin::Error::Id { .. } => Kind::NotFound,
            _ => Kind::Internal,
        };
        WebError { hint: e.hint(), ..WebError::new(kind, e.to_string()) }
    }
}
