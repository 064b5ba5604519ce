//! What REDUCE, BUILD and BINPERSID stand for: the few constructors of numpy, torch and collections, as data.

use voisin::Result;

use super::machine::Machine;
use super::value::{Array, DType, Data, Global, Kind, Storage, Value};
use super::view::strides;
use crate::Elem;

/// numpy allows 64 dimensions.
const MAX_DIMS: usize = 64;
/// Bytes of a storage's key; torch writes short numbers.
const MAX_KEY: usize = 100;

impl Machine<'_> {
    /// `callee(*args)`.
    pub(super) fn reduce(&mut self, callee: Value, args: Value) -> Result<Value> {
        let (Value::Global(callee), Value::Tuple(args)) = (callee, args) else {
            return Err(self.fail("a call of something that is no function"));
        };
        // the longest argument list that is understood; a crafted tuple is not copied again and again
        let args: Vec<Value> = self.heap.lists[args as usize].iter().take(8).copied().collect();
        let pending = DType { kind: Kind::Num(Elem::F32), big: false };
        match (callee, &args[..]) {
            (Global::Reconstruct, [Value::Global(Global::NdArray), ..]) => {
                self.array(Array::dense(Data::Pending, pending, vec![], false))
            }
            (Global::FromBuffer, [Value::Bytes(b), Value::DType(t), shape, order, axes @ ..]) => {
                self.buffer_array(*b, *t, *shape, *order, axes.first().copied())
            }
            (Global::NdArray, [shape, dtype, Value::Bytes(b)]) => {
                let dtype = match dtype {
                    Value::DType(t) => self.heap.dtypes[*t as usize],
                    other => self.parse_dtype(*other)?,
                };
                let shape = self.shape(*shape)?;
                self.array(Array::dense(Data::Bytes(self.heap.bytes[*b as usize].clone()), dtype, shape, false))
            }
            (Global::DType, [code, ..]) => {
                let dtype = self.parse_dtype(*code)?;
                let i = self.index(self.heap.dtypes.len())?;
                self.heap.dtypes.push(dtype);
                Ok(Value::DType(i))
            }
            (Global::Scalar, [Value::DType(t), Value::Bytes(b)]) => self.scalar(*t, *b),
            (Global::Encode, [Value::Str(s), ..]) | (Global::ByteArray, [Value::Str(s), _]) => self.latin1(*s),
            (Global::Bytes | Global::ByteArray, []) => {
                let empty = self.cursor.bytes().unpacked(vec![]);
                self.bytes(empty)
            }
            (Global::Bytes | Global::ByteArray, [b @ Value::Bytes(_)]) => Ok(*b),
            (Global::OrderedDict | Global::DefaultDict, []) | (Global::DefaultDict, [_]) => self.dict(vec![]),
            (Global::OrderedDict, [Value::List(items)]) => self.dict_of_pairs(*items),
            (Global::Size, [shape @ Value::Tuple(_)]) => Ok(*shape),
            (Global::RebuildTensor, [Value::Storage(s), offset, shape, stride, rest @ ..]) => {
                let dtype = rest.get(2).copied();
                self.tensor(*s, *offset, (*shape, *stride), dtype)
            }
            (Global::LoadFromBytes, [Value::Bytes(b)]) => self.nested_storage(*b),
            (Global::RebuildParameter, [tensor @ Value::Array(_), ..]) => Ok(*tensor),
            _ => Err(self.fail(format!("arguments of {callee:?} that are not understood"))),
        }
    }

    fn array(&mut self, a: Array) -> Result<Value> {
        let i = self.index(self.heap.arrays.len())?;
        self.heap.arrays.push(a);
        Ok(Value::Array(i))
    }

    /// A tuple (or list) of sizes.
    fn shape(&self, v: Value) -> Result<Vec<u64>> {
        let (Value::Tuple(i) | Value::List(i)) = v else { return Err(self.fail("a shape that is no tuple")) };
        let items = &self.heap.lists[i as usize];
        if items.len() > MAX_DIMS {
            return Err(self.fail(format!("an array of {} dimensions", items.len())));
        }
        items.iter().map(|&v| self.size(v)).collect()
    }

    fn size(&self, v: Value) -> Result<u64> {
        match v {
            Value::Int(i) if i >= 0 => Ok(i as u64),
            _ => Err(self.fail("a size or stride that is no number of elements")),
        }
    }

    fn text(&self, v: Value) -> Option<String> {
        match v {
            Value::Str(i) => Some(self.heap.strings[i as usize].chars().take(64).collect()),
            Value::Bytes(i) => {
                let b = &self.heap.bytes[i as usize];
                String::from_utf8(b.slice(0, b.len().min(64))?.to_vec().ok()?).ok()
            }
            _ => None,
        }
    }

    /// `f4`, `<f4`, `U7`, `O8`: what `numpy.dtype` is called with.
    fn parse_dtype(&self, v: Value) -> Result<DType> {
        let text = self.text(v).ok_or_else(|| self.fail("a dtype that is not named by a string"))?;
        let (big, code) = match text.as_bytes() {
            [b'>', ..] => (true, &text[1..]),
            [b'<' | b'=' | b'|', ..] => (false, &text[1..]),
            _ => (false, &text[..]),
        };
        let size = |digits: &str| digits.parse::<u32>().ok().map(|n| n as usize);
        let kind = match code.split_at_checked(1) {
            Some(("U", n)) => size(n).map(Kind::Utf32),
            Some(("S", n)) => size(n).map(Kind::Ascii),
            Some(("O", _)) => Some(Kind::Object),
            _ => numpy_elem(code).map(Kind::Num),
        };
        match kind {
            Some(kind) => Ok(DType { kind, big }),
            None => Err(self.fail(format!("dtype {:?}, which holds no plain numbers", text))),
        }
    }

    /// `numpy._core.numeric._frombuffer`; order K gives the axes of a transposed row-major array.
    fn buffer_array(&mut self, b: u32, dtype: u32, shape: Value, order: Value, axes: Option<Value>) -> Result<Value> {
        let data = Data::Bytes(self.heap.bytes[b as usize].clone());
        let dtype = self.heap.dtypes[dtype as usize];
        let shape = self.shape(shape)?;
        let order = self.text(order).unwrap_or_default();
        match (order.as_str(), axes) {
            ("C", _) | ("F", _) => self.array(Array::dense(data, dtype, shape, order == "F")),
            ("K", Some(axes)) => {
                let axes = self.shape(axes)?;
                let mut seen = vec![false; shape.len()];
                for &a in &axes {
                    match seen.get_mut(a as usize) {
                        Some(s) if !*s => *s = true,
                        _ => return Err(self.fail("axes that are no permutation")),
                    }
                }
                if axes.len() != shape.len() {
                    return Err(self.fail("axes that are no permutation"));
                }
                let stride = strides(&shape, false);
                let pick = |v: &[u64]| axes.iter().map(|&a| v[a as usize]).collect();
                self.array(Array { data, dtype, offset: 0, shape: pick(&shape), stride: pick(&stride) })
            }
            _ => Err(self.fail(format!("an array in order {order:?}"))),
        }
    }

    /// A numpy scalar, as the Python number or string.
    fn scalar(&mut self, dtype: u32, b: u32) -> Result<Value> {
        let DType { kind, big } = self.heap.dtypes[dtype as usize];
        let raw = self.heap.bytes[b as usize].clone();
        match kind {
            Kind::Num(elem) if raw.len() == elem.size() as u64 => {
                let mut raw = raw.to_vec()?;
                if big {
                    raw.reverse();
                }
                Ok(number(elem, &raw))
            }
            Kind::Utf32(_) | Kind::Ascii(_) => {
                self.spend(raw.len())?;
                let text = fixed_text(kind, big, &raw.to_vec()?);
                self.string(text)
            }
            _ => Err(self.fail("a numpy scalar of another size than its type")),
        }
    }

    /// `str.encode("latin1")`: how protocol 2 carries bytes.
    fn latin1(&mut self, s: u32) -> Result<Value> {
        self.spend(self.heap.strings[s as usize].len() as u64)?;
        let encoded = latin1(&self.heap.strings[s as usize]);
        let encoded = encoded.ok_or_else(|| self.fail("bytes written as text that is not Latin-1"))?;
        let b = self.cursor.bytes().unpacked(encoded);
        self.bytes(b)
    }

    fn dict_of_pairs(&mut self, items: u32) -> Result<Value> {
        self.spend(32 * self.heap.lists[items as usize].len() as u64)?;
        let pair = |v: &Value| match v {
            Value::Tuple(i) | Value::List(i) => match self.heap.lists[*i as usize][..] {
                [k, v] => Some((k, v)),
                _ => None,
            },
            _ => None,
        };
        let pairs: Option<Vec<_>> = self.heap.lists[items as usize].iter().map(pair).collect();
        let pairs = pairs.ok_or_else(|| self.fail("an OrderedDict of something else than pairs"))?;
        self.dict(pairs)
    }

    /// `torch._utils._rebuild_tensor_v2(storage, offset, size, stride, ...)`; version 3 names the type.
    fn tensor(&mut self, s: u32, offset: Value, (shape, stride): (Value, Value), dtype: Option<Value>) -> Result<Value> {
        let elem = match dtype {
            Some(Value::Global(Global::TorchDType(elem))) => elem,
            _ => self.heap.storages[s as usize].elem,
        };
        let offset = self.size(offset)?;
        let (shape, stride) = (self.shape(shape)?, self.shape(stride)?);
        if shape.len() != stride.len() {
            return Err(self.fail(format!("a tensor of {} dimensions with {} strides", shape.len(), stride.len())));
        }
        let dtype = DType { kind: Kind::Num(elem), big: false };
        self.array(Array { data: Data::Storage(s), dtype, offset, shape, stride })
    }

    /// `("storage", class, key, device, numel)`: the only thing outside of itself that a pickle may refer to.
    pub(super) fn storage(&mut self, id: Value) -> Result<Value> {
        let Value::Tuple(i) = id else { return Err(self.fail("a reference to something outside the file")) };
        let items: Vec<Value> = self.heap.lists[i as usize].iter().take(6).copied().collect();
        let (class, key, numel) = match items[..] {
            [_, Value::Global(class), key, _, numel] | [_, Value::Global(class), key, _, numel, Value::None] => {
                (class, key, numel)
            }
            _ => return Err(self.fail("a storage that is not understood")),
        };
        let elem = match class {
            Global::Storage(elem) => elem,
            Global::UntypedStorage => Elem::U8,
            _ => return Err(self.fail("a storage of an unknown type")),
        };
        let short = match key {
            Value::Str(i) => self.heap.strings[i as usize].len() <= MAX_KEY,
            Value::Bytes(i) => self.heap.bytes[i as usize].len() <= MAX_KEY as u64,
            Value::Int(_) => true,
            _ => false,
        };
        if !short {
            return Err(self.fail("a storage without a key"));
        }
        let numel = self.size(numel)?;
        let i = self.index(self.heap.storages.len())?;
        self.heap.storages.push(Storage { key, elem, big: false, numel, bytes: None });
        Ok(Value::Storage(i))
    }

    /// A tensor pickled without torch's own container brings its storage as the bytes of a file of its own.
    fn nested_storage(&mut self, b: u32) -> Result<Value> {
        let file = self.heap.bytes[b as usize].clone();
        self.spend(file.len())?;
        if self.nested {
            return Err(self.fail("a storage in a storage"));
        }
        let storage = crate::torch::storage_of(&file)?;
        let i = self.index(self.heap.storages.len())?;
        self.heap.storages.push(storage);
        Ok(Value::Storage(i))
    }

    /// `object.__setstate__(state)`.
    pub(super) fn build(&mut self, object: Value, state: Value) -> Result<()> {
        let items: Vec<Value> = match state {
            Value::Tuple(i) => self.heap.lists[i as usize].iter().take(9).copied().collect(),
            _ => vec![],
        };
        match (object, &items[..]) {
            (Value::Dict(_), _) => Ok(()), // attributes of an OrderedDict, such as torch's _metadata
            (Value::DType(t), [_, order, Value::None, Value::None, ..]) => {
                self.heap.dtypes[t as usize].big = self.text(*order).as_deref() == Some(">");
                Ok(())
            }
            (Value::Array(a), [_, shape, Value::DType(t), Value::Bool(fortran), data]) => {
                let data = match data {
                    Value::Bytes(b) => Data::Bytes(self.heap.bytes[*b as usize].clone()),
                    Value::List(l) => Data::Objects(*l),
                    _ => return Err(self.fail("an array without its numbers")),
                };
                if !matches!(self.heap.arrays[a as usize].data, Data::Pending) {
                    return Err(self.fail("an array that is set twice"));
                }
                let dtype = self.heap.dtypes[*t as usize];
                self.heap.arrays[a as usize] = Array::dense(data, dtype, self.shape(*shape)?, *fortran);
                Ok(())
            }
            _ => Err(self.fail("a state that is not understood")),
        }
    }
}

/// The characters up to U+00FF as bytes; none if there are others. UTF-8 has them as one byte, or as 0xC2 or 0xC3
/// and a second one.
fn latin1(s: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(s.len());
    let mut rest = s.bytes();
    while let Some(b) = rest.next() {
        out.push(match b {
            0..0x80 => b,
            0xc2 => rest.next()?,
            0xc3 => rest.next()? + 0x40,
            _ => return None,
        });
    }
    Some(out)
}

/// numpy counts bytes where this project's names count bits.
fn numpy_elem(code: &str) -> Option<Elem> {
    let name = match code.as_bytes() {
        b"b1" => "bool".to_string(),
        [kind @ (b'f' | b'i' | b'u'), size @ (b'1' | b'2' | b'4' | b'8')] => {
            format!("{}{}", char::from(*kind), 8 * u32::from(size - b'0'))
        }
        _ => return None,
    };
    Elem::from_name(&name)
}

/// One number from its little-endian bytes, of which there are as many as the type has.
fn number(elem: Elem, le: &[u8]) -> Value {
    let mut wide = [0u8; 8];
    wide[..le.len()].copy_from_slice(le);
    let u = u64::from_le_bytes(wide);
    match elem {
        Elem::Bool => Value::Bool(u != 0),
        Elem::U8 | Elem::U16 | Elem::U32 => Value::Int(u as i64),
        Elem::U64 => i64::try_from(u).map_or(Value::Float(u as f64), Value::Int),
        Elem::I8 => Value::Int((u as i8).into()),
        Elem::I16 => Value::Int((u as i16).into()),
        Elem::I32 => Value::Int((u as i32).into()),
        Elem::I64 => Value::Int(u as i64),
        Elem::F64 => Value::Float(f64::from_bits(u)),
        Elem::F16 | Elem::BF16 | Elem::F32 => {
            let mut out = [0.0];
            elem.decode(le, false, &mut out);
            Value::Float(out[0].into())
        }
    }
}

/// A string of fixed width, without the zeros that fill it.
pub(super) fn fixed_text(kind: Kind, big: bool, raw: &[u8]) -> String {
    let text: String = match kind {
        Kind::Utf32(_) => {
            let (points, _) = raw.as_chunks::<4>();
            let code = |&b: &[u8; 4]| if big { u32::from_be_bytes(b) } else { u32::from_le_bytes(b) };
            points.iter().map(|b| char::from_u32(code(b)).unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
        }
        _ => String::from_utf8_lossy(raw).into_owned(),
    };
    text.trim_end_matches('\0').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_latin1_character_and_the_next() {
        let all: String = (0..=255u8).map(char::from).collect();
        assert_eq!(latin1(&all).unwrap(), (0..=255).collect::<Vec<u8>>());
        assert_eq!(latin1("a\u{100}"), None);
        assert_eq!(latin1("\u{fffd}"), None);
    }
}
