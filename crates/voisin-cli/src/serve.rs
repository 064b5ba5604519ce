//! `voisin serve`: a page to search by image.

use std::collections::HashSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use serde_json::json;
use voisin::Watch;
use voisin_web::collection::{Collection, CollectionSpec};
use voisin_web::{Kind, Options, Server, WebError};

use crate::common::Context;
use crate::embed::ModelArgs;
use crate::fail::{DATA, Fail, Result, USAGE};
use crate::outcome::{Outcome, count, things};

const EXAMPLES: &str = "Examples:
  voisin serve photos                                 (a folder of images; http://127.0.0.1:7700)
  voisin serve index --images photos                  (an index whose ids are paths of images)
  voisin serve x.index --names names.txt --labels labels.csv --images photos --features f.npy
  voisin serve --collection icons=data/icons --collection trips=photos
  voisin serve photos --model image.onnx --text-model text.onnx --preset clip
  voisin serve photos --host 0.0.0.0                  (for others too, with a token)

Ctrl-C stops it. /api/openapi.json describes the API, /metrics is for Prometheus.";

/// Opens a page, and an API, to search by image in folders of images, indexes and files of vectors
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Serve {
    /// Folders of images, indexes, FAISS files or files of vectors: each is a collection named after it. An index
    /// of a folder is built at the first start and kept
    #[arg(value_name = "PATH")]
    paths: Vec<String>,
    /// A collection with a name of its own (may be repeated)
    #[arg(long, value_name = "NAME=PATH")]
    collection: Vec<String>,
    /// Folder of the images, where ids or names are their paths
    #[arg(long, value_name = "DIR", help_heading = "Options of a single collection")]
    images: Option<PathBuf>,
    /// Names of the rows: pickle, txt or csv, in the order of the ids
    #[arg(long, value_name = "FILE", help_heading = "Options of a single collection")]
    names: Option<String>,
    /// Labels of the rows, as names
    #[arg(long, value_name = "FILE", help_heading = "Options of a single collection")]
    labels: Option<String>,
    /// Texts of the rows, as names: shown instead of images
    #[arg(long, value_name = "FILE", help_heading = "Options of a single collection")]
    texts: Option<String>,
    /// The vectors that the index was made of, for searches by id and exact comparisons
    #[arg(long, value_name = "FILE", help_heading = "Options of a single collection")]
    features: Option<String>,
    /// Folder where the index of a folder is kept [default: beside it]
    #[arg(long, value_name = "DIR", help_heading = "Options of a single collection")]
    keep: Option<PathBuf>,
    /// Port; 0 for any that is free
    #[arg(long, value_name = "N", default_value_t = 7700)]
    port: u16,
    /// Address to listen at, such as 0.0.0.0, for other machines too; a token is then needed. It is not encrypted:
    /// put a proxy with TLS before it
    #[arg(long, value_name = "ADDR")]
    host: Option<String>,
    /// The token that is needed [default: a random one with --host, else none]
    #[arg(long, value_name = "TOKEN")]
    token: Option<String>,
    /// Let the page search by the address of an image on the web (public addresses only)
    #[arg(long)]
    allow_urls: bool,
    #[command(flatten)]
    models: ModelArgs,
    /// Take the page from this folder instead of the binary
    #[arg(long = "static", value_name = "DIR", hide = true)]
    folder: Option<PathBuf>,
}

impl Serve {
    /// Runs it.
    ///
    /// # Errors
    /// A port in use, what opening a collection gives, Ctrl-C before it is ready.
    pub fn run(&self, cx: &Context) -> Result<Outcome> {
        let specs = self.specs()?;
        let options = Options {
            host: self.host.clone(),
            port: self.port,
            token: self.token.clone(),
            allow_urls: self.allow_urls,
            threads: cx.common.threads.unwrap_or(0),
            folder: self.folder.clone(),
        };
        let server = Server::bind(options).map_err(fail)?;
        let mut collections = Vec::new();
        for spec in &specs {
            let opened = Collection::open(spec, &cx.screen);
            cx.screen.check()?; // stopped: whatever it says, that is why
            collections.push(Arc::new(opened.map_err(fail)?));
        }
        let facts: Vec<_> = collections.iter().map(|c| c.facts()).collect();
        let ready = |server: &Server| {
            for f in &facts {
                let what = if f.shows == "images" { "image" } else { "item" };
                cx.screen.say(&format!("{}: {}, {} of {} dimensions", f.name, things(f.n, what), f.spec, f.d));
                f.notes.iter().for_each(|note| cx.screen.say(&format!("{}: {note}", f.name)));
            }
            if server.everywhere() {
                cx.screen.say("at every address of this machine, for whoever has the token; not encrypted");
            }
            cx.screen.say("Ctrl-C stops it");
            let line = if cx.common.json {
                let names: Vec<_> = facts.iter().map(|f| json!({"name": f.name, "n": f.n, "d": f.d, "spec": f.spec})).collect();
                json!({"url": server.url(), "page": server.page(), "token": server.token(), "collections": names}).to_string()
            } else {
                server.page()
            };
            let mut out = std::io::stdout().lock();
            let _ = writeln!(out, "{line}").and_then(|()| out.flush()); // who does not read it does not need it
        };
        let log = |line: &str| drop(writeln!(std::io::stderr(), "{line}"));
        let answered = server.run(collections, || cx.screen.stopped(), log, ready);
        cx.screen.say(&format!("stopped after {} requests", count(answered)));
        Ok(Outcome::said("serve"))
    }

    /// The collections that are named.
    fn specs(&self) -> Result<Vec<CollectionSpec>> {
        let mut specs = Vec::new();
        for path in &self.paths {
            specs.push(CollectionSpec { name: name_of(path), paths: vec![path.clone()], ..CollectionSpec::default() });
        }
        for pair in &self.collection {
            let named = pair.split_once('=').filter(|(name, path)| !name.is_empty() && !path.is_empty());
            let Some((name, path)) = named else {
                return Err(Fail::usage(
                    format!("--collection {pair}: NAME=PATH is expected"),
                    "such as --collection icons=data/icons",
                ));
            };
            specs.push(CollectionSpec { name: name.into(), paths: vec![path.into()], ..CollectionSpec::default() });
        }
        let mut seen = HashSet::new();
        if let Some(twice) = specs.iter().find(|s| !seen.insert(s.name.as_str())) {
            let hint = format!("name them: --collection {0}=PATH --collection {0}-2=PATH", twice.name);
            return Err(Fail::usage(format!("two collections are named {}", twice.name), hint));
        }
        let single = [
            ("--images", self.images.is_some()),
            ("--names", self.names.is_some()),
            ("--labels", self.labels.is_some()),
            ("--texts", self.texts.is_some()),
            ("--features", self.features.is_some()),
            ("--model", self.models.model.is_some()),
            ("--text-model", self.models.text_model.is_some()),
            ("--keep", self.keep.is_some()),
        ];
        match (&mut specs[..], single.iter().find(|(_, given)| *given)) {
            ([], _) => Err(Fail::usage("nothing to serve", "name a folder of images or an index: voisin serve photos")),
            ([one], _) => {
                *one = CollectionSpec {
                    images: self.images.clone(),
                    names: self.names.clone(),
                    labels: self.labels.clone(),
                    texts: self.texts.clone(),
                    features: self.features.clone(),
                    model: self.models.model.clone(),
                    options: self.models.options(),
                    keep: self.keep.clone(),
                    ..one.clone()
                };
                Ok(specs)
            }
            (many, Some((option, _))) => {
                let message = format!("{option} is for a single collection, and there are {}", many.len());
                Err(Fail::usage(message, "serve that one alone, on another --port"))
            }
            _ => Ok(specs),
        }
    }
}

/// What a collection is called after its path: `photos` for `data/photos/`, `x` for `x.index`.
fn name_of(path: &str) -> String {
    let file = path.split("::").next().unwrap_or(path);
    let full = Path::new(file).canonicalize().unwrap_or_else(|_| file.into());
    let name = if full.is_dir() { full.file_name() } else { full.file_stem() };
    name.map_or_else(|| "collection".into(), |n| n.to_string_lossy().into_owned())
}

fn fail(e: WebError) -> Fail {
    let code = if e.kind == Kind::BadRequest { USAGE } else { DATA };
    let hint = e.hint.unwrap_or_else(|| "`voisin serve --help` shows every option, with examples".into());
    Fail { message: e.message, caret: None, hint: Some(hint), code }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_collections() {
        assert_eq!(name_of("no/such/x.index"), "x");
        assert_eq!(name_of("no/such/f.h5::emb"), "f");
        assert_eq!(name_of(env!("CARGO_MANIFEST_DIR")), "voisin-cli");
        assert_eq!(name_of(&format!("{}/src/", env!("CARGO_MANIFEST_DIR"))), "src");
        assert_eq!(name_of("/"), "collection");
    }
}
