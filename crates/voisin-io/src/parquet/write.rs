//! Writing vectors: a required list column, and string ids beside it.

use std::path::Path;
use std::sync::Arc;

use parquet::basic::{Compression, ConvertedType, LogicalType, Repetition, Type as Physical};
use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, FloatType};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::{Type, TypePtr};
use voisin::{Error, Result, Source, StringIds, Watch};

use crate::{AtomicFile, Elem, WriteOptions, stream, wanted_elem};

/// Writes vectors as a list column (`embedding` unless named) of floats, or doubles if `options.dtype` is f64, with string ids
/// in the column `id`.
///
/// A row group holds the 16 MiB of rows that are in memory at a time.
///
/// # Errors
/// What reading gives; [`Error::Param`] for another element type; [`Error::Io`]; [`Error::Stopped`]. Nothing is left then.
pub fn write(path: &Path, source: &dyn Source, options: &WriteOptions, watch: &dyn Watch) -> Result<()> {
    let elem = wanted_elem(options, Elem::F32, &[Elem::F32, Elem::F64], "Parquet")?;
    let name = options.dataset.as_deref().unwrap_or("embedding");
    let ids = source.ids()?;
    if ids.is_some() && name == "id" {
        return Err(Error::param("data set", name, "another name: the ids take this one"));
    }
    let wrong = |e: parquet::errors::ParquetError| Error::format(path, format!("Parquet: {e}"));
    let schema = schema(name, elem, ids.is_some()).map_err(wrong)?;
    // neither a dictionary nor a codec gains anything on the values of embeddings
    let properties = WriterProperties::builder()
        .set_dictionary_enabled(false)
        .set_compression(Compression::UNCOMPRESSED)
        .set_column_compression("id".into(), Compression::SNAPPY)
        .set_statistics_enabled(EnabledStatistics::None)
        .build();
    let mut out = AtomicFile::create(path)?;
    let mut writer = SerializedFileWriter::new(out.out(), schema, Arc::new(properties)).map_err(wrong)?;
    stream(source, "writing", watch, |start, rows| {
        let mut group = writer.next_row_group().map_err(|e| failed(path, e))?;
        vectors(&mut group, elem, rows, source.dim()).map_err(|e| failed(path, e))?;
        if let Some(ids) = &ids {
            let n = rows.len() / source.dim();
            texts(&mut group, ids, start as usize..start as usize + n).map_err(|e| failed(path, e))?;
        }
        group.close().map(|_| ()).map_err(|e| failed(path, e))
    })?;
    writer.close().map_err(|e| failed(path, e))?;
    out.commit()
}

/// A full disk comes out of the library as one of its own errors.
fn failed(path: &Path, e: parquet::errors::ParquetError) -> Error {
    match e {
        parquet::errors::ParquetError::External(inner) => match inner.downcast::<std::io::Error>() {
            Ok(io) => Error::io(path, *io),
            Err(other) => Error::format(path, format!("Parquet: {other}")),
        },
        other => Error::format(path, format!("Parquet: {other}")),
    }
}

/// `required group NAME (LIST) { repeated group list { required float element } }`, the standard's three levels.
fn schema(name: &str, elem: Elem, ids: bool) -> parquet::errors::Result<TypePtr> {
    let physical = if elem == Elem::F64 { Physical::DOUBLE } else { Physical::FLOAT };
    let element = Type::primitive_type_builder("element", physical).with_repetition(Repetition::REQUIRED).build()?;
    let list =
        Type::group_type_builder("list").with_repetition(Repetition::REPEATED).with_fields(vec![Arc::new(element)]).build()?;
    let vectors = Type::group_type_builder(name)
        .with_repetition(Repetition::REQUIRED)
        .with_converted_type(ConvertedType::LIST)
        .with_logical_type(Some(LogicalType::List))
        .with_fields(vec![Arc::new(list)])
        .build()?;
    let mut fields = vec![Arc::new(vectors)];
    if ids {
        let id = Type::primitive_type_builder("id", Physical::BYTE_ARRAY)
            .with_repetition(Repetition::REQUIRED)
            .with_converted_type(ConvertedType::UTF8)
            .with_logical_type(Some(LogicalType::String))
            .build()?;
        fields.push(Arc::new(id));
    }
    Ok(Arc::new(Type::group_type_builder("schema").with_fields(fields).build()?))
}

type Group<'a, 'b> = SerializedRowGroupWriter<'a, &'b mut std::io::BufWriter<std::fs::File>>;

fn vectors(group: &mut Group<'_, '_>, elem: Elem, values: &[f32], d: usize) -> parquet::errors::Result<()> {
    let mut column = group.next_column()?.expect("the schema begins with the vectors");
    // a few thousand rows at a time keep the levels, 4 bytes a value, small
    for rows in values.chunks((1 << 18) / d * d + if d > 1 << 18 { d } else { 0 }) {
        let definition = vec![1i16; rows.len()];
        let repetition: Vec<i16> = (0..rows.len()).map(|i| !i.is_multiple_of(d) as i16).collect();
        if elem == Elem::F64 {
            let wide: Vec<f64> = rows.iter().map(|&x| x as f64).collect();
            column.typed::<DoubleType>().write_batch(&wide, Some(&definition), Some(&repetition))?;
        } else {
            column.typed::<FloatType>().write_batch(rows, Some(&definition), Some(&repetition))?;
        }
    }
    column.close()
}

fn texts(group: &mut Group<'_, '_>, ids: &StringIds, rows: std::ops::Range<usize>) -> parquet::errors::Result<()> {
    let mut column = group.next_column()?.expect("the schema has ids where there are any");
    let ids: Vec<ByteArray> = rows.map(|i| ids.get(i).into()).collect();
    column.typed::<ByteArrayType>().write_batch(&ids, None, None)?;
    column.close()
}
