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
