//! Asking a package index which versions of a project it has (PEP 691, PEP 700), as somebody whom it may want to harm:
//! bounded in bytes and time, led nowhere else, and with no file name made sense of.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::spawn_blocking;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};

use crate::model::Text;

/// Longest page of a project.
const MAX_LEN: usize = 4 << 20;
/// What is asked for.
const KIND: &str = "application/vnd.pypi.simple.v1+json";

/// The address of a project's page in a package index: `https://`, or `http://` on this very machine.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct IndexUrl {
    uri: Uri,
    host: String,
    port: u16,
    encrypted: bool,
}

/// Text that is no such address.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "the page of a project in a package index is https://HOST/simple/PROJECT/, without a user or password (http:// only on \
     this machine)"
)]
pub struct IndexUrlError;

impl FromStr for IndexUrl {
    type Err = IndexUrlError;

    fn from_str(raw: &str) -> Result<Self, IndexUrlError> {
        let uri: Uri = raw.parse().map_err(|_| IndexUrlError)?;
        let authority = uri.authority().ok_or(IndexUrlError)?;
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let is_here = host == "localhost"
            || host
                .parse()
                .is_ok_and(|address: IpAddr| address.is_loopback());
        let (encrypted, usual) = match uri.scheme_str() {
            Some("https") => (true, 443),
            Some("http") if is_here => (false, 80),
            Some(_) | None => return Err(IndexUrlError),
        };
        if host.is_empty() || authority.as_str().contains('@') {
            return Err(IndexUrlError);
        }
        let port = authority.port_u16().unwrap_or(usual);
        Ok(Self {
            uri,
            host,
            port,
            encrypted,
        })
    }
}

impl fmt::Display for IndexUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.uri.fmt(f)
    }
}

/// Why an index gave no versions.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// No such address.
    #[error(transparent)]
    Url(#[from] IndexUrlError),
    /// Nobody answers there, or the connection broke.
    #[error("the index cannot be reached")]
    Connection(#[source] io::Error),
    /// What it said was no HTTP.
    #[error("the index did not answer as HTTP wants it")]
    Http(#[source] hyper::Error),
    /// It names another address, and is not followed there.
    #[error("the index sends elsewhere and was not followed; if that is right, configure it: {0}")]
    Elsewhere(Text),
    /// Another answer than the page.
    #[error("the index answered {0}")]
    Status(StatusCode),
    /// More than is read.
    #[error("the page of the index is longer than {max} MiB", max = MAX_LEN >> 20)]
    TooLong,
    /// It does not speak JSON, or not the version of it that is known here.
    #[error("the index gives no JSON as PEP 691 has it")]
    Form,
    /// No versions in it.
    #[error("the index does not list versions (PEP 700); follow tags of the project instead")]
    NoVersions,
}

/// A project's page in an index.
pub(super) struct Index {
    url: IndexUrl,
    tls: Option<TlsConnector>,
    /// What the page was when it was last read, and the index's name for it.
    held: Option<(HeaderValue, Vec<String>)>,
}

#[derive(serde::Deserialize)]
struct Page {
    meta: Meta,
    versions: Option<Vec<String>>,
}

#[derive(serde::Deserialize)]
struct Meta {
    #[serde(rename = "api-version")]
    api_version: String,
}

impl Index {
    pub(super) fn new(url: &Text) -> Result<Self, IndexError> {
        Ok(Self {
            url: url.as_str().parse()?,
            tls: None,
            held: None,
        })
    }

    /// The versions that it lists now. The caller bounds the time.
    pub(super) async fn versions(&mut self) -> Result<Vec<String>, IndexError> {
        let stream = TcpStream::connect((self.url.host.as_str(), self.url.port))
            .await
            .map_err(IndexError::Connection)?;
        if !self.url.encrypted {
            return self.ask(stream).await;
        }
        let name = ServerName::try_from(self.url.host.clone()).map_err(|_| IndexUrlError)?;
        let tls = self.connector().await?;
        let stream = tls
            .connect(name, stream)
            .await
            .map_err(IndexError::Connection)?;
        self.ask(stream).await
    }

    /// Made when first needed.
    async fn connector(&mut self) -> Result<TlsConnector, IndexError> {
        if let Some(made) = &self.tls {
            return Ok(made.clone());
        }
        let made = spawn_blocking(make_connector)
            .await
            .map_err(io::Error::from)
            .and_then(|made| made)
            .map_err(IndexError::Connection)?;
        Ok(self.tls.insert(made).clone())
    }

    async fn ask<S>(&mut self, stream: S) -> Result<Vec<String>, IndexError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(IndexError::Http)?;
        let request = self.request()?;
        let exchange = async {
            let response = sender
                .send_request(request)
                .await
                .map_err(IndexError::Http)?;
            read(response).await
        };
        let carried = async {
            // Its faults reach whoever reads the answer.
            let _ = connection.await;
            std::future::pending::<()>().await;
        };
        let answer = tokio::select! {
            answer = exchange => answer?,
            () = carried => None,
        };
        let Some((headers, body)) = answer else {
            let held = self.held.as_ref().map(|(_, versions)| versions.clone());
            return held.ok_or(IndexError::Status(StatusCode::NOT_MODIFIED));
        };
        // A page of some mebibytes takes its time, and others wait for this thread.
        let versions = spawn_blocking(move || parse(&body))
            .await
            .map_err(|error| IndexError::Connection(error.into()))??;
        self.held = headers
            .get(header::ETAG)
            .map(|tag| (tag.clone(), versions.clone()));
        Ok(versions)
    }

    fn request(&self) -> Result<Request<Empty<Bytes>>, IndexError> {
        let uri = &self.url.uri;
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let host = uri.authority().map_or("", |authority| authority.as_str());
        let mut request = Request::builder()
            .method(Method::GET)
            .uri(path)
            .header(header::HOST, host)
            .header(header::ACCEPT, KIND)
            .header(
                header::USER_AGENT,
                concat!("pybots/", env!("CARGO_PKG_VERSION")),
            )
            .header(header::CONNECTION, "close");
        if let Some((tag, _)) = &self.held {
            request = request.header(header::IF_NONE_MATCH, tag);
        }
        request
            .body(Empty::new())
            .map_err(|_| IndexError::Url(IndexUrlError))
    }
}

/// The page as it was sent; none if it is as it was.
async fn read(
    response: Response<hyper::body::Incoming>,
) -> Result<Option<(HeaderMap, Bytes)>, IndexError> {
    let (head, body) = response.into_parts();
    if head.status == StatusCode::NOT_MODIFIED {
        return Ok(None);
    }
    if head.status.is_redirection() {
        let place = head.headers.get(header::LOCATION);
        let place = place.map_or(&b""[..], HeaderValue::as_bytes);
        return Err(IndexError::Elsewhere(Text::tidy(&String::from_utf8_lossy(
            place,
        ))));
    }
    if head.status != StatusCode::OK {
        return Err(IndexError::Status(head.status));
    }
    match Limited::new(body, MAX_LEN).collect().await {
        Ok(body) => Ok(Some((head.headers, body.to_bytes()))),
        Err(error) if error.is::<LengthLimitError>() => Err(IndexError::TooLong),
        Err(error) => Err(IndexError::Connection(io::Error::other(error))),
    }
}

fn parse(body: &[u8]) -> Result<Vec<String>, IndexError> {
    let page: Page = serde_json::from_slice(body).map_err(|_| IndexError::Form)?;
    if page.meta.api_version.split('.').next() != Some("1") {
        return Err(IndexError::Form);
    }
    page.versions.ok_or(IndexError::NoVersions)
}

/// Trusts whom this machine trusts.
fn make_connector() -> io::Result<TlsConnector> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error: rustls::Error| io::Error::other(error))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_is_asked_in_the_open_on_this_machine_only() {
        for good in [
            "https://pkg.example/simple/foo/",
            "https://index.example:8443/simple/foo/",
            "http://127.0.0.1:8000/simple/foo/",
            "http://localhost/simple/foo/",
            "http://[::1]:80/",
        ] {
            assert!(good.parse::<IndexUrl>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "pkg.example",
            "/simple/foo/",
            "http://pkg.example/simple/foo/",
            "http://127.0.0.1.example.org/",
            "https://user:password@pkg.example/simple/foo/",
            "ftp://pkg.example/",
            "file:///etc/passwd",
            "https://",
        ] {
            assert_eq!(bad.parse::<IndexUrl>(), Err(IndexUrlError), "{bad}");
        }
    }

    #[test]
    fn a_page_without_versions_is_told_from_one_that_is_no_page() {
        let versions =
            parse(br#"{"meta":{"api-version":"1.1"},"versions":["1.0","2.0"],"files":[{}]}"#);
        assert_eq!(versions.unwrap(), ["1.0", "2.0"]);
        let old = parse(br#"{"meta":{"api-version":"1.0"},"files":[]}"#);
        assert!(matches!(old, Err(IndexError::NoVersions)));
        for bad in [
            &b"<!DOCTYPE html>"[..],
            b"{}",
            b"",
            br#"{"meta":{"api-version":"2.0"},"versions":[]}"#,
            br#"{"meta":{"api-version":"1.1"},"versions":[1]}"#,
        ] {
            assert!(matches!(parse(bad), Err(IndexError::Form)), "{bad:?}");
        }
    }
}
