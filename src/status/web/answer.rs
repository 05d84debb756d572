//! Bodies, their types, and whether the reader has them already.

use std::io;

use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use data_encoding::HEXLOWER;

use crate::trust::sha256;

pub(super) const HTML: &str = "text/html; charset=utf-8";
pub(super) const JSON: &str = "application/json";
pub(super) const TEXT: &str = "text/plain; charset=utf-8";

/// A body, or the word that what the reader holds is still the same.
pub(super) fn body(
    status: StatusCode,
    kind: &'static str,
    body: Bytes,
    asked: &HeaderMap,
) -> Response {
    let tag = format!("\"{}\"", HEXLOWER.encode(&sha256(&body)[..16]));
    // A web server in between may have made it a weak one.
    let held = asked
        .get(header::IF_NONE_MATCH)
        .and_then(|held| held.to_str().ok())
        .is_some_and(|held| {
            let mut held = held
                .split(',')
                .map(|tag| tag.trim().trim_start_matches("W/"));
            held.any(|held| held == tag)
        });
    if held && status == StatusCode::OK {
        return (StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response();
    }
    let headers = [(header::CONTENT_TYPE, kind.to_owned()), (header::ETAG, tag)];
    (status, headers, body).into_response()
}

/// A JSON document that was written into memory.
pub(super) fn document(written: io::Result<()>, document: Vec<u8>, asked: &HeaderMap) -> Response {
    match written {
        Ok(()) => body(StatusCode::OK, JSON, document.into(), asked),
        Err(error) => {
            tracing::error!(%error, "document not written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// A file that is part of the program.
pub(super) fn asset(kind: &'static str, file: &'static str, asked: &HeaderMap) -> Response {
    body(
        StatusCode::OK,
        kind,
        Bytes::from_static(file.as_bytes()),
        asked,
    )
}
