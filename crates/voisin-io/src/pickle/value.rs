//! What a pickle builds: plain values in an arena.
//!
//! Lists, dicts and strings are numbers of entries of a [`Heap`], so that a value that is referred to many times is
//! stored once, a cycle is harmless, and nothing deep is ever dropped recursively.

use voisin::{Error, Result};

use super::bytes::Bytes;
use super::view::{View, strides};
use crate::Elem;

/// A value; the number is a place in the [`Heap`]'s table of that kind.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Value {
    None,
    Bool(bool),
    Int(i64),
    /// An integer beyond 64 bits: little-endian two's complement in the table of bytes.
    BigInt(u32),
    Float(f64),
    Str(u32),
    Bytes(u32),
    List(u32),
    Tuple(u32),
    Dict(u32),
    Array(u32),
    DType(u32),
    Storage(u32),
    Global(Global),
}

/// The classes and functions of Python that a pickle may name. None of them is run: each stands for a few lines here
/// that build the same data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Global {
    /// `numpy._core.multiarray._reconstruct`
    Reconstruct,
    /// `numpy._core.numeric._frombuffer`
    FromBuffer,
    /// `numpy._core.multiarray.scalar`
    Scalar,
    /// `numpy.ndarray`
    NdArray,
    /// `numpy.dtype`
    DType,
    /// `_codecs.encode`
    Encode,
    /// `bytes`
    Bytes,
    /// `bytearray`
    ByteArray,
    /// `collections.OrderedDict`
    OrderedDict,
    /// `collections.defaultdict`
    DefaultDict,
    /// `torch.Size`
    Size,
    /// `torch._utils._rebuild_tensor`, `_rebuild_tensor_v2`, `_rebuild_tensor_v3`
    RebuildTensor,
    /// `torch.storage._load_from_bytes`
    LoadFromBytes,
    /// `torch._utils._rebuild_parameter`
    RebuildParameter,
    /// `torch.FloatStorage` and its like
    Storage(Elem),
    /// `torch.storage.UntypedStorage`
    UntypedStorage,
    /// `torch.float32` and its like
    TorchDType(Elem),
    /// `list`, `dict`, `int`, ... as the factory of a defaultdict
    Type,
}

impl Global {
    /// The one that a pickle names, if it is allowed.
    pub(crate) fn find(module: &str, name: &str) -> Option<Global> {
        Some(match (module, name) {
            ("numpy.core.multiarray" | "numpy._core.multiarray", "_reconstruct") => Global::Reconstruct,
            ("numpy.core.multiarray" | "numpy._core.multiarray", "scalar") => Global::Scalar,
            ("numpy.core.numeric" | "numpy._core.numeric", "_frombuffer") => Global::FromBuffer,
            ("numpy", "ndarray") => Global::NdArray,
            ("numpy", "dtype") => Global::DType,
            ("_codecs", "encode") => Global::Encode,
            ("builtins" | "__builtin__", "bytes") => Global::Bytes,
            ("builtins" | "__builtin__", "bytearray") => Global::ByteArray,
            ("builtins" | "__builtin__", "list" | "dict" | "int" | "float" | "str" | "set") => Global::Type,
            ("collections", "OrderedDict") => Global::OrderedDict,
            ("collections", "defaultdict") => Global::DefaultDict,
            ("torch", "Size") => Global::Size,
            ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2" | "_rebuild_tensor_v3") => Global::RebuildTensor,
            ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => Global::RebuildParameter,
            ("torch.storage", "_load_from_bytes") => Global::LoadFromBytes,
            ("torch.storage", "UntypedStorage") => Global::UntypedStorage,
            ("torch", name) => match name.strip_suffix("Storage") {
                Some(class) => Global::Storage(storage_elem(class)?),
                None => Global::TorchDType(torch_elem(name)?),
            },
            _ => return None,
        })
    }
}

fn storage_elem(class: &str) -> Option<Elem> {
    Some(match class {
        "Half" => Elem::F16,
        "BFloat16" => Elem::BF16,
        "Float" => Elem::F32,
        "Double" => Elem::F64,
        "Bool" => Elem::Bool,
        "Byte" => Elem::U8,
        "Char" => Elem::I8,
        "Short" => Elem::I16,
        "Int" => Elem::I32,
        "Long" => Elem::I64,
        _ => return None,
    })
}

fn torch_elem(name: &str) -> Option<Elem> {
    Elem::from_name(name).filter(|_| name.len() > 3) // not the short names, which torch does not have
}

/// Element type of a numpy array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Num(Elem),
    /// `U7`: this many UTF-32 code points an element.
    Utf32(usize),
    /// `S7`: this many bytes an element.
    Ascii(usize),
    /// `O`: any values, held as a list.
    Object,
}

/// `numpy.dtype`; the byte order comes after its creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DType {
    pub(crate) kind: Kind,
    pub(crate) big: bool,
}

/// Where the elements of an array are.
#[derive(Clone, Debug)]
pub(crate) enum Data {
    /// Made by `_reconstruct`, state to follow.
    Pending,
    Bytes(Bytes),
    /// In a storage of torch.
    Storage(u32),
    /// Python values of an object array: a list.
    Objects(u32),
}

/// A numpy array or a torch tensor; offset and strides count elements.
#[derive(Clone, Debug)]
pub(crate) struct Array {
    pub(crate) data: Data,
    pub(crate) dtype: DType,
    pub(crate) offset: u64,
    pub(crate) shape: Vec<u64>,
    pub(crate) stride: Vec<u64>,
}

impl Array {
    /// A numpy array without gaps.
    pub(crate) fn dense(data: Data, dtype: DType, shape: Vec<u64>, fortran: bool) -> Array {
        let stride = strides(&shape, fortran);
        Array { data, dtype, offset: 0, shape, stride }
    }
}

/// A torch storage as a pickle names it; where its bytes are is found by the container's reader.
#[derive(Clone, Debug)]
pub(crate) struct Storage {
    /// A str, or an int.
    pub(crate) key: Value,
    pub(crate) elem: Elem,
    pub(crate) big: bool,
    /// Number of elements.
    pub(crate) numel: u64,
    pub(crate) bytes: Option<Bytes>,
}

/// All values of a pickle, by kind.
#[derive(Debug, Default)]
pub(crate) struct Heap {
    pub(crate) strings: Vec<Box<str>>,
    pub(crate) bytes: Vec<Bytes>,
    /// Lists and tuples.
    pub(crate) lists: Vec<Vec<Value>>,
    pub(crate) dicts: Vec<Vec<(Value, Value)>>,
    pub(crate) arrays: Vec<Array>,
    pub(crate) dtypes: Vec<DType>,
    pub(crate) storages: Vec<Storage>,
}

impl Heap {
    /// Entries of all tables.
    pub(crate) fn len(&self) -> usize {
        let plain = self.strings.len() + self.bytes.len() + self.lists.len() + self.dicts.len();
        plain + self.arrays.len() + self.dtypes.len() + self.storages.len()
    }
}

/// A parsed pickle.
#[derive(Debug)]
pub(crate) struct Doc {
    pub(crate) heap: Heap,
    pub(crate) root: Value,
    /// All bytes of the file: bounds what may be made of it, and names it in errors.
    pub(crate) file: Bytes,
}

impl Doc {
    /// A string: a str, or bytes that are UTF-8 (what Python 2 wrote for its strings).
    pub(crate) fn text(&self, v: Value) -> Option<String> {
        match v {
            Value::Str(i) => Some(self.heap.strings[i as usize].to_string()),
            Value::Bytes(i) => String::from_utf8(self.heap.bytes[i as usize].to_vec().ok()?).ok(),
            _ => None,
        }
    }

    /// A dict's key as text; ints are common besides strings.
    pub(crate) fn key(&self, v: Value) -> String {
        match v {
            Value::Int(i) => i.to_string(),
            v => self.text(v).unwrap_or_else(|| "?".into()),
        }
    }

    /// The items of a list or tuple.
    pub(crate) fn items(&self, v: Value) -> Option<&[Value]> {
        match v {
            Value::List(i) | Value::Tuple(i) => Some(&self.heap.lists[i as usize]),
            _ => None,
        }
    }

    /// The pairs of a dict in the order in which they were set.
    pub(crate) fn pairs(&self, v: Value) -> Option<&[(Value, Value)]> {
        match v {
            Value::Dict(i) => Some(&self.heap.dicts[i as usize]),
            _ => None,
        }
    }

    /// The value of a key of a dict.
    pub(crate) fn get(&self, v: Value, key: &str) -> Option<Value> {
        let is = |k: Value| matches!(k, Value::Str(i) if &*self.heap.strings[i as usize] == key);
        self.pairs(v)?.iter().rev().find(|p| is(p.0)).map(|p| p.1)
    }

    /// A number as f64.
    pub(crate) fn number(&self, v: Value) -> Option<f64> {
        match v {
            Value::Int(i) => Some(i as f64),
            Value::Float(x) => Some(x),
            Value::Bool(b) => Some(f64::from(u8::from(b))),
            _ => None,
        }
    }

    /// An array of numbers, bounds checked; none for arrays of other things and for other values.
    ///
    /// # Errors
    /// If shape, strides and stored bytes contradict each other.
    pub(crate) fn view(&self, v: Value) -> Result<Option<View>> {
        let Value::Array(i) = v else { return Ok(None) };
        let a = &self.heap.arrays[i as usize];
        let Kind::Num(elem) = a.dtype.kind else { return Ok(None) };
        let (bytes, big) = match &a.data {
            Data::Bytes(b) => (b.clone(), a.dtype.big),
            Data::Storage(s) => {
                let storage = &self.heap.storages[*s as usize];
                let bytes = storage.bytes.clone();
                (bytes.ok_or_else(|| self.error(format!("storage `{}` is not in the file", self.key(storage.key))))?, storage.big)
            }
            Data::Pending | Data::Objects(_) => return Ok(None),
        };
        View::new(bytes, (elem, big), a.offset, &a.shape, &a.stride).map(Some).map_err(|what| self.error(what))
    }

    pub(crate) fn error(&self, what: impl Into<String>) -> Error {
        Error::format(self.file.path(), what)
    }
}
