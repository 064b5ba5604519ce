//! A server under test, and a client that can misbehave.
#![allow(dead_code)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::run::{Folder, command, fixture};

/// A running `voisin serve`; killed when dropped.
pub struct Served {
    child: Child,
    out: BufReader<ChildStdout>,
    /// Its port.
    pub port: u16,
    /// The line it said when it was ready: an object with `--json`, else a string.
    pub ready: Value,
}

/// An answer; status 0 where the connection was closed without one.
pub struct Reply {
    pub status: u16,
    headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// The images of `tests/data` as a collection `pics`.
pub fn pictures(dir: &Folder, more: &[&str]) -> Served {
    let (collection, kept) = (format!("pics={}", fixture("images")), dir.file("kept"));
    let args = ["serve", "--collection", &collection, "--keep", &kept, "--port", "0", "--json"];
    Served::start(&[&args, more].concat(), true)
}

impl Served {
    pub fn start(args: &[&str], json: bool) -> Served {
        Served::when_ready(
            command(args).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().expect("the binary starts"),
            json,
        )
    }

    /// As [`Served::start`], with what it says on standard error in a file.
    pub fn start_into(args: &[&str], log: &str) -> Served {
        Served::when_ready(spawn_into(args, log), true)
    }

    /// Waits until a process that was started with piped output says where it is.
    pub fn when_ready(mut child: Child, json: bool) -> Served {
        let mut out = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut line = String::new();
        out.read_line(&mut line).expect("a line");
        let line = line.trim_end();
        let ready: Value = if json { serde_json::from_str(line).expect("JSON") } else { line.into() };
        let url = ready["url"].as_str().unwrap_or(line);
        let port = url
            .rsplit(':')
            .next()
            .and_then(|p| p.split('/').next()?.parse().ok())
            .unwrap_or_else(|| panic!("no port in {line:?}"));
        Served { child, out, port, ready }
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout");
        stream
    }

    /// Sends bytes as they are, and reads what comes.
    pub fn raw(&self, bytes: &[u8]) -> Reply {
        let mut stream = self.connect();
        send(&mut stream, bytes);
        let mut all = Vec::new();
        let _ = stream.read_to_end(&mut all);
        Reply::parse(&all)
    }

    pub fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nConnection: close\r\n", self.port);
        if method == "POST" {
            head += &format!("Content-Length: {}\r\n", body.len());
        }
        headers.iter().for_each(|(name, value)| head += &format!("{name}: {value}\r\n"));
        self.raw(&[head.as_bytes(), b"\r\n", body].concat())
    }

    pub fn get(&self, path: &str) -> Reply {
        self.ask("GET", path, &[], b"")
    }

    pub fn json(&self, path: &str) -> Value {
        self.get(path).ok()
    }

    pub fn post(&self, path: &str, kind: &str, body: &[u8]) -> Reply {
        self.ask("POST", path, &[("Content-Type", kind)], body)
    }

    pub fn post_text(&self, path: &str, body: &str) -> Reply {
        self.post(path, "application/json", body.as_bytes())
    }

    pub fn post_json(&self, path: &str, body: &Value) -> Reply {
        self.post_text(path, &body.to_string())
    }

    pub fn search(&self, body: &Value) -> Value {
        self.post_json("/api/search", body).ok()
    }

    /// Asks it to end; its exit code, and what else it printed.
    pub fn stop(&mut self) -> (Option<i32>, String) {
        let sent = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().expect("kill is there");
        assert!(sent.success());
        let code = self.child.wait().expect("it ends").code();
        let mut rest = String::new();
        self.out.read_to_string(&mut rest).expect("text");
        (code, rest)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts the binary with its standard error in a file.
pub fn spawn_into(args: &[&str], log: &str) -> Child {
    let file = std::fs::File::create(log).expect("a file");
    command(args).stdout(Stdio::piped()).stderr(file).spawn().expect("the binary starts")
}

/// Waits until a file says something; at most a minute.
pub fn says(log: &str, part: &str) -> String {
    for _ in 0..3000 {
        let text = std::fs::read_to_string(log).unwrap_or_default();
        if text.contains(part) {
            return text;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("{part:?} is never said: {}", std::fs::read_to_string(log).unwrap_or_default());
}

/// Sends; a server that has answered and closed already is no failure.
pub fn send(stream: &mut TcpStream, bytes: &[u8]) {
    let _ = stream.write_all(bytes);
}

impl Reply {
    fn parse(all: &[u8]) -> Reply {
        let Some(at) = all.windows(4).position(|w| w == b"\r\n\r\n") else {
            return Reply { status: 0, headers: Vec::new(), body: Vec::new() };
        };
        let head = String::from_utf8_lossy(&all[..at]);
        let mut lines = head.lines();
        let status = lines.next().and_then(|l| l.split(' ').nth(1)?.parse().ok()).unwrap_or(0);
        let headers = lines.filter_map(|l| l.split_once(':')).map(|(n, v)| (n.to_ascii_lowercase(), v.trim().to_string()));
        Reply { status, headers: headers.collect(), body: all[at + 4..].to_vec() }
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(n, _)| n == name).map_or("", |(_, v)| v)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The JSON of an answer of 200.
    pub fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text());
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }
}
