//! The machine: opcodes with their operands, a stack with marks, and the memo.

use crate::text::{raw_unicode_escape, unescape};
use crate::{Pickle, PickleError, PyObject, Value, ValueId};
use std::borrow::Cow;
use std::collections::HashMap;

/// The newest protocol.
const PROTOCOL: u8 = 5;

/// Runs the pickle at the start of `bytes`.
pub(crate) fn run(bytes: &[u8]) -> Result<Pickle<'_>, PickleError> {
    let mut machine = Machine {
        bytes,
        at: 0,
        opcode_at: 0,
        values: Vec::new(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
    };
    let root = loop {
        machine.opcode_at = machine.at;
        let opcode = machine.byte()?;
        if opcode == b'.' {
            break machine.pop()?;
        }
        machine.step(opcode)?;
    };
    Ok(Pickle { values: machine.values, root, length: machine.at })
}

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    /// The position of the current opcode.
    opcode_at: usize,
    values: Vec<Value<'a>>,
    stack: Vec<ValueId>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: HashMap<u64, ValueId>,
}

type Step<T = ()> = Result<T, PickleError>;

impl<'a> Machine<'a> {
    fn step(&mut self, opcode: u8) -> Step {
        match opcode {
            // The protocol, and frames, which only help to read a stream.
            0x80 => match self.byte()? {
                version if version > PROTOCOL => return Err(PickleError::Protocol { version }),
                _ => {}
            },
            0x95 => {
                self.number::<8>()?;
            }

            // The stack and the memo.
            b'(' => self.marks.push(self.stack.len()),
            b'0' if self.marks.last() == Some(&self.stack.len()) => {
                self.marks.pop();
            }
            b'0' => {
                self.pop()?;
            }
            b'1' => {
                self.pop_mark()?;
            }
            b'2' => {
                let top = self.top()?;
                self.stack.push(top);
            }
            b'g' | b'h' | b'j' => {
                let key = self.memo_key(opcode)?;
                let value = self.memo.get(&key).copied();
                let value = value.ok_or_else(|| self.malformed("the memo has no such entry"))?;
                self.stack.push(value);
            }
            b'p' | b'q' | b'r' => {
                let key = self.memo_key(opcode)?;
                let top = self.top()?;
                self.memo.insert(key, top);
            }
            0x94 => {
                let top = self.top()?;
                self.memo.insert(self.memo.len() as u64, top);
            }

            // Numbers.
            b'N' => self.push(Value::None)?,
            0x88 => self.push(Value::Bool(true))?,
            0x89 => self.push(Value::Bool(false))?,
            b'I' => {
                let value = match self.line()? {
                    b"00" => Value::Bool(false),
                    b"01" => Value::Bool(true),
                    digits => self.decimal(digits)?,
                };
                self.push(value)?;
            }
            b'L' => {
                let line = self.line()?;
                let value = self.decimal(line.strip_suffix(b"L").unwrap_or(line))?;
                self.push(value)?;
            }
            b'J' => {
                let value = self.number::<4>()? as u32 as i32;
                self.push(Value::Int(value.into()))?;
            }
            b'K' => {
                let value = self.number::<1>()? as i64;
                self.push(Value::Int(value))?;
            }
            b'M' => {
                let value = self.number::<2>()? as i64;
                self.push(Value::Int(value))?;
            }
            0x8A => {
                let length = self.number::<1>()?;
                self.long(length)?;
            }
            0x8B => {
                let length = self.number::<4>()?;
                self.long(length)?;
            }
            b'F' => {
                let line = std::str::from_utf8(self.line()?).ok();
                let value = line.and_then(|text| text.parse().ok());
                let value = value.ok_or_else(|| self.malformed("not a float"))?;
                self.push(Value::Float(value))?;
            }
            b'G' => {
                // The only number in network order.
                let bits = self.number::<8>()?.swap_bytes();
                self.push(Value::Float(f64::from_bits(bits)))?;
            }

            // Strings.
            b'S' => {
                let line = self.line()?;
                let inside = match line {
                    [b'\'', inside @ .., b'\''] | [b'"', inside @ .., b'"'] => unescape(inside),
                    _ => None,
                };
                let bytes = inside.ok_or_else(|| self.malformed("not a quoted string"))?;
                self.push(Value::Bytes(bytes))?;
            }
            b'T' | b'B' => self.bytes_of::<4>()?,
            b'U' | b'C' => self.bytes_of::<1>()?,
            0x8E | 0x96 => self.bytes_of::<8>()?,
            b'V' => {
                let text = raw_unicode_escape(self.line()?);
                self.push(Value::Str(text))?;
            }
            b'X' => self.str_of::<4>()?,
            0x8C => self.str_of::<1>()?,
            0x8D => self.str_of::<8>()?,

            // Containers.
            b')' => self.push(Value::Tuple(Vec::new()))?,
            b']' => self.push(Value::List(Vec::new()))?,
            b'}' => self.push(Value::Dict(Vec::new()))?,
            0x8F => self.push(Value::Set(Vec::new()))?,
            b't' | b'l' | 0x91 => {
                let items = self.pop_mark()?;
                self.push(match opcode {
                    b't' => Value::Tuple(items),
                    b'l' => Value::List(items),
                    _ => Value::Set(items),
                })?;
            }
            b'd' => {
                let items = self.pop_mark()?;
                let entries = self.pairs(&items)?;
                self.push(Value::Dict(entries))?;
            }
            0x85..=0x87 => {
                let mut items = vec![];
                for _ in 0x85..=opcode {
                    items.insert(0, self.pop()?);
                }
                self.push(Value::Tuple(items))?;
            }
            b'a' => {
                let item = self.pop()?;
                self.append(&[item])?;
            }
            b'e' | 0x90 => {
                let items = self.pop_mark()?;
                self.append(&items)?;
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.set(&[(key, value)])?;
            }
            b'u' => {
                let items = self.pop_mark()?;
                let entries = self.pairs(&items)?;
                self.set(&entries)?;
            }

            // Classes, functions, objects.
            b'c' => {
                let class = self.global_lines()?;
                self.stack.push(class);
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                self.push(Value::Global(module, name))?;
            }
            b'R' | 0x81 => {
                let (arguments, callable) = (self.pop()?, self.pop()?);
                self.object(callable, arguments)?;
            }
            0x92 => {
                // Named arguments are left out: no object that is read has any.
                let (_named, arguments, callable) = (self.pop()?, self.pop()?, self.pop()?);
                self.object(callable, arguments)?;
            }
            b'i' => {
                let class = self.global_lines()?;
                let items = self.pop_mark()?;
                let arguments = self.value(Value::Tuple(items))?;
                self.object(class, arguments)?;
            }
            b'o' => {
                let mut items = self.pop_mark()?;
                if items.is_empty() {
                    return Err(self.malformed("an object without a class"));
                }
                let class = items.remove(0);
                let arguments = self.value(Value::Tuple(items))?;
                self.object(class, arguments)?;
            }
            b'b' => {
                let state = self.pop()?;
                let object = self.top()?;
                // What has no state here, such as a persistent id, keeps none.
                if let Some(Value::Object(object)) = self.values.get_mut(object.0 as usize) {
                    object.state = Some(state);
                }
            }
            b'P' => {
                let id = raw_unicode_escape(self.line()?);
                let id = self.value(Value::Str(id))?;
                self.push(Value::Persistent(id))?;
            }
            b'Q' => {
                let id = self.pop()?;
                self.push(Value::Persistent(id))?;
            }
            _ => return Err(PickleError::Opcode { opcode, at: self.opcode_at }),
        }
        Ok(())
    }

    fn malformed(&self, problem: &'static str) -> PickleError {
        PickleError::Malformed { at: self.opcode_at, problem }
    }

    // Operands.

    fn take(&mut self, length: u64) -> Step<&'a [u8]> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let taken = usize::try_from(length).ok().and_then(|length| rest.get(..length));
        let taken = taken.ok_or(PickleError::Truncated { length: self.bytes.len() })?;
        self.at += taken.len();
        Ok(taken)
    }

    fn byte(&mut self) -> Step<u8> {
        Ok(self.number::<1>()? as u8)
    }

    /// A little-endian number of up to eight bytes.
    fn number<const N: usize>(&mut self) -> Step<u64> {
        let bytes = self.take(N as u64)?;
        Ok(bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    /// The bytes up to a newline, which is passed.
    fn line(&mut self) -> Step<&'a [u8]> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let length = rest.iter().position(|byte| *byte == b'\n');
        let length = length.ok_or(PickleError::Truncated { length: self.bytes.len() })?;
        let line = self.take(length as u64)?;
        self.at += 1;
        Ok(line)
    }

    fn decimal(&self, digits: &[u8]) -> Step<Value<'a>> {
        let unsigned = digits.strip_prefix(b"-").unwrap_or(digits);
        if unsigned.is_empty() || !unsigned.iter().all(u8::is_ascii_digit) {
            return Err(self.malformed("not an int"));
        }
        let value = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
        Ok(value.map_or(Value::LongInt, Value::Int))
    }

    /// A little-endian integer of `length` bytes in two's complement.
    fn long(&mut self, length: u64) -> Step {
        let bytes = self.take(length)?;
        let value = match bytes {
            [] => Value::Int(0),
            [.., last] if bytes.len() <= 8 => {
                let fill = if last & 0x80 == 0 { 0 } else { u8::MAX };
                let mut whole = [fill; 8];
                whole.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
                Value::Int(i64::from_le_bytes(whole))
            }
            _ => Value::LongInt,
        };
        self.push(value)
    }

    fn bytes_of<const N: usize>(&mut self) -> Step {
        let length = self.number::<N>()?;
        let bytes = self.take(length)?;
        self.push(Value::Bytes(Cow::Borrowed(bytes)))
    }

    fn str_of<const N: usize>(&mut self) -> Step {
        let length = self.number::<N>()?;
        let bytes = self.take(length)?;
        self.push(Value::Str(String::from_utf8_lossy(bytes)))
    }

    fn memo_key(&mut self, opcode: u8) -> Step<u64> {
        match opcode {
            b'h' | b'q' => self.number::<1>(),
            b'j' | b'r' => self.number::<4>(),
            _ => {
                let line = self.line()?;
                let key = std::str::from_utf8(line).ok().and_then(|digits| digits.parse().ok());
                key.ok_or_else(|| self.malformed("not a key of the memo"))
            }
        }
    }

    fn global_lines(&mut self) -> Step<ValueId> {
        let [module, name] = [self.line()?, self.line()?];
        let module = self.value(Value::Str(String::from_utf8_lossy(module)))?;
        let name = self.value(Value::Str(String::from_utf8_lossy(name)))?;
        self.value(Value::Global(module, name))
    }

    // Values.

    fn value(&mut self, value: Value<'a>) -> Step<ValueId> {
        let id = u32::try_from(self.values.len())
            .map_err(|_| PickleError::TooLarge { limit: u32::MAX })?;
        self.values.push(value);
        Ok(ValueId(id))
    }

    fn push(&mut self, value: Value<'a>) -> Step {
        let id = self.value(value)?;
        self.stack.push(id);
        Ok(())
    }

    fn object(&mut self, callable: ValueId, arguments: ValueId) -> Step {
        let (items, entries) = (Vec::new(), Vec::new());
        let object = PyObject { callable, arguments, state: None, items, entries };
        self.push(Value::Object(Box::new(object)))
    }

    /// The top of the stack, which must be above the last mark.
    fn top(&self) -> Step<ValueId> {
        let above = self.marks.last().is_none_or(|mark| self.stack.len() > *mark);
        let top = self.stack.last().copied().filter(|_| above);
        top.ok_or_else(|| self.malformed("the stack is empty"))
    }

    fn pop(&mut self) -> Step<ValueId> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    /// What is above the last mark, which is removed, too.
    fn pop_mark(&mut self) -> Step<Vec<ValueId>> {
        let mark = self.marks.pop().ok_or_else(|| self.malformed("there is no mark"))?;
        Ok(self.stack.split_off(mark))
    }

    fn pairs(&self, items: &[ValueId]) -> Step<Vec<(ValueId, ValueId)>> {
        match items.as_chunks::<2>() {
            (pairs, []) => Ok(pairs.iter().map(|[key, value]| (*key, *value)).collect()),
            _ => Err(self.malformed("a key without a value")),
        }
    }

    /// Appends to the container on top.
    fn append(&mut self, items: &[ValueId]) -> Step {
        let top = self.top()?;
        match self.values.get_mut(top.0 as usize) {
            Some(Value::List(list) | Value::Set(list)) => list.extend_from_slice(items),
            Some(Value::Object(object)) => object.items.extend_from_slice(items),
            _ => return Err(self.malformed("items for what is no list")),
        }
        Ok(())
    }

    /// Sets entries of the container on top.
    fn set(&mut self, entries: &[(ValueId, ValueId)]) -> Step {
        let top = self.top()?;
        match self.values.get_mut(top.0 as usize) {
            Some(Value::Dict(dict)) => dict.extend_from_slice(entries),
            Some(Value::Object(object)) => object.entries.extend_from_slice(entries),
            _ => return Err(self.malformed("entries for what is no dict")),
        }
        Ok(())
    }
}
