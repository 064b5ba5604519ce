//! The pickle machine: reads opcodes of protocols 0 to 5 and builds data; it calls nothing.
//!
//! Format: CPython's `Lib/pickletools.py`, which describes every opcode. What a pickle asks to be called is looked up
//! in [`Global`], and every name that is not there is refused.

use std::collections::HashMap;

use voisin::{Error, Result};

use super::bytes::{Bytes, Cursor};
use super::text::{raw_unicode, unquote};
use super::value::{Global, Heap, Value};

/// Values that may be alive at once: a crafted file makes one (16 to 40 bytes) out of every byte.
const MAX_VALUES: usize = 1 << 27;

/// State of one run.
pub(super) struct Machine<'a> {
    pub(super) cursor: &'a mut Cursor,
    pub(super) heap: Heap,
    pub(super) stack: Vec<Value>,
    /// Stack heights at the marks.
    marks: Vec<usize>,
    memo: HashMap<u32, Value>,
    /// Values moved into lists, tuples and dicts.
    kept: usize,
    /// Bytes made by copying; see [`Machine::spend`].
    spent: u64,
    /// Whether this is a pickle within a pickle.
    pub(super) nested: bool,
}

/// Runs the pickle that starts at the cursor, and leaves the cursor behind it.
///
/// # Errors
/// [`Error::Format`] with the byte position: truncated, malformed, or a name that is not known to be data.
pub(crate) fn run(cursor: &mut Cursor, nested: bool) -> Result<(Heap, Value)> {
    let (heap, memo) = (Heap::default(), HashMap::new());
    let mut m = Machine { cursor, heap, stack: vec![], marks: vec![], memo, kept: 0, spent: 0, nested };
    loop {
        let op = m.cursor.byte()?;
        if op == b'.' {
            let root = m.pop()?;
            return Ok((m.heap, root));
        }
        m.step(op)?;
        if m.stack.len() + m.kept + m.heap.len() > MAX_VALUES {
            return Err(m.fail(format!("more than {MAX_VALUES} values of Python; save one numpy array instead")));
        }
    }
}

impl Machine<'_> {
    pub(super) fn fail(&self, what: impl std::fmt::Display) -> Error {
        Error::format(self.cursor.bytes().path(), format!("pickle, byte {}: {what}", self.cursor.at().saturating_sub(1)))
    }

    /// Counts bytes that are made from others that may be used again: few bytes of a crafted file could ask for many.
    pub(super) fn spend(&mut self, bytes: u64) -> Result<()> {
        self.spent = self.spent.saturating_add(bytes);
        if self.spent > self.cursor.bytes().len().saturating_mul(4).saturating_add(1 << 16) {
            return Err(self.fail("it unpacks to several times the size of the file"));
        }
        Ok(())
    }

    pub(super) fn pop(&mut self) -> Result<Value> {
        if self.stack.len() <= self.marks.last().copied().unwrap_or(0) {
            return Err(self.fail("the stack is empty"));
        }
        self.stack.pop().ok_or_else(|| self.fail("the stack is empty"))
    }

    fn top(&self) -> Result<Value> {
        self.stack.last().copied().ok_or_else(|| self.fail("the stack is empty"))
    }

    /// Everything above the last mark, which is removed.
    fn pop_mark(&mut self) -> Result<Vec<Value>> {
        let at = self.marks.pop().ok_or_else(|| self.fail("no mark on the stack"))?;
        let items = self.stack.split_off(at.min(self.stack.len()));
        self.kept += items.len();
        Ok(items)
    }

    /// Numbers the entry that is about to be pushed to a table of the heap.
    pub(super) fn index(&self, len: usize) -> Result<u32> {
        u32::try_from(len).map_err(|_| self.fail("too many values"))
    }

    pub(super) fn string(&mut self, s: String) -> Result<Value> {
        let i = self.index(self.heap.strings.len())?;
        self.heap.strings.push(s.into_boxed_str());
        Ok(Value::Str(i))
    }

    pub(super) fn bytes(&mut self, b: Bytes) -> Result<Value> {
        let i = self.index(self.heap.bytes.len())?;
        self.heap.bytes.push(b);
        Ok(Value::Bytes(i))
    }

    pub(super) fn list(&mut self, items: Vec<Value>) -> Result<u32> {
        let i = self.index(self.heap.lists.len())?;
        self.heap.lists.push(items);
        Ok(i)
    }

    pub(super) fn dict(&mut self, pairs: Vec<(Value, Value)>) -> Result<Value> {
        let i = self.index(self.heap.dicts.len())?;
        self.heap.dicts.push(pairs);
        Ok(Value::Dict(i))
    }

    fn u32(&mut self) -> Result<u64> {
        Ok(u32::from_le_bytes(self.cursor.array()?).into())
    }

    fn step(&mut self, op: u8) -> Result<()> {
        if let Some(v) = self.literal(op)? {
            self.stack.push(v);
            return Ok(());
        }
        match op {
            0x80 => match self.cursor.byte()? {
                0..=5 => Ok(()),
                p => Err(self.fail(format!("protocol {p}, newer than 5"))),
            },
            0x95 => {
                let len = u64::from_le_bytes(self.cursor.array()?);
                if len > self.cursor.remaining() {
                    let left = self.cursor.remaining();
                    return Err(self.fail(format!("truncated: a frame of {len} bytes where {left} are left")));
                }
                Ok(())
            }
            b'(' => {
                self.marks.push(self.stack.len());
                Ok(())
            }
            b'0' => match self.marks.last() {
                Some(&m) if m == self.stack.len() => {
                    self.marks.pop();
                    Ok(())
                }
                _ => self.pop().map(|_| ()),
            },
            b'1' => self.pop_mark().map(|_| ()),
            b'2' => {
                let v = self.top()?;
                self.stack.push(v);
                Ok(())
            }
            b'p' | b'q' | b'r' | 0x94 | b'g' | b'h' | b'j' => self.memo(op),
            b'c' | 0x93 | b'i' | b'o' | 0x81 | 0x92 | b'R' | b'b' | b'P' | b'Q' => self.object(op),
            0x97 => Err(self.fail("the numbers were pickled out-of-band (buffer_callback) and are not in this file")),
            0x98 => Ok(()),
            0x8f..=0x91 => Err(self.fail("a set, which holds no vectors")),
            0x82..=0x84 => Err(self.fail("an extension code, whose meaning is not in the file")),
            _ => self.container(op),
        }
    }

    /// Opcodes that push a value of their own.
    fn literal(&mut self, op: u8) -> Result<Option<Value>> {
        Ok(Some(match op {
            b'N' => Value::None,
            0x88 => Value::Bool(true),
            0x89 => Value::Bool(false),
            b'K' => Value::Int(self.cursor.byte()?.into()),
            b'M' => Value::Int(u16::from_le_bytes(self.cursor.array()?).into()),
            b'J' => Value::Int(i32::from_le_bytes(self.cursor.array()?).into()),
            b'G' => Value::Float(f64::from_be_bytes(self.cursor.array()?)),
            b'I' | b'L' | b'F' => self.decimal(op)?,
            0x8a => {
                let n = self.cursor.byte()?;
                self.long(n.into())?
            }
            0x8b => {
                let n = i32::from_le_bytes(self.cursor.array()?);
                let n = u64::try_from(n).map_err(|_| self.fail("an integer of negative length"))?;
                self.long(n)?
            }
            b'S' => {
                let line = self.cursor.line()?;
                let text = unquote(&line).ok_or_else(|| self.fail("a string without quotes or with a broken escape"))?;
                let b = self.cursor.bytes().unpacked(text);
                self.bytes(b)?
            }
            b'V' => {
                let line = self.cursor.line()?;
                let text = raw_unicode(&line).ok_or_else(|| self.fail("a string with a broken escape"))?;
                self.string(text)?
            }
            b'X' | 0x8c | 0x8d | b'T' | b'U' | b'B' | b'C' | 0x8e | 0x96 => self.counted(op)?,
            b']' => Value::List(self.list(vec![])?),
            b')' => Value::Tuple(self.list(vec![])?),
            b'}' => self.dict(vec![])?,
            _ => return Ok(None),
        }))
    }

    /// Strings and bytes with their length before them.
    fn counted(&mut self, op: u8) -> Result<Value> {
        let len = match op {
            0x8c | b'U' | b'C' => self.cursor.byte()?.into(),
            0x8d | 0x8e | 0x96 => u64::from_le_bytes(self.cursor.array()?),
            _ => self.u32()?,
        };
        if matches!(op, b'X' | 0x8c | 0x8d) {
            let text = self.cursor.read(len)?;
            // Python writes lone surrogates of file names that are no UTF-8; they become replacement characters
            let text = String::from_utf8(text).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned());
            return self.string(text);
        }
        let b = self.cursor.take(len)?;
        self.bytes(b)
    }

    /// Numbers written as text (protocol 0).
    fn decimal(&mut self, op: u8) -> Result<Value> {
        let line = self.cursor.line()?;
        let text = std::str::from_utf8(&line).unwrap_or("").trim();
        let value = match (op, text) {
            (b'I', "01") => Some(Value::Bool(true)),
            (b'I', "00") => Some(Value::Bool(false)),
            (b'F', t) => t.parse().ok().map(Value::Float),
            (_, t) => t.strip_suffix('L').unwrap_or(t).parse().ok().map(Value::Int),
        };
        value.ok_or_else(|| self.fail("a number that cannot be read"))
    }

    /// An integer of `n` bytes, little-endian two's complement.
    fn long(&mut self, n: u64) -> Result<Value> {
        if n > 8 {
            let b = self.cursor.take(n)?;
            let i = self.index(self.heap.bytes.len())?;
            self.heap.bytes.push(b);
            return Ok(Value::BigInt(i));
        }
        let raw = self.cursor.read(n)?;
        let negative = raw.last().is_some_and(|&b| b >= 0x80);
        let mut le = if negative { [0xff; 8] } else { [0; 8] };
        le[..raw.len()].copy_from_slice(&raw);
        Ok(Value::Int(i64::from_le_bytes(le)))
    }

    fn container(&mut self, op: u8) -> Result<()> {
        let value = match op {
            b't' => {
                let items = self.pop_mark()?;
                Value::Tuple(self.list(items)?)
            }
            b'l' => {
                let items = self.pop_mark()?;
                Value::List(self.list(items)?)
            }
            0x85..=0x87 => {
                let n = usize::from(op - 0x84);
                let at = self.stack.len().checked_sub(n).filter(|&at| at >= self.marks.last().copied().unwrap_or(0));
                let at = at.ok_or_else(|| self.fail("the stack is empty"))?;
                let items = self.stack.split_off(at);
                self.kept += n;
                Value::Tuple(self.list(items)?)
            }
            b'd' => {
                let items = self.pop_mark()?;
                let pairs = self.paired(&items)?;
                self.dict(pairs)?
            }
            b'a' => {
                let item = self.pop()?;
                self.kept += 1;
                return self.append(&[item]);
            }
            b'e' => {
                let items = self.pop_mark()?;
                return self.append(&items);
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.kept += 2;
                return self.set(vec![(key, value)]);
            }
            b'u' => {
                let items = self.pop_mark()?;
                let pairs = self.paired(&items)?;
                return self.set(pairs);
            }
            _ => return Err(self.fail(format!("{op:#04x} is no pickle opcode"))),
        };
        self.stack.push(value);
        Ok(())
    }

    fn paired(&self, items: &[Value]) -> Result<Vec<(Value, Value)>> {
        match items.as_chunks::<2>() {
            (pairs, []) => Ok(pairs.iter().map(|&[k, v]| (k, v)).collect()),
            _ => Err(self.fail("a key without a value")),
        }
    }

    fn append(&mut self, items: &[Value]) -> Result<()> {
        match self.top()? {
            Value::List(i) => self.heap.lists[i as usize].extend_from_slice(items),
            _ => return Err(self.fail("items for something that is no list")),
        }
        Ok(())
    }

    fn set(&mut self, pairs: Vec<(Value, Value)>) -> Result<()> {
        match self.top()? {
            Value::Dict(i) => self.heap.dicts[i as usize].extend(pairs),
            _ => return Err(self.fail("keys for something that is no dict")),
        }
        Ok(())
    }

    fn memo(&mut self, op: u8) -> Result<()> {
        let key = match op {
            b'p' | b'g' => match self.decimal(b'L')? {
                Value::Int(i) => u32::try_from(i).map_err(|_| self.fail("a memo key that is out of range"))?,
                _ => return Err(self.fail("a memo key that is no number")),
            },
            b'q' | b'h' => self.cursor.byte()?.into(),
            0x94 => self.index(self.memo.len())?,
            _ => u32::from_le_bytes(self.cursor.array()?),
        };
        if matches!(op, b'g' | b'h' | b'j') {
            let v = self.memo.get(&key).copied().ok_or_else(|| self.fail(format!("nothing is memorised as {key}")))?;
            self.stack.push(v);
        } else {
            let v = self.top()?;
            self.memo.insert(key, v);
        }
        Ok(())
    }

    /// Opcodes that name something of Python, or call it.
    fn object(&mut self, op: u8) -> Result<()> {
        let value = match op {
            b'c' => {
                let (module, name) = (self.cursor.line()?, self.cursor.line()?);
                self.global(&String::from_utf8_lossy(&module), &String::from_utf8_lossy(&name))?
            }
            0x93 => match (self.pop()?, self.pop()?) {
                (Value::Str(name), Value::Str(module)) => {
                    let (module, name) = (&self.heap.strings[module as usize], &self.heap.strings[name as usize]);
                    self.global(module, name)?
                }
                _ => return Err(self.fail("a global whose name is no string")),
            },
            b'i' => {
                let (module, name) = (self.cursor.line()?, self.cursor.line()?);
                return Err(self.refuse(&String::from_utf8_lossy(&module), &String::from_utf8_lossy(&name)));
            }
            b'R' => {
                let (args, callee) = (self.pop()?, self.pop()?);
                self.reduce(callee, args)?
            }
            0x81 => match (self.pop()?, self.pop()?) {
                (_, Value::Global(Global::OrderedDict)) => self.dict(vec![])?,
                _ => return Err(self.fail("an object of a class that is no data")),
            },
            b'b' => {
                let state = self.pop()?;
                let object = self.top()?;
                return self.build(object, state);
            }
            b'Q' => {
                let id = self.pop()?;
                self.storage(id)?
            }
            b'P' => return Err(self.fail("a reference to something outside the file")),
            _ => return Err(self.fail("an object of a class that is no data")),
        };
        self.stack.push(value);
        Ok(())
    }

    fn global(&self, module: &str, name: &str) -> Result<Value> {
        Global::find(module, name).map(Value::Global).ok_or_else(|| self.refuse(module, name))
    }

    fn refuse(&self, module: &str, name: &str) -> Error {
        let short = |s: &str| s.chars().take(60).collect::<String>().escape_debug().to_string();
        let what = format!("refers to {}.{}, which voisin does not run", short(module), short(name));
        Error::format(self.cursor.bytes().path(), what)
    }
}
