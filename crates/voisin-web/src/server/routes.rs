//! Every route, in one table.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use axum::Router;
use axum::extract::{MatchedPath, Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{NotForContentType, Predicate, SizeAbove};

use super::answer::{Answer, ForLog, Refused, bytes_of};
use super::app::Shared;
use super::guard::{Verdict, secure};
use super::work::bug;
use super::{ask, browse};
use crate::{Kind, WebError};

/// The API as OpenAPI 3.1 describes it.
const OPENAPI: &str = include_str!("openapi.json");
/// Answers that are larger are compressed, where the other side takes that.
const COMPRESSED: u64 = 16 << 10;

/// Paths with their methods and handlers.
pub fn table() -> Vec<(&'static str, &'static [&'static str], MethodRouter<Shared>)> {
    vec![
        ("/", &["get"], get(page)),
        ("/static/{*name}", &["get"], get(file)),
        ("/api/collections", &["get"], get(browse::collections)),
        ("/api/collections/{name}", &["get"], get(browse::collection)),
        ("/api/items", &["get"], get(browse::items)),
        ("/api/item", &["get"], get(browse::item)),
        ("/api/image", &["get"], get(browse::image)),
        ("/api/thumbnail", &["get"], get(browse::thumbnail)),
        ("/api/query", &["post"], post(ask::query)),
        ("/api/query/picture", &["get"], get(browse::picture)),
        ("/api/search", &["get", "post"], get(ask::search_get).post(ask::search_post)),
        ("/api/search/image", &["post"], post(ask::search_image)),
        ("/api/compare", &["post"], post(ask::compare)),
        ("/api/explain", &["post"], post(ask::explain)),
        ("/api/openapi.json", &["get"], get(openapi)),
        ("/metrics", &["get"], get(metrics)),
        ("/healthz", &["get"], get(health)),
    ]
}

/// The service.
pub fn router(app: Shared) -> Router {
    let known = table().into_iter().fold(Router::new(), |router, (path, _, handlers)| router.route(path, handlers));
    finished(known, app)
}

/// Adds what lies around every route.
fn finished(known: Router<Shared>, app: Shared) -> Router {
    let small = SizeAbove::new(COMPRESSED).and(NotForContentType::IMAGES);
    known
        .fallback(nothing)
        .method_not_allowed_fallback(other_method)
        .layer(from_fn_with_state(Arc::clone(&app), around))
        .layer(CompressionLayer::new().compress_when(small))
        .with_state(app)
}

/// Around every request: it is counted and timed, checked, a panic becomes a 500, and the answer gets its headers.
async fn around(State(app): State<Shared>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let _in_flight = app.metrics.begin();
    let matched = request.extensions().get::<MatchedPath>();
    let route = matched.and_then(|m| ROUTES.with(|r| r.iter().find(|p| **p == m.as_str()).copied())).unwrap_or("other");
    let asked = format!("{} {route}", request.method());
    let mut response = match app.guard.check(&request) {
        Verdict::Answer(response) => *response,
        Verdict::Pass => caught(next.run(request)).await.unwrap_or_else(|| {
            app.metrics.panicked();
            Refused::from(bug()).into_response()
        }),
    };
    if let Some(ForLog(line)) = response.extensions_mut().remove::<ForLog>() {
        (app.log)(&format!("{line} [{asked}]"));
    }
    secure(&mut response);
    app.metrics.answered(route, response.status().as_u16(), began.elapsed().as_secs_f64());
    response
}

thread_local! {
    /// Paths of the table, for the names of routes in the metrics.
    static ROUTES: Vec<&'static str> = table().into_iter().map(|(path, _, _)| path).collect();
}

/// What a future gives; nothing where it panics.
async fn caught(future: impl Future<Output = Response>) -> Option<Response> {
    let mut future = Box::pin(future);
    std::future::poll_fn(|cx| match std::panic::catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(poll) => poll.map(Some),
        Err(_) => Poll::Ready(None),
    })
    .await
}

async fn page(State(app): State<Shared>, headers: HeaderMap) -> Answer {
    app.files.get("index.html", &headers)
}

async fn file(State(app): State<Shared>, Path(name): Path<String>, headers: HeaderMap) -> Answer {
    app.files.get(&name, &headers)
}

async fn openapi() -> Response {
    bytes_of("application/json", "no-cache", OPENAPI)
}

async fn metrics(State(app): State<Shared>) -> Response {
    let collections: Vec<_> = app.shelves.iter().map(|s| (s.facts.name.as_str(), s.facts.n)).collect();
    bytes_of("text/plain; version=0.0.4; charset=utf-8", "no-store", app.metrics.text(&collections, app.kept.len()))
}

async fn health() -> Response {
    bytes_of("application/json", "no-store", "{\"status\":\"ok\"}")
}

async fn nothing() -> Refused {
    WebError::new(Kind::NotFound, "no such address").hint("/api/openapi.json lists them").into()
}

async fn other_method() -> Response {
    let error = WebError::new(Kind::BadRequest, "not with this method").hint("/api/openapi.json lists them");
    let mut response = Refused::with(StatusCode::METHOD_NOT_ALLOWED, error).into_response();
    response.headers_mut().remove(header::ALLOW);
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn openapi_names_every_route_and_no_other() {
        let api: serde_json::Value = serde_json::from_str(OPENAPI).expect("JSON");
        let described = api["paths"].as_object().expect("paths").iter().flat_map(|(path, item)| {
            let methods = item.as_object().expect("methods").keys().filter(|m| *m != "parameters");
            methods.map(move |m| (path.clone(), m.clone())).collect::<Vec<_>>()
        });
        let described: BTreeSet<_> = described.collect();
        let routes = table().into_iter().flat_map(|(path, methods, _)| {
            methods.iter().map(move |m| (path.replace("{*", "{"), m.to_string())).collect::<Vec<_>>()
        });
        assert_eq!(described, routes.collect::<BTreeSet<_>>());
        assert_eq!(api["info"]["version"], env!("CARGO_PKG_VERSION"));
    }

    #[test]
    fn openapi_refers_to_what_is_there() {
        let api: serde_json::Value = serde_json::from_str(OPENAPI).expect("JSON");
        let mut open = vec![&api];
        let mut seen = 0;
        while let Some(value) = open.pop() {
            match value {
                serde_json::Value::Object(all) => {
                    if let Some(target) = all.get("$ref").and_then(|r| r.as_str()) {
                        let pointer = target.strip_prefix('#').expect("a local reference");
                        assert!(api.pointer(pointer).is_some(), "{target}");
                        seen += 1;
                    }
                    open.extend(all.values());
                }
                serde_json::Value::Array(all) => open.extend(all),
                _ => {}
            }
        }
        assert!(seen > 10, "{seen}");
        for (path, item) in api["paths"].as_object().expect("paths") {
            for (method, operation) in item.as_object().expect("methods") {
                assert!(operation["operationId"].is_string() && operation["responses"].is_object(), "{method} {path}");
                let in_path = operation["parameters"].as_array().map_or(0, |p| p.iter().filter(|p| p["in"] == "path").count());
                assert_eq!(in_path, path.matches('{').count(), "{method} {path}");
            }
        }
    }

    #[test]
    fn a_panic_is_one_answer() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            assert!(caught(async { panic!("on purpose") }).await.is_none());
            assert!(caught(async { StatusCode::OK.into_response() }).await.is_some());
        });
    }
}
