//! Ids in a column of strings or whole numbers beside the vectors.

use parquet::column::reader::ColumnReader;
use voisin::{Result, StringIds};

use super::column::{self, Column, Position};
use super::{File, parse};
use crate::Elem;

/// Names that columns of ids have, the likeliest first.
const NAMES: [&str; 14] = [
    "id",
    "ids",
    "index",
    "key",
    "name",
    "names",
    "filename",
    "filenames",
    "image_id",
    "image_ids",
    "path",
    "paths",
    "image_path",
    "__index_level_0__",
];

const PIECE: u64 = 1 << 14;

/// The ids of the rows, where a column of a usual name has them.
pub(super) fn beside(file: &File, vectors: &Column) -> Result<Option<StringIds>> {
    let columns = column::all(file)?;
    let fits =
        |c: &&Column| c.width.is_none() && (c.text || matches!(c.elem, Some(Elem::I32 | Elem::U32 | Elem::I64 | Elem::U64)));
    let found = NAMES.iter().find_map(|name| columns.iter().filter(fits).find(|c| c.name == *name && c.leaf != vectors.leaf));
    let Some(column) = found else { return Ok(None) };
    let mut out = StringIds::default();
    let mut position = None;
    let mut row = 0;
    while row < file.rows() {
        let mut p = Position::at(file, column, row, position)?;
        let take = p.left(file).min(PIECE) as usize;
        read(file, column, &mut p, take, &mut out)?;
        row += take as u64;
        position = Some(p);
    }
    Ok(Some(out))
}

/// Appends the next `rows` ids.
fn read(file: &File, column: &Column, position: &mut Position, rows: usize, out: &mut StringIds) -> Result<()> {
    let first = position.row();
    let mut levels = Vec::new();
    let (mut texts, mut narrow, mut wide) = (Vec::new(), Vec::new(), Vec::new());
    let (read, values, _) = parse(file.path(), || match position.take(rows) {
        ColumnReader::ByteArrayColumnReader(r) => r.read_records(rows, Some(&mut levels), None, &mut texts),
        ColumnReader::Int32ColumnReader(r) => r.read_records(rows, Some(&mut levels), None, &mut narrow),
        ColumnReader::Int64ColumnReader(r) => r.read_records(rows, Some(&mut levels), None, &mut wide),
        _ => Ok((0, 0, 0)),
    })?;
    let most = file.reader_schema().column(column.leaf).max_def_level();
    if let Some(i) = levels.iter().position(|&l| l < most) {
        return Err(file.error(&column.name, format!("row {} is null", first + i as u64)));
    }
    if (read, values) != (rows, rows) {
        return Err(file.error(&column.name, format!("its values end before row {}", first + rows as u64)));
    }
    for (i, text) in texts.iter().enumerate() {
        let text = std::str::from_utf8(text.data());
        out.push(text.map_err(|_| file.error(&column.name, format!("row {} is not UTF-8", first + i as u64)))?);
    }
    let unsigned = matches!(column.elem, Some(Elem::U32 | Elem::U64));
    narrow.iter().for_each(|&x| out.push(&if unsigned { (x as u32).to_string() } else { x.to_string() }));
    wide.iter().for_each(|&x| out.push(&if unsigned { (x as u64).to_string() } else { x.to_string() }));
    Ok(())
}
