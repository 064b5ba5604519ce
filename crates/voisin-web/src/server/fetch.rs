//! Images by their address on the web, fetched so that nobody can look into the network of the server with it.
//!
//! The name is resolved here, every address is checked ([`super::address`]), and the connection goes to a checked address: no
//! second look-up could give another one. Redirects go the same way. Proxies of the environment are not used, since they would
//! resolve names themselves.

use std::net::IpAddr;
use std::time::Duration;

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use ureq::{Agent, Error};

use super::address::is_public;
use super::body::MAX_UPLOAD;
use super::kept::quoted;
use crate::{Kind, WebError};

/// From the look-up of the name to the last byte.
const TOTAL: Duration = Duration::from_secs(10);
/// Redirects that are followed.
const REDIRECTS: u32 = 3;
/// Bytes of an address.
const MAX_ADDRESS: usize = 4096;

/// Fetches images.
#[derive(Debug)]
pub struct Fetcher {
    agent: Agent,
    scheme: fn(&Uri) -> bool,
}

impl Fetcher {
    /// From the public internet alone.
    pub fn new() -> Fetcher {
        Fetcher::where_allowed(is_public, TOTAL)
    }

    fn where_allowed(allowed: fn(IpAddr) -> bool, total: Duration) -> Fetcher {
        let config = Config::builder()
            .timeout_global(Some(total))
            .max_redirects(REDIRECTS)
            .max_redirects_will_error(true)
            .http_status_as_error(true)
            .proxy(None)
            .max_idle_connections(0)
            .max_response_header_size(64 << 10)
            .user_agent(concat!("voisin/", env!("CARGO_PKG_VERSION")))
            .accept("image/*")
            .build();
        let checked = Checked { allowed, inner: DefaultResolver::default() };
        let scheme = |uri: &Uri| matches!(uri.scheme_str(), Some("http" | "https"));
        Fetcher { agent: Agent::with_parts(config, DefaultConnector::default(), checked), scheme }
    }

    /// The bytes of the image at `address`. Blocks for 10 s at most.
    ///
    /// # Errors
    /// An address that is none, or not of http(s); one that leads out of the public internet; a server that does not answer with
    /// an image of at most [`MAX_UPLOAD`] bytes in time.
    pub fn fetch(&self, address: &str) -> Result<Vec<u8>, WebError> {
        let bad = |what: &str| WebError::new(Kind::BadRequest, format!("{}: {what}", quoted(address)));
        if address.len() > MAX_ADDRESS {
            return Err(bad("the address is too long"));
        }
        let uri: Uri = address.parse().map_err(|_| bad("no address"))?;
        let Some(authority) = uri.authority().filter(|_| (self.scheme)(&uri)) else {
            return Err(bad("not an address that begins with http:// or https://"));
        };
        if authority.as_str().contains('@') {
            return Err(bad("user names and passwords are not sent"));
        }
        let mut response = self.agent.get(uri).call().map_err(|e| failed(address, e))?;
        let kind = response.headers().get("content-type").and_then(|v| v.to_str().ok()).unwrap_or("nothing");
        if !kind.trim_start().get(..6).is_some_and(|k| k.eq_ignore_ascii_case("image/")) {
            let message = format!("{}: the server says that it is {}, not an image", quoted(address), quoted(kind));
            return Err(
                WebError::new(Kind::Unreadable, message).hint("give the address of the image itself, not of a page with it")
            );
        }
        if response.body().content_length().is_some_and(|n| n > MAX_UPLOAD as u64) {
            return Err(failed(address, Error::BodyExceedsLimit(MAX_UPLOAD as u64)));
        }
        response.body_mut().with_config().limit(MAX_UPLOAD as u64).read_to_vec().map_err(|e| failed(address, e))
    }
}

/// Names to addresses, all of which are allowed.
#[derive(Debug)]
struct Checked {
    allowed: fn(IpAddr) -> bool,
    inner: DefaultResolver,
}

/// Where an address leads.
#[derive(Debug, thiserror::Error)]
#[error("it leads to {0}, which is not an address of the public internet")]
struct Private(IpAddr);

impl Resolver for Checked {
    fn resolve(&self, uri: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        let found = self.inner.resolve(uri, config, timeout)?;
        match found.iter().find(|a| !(self.allowed)(a.ip())) {
            Some(address) => Err(Error::Other(Box::new(Private(address.ip())))),
            None => Ok(found),
        }
    }
}

fn failed(address: &str, e: Error) -> WebError {
    let address = quoted(address);
    match e {
        Error::Other(e) if e.is::<Private>() => {
            WebError::new(Kind::Forbidden, format!("{address}: {e}")).hint("save the image and upload it")
        }
        Error::BodyExceedsLimit(_) => WebError::new(Kind::TooLarge, format!("{address}: more than {} MB", MAX_UPLOAD >> 20))
            .hint("save the image, shrink it and upload it"),
        Error::Timeout(_) => WebError::new(Kind::Unreadable, format!("{address}: not there within {} s", TOTAL.as_secs()))
            .hint("try again, or save the image and upload it"),
        Error::TooManyRedirects => WebError::new(Kind::Unreadable, format!("{address}: more than {REDIRECTS} redirects")),
        Error::StatusCode(status) => WebError::new(Kind::Unreadable, format!("{address}: the server answers {status}")),
        Error::HostNotFound => WebError::new(Kind::Unreadable, format!("{address}: no such host")),
        e => {
            WebError::new(Kind::Unreadable, format!("{address}: {e}")).hint("check the address, or save the image and upload it")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{Ipv4Addr, TcpListener};

    /// A server for one test; it answers every request with what `answer` makes of its path, and says its port.
    fn serve(answer: impl Fn(&str, u16) -> Vec<u8> + Send + 'static) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let mut head = [0; 4096];
                let n = stream.read(&mut head).unwrap_or(0);
                let text = String::from_utf8_lossy(&head[..n]).into_owned();
                let path = text.split(' ').nth(1).unwrap_or("/").to_string();
                let _ = stream.write_all(&answer(&path, port));
            }
        });
        port
    }

    /// As if the first address of the loopback were public.
    fn fetcher() -> Fetcher {
        Fetcher::where_allowed(|ip| ip == IpAddr::V4(Ipv4Addr::LOCALHOST), Duration::from_millis(400))
    }

    fn answer(path: &str, port: u16) -> Vec<u8> {
        let to = |place: String| format!("HTTP/1.1 302 Found\r\nLocation: {place}\r\nContent-Length: 0\r\n\r\n").into_bytes();
        let image =
            |head: &str| format!("HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nConnection: close\r\n{head}\r\n").into_bytes();
        match path {
            "/image" => [image("Content-Length: 5\r\n"), b"bytes".to_vec()].concat(),
            "/page" => b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 1\r\n\r\nx".to_vec(),
            "/missing" => b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec(),
            "/endless" => [image(""), vec![7; MAX_UPLOAD + 1000]].concat(),
            "/said" => image("Content-Length: 1000000000000\r\n"),
            "/cut" => [image("Content-Length: 500\r\n"), b"bytes".to_vec()].concat(),
            "/slow" => {
                std::thread::sleep(Duration::from_millis(600));
                Vec::new()
            }
            "/once" => to("/image".into()),
            "/loop" => to("/loop".into()),
            "/inside" => to(format!("http://127.0.0.2:{port}/image")),
            "/six" => to(format!("http://[::1]:{port}/image")),
            "/metadata" => to("http://169.254.169.254/latest/meta-data/".into()),
            "/file" => to("file:///etc/passwd".into()),
            _ => b"nonsense\r\n\r\n".to_vec(),
        }
    }

    #[test]
    fn images_and_nothing_else() {
        let port = serve(answer);
        let get = |path: &str| fetcher().fetch(&format!("http://127.0.0.1:{port}{path}"));
        assert_eq!(get("/image").expect("an image"), b"bytes");
        assert_eq!(get("/once").expect("a redirect"), b"bytes");
        for (path, kind) in [
            ("/page", Kind::Unreadable),
            ("/missing", Kind::Unreadable),
            ("/endless", Kind::TooLarge),
            ("/said", Kind::TooLarge),
            ("/cut", Kind::Unreadable),
            ("/slow", Kind::Unreadable),
            ("/loop", Kind::Unreadable),
            ("/inside", Kind::Forbidden),
            ("/six", Kind::Forbidden),
            ("/metadata", Kind::Forbidden),
            ("/file", Kind::Unreadable),
            ("/nonsense", Kind::Unreadable),
        ] {
            let error = get(path).expect_err(path);
            assert_eq!(error.kind, kind, "{path}: {error}");
        }
    }

    #[test]
    fn addresses_that_lead_inside() {
        let fetcher = Fetcher::new();
        let forbidden = [
            "http://127.0.0.1/",
            "http://127.1/",
            "http://2130706433/",
            "http://0x7f000001/",
            "http://0177.0.0.1/",
            "http://localhost/",
            "http://[::1]/",
            "http://[::ffff:127.0.0.1]/",
            "http://[::ffff:7f00:1]/",
            "https://10.0.0.1/",
            "http://169.254.169.254/latest",
            "http://[fe80::1]/",
            "http://[fd00::1]/",
            "http://0.0.0.0:7700/",
            "http://[::]/",
            "http://224.0.0.1/",
            "http://100.64.0.1/",
        ];
        for address in forbidden {
            let error = fetcher.fetch(address).expect_err(address);
            // a form that the system does not take for an address is no host at all
            let unknown = error.kind == Kind::Unreadable && !address.contains('[') && address.matches('.').count() < 3;
            assert!(error.kind == Kind::Forbidden || unknown, "{address}: {error}");
        }
        for address in [
            "",
            "x",
            "/etc/passwd",
            "file:///etc/passwd",
            "ftp://1.1.1.1/",
            "gopher://1.1.1.1/",
            "http://",
            "http://a:b@1.1.1.1/",
            "//1.1.1.1/",
        ] {
            let error = fetcher.fetch(address).expect_err(address);
            assert_eq!(error.kind, Kind::BadRequest, "{address}: {error}");
        }
        assert_eq!(fetcher.fetch(&format!("http://1.1.1.1/{}", "x".repeat(5000))).expect_err("long").kind, Kind::BadRequest);
    }
}
