//! The server: HTTP/1.1 over collections, with a page and an API.
//!
//! Everything of the engine blocks, so it runs on threads of its own behind a queue (`work`); the tasks here only wait.

mod address;
mod answer;
mod app;
mod ask;
mod body;
mod browse;
mod connection;
mod fetch;
mod guard;
mod kept;
mod metrics;
mod page;
mod routes;
mod work;

use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use crate::collection::Collection;
use crate::{Kind, WebError};
use app::{App, Parts};
use guard::Guard;

/// How a server is run.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The address or name to listen at, for others too; the loopback alone where nothing is said.
    pub host: Option<String>,
    /// The port; 0 for any that is free.
    pub port: u16,
    /// What others have to know; with a host and without this it is random, without a host none is needed.
    pub token: Option<String>,
    /// Whether images may be fetched from addresses of the web.
    pub allow_urls: bool,
    /// Searches at once; 0 for as many as cores.
    pub threads: usize,
    /// A folder to take the page from instead of the binary.
    pub folder: Option<PathBuf>,
}

/// A server that has its port.
#[derive(Debug)]
pub struct Server {
    runtime: Runtime,
    listener: TcpListener,
    at: SocketAddr,
    token: Option<String>,
    threads: usize,
    options: Options,
}

/// How often it looks whether it should stop.
const LOOK: Duration = Duration::from_millis(50);

impl Server {
    /// Takes the port, before collections are opened (which may take long). Nothing is answered yet.
    ///
    /// # Errors
    /// A port in use, an address of another machine, a token that is too short.
    pub fn bind(options: Options) -> Result<Server, WebError> {
        let token = match (&options.token, &options.host) {
            (Some(token), _) => {
                guard::check_token(token)?;
                Some(token.clone())
            }
            (None, Some(_)) => Some(guard::random_token()?),
            (None, None) => None,
        };
        let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
        let threads = if options.threads == 0 { cores } else { options.threads };
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        // searches, images, and what is fetched from the web
        builder.worker_threads(threads.min(4)).max_blocking_threads(2 * threads + 16).enable_all();
        let runtime = builder.build().map_err(|e| WebError::new(Kind::Internal, format!("no threads: {e}")))?;
        let wanted = address(options.host.as_deref(), options.port)?;
        let listen = || connection::listen(wanted).and_then(|l| l.local_addr().map(|at| (l, at)));
        let (listener, at) = runtime.block_on(async { listen() }).map_err(|e| refused(&e, wanted))?;
        Ok(Server { runtime, listener, at, token, threads, options })
    }

    /// Where it is found: `http://127.0.0.1:7700`.
    pub fn url(&self) -> String {
        let ip = match self.at.ip() {
            ip if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
            ip => ip,
        };
        format!("http://{}", SocketAddr::new(ip, self.at.port()))
    }

    /// The address to open: with the token, where one is needed.
    pub fn page(&self) -> String {
        self.token.as_ref().map_or_else(|| self.url(), |token| format!("{}/?token={token}", self.url()))
    }

    /// The token that is needed.
    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// Whether it listens at every address of the machine.
    pub fn everywhere(&self) -> bool {
        self.at.ip().is_unspecified()
    }

    /// Answers until `stopped` says so, then finishes what has begun (for 10 s at most); `ready` is called once, `log` gets lines for
    /// whoever runs the server. Gives the number of requests answered.
    pub fn run(
        self,
        collections: Vec<Arc<Collection>>,
        stopped: impl Fn() -> bool,
        log: impl Fn(&str) + Send + Sync + 'static,
        ready: impl FnOnce(&Server),
    ) -> u64 {
        let parts = Parts {
            threads: self.threads,
            guard: Guard::new(self.at, self.token.clone()),
            allow_urls: self.options.allow_urls,
            folder: self.options.folder.clone(),
            log: Box::new(log),
        };
        let app = Arc::new(App::new(collections, parts));
        let router = routes::router(Arc::clone(&app));
        ready(&self);
        let Server { runtime, listener, .. } = self;
        runtime.block_on(async {
            let (stop, seen) = tokio::sync::watch::channel(false);
            let serving = connection::serve(listener, router, Arc::clone(&app), seen);
            let stopping = async {
                while !stopped() {
                    tokio::time::sleep(LOOK).await;
                }
                let _ = stop.send(true);
            };
            tokio::join!(serving, stopping);
        });
        // a search that still runs is not waited for
        runtime.shutdown_background();
        app.metrics.total()
    }
}

fn address(host: Option<&str>, port: u16) -> Result<SocketAddr, WebError> {
    let Some(host) = host else { return Ok((Ipv4Addr::LOCALHOST, port).into()) };
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    let found = (bare, port).to_socket_addrs().ok().and_then(|mut all| all.next());
    found.ok_or_else(|| {
        let error = WebError::new(Kind::BadRequest, format!("--host {host}: no address of this machine"));
        error.hint("0.0.0.0 is every address of this machine; leave --host out for this machine alone")
    })
}

fn refused(e: &std::io::Error, at: SocketAddr) -> WebError {
    let port = at.port();
    match e.kind() {
        std::io::ErrorKind::AddrInUse => {
            WebError::new(Kind::Unable, format!("port {port} is in use by another program")).hint(format!(
                "another voisin serve may still run; pass --port {} or another, or --port 0 for any that is free",
                port.checked_add(1).unwrap_or(7700)
            ))
        }
        std::io::ErrorKind::PermissionDenied => {
            WebError::new(Kind::Unable, format!("port {port} needs privileges")).hint("pass a --port of 1024 or more")
        }
        std::io::ErrorKind::AddrNotAvailable => WebError::new(Kind::Unable, format!("{} is no address of this machine", at.ip()))
            .hint("0.0.0.0 is every address of this machine"),
        _ => WebError::new(Kind::Unable, format!("{at}: {e}")).hint("try another --port or --host"),
    }
}
