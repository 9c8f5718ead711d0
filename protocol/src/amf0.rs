//! AMF 0: the values of commands and metadata (AMF 0 specification, 2007).

use thiserror::Error;

use crate::wire::Fields;

/// How deep objects and arrays may be nested: connect and onMetaData need 3.
pub const MAX_DEPTH: usize = 32;
/// Values that one message may hold, nested ones counted: a connect has some 20, metadata some 50.
pub const MAX_VALUES: usize = 1024;

/// The longest text of a short string or a key.
const MAX_SHORT: usize = 0xFFFF;

mod marker {
    pub(super) const NUMBER: u8 = 0;
    pub(super) const BOOLEAN: u8 = 1;
    pub(super) const STRING: u8 = 2;
    pub(super) const OBJECT: u8 = 3;
    pub(super) const NULL: u8 = 5;
    pub(super) const UNDEFINED: u8 = 6;
    pub(super) const REFERENCE: u8 = 7;
    pub(super) const ECMA_ARRAY: u8 = 8;
    pub(super) const OBJECT_END: u8 = 9;
    pub(super) const STRICT_ARRAY: u8 = 10;
    pub(super) const DATE: u8 = 11;
    pub(super) const LONG_STRING: u8 = 12;
    pub(super) const UNSUPPORTED: u8 = 13;
    pub(super) const XML: u8 = 15;
    pub(super) const TYPED_OBJECT: u8 = 16;
    pub(super) const AMF3: u8 = 17;
}

/// Markers of AMF 3, which a value behind [`marker::AMF3`] is written in (AMF 3 specification, 3).
mod amf3 {
    pub(super) const UNDEFINED: u8 = 0;
    pub(super) const NULL: u8 = 1;
    pub(super) const FALSE: u8 = 2;
    pub(super) const TRUE: u8 = 3;
    pub(super) const INTEGER: u8 = 4;
    pub(super) const DOUBLE: u8 = 5;
    pub(super) const STRING: u8 = 6;
}

/// Named values, in order.
pub type Members = Vec<(Vec<u8>, Value)>;

/// A value. Texts are bytes as they came: nothing promises that they are UTF-8.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Every number.
    Number(f64),
    /// True or false.
    Boolean(bool),
    /// A text; encoded as a long string if it has more than 65535 bytes.
    String(Vec<u8>),
    /// An anonymous object.
    Object(Members),
    /// Null.
    Null,
    /// Undefined.
    Undefined,
    /// A reference to an earlier object of the message, by its number. It is not followed.
    Reference(u16),
    /// An array with names, as in onMetaData.
    EcmaArray(Members),
    /// An array by position.
    StrictArray(Vec<Value>),
    /// A date.
    Date {
        /// Milliseconds since 1970.
        ms: f64,
        /// Time zone in minutes; to be ignored.
        tz: i16,
    },
    /// A text with a 32-bit length.
    LongString(Vec<u8>),
    /// A value that the sender could not express.
    Unsupported,
    /// An XML document.
    Xml(Vec<u8>),
    /// An object of a class.
    TypedObject {
        /// Name of the class.
        class: Vec<u8>,
        /// Its members.
        members: Members,
    },
}

/// Why bytes are not AMF 0 that we take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[allow(missing_docs)]
pub enum Amf0Error {
    #[error("AMF0 ends within a value at byte {at}")]
    Truncated { at: usize },
    #[error("AMF0 marker {marker} at byte {at}")]
    Marker { at: usize, marker: u8 },
    #[error("AMF3 value of marker {marker} at byte {at}")]
    Amf3 { at: usize, marker: u8 },
    #[error("AMF0 nested deeper than {MAX_DEPTH} at byte {at}")]
    Depth { at: usize },
    #[error("more than {MAX_VALUES} AMF0 values")]
    Values,
}

impl Value {
    /// An object with these members.
    pub fn object<K: Into<Vec<u8>>>(members: impl IntoIterator<Item = (K, Value)>) -> Self {
        Self::Object(members.into_iter().map(|(key, value)| (key.into(), value)).collect())
    }

    /// The text of a string, short or long.
    pub fn as_str_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::String(text) | Self::LongString(text) => Some(text),
            _ => None,
        }
    }

    /// The number.
    pub fn as_number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// The truth.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Boolean(truth) => Some(*truth),
            _ => None,
        }
    }

    /// The named values of an object or ECMA array.
    pub fn members(&self) -> Option<&[(Vec<u8>, Value)]> {
        match self {
            Self::Object(members)
            | Self::EcmaArray(members)
            | Self::TypedObject { members, .. } => Some(members),
            _ => None,
        }
    }

    /// The first value of that name in an object or ECMA array.
    pub fn get(&self, key: &[u8]) -> Option<&Value> {
        self.members()?.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

impl From<bool> for Value {
    fn from(truth: bool) -> Self {
        Self::Boolean(truth)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.into())
    }
}

impl From<&[u8]> for Value {
    fn from(text: &[u8]) -> Self {
        Self::String(text.into())
    }
}

/// All values of a message.
pub fn decode_all(payload: &[u8]) -> Result<Vec<Value>, Amf0Error> {
    let mut decoder = Decoder::new(payload);
    let values = decoder.readable();
    decoder.broken.map_or(Ok(values), Err)
}

/// The values of a message up to the first that can't be read: of that one, what stands before the
/// place, if it is an object or an array.
pub fn decode_readable(payload: &[u8]) -> Vec<Value> {
    Decoder::new(payload).readable()
}

/// Reads the values of one message one by one.
#[derive(Clone)]
pub struct Decoder<'a> {
    fields: Fields<'a>,
    length: usize,
    /// Values that may still come.
    budget: usize,
    /// Why nothing more is read.
    broken: Option<Amf0Error>,
}

impl<'a> Decoder<'a> {
    /// A decoder at the start of `payload`.
    pub fn new(payload: &'a [u8]) -> Self {
        let length = payload.len();
        Self { fields: Fields(payload), length, budget: MAX_VALUES, broken: None }
    }

    /// The bytes behind the values read so far.
    pub fn remaining(&self) -> &'a [u8] {
        self.fields.0
    }

    /// The next value, or `None` at the end.
    pub fn next_value(&mut self) -> Result<Option<Value>, Amf0Error> {
        let value = self.next_readable();
        self.broken.map_or(Ok(value), Err)
    }

    /// The next value, or what can be read of it; `None` at the end, or where reading has ended.
    pub fn next_readable(&mut self) -> Option<Value> {
        if self.broken.is_some() || self.fields.0.is_empty() {
            return None;
        }
        let value = self.value(0);
        self.unless_broken(value)
    }

    fn readable(&mut self) -> Vec<Value> {
        std::iter::from_fn(|| self.next_readable()).collect()
    }

    /// What was read; an error ends the reading.
    fn unless_broken<T>(&mut self, read: Result<T, Amf0Error>) -> Option<T> {
        match read {
            Ok(value) => Some(value),
            Err(error) => {
                self.broken = Some(error);
                None
            }
        }
    }

    fn at(&self) -> usize {
        self.length.saturating_sub(self.fields.0.len())
    }

    fn need<T>(&self, field: Option<T>) -> Result<T, Amf0Error> {
        field.ok_or(Amf0Error::Truncated { at: self.at() })
    }

    fn u8(&mut self) -> Result<u8, Amf0Error> {
        let field = self.fields.u8();
        self.need(field)
    }

    fn u16(&mut self) -> Result<u16, Amf0Error> {
        let field = self.fields.u16();
        self.need(field)
    }

    fn u32(&mut self) -> Result<u32, Amf0Error> {
        let field = self.fields.u32();
        self.need(field)
    }

    fn f64(&mut self) -> Result<f64, Amf0Error> {
        let field = self.fields.array().map(f64::from_be_bytes);
        self.need(field)
    }

    fn short_text(&mut self) -> Result<Vec<u8>, Amf0Error> {
        let length = self.u16()?;
        let text = self.fields.take(length.into());
        self.need(text).map(<[u8]>::to_vec)
    }

    fn long_text(&mut self) -> Result<Vec<u8>, Amf0Error> {
        let length = self.u32()?;
        let text = self.fields.take(length as usize);
        self.need(text).map(<[u8]>::to_vec)
    }

    fn value(&mut self, depth: usize) -> Result<Value, Amf0Error> {
        let at = self.at();
        if depth > MAX_DEPTH {
            return Err(Amf0Error::Depth { at });
        }
        self.budget = self.budget.checked_sub(1).ok_or(Amf0Error::Values)?;
        let inner = depth.saturating_add(1);
        Ok(match self.u8()? {
            marker::NUMBER => Value::Number(self.f64()?),
            marker::BOOLEAN => Value::Boolean(self.u8()? != 0),
            marker::STRING => Value::String(self.short_text()?),
            marker::OBJECT => Value::Object(self.members(inner)),
            marker::NULL => Value::Null,
            marker::UNDEFINED => Value::Undefined,
            marker::REFERENCE => Value::Reference(self.u16()?),
            marker::ECMA_ARRAY => {
                // the count is a hint that many encoders leave at 0
                self.u32()?;
                Value::EcmaArray(self.members(inner))
            }
            marker::STRICT_ARRAY => {
                let count = self.u32()?;
                Value::StrictArray(self.elements(count, inner))
            }
            marker::DATE => Value::Date { ms: self.f64()?, tz: self.u16()? as i16 },
            marker::LONG_STRING => Value::LongString(self.long_text()?),
            marker::UNSUPPORTED => Value::Unsupported,
            marker::XML => Value::Xml(self.long_text()?),
            marker::TYPED_OBJECT => {
                Value::TypedObject { class: self.short_text()?, members: self.members(inner) }
            }
            marker::AMF3 => self.amf3()?,
            marker => return Err(Amf0Error::Marker { at, marker }),
        })
    }

    fn members(&mut self, depth: usize) -> Members {
        let mut members = Vec::new();
        while self.broken.is_none() {
            if let Some(rest) = self.fields.0.strip_prefix(&[0, 0, marker::OBJECT_END]) {
                self.fields = Fields(rest);
                break;
            }
            let member = self.short_text().and_then(|key| Ok((key, self.value(depth)?)));
            members.extend(self.unless_broken(member));
        }
        members
    }

    fn elements(&mut self, count: u32, depth: usize) -> Vec<Value> {
        let mut values = Vec::new();
        for _ in 0..count {
            if self.broken.is_some() {
                break;
            }
            let value = self.value(depth);
            values.extend(self.unless_broken(value));
        }
        values
    }

    /// A value of AMF 3. Clients that ask for that encoding write simple ones so, which mean the
    /// same here. Objects, and texts that refer to earlier ones, are not read.
    fn amf3(&mut self) -> Result<Value, Amf0Error> {
        let at = self.at();
        Ok(match self.u8()? {
            amf3::UNDEFINED => Value::Undefined,
            amf3::NULL => Value::Null,
            amf3::FALSE => Value::Boolean(false),
            amf3::TRUE => Value::Boolean(true),
            // 29 bits with a sign
            amf3::INTEGER => Value::Number((((self.u29()? << 3) as i32) >> 3).into()),
            amf3::DOUBLE => Value::Number(self.f64()?),
            marker @ amf3::STRING => {
                let length = self.u29()?;
                if length & 1 == 0 {
                    return Err(Amf0Error::Amf3 { at, marker });
                }
                let text = self.fields.take((length >> 1) as usize);
                Value::String(self.need(text)?.to_vec())
            }
            marker => return Err(Amf0Error::Amf3 { at, marker }),
        })
    }

    /// A number of AMF 3 in one to four bytes: seven bits in each, eight in the fourth.
    fn u29(&mut self) -> Result<u32, Amf0Error> {
        let mut number = 0;
        for _ in 0..3 {
            let byte = self.u8()?;
            number = number << 7 | u32::from(byte & 0x7F);
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Ok(number << 8 | u32::from(self.u8()?))
    }
}

/// Appends a value. Keys and class names are cut to 65535 bytes, long texts to 2^32 - 1.
pub fn encode(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Number(number) => {
            out.push(marker::NUMBER);
            out.extend_from_slice(&number.to_be_bytes());
        }
        Value::Boolean(truth) => out.extend_from_slice(&[marker::BOOLEAN, u8::from(*truth)]),
        Value::String(text) if text.len() <= MAX_SHORT => {
            out.push(marker::STRING);
            encode_short(text, out);
        }
        Value::String(text) | Value::LongString(text) => {
            out.push(marker::LONG_STRING);
            encode_long(text, out);
        }
        Value::Object(members) => {
            out.push(marker::OBJECT);
            encode_members(members, out);
        }
        Value::Null => out.push(marker::NULL),
        Value::Undefined => out.push(marker::UNDEFINED),
        Value::Reference(number) => {
            out.push(marker::REFERENCE);
            out.extend_from_slice(&number.to_be_bytes());
        }
        Value::EcmaArray(members) => {
            out.push(marker::ECMA_ARRAY);
            out.extend_from_slice(&(members.len() as u32).to_be_bytes());
            encode_members(members, out);
        }
        Value::StrictArray(values) => {
            out.push(marker::STRICT_ARRAY);
            out.extend_from_slice(&(values.len() as u32).to_be_bytes());
            for value in values {
                encode(value, out);
            }
        }
        Value::Date { ms, tz } => {
            out.push(marker::DATE);
            out.extend_from_slice(&ms.to_be_bytes());
            out.extend_from_slice(&tz.to_be_bytes());
        }
        Value::Unsupported => out.push(marker::UNSUPPORTED),
        Value::Xml(text) => {
            out.push(marker::XML);
            encode_long(text, out);
        }
        Value::TypedObject { class, members } => {
            out.push(marker::TYPED_OBJECT);
            encode_short(class, out);
            encode_members(members, out);
        }
    }
}

fn encode_members(members: &[(Vec<u8>, Value)], out: &mut Vec<u8>) {
    for (key, value) in members {
        encode_short(key, out);
        encode(value, out);
    }
    out.extend_from_slice(&[0, 0, marker::OBJECT_END]);
}

fn encode_short(text: &[u8], out: &mut Vec<u8>) {
    let text = text.get(..MAX_SHORT).unwrap_or(text);
    out.extend_from_slice(&(text.len() as u16).to_be_bytes());
    out.extend_from_slice(text);
}

fn encode_long(text: &[u8], out: &mut Vec<u8>) {
    let text = text.get(..u32::MAX as usize).unwrap_or(text);
    out.extend_from_slice(&(text.len() as u32).to_be_bytes());
    out.extend_from_slice(text);
}
