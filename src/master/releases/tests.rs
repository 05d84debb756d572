use std::convert::Infallible;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper::{Request, Response, body::Incoming};
use hyper_util::rt::TokioIo;
use proptest::prelude::*;
use tokio::net::TcpListener;

use super::*;

fn listed(versions: &[&str]) -> Vec<String> {
    versions.iter().map(|raw| (*raw).to_owned()).collect()
}

fn fresh(versions: &[&str], announced: Option<&str>, pre_releases: PreReleases) -> Vec<String> {
    let announced = announced.map(|raw| raw.parse().unwrap());
    let news = news(&listed(versions), announced.as_ref(), pre_releases);
    news.fresh.into_iter().map(String::from).collect()
}

#[test]
fn first_only_the_newest_version_is_news_and_later_each_greater_one_oldest_first() {
    let versions = ["1.9", "2.0", "1.10", "2.1rc1"];
    assert_eq!(fresh(&versions, None, PreReleases::Skip), ["2.0"]);
    assert_eq!(fresh(&versions, None, PreReleases::Count), ["2.1rc1"]);
    assert_eq!(
        fresh(&versions, Some("1.9"), PreReleases::Skip),
        ["1.10", "2.0"]
    );
    assert_eq!(
        fresh(&versions, Some("1.9"), PreReleases::Count),
        ["1.10", "2.0", "2.1rc1"]
    );
    assert!(fresh(&versions, Some("2.0.0"), PreReleases::Skip).is_empty());
    assert!(fresh(&[], None, PreReleases::Skip).is_empty());
}

#[test]
fn what_is_no_version_is_passed_over_and_named() {
    let raw = listed(&["1.0", "latest", "1.0; rm -rf /", "../x", "\u{202e}1"]);
    let news = news(&raw, None, PreReleases::Skip);
    assert_eq!(news.fresh, ["1.0".parse().unwrap()]);
    let passed_over: Vec<&str> = news.passed_over.iter().map(Text::as_str).collect();
    assert_eq!(passed_over, [" 1", "../x", "1.0; rm -rf /", "latest"]);
}

#[test]
fn ten_thousand_versions_at_once_are_not_all_announced() {
    let many: Vec<String> = (0..10_000).map(|n| format!("1.{n}")).collect();
    let announced = "1.0".parse().unwrap();
    let news = news(&many, Some(&announced), PreReleases::Skip);
    assert_eq!(news.fresh.len(), MAX_AT_ONCE);
    assert_eq!(news.fresh.last().unwrap().as_str(), "1.9999");
    assert_eq!(news.more, 9_999 - MAX_AT_ONCE);
    let junk: Vec<String> = (0..10_000).map(|n| format!("x{n}")).collect();
    let news = super::news(&junk, None, PreReleases::Skip);
    assert_eq!(news.passed_over.len(), MAX_PASSED_OVER);
}

proptest! {
    #[test]
    fn news_is_always_greater_than_what_was_announced_and_comes_in_order(
        raw in proptest::collection::vec("[0-9]\\.[0-9]((a|rc|\\.post|\\.dev)[0-9])?", 0..12),
        announced in "[0-9]\\.[0-9]"
    ) {
        let announced: Version = announced.parse().unwrap();
        let news = news(&raw, Some(&announced), PreReleases::Count);
        let mut before = announced;
        for version in news.fresh {
            prop_assert_eq!(by_release(&before, &version), std::cmp::Ordering::Less);
            before = version;
        }
    }
}

/// An index that gives one answer to all, and remembers what it was asked.
struct Served {
    url: Text,
    asked: Arc<Mutex<Vec<String>>>,
}

async fn serve(answer: fn(&Request<Incoming>) -> Response<Full<Bytes>>) -> Served {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/simple/foo/", listener.local_addr().unwrap());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&asked);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let heard = Arc::clone(&heard);
            let service = service_fn(move |request: Request<Incoming>| {
                let said = format!("{} {:?}", request.uri(), request.headers());
                heard
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(said);
                let response = answer(&request);
                async move { Ok::<_, Infallible>(response) }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service);
            tokio::spawn(connection);
        }
    });
    let url = Text::tidy(&url);
    Served { url, asked }
}

fn answer(status: u16, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let response = Response::builder().status(status).header("etag", "\"one\"");
    response.body(Full::new(body.into())).unwrap()
}

const PAGE: &str =
    r#"{"meta":{"api-version":"1.1"},"name":"foo","versions":["1.0","1.1"],"files":[]}"#;

#[tokio::test]
async fn an_index_is_asked_for_json_and_not_again_for_what_did_not_change() {
    let served = serve(|request| {
        if request.headers().contains_key("if-none-match") {
            answer(304, "")
        } else {
            answer(200, PAGE)
        }
    })
    .await;
    let mut index = Index::new(&served.url).unwrap();
    for _ in 0..2 {
        assert_eq!(index.versions().await.unwrap(), ["1.0", "1.1"]);
    }
    let asked = served.asked.lock().unwrap().clone();
    assert!(asked[0].starts_with("/simple/foo/") && asked[0].contains("pypi.simple.v1+json"));
    assert!(!asked[0].contains("if-none-match") && asked[1].contains("if-none-match"));
}

#[tokio::test]
async fn an_index_that_misleads_is_told_as_such() {
    let elsewhere = serve(|_| {
        let response = Response::builder()
            .status(302)
            .header("location", "http://169.254.169.254/");
        response.body(Full::default()).unwrap()
    })
    .await;
    let error = Index::new(&elsewhere.url)
        .unwrap()
        .versions()
        .await
        .unwrap_err();
    assert!(matches!(error, IndexError::Elsewhere(_)), "{error:?}");
    assert!(
        error.to_string().ends_with("http://169.254.169.254/"),
        "{error}"
    );
    assert_eq!(elsewhere.asked.lock().unwrap().len(), 1);

    let endless = serve(|_| answer(200, vec![b' '; 5 << 20])).await;
    let error = Index::new(&endless.url)
        .unwrap()
        .versions()
        .await
        .unwrap_err();
    assert!(matches!(error, IndexError::TooLong), "{error:?}");

    let missing = serve(|_| answer(404, "")).await;
    let error = Index::new(&missing.url)
        .unwrap()
        .versions()
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "the index answered 404 Not Found");

    let old = serve(|_| answer(200, r#"{"meta":{"api-version":"1.0"},"files":[]}"#)).await;
    let error = Index::new(&old.url).unwrap().versions().await.unwrap_err();
    assert!(
        error.to_string().contains("does not list versions"),
        "{error}"
    );
}
