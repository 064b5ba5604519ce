//! A collection: an index, the names, labels, texts and images of its vectors, and what makes a vector of a query.
//!
//! Nothing here knows of HTTP. All calls are blocking and may come from many threads at once.

mod beside;
mod engine;
mod explain;
mod folder;
mod gallery;
mod keep;
mod maker;
mod open;
mod pictures;
mod rows;
mod search;
mod types;
mod vectors;

pub use types::*;

use crate::{Kind, WebError};
use engine::{Engine, Lists};
use gallery::Shuffled;
use maker::Maker;
use pictures::Pictures;
use rows::Rows;
use voisin::Watch;

/// Most items of a page.
const PAGE: u64 = 500;

/// An opened collection.
#[derive(Debug)]
pub struct Collection {
    facts: Facts,
    engine: Engine,
    /// A flat index of the vectors as they were, where the index keeps less.
    exact: Option<Lists>,
    rows: Rows,
    pictures: Pictures,
    maker: Option<Maker>,
    /// Whether its vectors have unit length.
    unit: bool,
}

impl Collection {
    /// Opens what `from` names; an index is built where there is none yet, and kept.
    ///
    /// # Errors
    /// What cannot be read or written, with the file and what to do; names, labels, texts or features that are not as many as
    /// the vectors; [`voisin::Error::Stopped`].
    pub fn open(from: &CollectionSpec, watch: &dyn Watch) -> Result<Collection, WebError> {
        open::open(from, watch)
    }

    /// What it is and what can be asked.
    pub fn facts(&self) -> Facts {
        self.facts.clone()
    }

    /// Items in order of their rows, of one class or all; in a random order where there is a seed.
    ///
    /// # Errors
    /// A label that no item has.
    pub fn items(&self, page: &Page) -> Result<Items, WebError> {
        let members = page.label.as_ref().map(|l| self.class(l)).transpose()?.map(|c| self.rows.classes.members(c));
        let total = members.map_or(self.rows.len(), <[u32]>::len) as u64;
        let order = page.seed.map(|seed| Shuffled::new(total, seed));
        let places = page.offset.min(total)..page.offset.saturating_add(page.limit.min(PAGE)).min(total);
        let item = |place: u64| {
            let place = order.as_ref().map_or(place, |o| o.at(place)) as usize;
            self.item_of(members.map_or(place, |m| m[place] as usize))
        };
        Ok(Items { total, items: places.map(item).collect() })
    }

    /// One item, by its id, or by its name where no id is so called.
    ///
    /// # Errors
    /// An id that is not in the collection.
    pub fn item(&self, id: &str) -> Result<Item, WebError> {
        Ok(self.item_of(self.row(id)?))
    }

    fn row(&self, id: &str) -> Result<usize, WebError> {
        let row = self.engine.number(id).and_then(|number| self.rows.row(number));
        row.or_else(|| self.named(id))
            .ok_or_else(|| WebError::new(Kind::NotFound, format!("there is no item {id} in {}", self.facts.name)))
    }

    /// The first row of a name, or the only one whose path ends in it: people type what they see. Cost: a look at every name.
    fn named(&self, name: &str) -> Option<usize> {
        let names = self.rows.names.as_ref().filter(|_| !name.is_empty())?;
        let ends = |n: &&str| n.strip_suffix(name).is_some_and(|start| start.ends_with('/'));
        let only = || {
            let mut rows = names.iter().enumerate().filter(|(_, n)| ends(n)).map(|(row, _)| row);
            rows.next().filter(|_| rows.next().is_none())
        };
        names.iter().position(|n| n == name).or_else(only)
    }

    fn class(&self, label: &str) -> Result<usize, WebError> {
        let none = || WebError::new(Kind::NotFound, format!("no item of {} has the label {label}", self.facts.name));
        self.rows.classes.find(label).ok_or_else(none)
    }

    fn item_of(&self, row: usize) -> Item {
        let id = self.engine.id(self.rows.number(row));
        let name = self.rows.names.as_ref().map(|names| names.get(row)).filter(|name| !name.is_empty()).unwrap_or(&id);
        let file = self.pictures.path(row).and_then(|path| path.rsplit('/').next());
        Item {
            name: file.unwrap_or(name).to_owned(),
            label: self.rows.classes.of(row).map(|c| self.rows.classes.name(c).to_owned()),
            text: self.rows.texts.as_ref().map(|texts| texts.get(row).to_owned()).filter(|t| !t.is_empty()),
            image: self.pictures.path(row).is_some(),
            id,
        }
    }

    /// The image of an item: its bytes as they are and their content type.
    ///
    /// # Errors
    /// An id that is not in the collection, an item without an image, a file that is none of the formats that are decoded.
    pub fn image(&self, id: &str) -> Result<(Vec<u8>, &'static str), WebError> {
        self.pictures.bytes(self.row(id)?, id)
    }

    /// A JPEG of the item's image, at most `side` pixels wide and high.
    ///
    /// # Errors
    /// As [`Collection::image`].
    pub fn thumbnail(&self, id: &str, side: u32) -> Result<Vec<u8>, WebError> {
        Ok(self.pictures.thumbnail(self.row(id)?, id, side)?.to_vec())
    }
}
