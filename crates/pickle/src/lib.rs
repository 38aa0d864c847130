//! Python pickles as inert values, and the [header](NpyHeader) of NumPy's array files.
//!
//! A pickle is a program for a small machine with a stack and a memo, which may call any function
//! of Python (`REDUCE`). Here nothing is called: a class or function is its name, and a call is a
//! [`PyObject`] with its arguments. The reader of a file knows the few names that it needs, such as
//! `collections.OrderedDict`.
//!
//! All opcodes of the protocols 0 to 5 are read, but for those that need a registry of the reading
//! program (`EXT1` to `EXT4`) or buffers outside the pickle.
//! Source: CPython, `Lib/pickletools.py`.
//!
//! Every opcode makes a bounded number of values, each of a bounded size, and strings are borrowed,
//! so the memory is proportional to the length of the pickle. Values refer to each other by
//! [`ValueId`], since they may be shared and may contain themselves: what walks through them must
//! bound its depth, or visit no value twice.
//!
//! ```
//! use pickle::{Pickle, Value};
//!
//! // pickle.dumps({"side": [3, -1]}, protocol=2)
//! let bytes = b"\x80\x02}q\x00X\x04\x00\x00\x00sideq\x01]q\x02(K\x03J\xff\xff\xff\xffes.";
//! let pickle = Pickle::parse(bytes).unwrap();
//! let entries = pickle.dict(pickle.root()).unwrap();
//! assert_eq!(pickle.text(entries[0].0), Some("side"));
//! let sides = pickle.list(entries[0].1).unwrap().iter().map(|id| pickle.int(*id));
//! assert!(sides.eq([Some(3), Some(-1)]));
//! ```

#![forbid(unsafe_code)]

mod machine;
mod npy;
mod text;

use std::borrow::Cow;

pub use npy::{NpyError, NpyHeader};

/// A value of a [`Pickle`]: its index there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId(u32);

/// A value of Python.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// `None`.
    None,
    /// `True` or `False`.
    Bool(bool),
    /// An `int` of 64 bits.
    Int(i64),
    /// An `int` that 64 bits do not hold.
    LongInt,
    /// A `float`.
    Float(f64),
    /// A `bytes` or `bytearray`, or a `str` of Python 2.
    Bytes(Cow<'a, [u8]>),
    /// A `str`; what is not UTF-8 is replaced.
    Str(Cow<'a, str>),
    /// A class or function: its module and its name, which are strings.
    Global(ValueId, ValueId),
    /// What the writer kept outside the pickle, by its persistent id.
    Persistent(ValueId),
    /// A `tuple`.
    Tuple(Vec<ValueId>),
    /// A `list`.
    List(Vec<ValueId>),
    /// A `set` or `frozenset`.
    Set(Vec<ValueId>),
    /// A `dict`, in the order of insertion. A key may occur again; the last value counts.
    Dict(Vec<(ValueId, ValueId)>),
    /// An object that a call would make.
    Object(Box<PyObject>),
}

/// An object that Python would make by a call.
#[derive(Clone, Debug, PartialEq)]
pub struct PyObject {
    /// The class or function.
    pub callable: ValueId,
    /// The arguments, usually a tuple.
    pub arguments: ValueId,
    /// What is passed to `__setstate__`.
    pub state: Option<ValueId>,
    /// What is appended to it.
    pub items: Vec<ValueId>,
    /// The keys and values that are set on it.
    pub entries: Vec<(ValueId, ValueId)>,
}

/// Why bytes are not a pickle that can be read. Positions are those of the opcode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages show what the fields are")]
pub enum PickleError {
    /// The bytes end before the opcode `STOP`.
    #[error("it ends inside a pickle, after {length} bytes")]
    Truncated { length: usize },
    /// An opcode that no protocol has, or that is not read.
    #[error("byte {at} of a pickle is {opcode:#04x}, which is no opcode that is read")]
    Opcode { opcode: u8, at: usize },
    /// A protocol that is newer than 5.
    #[error("a pickle has protocol {version}, and protocols up to 5 are read")]
    Protocol { version: u8 },
    /// An opcode with operands that it cannot have.
    #[error("byte {at} of a pickle: {problem}")]
    Malformed { at: usize, problem: &'static str },
    /// More values than can be counted.
    #[error("a pickle has more than {limit} values")]
    TooLarge { limit: u32 },
}

/// The values of a pickle.
#[derive(Debug)]
pub struct Pickle<'a> {
    values: Vec<Value<'a>>,
    root: ValueId,
    length: usize,
}

impl<'a> Pickle<'a> {
    /// Reads the pickle that `bytes` begin with; what follows it is left.
    ///
    /// # Errors
    /// Returns an error if the bytes are not a complete pickle.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, PickleError> {
        machine::run(bytes)
    }

    /// The value that was pickled.
    pub fn root(&self) -> ValueId {
        self.root
    }

    /// The length of the pickle in bytes.
    pub fn length(&self) -> usize {
        self.length
    }

    /// The value of an id of this pickle.
    ///
    /// # Panics
    /// Panics if the id belongs to a larger pickle.
    #[track_caller]
    pub fn get(&self, id: ValueId) -> &Value<'a> {
        &self.values[id.0 as usize]
    }

    /// All values, in the order in which they were made.
    pub fn values(&self) -> impl Iterator<Item = &Value<'a>> {
        self.values.iter()
    }

    /// The text of a `str`, of Python 2 or 3.
    pub fn text(&self, id: ValueId) -> Option<&str> {
        match self.get(id) {
            Value::Str(text) => Some(text),
            Value::Bytes(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    /// The bytes of a `bytes`, a `bytearray` or a `str` of Python 2.
    pub fn bytes(&self, id: ValueId) -> Option<&[u8]> {
        match self.get(id) {
            Value::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// An `int` of 64 bits.
    pub fn int(&self, id: ValueId) -> Option<i64> {
        match self.get(id) {
            Value::Int(value) => Some(*value),
            _ => None,
        }
    }

    /// The elements of a `tuple`.
    pub fn tuple(&self, id: ValueId) -> Option<&[ValueId]> {
        match self.get(id) {
            Value::Tuple(items) => Some(items),
            _ => None,
        }
    }

    /// The elements of a `list`.
    pub fn list(&self, id: ValueId) -> Option<&[ValueId]> {
        match self.get(id) {
            Value::List(items) => Some(items),
            _ => None,
        }
    }

    /// The keys and values of a `dict` or `collections.OrderedDict`.
    pub fn dict(&self, id: ValueId) -> Option<&[(ValueId, ValueId)]> {
        match self.get(id) {
            Value::Dict(entries) => Some(entries),
            Value::Object(object)
                if self.global(object.callable) == Some(("collections", "OrderedDict")) =>
            {
                Some(&object.entries)
            }
            _ => None,
        }
    }

    /// The value of a key of a `dict` or `collections.OrderedDict`; the last one if it occurs
    /// again.
    pub fn entry(&self, id: ValueId, key: &str) -> Option<ValueId> {
        let found = self.dict(id)?.iter().rfind(|(name, _)| self.text(*name) == Some(key));
        found.map(|(_, value)| *value)
    }

    /// Module and name of a class or function.
    pub fn global(&self, id: ValueId) -> Option<(&str, &str)> {
        match self.get(id) {
            Value::Global(module, name) => Some((self.text(*module)?, self.text(*name)?)),
            _ => None,
        }
    }

    /// Module and name of a class or function, also of one that the writer kept outside the pickle,
    /// under a persistent id with it.
    fn class(&self, id: ValueId) -> Option<(&str, &str)> {
        match self.get(id) {
            Value::Persistent(own) => self.tuple(*own)?.iter().find_map(|&id| self.global(id)),
            _ => self.global(id),
        }
    }

    /// Module and name of the callable of an object, its arguments and the object.
    pub fn call(&self, id: ValueId) -> Option<((&str, &str), &[ValueId], &PyObject)> {
        match self.get(id) {
            Value::Object(object) => {
                Some((self.global(object.callable)?, self.tuple(object.arguments)?, object))
            }
            _ => None,
        }
    }

    /// What a value is, in a few words on one line: `a list of 3`, `an object of posix.system`.
    pub fn describe(&self, id: ValueId) -> String {
        let escaped = |text| text::start(text).escape_debug();
        let name = |id| match self.class(id) {
            Some((module, name)) => format!("{}.{}", escaped(module), escaped(name)),
            None => "an unnamed class".to_owned(),
        };
        match self.get(id) {
            Value::None => "None".to_owned(),
            Value::Bool(value) => if *value { "True" } else { "False" }.to_owned(),
            Value::Int(value) => format!("the int {value}"),
            Value::LongInt => "a long int".to_owned(),
            Value::Float(value) => format!("the float {value}"),
            Value::Bytes(bytes) => format!("{} bytes", bytes.len()),
            Value::Str(text) => format!("the str {:?}", text::start(text)),
            Value::Global(..) => format!("the class or function {}", name(id)),
            Value::Persistent(_) => "a persistent id".to_owned(),
            Value::Tuple(items) => format!("a tuple of {}", items.len()),
            Value::List(items) => format!("a list of {}", items.len()),
            Value::Set(items) => format!("a set of {}", items.len()),
            Value::Dict(entries) => format!("a dict of {}", entries.len()),
            Value::Object(object) => format!("an object of {}", name(object.callable)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The root of a pickle, as text.
    fn text_of(bytes: &[u8]) -> String {
        fn show(pickle: &Pickle<'_>, id: ValueId, depth: usize) -> String {
            let many = |items: &[ValueId]| {
                let items: Vec<_> = items.iter().map(|&id| show(pickle, id, depth + 1)).collect();
                items.join(", ")
            };
            let pairs = |entries: &[(ValueId, ValueId)]| {
                let one = |(key, value): &(ValueId, ValueId)| {
                    format!(
                        "{}: {}",
                        show(pickle, *key, depth + 1),
                        show(pickle, *value, depth + 1)
                    )
                };
                entries.iter().map(one).collect::<Vec<_>>().join(", ")
            };
            if depth > 5 {
                return "…".to_owned();
            }
            match pickle.get(id) {
                Value::None => "None".to_owned(),
                Value::Bool(value) => format!("{value}"),
                Value::Int(value) => format!("{value}"),
                Value::LongInt => "long".to_owned(),
                Value::Float(value) => format!("{value:?}"),
                Value::Bytes(bytes) => format!("b{:?}", String::from_utf8_lossy(bytes)),
                Value::Str(text) => format!("{text:?}"),
                Value::Global(..) => {
                    let (module, name) = pickle.global(id).unwrap();
                    format!("{module}.{name}")
                }
                Value::Persistent(own) => format!("@{}", show(pickle, *own, depth + 1)),
                Value::Tuple(items) => format!("({})", many(items)),
                Value::List(items) => format!("[{}]", many(items)),
                Value::Set(items) => format!("{{{}}}", many(items)),
                Value::Dict(entries) => format!("{{{}}}", pairs(entries)),
                Value::Object(object) => {
                    let PyObject { callable, arguments, state, items, entries } = &**object;
                    let mut text = show(pickle, *callable, depth + 1);
                    text += &show(pickle, *arguments, depth + 1);
                    text += &state
                        .map_or(String::new(), |id| format!(" = {}", show(pickle, id, depth + 1)));
                    if !items.is_empty() {
                        text += &format!(" + [{}]", many(items));
                    }
                    if !entries.is_empty() {
                        text += &format!(" + {{{}}}", pairs(entries));
                    }
                    text
                }
            }
        }
        let pickle = Pickle::parse(bytes).unwrap();
        assert_eq!(pickle.length(), bytes.len());
        show(&pickle, pickle.root(), 0)
    }

    #[test]
    fn every_protocol_is_read() {
        // pickle.dumps((None, True, -2, 300, 70000, 2**70, 0.5, "é", b"\xff", [1], {"k": ()}, {3}),
        // protocol) for protocols 2, 4 and 0; Python loads these bytes as that value.
        let wanted = |bytes: &str, set: &str| {
            format!(
                "(None, true, -2, 300, 70000, long, 0.5, \"é\", {bytes}, [1], {{\"k\": ()}}, {set})"
            )
        };
        let encoded = "_codecs.encode(\"ÿ\", \"latin1\")";
        let two =
            b"\x80\x02(N\x88J\xfe\xff\xff\xffM,\x01Jp\x11\x01\x00\x8a\x09\x00\x00\x00\x00\x00\
            \x00\x00\x00@G?\xe0\x00\x00\x00\x00\x00\x00X\x02\x00\x00\x00\xc3\xa9q\x00c_codecs\n\
            encode\nq\x01X\x02\x00\x00\x00\xc3\xbfq\x02X\x06\x00\x00\x00latin1q\x03\x86q\x04Rq\x05]\
            q\x06K\x01a}q\x07X\x01\x00\x00\x00kq\x08)sc__builtin__\nset\nq\x09]q\x0aK\x03a\x85q\
            \x0bRq\x0ctq\x0d.";
        assert_eq!(text_of(two), wanted(encoded, "__builtin__.set([3])"));
        let four =
            b"\x80\x04\x95C\x00\x00\x00\x00\x00\x00\x00(N\x88J\xfe\xff\xff\xffM,\x01Jp\x11\x01\
            \x00\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x00@G?\xe0\x00\x00\x00\x00\x00\x00\x8c\x02\
            \xc3\xa9\x94C\x01\xff\x94]\x94K\x01a}\x94\x8c\x01k\x94)s\x8f\x94(K\x03\x90t\x94.";
        assert_eq!(text_of(four), wanted("b\"\u{fffd}\"", "{3}"));
        let zero =
            b"(NI01\nI-2\nI300\nI70000\nL1180591620717411303424L\nF0.5\nV\xe9\np0\nc_codecs\n\
            encode\np1\n(V\xff\np2\nVlatin1\np3\ntp4\nRp5\n(lp6\nI1\na(dp7\nVk\np8\n(tsc__builtin__\
            \nset\np9\n((lp10\nI3\natp11\nRp12\ntp13\n.";
        assert_eq!(text_of(zero), wanted(encoded, "__builtin__.set([3])"));
        // Python 2's str and classes, and an object with a state.
        assert_eq!(
            text_of(b"(S'a\\n\\x41\\'\\\\'\nV\\u00e9\\\nI00\nt."),
            "(b\"a\\nA'\\\\\", \"é\\\\\", false)"
        );
        assert_eq!(text_of(b"(i__main__\nA\n(dS'x'\nI1\nsb."), "__main__.A() = {b\"x\": 1}");
        assert_eq!(text_of(b"(cm\nA\nK\x01oK\x020."), "m.A(1)");
        assert_eq!(text_of(b"\x8c\x01m\x8c\x01A\x93K\x07\x85\x81."), "m.A(7)");
        assert_eq!(
            text_of(b"cm\nA\n)}\x92(K\x01K\x02eX\0\0\0\0Ns."),
            "m.A() + [1, 2] + {\"\": None}"
        );
        assert_eq!(text_of(b"(K\x01K\x02K\x03\x87Q2\x86."), "(@(1, 2, 3), @(1, 2, 3))");
        assert_eq!(text_of(b"]q\0h\0a."), "[[[[[[…]]]]]]");
    }

    #[test]
    fn a_description_is_one_line() {
        let described = |bytes: &[u8]| {
            let pickle = Pickle::parse(bytes).unwrap();
            pickle.describe(pickle.root())
        };
        assert_eq!(described(b"cposix\nsystem\n."), "the class or function posix.system");
        assert_eq!(described(b"\x8c\x03a\nb\x8c\x02\x1bc\x93)R."), "an object of a\\nb.\\u{1b}c");
        assert_eq!(described(b"X\x03\0\0\0a\nb."), "the str \"a\\nb\"");
    }

    #[test]
    fn malformed_pickles_are_refused() {
        let error = |bytes: &[u8]| Pickle::parse(bytes).unwrap_err();
        for bytes in
            [&b""[..], b"N", b"X\x05\0\0\0abc", b"I12", b"\x8d\xff\xff\xff\xff\xff\xff\xff\xffa"]
        {
            assert_eq!(error(bytes), PickleError::Truncated { length: bytes.len() });
        }
        assert_eq!(error(b"\x80\x06N."), PickleError::Protocol { version: 6 });
        for opcode in [0x82, 0x97, 0xFF] {
            assert_eq!(error(&[b'N', opcode]), PickleError::Opcode { opcode, at: 1 });
        }
        for bytes in [
            &b"."[..],
            b"0",
            b"(.",
            b"N(R",
            b"h\x05",
            b"Na",
            b"NNs",
            b"(NNNu",
            b"t",
            b"I1x\n",
            b"L\n",
            b"Fx\n",
            b"Sabc\n",
            b"S'\\q'\n",
            b"gx\n",
            b"(o",
            b"K\x01(0(2",
            b"}(Nu",
            b"b",
            b"\x85",
        ] {
            assert!(
                matches!(error(bytes), PickleError::Malformed { .. }),
                "{bytes:?}: {}",
                error(bytes)
            );
        }
    }
}
