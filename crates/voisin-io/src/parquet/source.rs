//! Rows of a list column as f32 blocks.

use std::sync::Mutex;

use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{AsBytes, DataType};
use voisin::{Metric, Result, Source, StringIds};

use super::column::{Column, Position};
use super::{File, ids, parse};
use crate::{Elem, spec_name};

/// Values taken from the library at a time.
const PIECE: usize = 1 << 16;

/// A column of n lists of d numbers.
pub(super) struct ParquetSource {
    file: File,
    column: Column,
    d: usize,
    /// Where the last block ended: the next one usually goes on there.
    position: Mutex<Option<Position>>,
}

impl ParquetSource {
    pub fn new(file: File, column: Column) -> Result<ParquetSource> {
        let (Some(d), Some(_)) = (column.width, column.elem) else {
            return Err(file.error(&column.name, "no lists of numbers"));
        };
        if d == 0 && file.rows() > 0 {
            return Err(file.error(&column.name, "row 0 is null or empty"));
        }
        let values = file.rows().checked_mul(d as u64);
        if values.is_none_or(|v| v > file.raw.len().saturating_mul(super::MOST_EXPANSION)) {
            return Err(
                file.error(&column.name, format!("{} rows of {d} values cannot be in {} bytes", file.rows(), file.raw.len()))
            );
        }
        Ok(ParquetSource { file, column, d: d.max(1), position: Mutex::new(None) })
    }
}

impl Source for ParquetSource {
    fn len(&self) -> u64 {
        self.file.rows()
    }

    fn dim(&self) -> usize {
        self.d
    }

    fn name(&self) -> String {
        spec_name(self.file.path(), &self.column.name)
    }

    fn read(&self, start: u64, out: &mut [f32]) -> Result<()> {
        let mut position = self.position.lock().unwrap_or_else(|e| e.into_inner()).take();
        let mut records = Records::default();
        let (mut row, mut rest) = (start, out);
        while !rest.is_empty() {
            let mut p = Position::at(&self.file, &self.column, row, position)?;
            let most = (PIECE / self.d).max(1).min(rest.len() / self.d);
            let take = p.left(&self.file).min(most as u64) as usize;
            let (part, others) = rest.split_at_mut(take * self.d);
            records.read(&self.file, &self.column, &mut p, take)?;
            records.check(&self.file, &self.column, row, take, self.d)?;
            part.copy_from_slice(&records.values);
            (row, rest, position) = (row + take as u64, others, Some(p));
        }
        *self.position.lock().unwrap_or_else(|e| e.into_inner()) = position;
        Ok(())
    }

    fn ids(&self) -> Result<Option<StringIds>> {
        ids::beside(&self.file, &self.column)
    }

    fn metric(&self) -> Option<Metric> {
        None
    }

    fn fingerprint(&self) -> u64 {
        self.file.raw.fingerprint(&self.column.name)
    }

    fn overhead(&self, _rows: usize) -> u64 {
        // a page before and after decompression (1 MiB by custom), and the piece with its levels
        (2 << 20) + 8 * PIECE.max(self.d) as u64
    }
}

/// Records of a list column: their values, and levels a value (or a null, or an empty list).
#[derive(Default)]
pub(super) struct Records {
    pub values: Vec<f32>,
    definition: Vec<i16>,
    repetition: Vec<i16>,
    most_defined: i16,
}

impl Records {
    /// Reads the next `rows` records.
    pub fn read(&mut self, file: &File, column: &Column, position: &mut Position, rows: usize) -> Result<()> {
        self.values.clear();
        self.definition.clear();
        self.repetition.clear();
        let schema = file.reader_schema();
        self.most_defined = schema.column(column.leaf).max_def_level();
        let (row, elem) = (position.row(), column.elem);
        let read = parse(file.path(), || match position.take(rows) {
            ColumnReader::FloatColumnReader(r) => self.take(r, rows, |v| *v),
            ColumnReader::DoubleColumnReader(r) => self.take(r, rows, |v| *v as f32),
            // unsigned types are stored in the bits of signed ones
            ColumnReader::Int32ColumnReader(r) if elem == Some(Elem::U32) => self.take(r, rows, |v| *v as u32 as f32),
            ColumnReader::Int32ColumnReader(r) => self.take(r, rows, |v| *v as f32),
            ColumnReader::Int64ColumnReader(r) if elem == Some(Elem::U64) => self.take(r, rows, |v| *v as u64 as f32),
            ColumnReader::Int64ColumnReader(r) => self.take(r, rows, |v| *v as f32),
            ColumnReader::FixedLenByteArrayColumnReader(r) => {
                self.take(r, rows, |v| v.as_bytes().try_into().map_or(f32::NAN, |b| half::f16::from_le_bytes(b).to_f32()))
            }
            _ => Ok(0),
        })?;
        if read != rows {
            return Err(file.error(&column.name, format!("its values end before row {}", row + rows as u64)));
        }
        Ok(())
    }

    fn take<T: DataType>(
        &mut self,
        reader: &mut ColumnReaderImpl<T>,
        rows: usize,
        convert: impl Fn(&T::T) -> f32,
    ) -> parquet::errors::Result<usize> {
        let mut values = Vec::new();
        let (read, _, _) = reader.read_records(rows, Some(&mut self.definition), Some(&mut self.repetition), &mut values)?;
        self.values.extend(values.iter().map(convert));
        Ok(read)
    }

    /// Whether each of the `rows` records from `first` on is a list of `d` values; the error names the first that is not.
    pub fn check(&self, file: &File, column: &Column, first: u64, rows: usize, d: usize) -> Result<()> {
        let lists = self.repetition.chunks_exact(d).all(|r| r[0] == 0 && r[1..].iter().all(|&r| r == 1));
        let full = self.repetition.len() == rows * d && self.values.len() == rows * d;
        if full && lists && self.definition.iter().all(|&x| x == self.most_defined) {
            return Ok(());
        }
        let starts: Vec<usize> = (0..self.repetition.len()).filter(|&i| self.repetition[i] == 0).collect();
        for (i, &start) in starts.iter().enumerate() {
            let end = starts.get(i + 1).copied().unwrap_or(self.repetition.len());
            let row = first + i as u64;
            let levels = self.definition.get(start..end).unwrap_or_default();
            if levels.iter().any(|&x| x < self.most_defined) {
                let what = if levels.len() == 1 { "is null or empty" } else { "has a null" };
                return Err(file.error(&column.name, format!("row {row} {what}")));
            }
            if end - start != d {
                return Err(file.error(&column.name, format!("row {row} has {} values where {d} are expected", end - start)));
            }
        }
        Err(file.error(&column.name, format!("damaged near row {first}")))
    }
}
