//! The names of a struct's fields or an enum's variants, read from its implementation of
//! `Deserialize`.

use serde::de::{Deserialize, Deserializer, Error as _, Visitor, value::Error};
use serde::forward_to_deserialize_any;

/// The keys of a section of a recipe: the field names of a struct, as serde renames them, read from
/// its derived `deserialize` function.
pub(super) fn field_names<T>(
    deserialize: impl FnOnce(Collector<'_>) -> Result<T, Error>,
) -> &'static [&'static str] {
    let mut names: &'static [&'static str] = &[];
    // The function asks for a struct with these fields; the answer is always an error.
    let _ = deserialize(Collector(&mut names));
    names
}

/// The names that a recipe gives to the variants of an enum, such as the losses; empty for any
/// other type.
///
/// ```
/// use nn::{loss::GanLoss, recipe::variant_names};
///
/// assert!(variant_names::<GanLoss>().contains(&"least-squares"));
/// assert!(variant_names::<f64>().is_empty());
/// ```
pub fn variant_names<'de, T: Deserialize<'de>>() -> &'static [&'static str] {
    let mut names: &'static [&'static str] = &[];
    let _ = T::deserialize(Collector(&mut names));
    names
}

/// A deserializer that records the names of the fields or variants that a type requests.
pub(super) struct Collector<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for Collector<'_> {
    type Error = Error;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Error> {
        *self.0 = fields;
        Err(Error::custom("collected"))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Error> {
        *self.0 = variants;
        Err(Error::custom("collected"))
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(Error::custom("neither a struct nor an enum"))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map identifier ignored_any
    }
}
