//! A small HDF5 writer: contiguous numeric data sets streamed as they come, strings, text and number attributes, groups.
//!
//! The crate `hdf5-writer` builds the whole file in memory and has no half floats; a base that is converted may be larger
//! than memory. What is written is the plainest modern form (superblock 2, object headers 2, layout 3), which every HDF5
//! since 1.8 reads. Numbers in comments are sections of the "HDF5 File Format Specification Version 3.0".

use std::collections::BTreeMap;
use std::io::{Seek, SeekFrom};
use std::path::Path;

use hdf5_reader::checksum::jenkins_lookup3;
use voisin::{Error, Result};

use crate::{AtomicFile, Elem};

const UNDEFINED: u64 = u64::MAX;
const SUPERBLOCK: u64 = 48;
/// Strings are gathered in heaps of about this size; a heap counts its objects in 16 bits.
const HEAP_BYTES: usize = 1 << 18;
const HEAP_OBJECTS: usize = 60_000;

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq)]
pub enum AttrValue {
    /// Text.
    Text(String),
    /// A whole number.
    Int(i64),
    /// Any other number.
    Float(f64),
}

/// An HDF5 file being written; it appears under its name when it is finished.
pub(crate) struct Writer {
    out: AtomicFile,
    path: std::path::PathBuf,
    at: u64,
    sets: Vec<(String, u64)>, // name, address of the object header
    attributes: Vec<(String, AttrValue)>,
    open: Option<Open>,
}

/// The data set whose values are being written.
struct Open {
    name: String,
    datatype: Vec<u8>,
    shape: Vec<u64>,
    start: u64,
    bytes: u64,
}

impl Writer {
    /// Starts the file.
    pub fn create(path: &Path) -> Result<Writer> {
        let out = AtomicFile::create(path)?;
        let mut w = Writer { out, path: path.to_owned(), at: 0, sets: Vec::new(), attributes: Vec::new(), open: None };
        w.put(&[0; SUPERBLOCK as usize])?; // filled in at the end
        Ok(w)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.at += bytes.len() as u64;
        self.out.write(bytes)
    }

    fn align(&mut self, to: u64) -> Result<()> {
        let gap = self.at.next_multiple_of(to) - self.at;
        self.put(&[0; 64][..gap as usize])
    }

    /// An attribute of the file.
    pub fn attribute(&mut self, name: &str, value: AttrValue) {
        self.attributes.push((name.to_owned(), value));
    }

    /// Starts a data set; its values follow through [`Writer::values`]. A `/` in its name makes groups.
    pub fn begin(&mut self, name: &str, elem: Elem, shape: &[u64]) -> Result<()> {
        self.begin_raw(name, numeric(elem), shape, elem.size() as u64)
    }

    fn begin_raw(&mut self, name: &str, datatype: Vec<u8>, shape: &[u64], size: u64) -> Result<()> {
        let name = name.trim_matches('/').to_owned();
        let clash = |n: &str| n == name || n.starts_with(&format!("{name}/")) || name.starts_with(&format!("{n}/"));
        if name.is_empty() || name.split('/').any(|part| part.is_empty() || part.len() > 255) {
            return Err(Error::param("data set", name, "a name such as emb or otest/queries"));
        }
        if self.sets.iter().any(|(n, _)| clash(n)) {
            return Err(Error::param("data set", name, "a name that is not taken in the same file"));
        }
        let bytes = shape.iter().try_fold(size, |a, &b| a.checked_mul(b));
        let bytes = bytes.ok_or_else(|| Error::format(&self.path, format!("shape {shape:?} is too large")))?;
        self.align(64)?;
        self.open = Some(Open { name, datatype, shape: shape.to_vec(), start: self.at, bytes });
        Ok(())
    }

    /// The next values of the data set that was begun, little endian.
    pub fn values(&mut self, bytes: &[u8]) -> Result<()> {
        self.put(bytes)
    }

    /// Ends the data set.
    ///
    /// # Panics
    /// If not as many values came as its shape says.
    pub fn end(&mut self) -> Result<()> {
        let set = self.open.take().expect("a data set was begun");
        assert_eq!(self.at - set.start, set.bytes, "data set {}", set.name);
        let mut layout = vec![3, 1]; // IV.A.2.i: version 3, contiguous
        layout.extend(if set.bytes == 0 { UNDEFINED } else { set.start }.to_le_bytes());
        layout.extend(set.bytes.to_le_bytes());
        let messages = [
            (0x01, dataspace(&set.shape)),
            (0x03, set.datatype),
            (0x05, vec![3, 0x0a]), // IV.A.2.f: fill value version 3, allocated late, written if set, none defined
            (0x08, layout),
        ];
        let address = self.header(&messages)?;
        self.sets.push((set.name, address));
        Ok(())
    }

    /// Writes a data set of variable-length UTF-8 strings.
    pub fn strings<'s>(&mut self, name: &str, shape: &[u64], strings: impl Iterator<Item = &'s str>) -> Result<()> {
        let references = self.heaps(strings)?;
        self.begin_raw(name, text(), shape, 16)?;
        self.values(&references)?;
        self.end()
    }

    /// Writes strings into global heaps (III.E) and gives their references: length, address of the heap, index.
    fn heaps<'s>(&mut self, strings: impl Iterator<Item = &'s str>) -> Result<Vec<u8>> {
        let mut references = Vec::new();
        let mut heap = Heap::default();
        for s in strings {
            if s.is_empty() {
                references.extend([0; 16]);
                continue;
            }
            let length = u32::try_from(s.len()).map_err(|_| Error::format(&self.path, "a string longer than 4 GiB"))?;
            if heap.objects > 0 && (heap.bytes.len() + s.len() > HEAP_BYTES || heap.objects == HEAP_OBJECTS) {
                self.flush(&mut heap)?;
            }
            if heap.objects == 0 {
                self.align(8)?;
            }
            let index = heap.push(s.as_bytes());
            references.extend(length.to_le_bytes());
            references.extend(self.at.to_le_bytes()); // the heap will be written here
            references.extend(index.to_le_bytes());
        }
        if heap.objects > 0 {
            self.flush(&mut heap)?;
        }
        Ok(references)
    }

    fn flush(&mut self, heap: &mut Heap) -> Result<()> {
        let bytes = std::mem::take(heap).finish();
        self.put(&bytes)
    }

    /// Writes an object header (IV.A.1.b, version 2) and gives its address.
    fn header(&mut self, messages: &[(u8, Vec<u8>)]) -> Result<u64> {
        self.align(8)?;
        let size: usize = messages.iter().map(|(_, m)| 4 + m.len()).sum();
        let mut out = b"OHDR".to_vec();
        out.extend([2, 2]); // version; the size of the messages takes four bytes
        out.extend((size as u32).to_le_bytes());
        for (kind, message) in messages {
            let length =
                u16::try_from(message.len()).map_err(|_| Error::format(&self.path, "an attribute or name over 64 KiB"))?;
            out.push(*kind);
            out.extend(length.to_le_bytes());
            out.push(0);
            out.extend(message);
        }
        let sum = jenkins_lookup3(&out);
        out.extend(sum.to_le_bytes());
        let address = self.at;
        self.put(&out)?;
        Ok(address)
    }

    /// Writes the groups and the superblock, syncs and renames.
    pub fn finish(mut self) -> Result<()> {
        let sets = std::mem::take(&mut self.sets);
        let attributes = std::mem::take(&mut self.attributes);
        let texts = attributes.iter().filter_map(|(_, v)| if let AttrValue::Text(s) = v { Some(s.as_str()) } else { None });
        let references = self.heaps(texts)?;
        let mut references = references.chunks_exact(16);
        let attributes = attributes.iter().map(|(name, value)| {
            let (datatype, data) = match value {
                AttrValue::Text(_) => (text(), references.next().expect("one a text").to_vec()),
                AttrValue::Int(x) => (numeric(Elem::I64), x.to_le_bytes().to_vec()),
                AttrValue::Float(x) => (numeric(Elem::F64), x.to_le_bytes().to_vec()),
            };
            (0x0c, attribute(name, &datatype, &data))
        });
        let attributes = attributes.collect();
        let root = self.group(&sets, attributes)?;
        let end = self.at;

        let mut block = b"\x89HDF\r\n\x1a\n".to_vec(); // II.A: version 2, eight-byte addresses and lengths
        block.extend([2, 8, 8, 0]);
        for address in [0, UNDEFINED, end, root] {
            block.extend(address.to_le_bytes());
        }
        let sum = jenkins_lookup3(&block);
        block.extend(sum.to_le_bytes());
        self.out.out().seek(SeekFrom::Start(0)).map_err(|e| Error::io(&self.path, e))?;
        self.out.write(&block)?;
        self.out.commit()
    }

    /// Writes a group of these data sets (names relative to it) and the groups within.
    fn group(&mut self, sets: &[(String, u64)], attributes: Vec<(u8, Vec<u8>)>) -> Result<u64> {
        let mut links: Vec<(String, u64)> = Vec::new();
        let mut inner: BTreeMap<&str, Vec<(String, u64)>> = BTreeMap::new();
        for (name, address) in sets {
            match name.split_once('/') {
                None => links.push((name.clone(), *address)),
                Some((group, rest)) => inner.entry(group).or_default().push((rest.to_owned(), *address)),
            }
        }
        for (name, sets) in inner {
            links.push((name.to_owned(), self.group(&sets, Vec::new())?));
        }
        let mut messages = attributes;
        let mut info = vec![0, 0]; // IV.A.2.c: link info without an index: the links are in this header
        info.extend([0xff; 16]);
        messages.push((0x02, info));
        messages.push((0x0a, vec![0, 0]));
        for (name, address) in &links {
            let mut link = vec![1, 0x10, 1, name.len() as u8]; // IV.A.2.g: a hard link, name in UTF-8
            link.extend(name.bytes());
            link.extend(address.to_le_bytes());
            messages.push((0x06, link));
        }
        self.header(&messages)
    }
}

/// A global heap collection being filled.
#[derive(Default)]
struct Heap {
    bytes: Vec<u8>,
    objects: usize,
}

impl Heap {
    fn push(&mut self, data: &[u8]) -> u32 {
        self.objects += 1;
        self.bytes.extend((self.objects as u16).to_le_bytes());
        self.bytes.extend([0; 6]); // reference count, reserved
        self.bytes.extend((data.len() as u64).to_le_bytes());
        self.bytes.extend(data);
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
        self.objects as u32
    }

    /// With its head, and with object 0 for what is free: a collection has at least 4096 bytes.
    fn finish(mut self) -> Vec<u8> {
        let size = (16 + self.bytes.len()).max(4096);
        let free = size - 16 - self.bytes.len();
        if free >= 16 {
            self.bytes.extend([0; 8]);
            self.bytes.extend((free as u64).to_le_bytes());
        }
        let mut out = b"GCOL\x01\0\0\0".to_vec();
        out.extend((size as u64).to_le_bytes());
        out.extend(self.bytes);
        out.resize(size, 0);
        out
    }
}

/// IV.A.2.b, version 2; a shape without axes is a scalar.
fn dataspace(shape: &[u64]) -> Vec<u8> {
    let mut out = vec![2, shape.len() as u8, 0, !shape.is_empty() as u8];
    shape.iter().for_each(|n| out.extend(n.to_le_bytes()));
    out
}

/// IV.A.2.d of a little-endian number.
fn numeric(elem: Elem) -> Vec<u8> {
    let size = elem.size() as u32;
    let bits = (8 * size) as u16;
    // exponent: position, bits; mantissa: position, bits; bias
    let float: Option<([u8; 4], u32)> = match elem {
        Elem::F16 => Some(([10, 5, 0, 10], 15)),
        Elem::BF16 => Some(([7, 8, 0, 7], 127)),
        Elem::F32 => Some(([23, 8, 0, 23], 127)),
        Elem::F64 => Some(([52, 11, 0, 52], 1023)),
        _ => None,
    };
    let signed = matches!(elem, Elem::I8 | Elem::I16 | Elem::I32 | Elem::I64);
    let mut out = match float {
        Some(_) => vec![0x11, 0x20, bits as u8 - 1, 0], // leading mantissa bit implied; where the sign is
        None => vec![0x10, if signed { 8 } else { 0 }, 0, 0],
    };
    out.extend(size.to_le_bytes());
    out.extend([0, 0]);
    out.extend(bits.to_le_bytes());
    if let Some((fields, bias)) = float {
        out.extend(fields);
        out.extend(bias.to_le_bytes());
    }
    out
}

/// IV.A.2.d of a variable-length UTF-8 string, made of bytes.
fn text() -> Vec<u8> {
    let mut out = vec![0x19, 1, 1, 0]; // class 9; a string, ended by zero; UTF-8
    out.extend(16u32.to_le_bytes());
    out.extend(numeric(Elem::U8));
    out
}

/// IV.A.2.m, version 3, of a scalar.
fn attribute(name: &str, datatype: &[u8], data: &[u8]) -> Vec<u8> {
    let space = dataspace(&[]);
    let mut out = vec![3, 0];
    for size in [name.len() + 1, datatype.len(), space.len()] {
        out.extend((size as u16).to_le_bytes());
    }
    out.push(1); // the name is UTF-8
    out.extend(name.bytes());
    out.push(0);
    out.extend(datatype);
    out.extend(space);
    out.extend(data);
    out
}
