//! The columns of a file, and reading records of one.

use std::sync::Arc;

use parquet::basic::{ConvertedType, Encoding, LogicalType, Type};
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::column::reader::{ColumnReader, get_column_reader};
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::reader::{FileReader, SerializedPageReader};
use parquet::schema::types::ColumnDescriptor;
use voisin::Result;

use super::pages::Pages;
use super::{File, MOST_EXPANSION, parse};
use crate::{Dataset, Elem, kind_of};

/// A column: a scalar a row, or a list a row.
#[derive(Clone, Debug)]
pub(super) struct Column {
    pub name: String,
    /// Position among the leaves of the schema.
    pub leaf: usize,
    pub elem: Option<Elem>,
    pub text: bool,
    /// Length of the first list; `None` for a scalar.
    pub width: Option<usize>,
}

/// All columns that are no deeper than a list.
pub(super) fn all(file: &File) -> Result<Vec<Column>> {
    let schema = file.reader.metadata().file_metadata().schema_descr_ptr();
    let mut out = Vec::new();
    for (leaf, c) in schema.columns().iter().enumerate() {
        if c.max_rep_level() > 1 {
            continue;
        }
        let root = schema.get_column_root_idx(leaf);
        let alone = (0..schema.num_columns()).filter(|&i| schema.get_column_root_idx(i) == root).count() == 1;
        let name = if alone { schema.get_column_root(leaf).name().to_owned() } else { c.path().string() };
        let (elem, text) = (elem_of(c), is_text(c));
        let mut column = Column { name, leaf, elem, text, width: None };
        if c.max_rep_level() == 1 {
            column.width = Some(if elem.is_some() { first_length(file, &column)? } else { 0 });
        }
        out.push(column);
    }
    Ok(out)
}

impl Column {
    pub fn dataset(&self, file: &File) -> Dataset {
        let mut shape = vec![file.rows()];
        shape.extend(self.width.map(|w| w as u64));
        let dtype = match self.elem {
            Some(elem) => elem.name(),
            None if self.text => "str",
            None => "other",
        };
        let groups = file.starts.len() - 1;
        let codec = file.reader.metadata().row_groups().first().map(|g| g.column(self.leaf).compression().to_string());
        let codec = codec.unwrap_or_default().split('(').next().unwrap_or_default().to_lowercase();
        let layout = format!("{groups} row group{}, {codec}", if groups == 1 { "" } else { "s" });
        let kind = kind_of(&self.name, &shape, dtype);
        Dataset { name: self.name.clone(), shape, dtype: dtype.into(), kind, layout }
    }
}

fn elem_of(c: &ColumnDescriptor) -> Option<Elem> {
    Some(match (c.physical_type(), c.converted_type()) {
        (Type::FLOAT, _) => Elem::F32,
        (Type::DOUBLE, _) => Elem::F64,
        (Type::FIXED_LEN_BYTE_ARRAY, _) if c.logical_type_ref() == Some(&LogicalType::Float16) && c.type_length() == 2 => {
            Elem::F16
        }
        (Type::INT32, ConvertedType::INT_8) => Elem::I8,
        (Type::INT32, ConvertedType::UINT_8) => Elem::U8,
        (Type::INT32, ConvertedType::INT_16) => Elem::I16,
        (Type::INT32, ConvertedType::UINT_16) => Elem::U16,
        (Type::INT32, ConvertedType::UINT_32) => Elem::U32,
        (Type::INT32, ConvertedType::NONE | ConvertedType::INT_32) => Elem::I32,
        (Type::INT64, ConvertedType::UINT_64) => Elem::U64,
        (Type::INT64, ConvertedType::NONE | ConvertedType::INT_64) => Elem::I64,
        _ => return None,
    })
}

fn is_text(c: &ColumnDescriptor) -> bool {
    c.physical_type() == Type::BYTE_ARRAY && c.converted_type() == ConvertedType::UTF8
}

/// A reader of a column that stands in a row group.
pub(super) struct Position {
    group: usize,
    /// The next row.
    row: u64,
    reader: ColumnReader,
}

impl Position {
    /// Goes to `row` of a column, from `from` where that lies before it in the same row group.
    pub fn at(file: &File, column: &Column, row: u64, from: Option<Position>) -> Result<Position> {
        let group = file.starts.partition_point(|&s| s <= row) - 1; // the last group that begins at or before it
        let mut position = match from {
            Some(p) if p.group == group && p.row <= row => p,
            _ => {
                let reader = parse(file.path(), || open_group(file, column, group))?;
                Position { group, row: file.starts[group], reader }
            }
        };
        let skip = (row - position.row) as usize;
        if skip > 0 {
            let skipped = parse(file.path(), || match &mut position.reader {
                ColumnReader::BoolColumnReader(r) => r.skip_records(skip),
                ColumnReader::Int32ColumnReader(r) => r.skip_records(skip),
                ColumnReader::Int64ColumnReader(r) => r.skip_records(skip),
                ColumnReader::Int96ColumnReader(r) => r.skip_records(skip),
                ColumnReader::FloatColumnReader(r) => r.skip_records(skip),
                ColumnReader::DoubleColumnReader(r) => r.skip_records(skip),
                ColumnReader::ByteArrayColumnReader(r) => r.skip_records(skip),
                ColumnReader::FixedLenByteArrayColumnReader(r) => r.skip_records(skip),
            })?;
            if skipped != skip {
                return Err(file.error(&column.name, format!("its values end before row {row}")));
            }
            position.row = row;
        }
        Ok(position)
    }

    /// Rows left in this row group.
    pub fn left(&self, file: &File) -> u64 {
        file.starts[self.group + 1] - self.row
    }

    /// The next row.
    pub fn row(&self) -> u64 {
        self.row
    }

    /// The reader, to take `rows` records from.
    pub fn take(&mut self, rows: usize) -> &mut ColumnReader {
        self.row += rows as u64;
        &mut self.reader
    }
}

fn open_group(file: &File, column: &Column, group: usize) -> ParquetResult<ColumnReader> {
    let reader = file.reader.get_row_group(group)?;
    let chunk = reader.metadata().column(column.leaf);
    let most = file.raw.len().saturating_mul(MOST_EXPANSION);
    let left = u64::try_from(chunk.num_values()).ok().filter(|&n| n <= most);
    let left = left.ok_or_else(|| ParquetError::General(format!("{} values in a row group", chunk.num_values())))?;
    let start = chunk.dictionary_page_offset().unwrap_or(chunk.data_page_offset());
    if start < 0 || chunk.compressed_size() < 0 {
        return Err(ParquetError::General("a column that begins before the file".into()));
    }
    let rows = usize::try_from(reader.metadata().num_rows()).unwrap_or(usize::MAX);
    let pages = Box::new(SerializedPageReader::new(Arc::new(Pages(file.raw.clone())), chunk, rows, None)?);
    Ok(get_column_reader(chunk.column_descr_ptr(), Box::new(Bounded { pages, left, dictionary: false, ahead: None })))
}

/// Pages as they should be: no more values than the metadata says (a page can claim billions in a few bytes), and a
/// dictionary before what needs one. To skip a page it is read, as only then the library has checked its header.
struct Bounded {
    pages: Box<dyn PageReader>,
    left: u64,
    dictionary: bool,
    ahead: Option<Page>,
}

impl Bounded {
    fn load(&mut self) -> ParquetResult<Option<Page>> {
        let page = self.pages.get_next_page()?;
        let wrong = |what: &str| Err(ParquetError::General(what.into()));
        match &page {
            // room for its values is made before they are read, and each takes a byte or more
            Some(Page::DictionaryPage { buf, num_values, .. }) if *num_values as usize > buf.len() => {
                return wrong("more values in a dictionary than bytes");
            }
            Some(Page::DictionaryPage { .. }) => self.dictionary = true,
            Some(page) => {
                let packed = matches!(page.encoding(), Encoding::RLE_DICTIONARY | Encoding::PLAIN_DICTIONARY);
                if packed && !self.dictionary {
                    return wrong("a page refers to a dictionary that is not there");
                }
                match self.left.checked_sub(page.num_values() as u64) {
                    Some(left) => self.left = left,
                    None => return wrong("more values in the pages than the metadata says"),
                }
            }
            None => {}
        }
        Ok(page)
    }
}

impl PageReader for Bounded {
    fn get_next_page(&mut self) -> ParquetResult<Option<Page>> {
        match self.ahead.take() {
            Some(page) => Ok(Some(page)),
            None => self.load(),
        }
    }

    fn peek_next_page(&mut self) -> ParquetResult<Option<PageMetadata>> {
        if self.ahead.is_none() {
            self.ahead = self.load()?;
        }
        Ok(self.ahead.as_ref().map(|page| PageMetadata {
            num_rows: if let Page::DataPageV2 { num_rows, .. } = page { Some(*num_rows as usize) } else { None },
            num_levels: (!matches!(page, Page::DictionaryPage { .. })).then(|| page.num_values() as usize),
            is_dict: matches!(page, Page::DictionaryPage { .. }),
        }))
    }

    fn skip_next_page(&mut self) -> ParquetResult<()> {
        self.get_next_page().map(|_| ())
    }

    fn at_record_boundary(&mut self) -> ParquetResult<bool> {
        // as the library's own reader says: only pages of version 2 begin with a new record
        Ok(match self.peek_next_page()? {
            None => true,
            Some(page) => page.num_rows.is_some(),
        })
    }
}

impl Iterator for Bounded {
    type Item = ParquetResult<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

/// Length of the list of row 0; 0 without rows, or where it is null or empty.
fn first_length(file: &File, column: &Column) -> Result<usize> {
    if file.rows() == 0 {
        return Ok(0);
    }
    let mut position = Position::at(file, column, 0, None)?;
    let mut out = super::source::Records::default();
    out.read(file, column, &mut position, 1)?;
    Ok(out.values.len())
}
