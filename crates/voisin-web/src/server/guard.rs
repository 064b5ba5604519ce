//! Who may ask, from which page, by which name; and the headers of every answer.

use std::net::SocketAddr;

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri, header};
use axum::response::{Html, IntoResponse, Response};

use super::answer::Refused;
use crate::{Kind, WebError};

/// What a page of this server may load, and who may frame it.
const POLICY: &str = "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'; \
                      form-action 'self'";

/// Headers of every answer.
const HEADERS: [(HeaderName, &str); 7] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("permissions-policy"), "camera=(self), microphone=(), geolocation=()"),
];

/// Where people give the token.
const TOKEN_PAGE: &str = include_str!("token.html");

/// Characters of a token at least.
pub const SHORTEST_TOKEN: usize = 8;

/// The rules of one server.
#[derive(Clone, Debug)]
pub struct Guard {
    /// Names by which it may be called; nothing where any will do (a token is needed then).
    hosts: Option<Vec<String>>,
    token: Option<String>,
    cookie: String,
}

/// What a request may do.
#[derive(Debug)]
pub enum Verdict {
    /// Go on.
    Pass,
    /// This is the answer.
    Answer(Box<Response>),
}

impl Guard {
    /// Of a server at this address, with a token or without.
    pub fn new(at: SocketAddr, token: Option<String>) -> Guard {
        let port = at.port();
        let hosts = at.ip().is_loopback().then(|| {
            let mut names = vec!["localhost".to_string(), "127.0.0.1".into(), "[::1]".into()];
            names.push(if at.is_ipv6() { format!("[{}]", at.ip()) } else { at.ip().to_string() });
            let bare = if port == 80 { names.clone() } else { Vec::new() };
            names.iter().map(|n| format!("{n}:{port}")).chain(bare).collect()
        });
        Guard { hosts, token, cookie: format!("voisin{port}") }
    }

    /// Looks at the head of a request.
    pub fn check<B>(&self, request: &Request<B>) -> Verdict {
        let (uri, headers) = (request.uri(), request.headers());
        if uri.path() == "/healthz" {
            return Verdict::Pass;
        }
        let checked = self.check_host(uri, headers).and_then(|host| check_origin(request.method(), uri, headers, &host));
        if let Err(refused) = checked {
            return Verdict::Answer(Box::new(refused.into_response()));
        }
        self.check_token(request)
    }

    /// The name by which the server was called. A page of another name that leads here (DNS rebinding) is refused.
    fn check_host(&self, uri: &Uri, headers: &HeaderMap) -> Result<String, Refused> {
        let mut all = headers.get_all(header::HOST).iter();
        let host = all.next().and_then(|h| h.to_str().ok()).ok_or_else(|| Refused::bad("no Host header"))?;
        if all.next().is_some() {
            return Err(Refused::bad("two Host headers"));
        }
        let host = host.to_ascii_lowercase();
        let named = uri.authority().map(|a| a.as_str().to_ascii_lowercase());
        let allowed = |name: &String| self.hosts.as_ref().is_none_or(|hosts| hosts.contains(name));
        if !allowed(&host) || named.as_ref().is_some_and(|name| *name != host) {
            let error = WebError::new(Kind::Forbidden, "the server is not known by that name");
            let first = self.hosts.as_ref().and_then(|h| h.get(1)).map_or(String::new(), |h| format!("open http://{h}"));
            return Err(error.hint(first).into());
        }
        Ok(host)
    }

    fn check_token<B>(&self, request: &Request<B>) -> Verdict {
        let Some(token) = &self.token else { return Verdict::Pass };
        let (uri, headers) = (request.uri(), request.headers());
        if uri.path().starts_with("/static/") && uri.path().ends_with(".css") {
            return Verdict::Pass; // the page that asks for the token looks like the others
        }
        let query = uri.query().unwrap_or_default();
        if uri.path() == "/"
            && let Some(given) = query.split('&').find_map(|part| part.strip_prefix("token="))
        {
            let page = rest_of(query);
            return Verdict::Answer(Box::new(if same(given, token) {
                self.let_in(token, &page, headers)
            } else {
                refuse(headers, true)
            }));
        }
        let bearer = headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok()).and_then(|v| v.split_once(' '));
        let bearer = bearer.filter(|(kind, _)| kind.eq_ignore_ascii_case("bearer")).map(|(_, given)| given.trim());
        let cookies = headers.get_all(header::COOKIE).iter().filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(';'));
        let mut given = cookies.filter_map(|c| c.trim().split_once('=')).filter(|(name, _)| *name == self.cookie).map(|(_, v)| v);
        if bearer.is_some_and(|given| same(given, token)) || given.any(|given| same(given, token)) {
            Verdict::Pass
        } else {
            Verdict::Answer(Box::new(refuse(headers, false)))
        }
    }

    /// Sets the cookie and leads to the page.
    fn let_in(&self, token: &str, page: &str, headers: &HeaderMap) -> Response {
        let cookie = format!("{}={token}; Path=/; HttpOnly; SameSite=Strict; Max-Age=31536000", self.cookie);
        let kept = [(header::SET_COOKIE, cookie.as_str()), (header::CACHE_CONTROL, "no-store")];
        if headers.get("sec-fetch-site").is_some_and(|v| v == "cross-site") {
            // A link in a mail: a browser would not send the new cookie along a redirect that another site began, so a page of
            // this server begins it.
            let text =
                format!("<!doctype html><title>voisin</title><meta http-equiv=\"refresh\" content=\"0;url={}\">", escaped(page));
            return (kept, Html(text)).into_response();
        }
        (StatusCode::SEE_OTHER, kept, [(header::LOCATION, page)]).into_response()
    }
}

/// The page's address without its token: `/?c=icons`.
fn rest_of(query: &str) -> String {
    let rest: Vec<&str> = query.split('&').filter(|part| !part.is_empty() && !part.starts_with("token=")).collect();
    if rest.is_empty() { "/".into() } else { format!("/?{}", rest.join("&")) }
}

fn escaped(s: &str) -> String {
    s.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

/// 401: as a page for people, on which the token can be given, else as JSON. `given` says that one was, which is wrong.
fn refuse(headers: &HeaderMap, given: bool) -> Response {
    let hint = "open the address that voisin serve printed (it ends in ?token=...), or send Authorization: Bearer TOKEN";
    let what = if given { "that is not the token" } else { "a token is needed" };
    let mut response = if headers.get(header::ACCEPT).and_then(|v| v.to_str().ok()).is_some_and(|v| v.contains("text/html")) {
        let text = TOKEN_PAGE.replace("{title}", if given { "That is not the token" } else { "A token is needed" });
        (StatusCode::UNAUTHORIZED, [(header::CACHE_CONTROL, "no-store")], Html(text)).into_response()
    } else {
        Refused::from(WebError::new(Kind::Unauthorized, what).hint(hint)).into_response()
    };
    response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}

/// Only pages of this server may change or ask anything: what is posted comes from them or from a program, and the API is not
/// read by other sites.
fn check_origin(method: &Method, uri: &Uri, headers: &HeaderMap, host: &str) -> Result<(), Refused> {
    let foreign = || Refused::from(WebError::new(Kind::Forbidden, "the request comes from a page of another site"));
    let safe = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
    if let Some(origin) = headers.get(header::ORIGIN).filter(|_| !safe) {
        let origin = origin.to_str().map_err(|_| foreign())?.to_ascii_lowercase();
        // behind a proxy that speaks TLS the page is https and the request is not
        let own = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        if own != Some(host) {
            return Err(foreign());
        }
    }
    let says = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
    let elsewhere = matches!(says("sec-fetch-site"), Some("cross-site" | "same-site"));
    if elsewhere && (!safe || uri.path().starts_with("/api/") && says("sec-fetch-mode") != Some("navigate")) {
        return Err(foreign());
    }
    Ok(())
}

/// Adds the headers of every answer.
pub fn secure(response: &mut Response) {
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
}

/// Compares in a time that depends on the lengths alone.
fn same(given: &str, token: &str) -> bool {
    let (given, token) = (given.as_bytes(), token.as_bytes());
    let differ = given.iter().zip(token).fold(0, |acc, (a, b)| std::hint::black_box(acc | (a ^ b)));
    given.len() == token.len() && differ == 0
}

/// 128 random bits.
///
/// # Errors
/// A system without a source of them.
pub fn random_token() -> Result<String, WebError> {
    let mut bytes = [0u8; 16];
    getrandom::fill(&mut bytes).map_err(|e| WebError::new(Kind::Internal, format!("no random numbers: {e}")))?;
    Ok(bytes.iter().map(|b| format!("{b:02x}")).collect())
}

/// Refuses a token that could not stand in an address or a cookie, or is easily guessed.
///
/// # Errors
/// Says what it must be.
pub fn check_token(token: &str) -> Result<(), WebError> {
    let plain = token.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b));
    if plain && (SHORTEST_TOKEN..=256).contains(&token.len()) {
        return Ok(());
    }
    let message = format!(
        "the token has {} characters: {SHORTEST_TOKEN} to 256 letters, digits and -._~ are expected",
        token.chars().count()
    );
    Err(WebError::new(Kind::BadRequest, message).hint("leave --token out to get a random one"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, uri: &str, headers: &[(&str, &str)]) -> Request<()> {
        let builder = Request::builder().method(method).uri(uri);
        headers.iter().fold(builder, |b, (name, value)| b.header(*name, *value)).body(()).expect("a request")
    }

    fn status(guard: &Guard, method: &str, uri: &str, headers: &[(&str, &str)]) -> u16 {
        match guard.check(&request(method, uri, headers)) {
            Verdict::Pass => 200,
            Verdict::Answer(response) => response.status().as_u16(),
        }
    }

    #[test]
    fn only_by_its_own_names() {
        let guard = Guard::new("127.0.0.1:7700".parse().unwrap(), None);
        for host in ["localhost:7700", "127.0.0.1:7700", "[::1]:7700", "LOCALHOST:7700"] {
            assert_eq!(status(&guard, "GET", "/", &[("host", host)]), 200, "{host}");
        }
        for host in ["localhost", "localhost:7701", "evil.example:7700", "127.0.0.1.evil.example:7700", "192.168.0.1:7700", ""] {
            assert_eq!(status(&guard, "GET", "/api/collections", &[("host", host)]), 403, "{host}");
        }
        assert_eq!(status(&guard, "GET", "/", &[]), 400);
        assert_eq!(status(&guard, "GET", "/", &[("host", "localhost:7700"), ("host", "evil.example")]), 400);
        assert_eq!(status(&guard, "GET", "http://evil.example/", &[("host", "localhost:7700")]), 403);
        assert_eq!(status(&guard, "GET", "/healthz", &[("host", "anything")]), 200);
        let open = Guard::new("0.0.0.0:80".parse().unwrap(), Some("secret-token".into()));
        assert_eq!(status(&open, "GET", "/", &[("host", "pictures.example"), ("authorization", "Bearer secret-token")]), 200);
        let eighty = Guard::new("127.0.0.1:80".parse().unwrap(), None);
        assert_eq!(status(&eighty, "GET", "/", &[("host", "localhost")]), 200);
    }

    #[test]
    fn only_from_its_own_pages() {
        let guard = Guard::new("127.0.0.1:7700".parse().unwrap(), None);
        let host = ("host", "localhost:7700");
        assert_eq!(status(&guard, "POST", "/api/search", &[host]), 200);
        assert_eq!(status(&guard, "POST", "/api/search", &[host, ("origin", "http://localhost:7700")]), 200);
        for origin in [
            "http://evil.example",
            "null",
            "http://localhost",
            "http://127.0.0.1:7700",
            "ftp://localhost:7700",
            "http://localhost:7700.evil.example",
        ] {
            assert_eq!(status(&guard, "POST", "/api/search", &[host, ("origin", origin)]), 403, "{origin}");
        }
        assert_eq!(
            status(&guard, "GET", "/api/search", &[host, ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors")]),
            403
        );
        assert_eq!(
            status(&guard, "GET", "/api/search", &[host, ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")]),
            200
        );
        assert_eq!(status(&guard, "GET", "/api/search", &[host, ("sec-fetch-site", "same-origin")]), 200);
        assert_eq!(
            status(&guard, "POST", "/api/search", &[host, ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")]),
            403
        );
    }

    #[test]
    fn only_with_the_token() {
        let guard = Guard::new("0.0.0.0:7700".parse().unwrap(), Some("0123456789abcdef".into()));
        let host = ("host", "here:7700");
        let check = |headers: &[(&str, &str)]| status(&guard, "GET", "/api/collections", &[&[host], headers].concat());
        assert_eq!(check(&[]), 401);
        assert_eq!(check(&[("authorization", "Bearer 0123456789abcdef")]), 200);
        assert_eq!(check(&[("authorization", "bearer 0123456789abcdef")]), 200);
        assert_eq!(check(&[("authorization", "Bearer 0123456789abcdeX")]), 401);
        assert_eq!(check(&[("authorization", "Bearer 0123456789abcde")]), 401);
        assert_eq!(check(&[("authorization", "Basic 0123456789abcdef")]), 401);
        assert_eq!(check(&[("cookie", "a=b; voisin7700=0123456789abcdef")]), 200);
        assert_eq!(check(&[("cookie", "voisin7701=0123456789abcdef")]), 401);
        assert_eq!(status(&guard, "GET", "/?token=0123456789abcdeX", &[host]), 401);
        assert_eq!(status(&guard, "GET", "/api/collections?token=0123456789abcdef", &[host]), 401);
        let Verdict::Answer(response) = guard.check(&request("GET", "/?c=icons&token=0123456789abcdef&k=5", &[host])) else {
            panic!("no redirect")
        };
        assert_eq!((response.status().as_u16(), response.headers()["location"].to_str().unwrap()), (303, "/?c=icons&k=5"));
        let cookie = response.headers()["set-cookie"].to_str().unwrap();
        assert!(
            cookie.starts_with("voisin7700=0123456789abcdef;")
                && cookie.contains("HttpOnly")
                && cookie.contains("SameSite=Strict"),
            "{cookie}"
        );
        let from_mail = status(&guard, "GET", "/?token=0123456789abcdef", &[host, ("sec-fetch-site", "cross-site")]);
        assert_eq!(from_mail, 200);
    }

    #[test]
    fn tokens() {
        assert!(check_token(&random_token().unwrap()).is_ok());
        assert_ne!(random_token().unwrap(), random_token().unwrap());
        for bad in ["", "short", "with space inside", "semi;colon;token", "a&b=cdefghij", &"x".repeat(257)] {
            assert!(check_token(bad).is_err(), "{bad}");
        }
    }
}
