//! The plain vectors behind the columns of a batch.
//!
//! `finish` hands them to Arrow without a copy and starts new ones of the size that the last batch had, so that a steady
//! read allocates a few times per batch and never per row.

use std::sync::Arc;

use arrow_array::types::ArrowPrimitiveType;
use arrow_array::{ArrayRef, BinaryArray, BooleanArray, Float32Array, ListArray, PrimitiveArray, StringArray};
use arrow_buffer::{
    ArrowNativeType, BooleanBufferBuilder, Buffer, NullBuffer, NullBufferBuilder, OffsetBuffer, ScalarBuffer,
};

use super::Malformed;
use crate::mysql::types::vector_element;

/// Values of one width, a null one holds the default.
#[derive(Debug)]
pub(super) struct Fixed<T> {
    values: Vec<T>,
    nulls: NullBufferBuilder,
}

impl<T: ArrowNativeType> Fixed<T> {
    pub(super) fn new() -> Self {
        Self { values: Vec::new(), nulls: NullBufferBuilder::new(0) }
    }

    #[inline]
    pub(super) fn push(&mut self, value: T) {
        self.values.push(value);
        self.nulls.append_non_null();
    }

    #[inline]
    pub(super) fn push_null(&mut self) {
        self.values.push(T::default());
        self.nulls.append_null();
    }

    pub(super) fn finish<A: ArrowPrimitiveType<Native = T>>(&mut self) -> PrimitiveArray<A> {
        let fresh = Vec::with_capacity(self.values.len());
        let values = std::mem::replace(&mut self.values, fresh);
        PrimitiveArray::new(ScalarBuffer::from(values), self.nulls.finish())
    }
}

/// True, false or null.
#[derive(Debug)]
pub(super) struct Booleans {
    values: BooleanBufferBuilder,
    nulls: NullBufferBuilder,
}

impl Booleans {
    pub(super) fn new() -> Self {
        Self { values: BooleanBufferBuilder::new(0), nulls: NullBufferBuilder::new(0) }
    }

    #[inline]
    pub(super) fn push(&mut self, value: bool) {
        self.values.append(value);
        self.nulls.append_non_null();
    }

    #[inline]
    pub(super) fn push_null(&mut self) {
        self.values.append(false);
        self.nulls.append_null();
    }

    pub(super) fn finish(&mut self) -> BooleanArray {
        BooleanArray::new(self.values.finish(), self.nulls.finish())
    }
}

/// Values of any length, one after the other.
#[derive(Debug)]
pub(super) struct Bytes {
    values: Vec<u8>,
    offsets: Vec<i32>,
    nulls: NullBufferBuilder,
}

impl Bytes {
    pub(super) fn new() -> Self {
        Self { values: Vec::new(), offsets: vec![0], nulls: NullBufferBuilder::new(0) }
    }

    #[inline]
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        self.values.extend_from_slice(bytes);
        self.close()
    }

    /// Appends what `write` appends, as one value.
    #[inline]
    pub(super) fn push_with(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Result<(), Malformed> {
        write(&mut self.values);
        self.close()
    }

    #[inline]
    fn close(&mut self) -> Result<(), Malformed> {
        self.offsets.push(i32::try_from(self.values.len()).map_err(|_| Malformed::Length)?);
        self.nulls.append_non_null();
        Ok(())
    }

    #[inline]
    pub(super) fn push_null(&mut self) {
        self.offsets.push(self.offsets.last().copied().unwrap_or(0));
        self.nulls.append_null();
    }

    fn take(&mut self) -> (OffsetBuffer<i32>, Buffer, Option<NullBuffer>) {
        let values = std::mem::take(&mut self.values);
        // One huge value must not make every later batch reserve as much: past this, growing by doubling is fine.
        self.values.reserve(values.len().min(Self::RESERVE_BYTES_MAX));
        let mut offsets = Vec::with_capacity(self.offsets.len());
        offsets.push(0);
        let offsets = std::mem::replace(&mut self.offsets, offsets);
        (OffsetBuffer::new(ScalarBuffer::from(offsets)), Buffer::from_vec(values), self.nulls.finish())
    }

    const RESERVE_BYTES_MAX: usize = 4 * 1024 * 1024;

    pub(super) fn finish_binary(&mut self) -> BinaryArray {
        let (offsets, values, nulls) = self.take();
        BinaryArray::new(offsets, values, nulls)
    }

    /// The values as text. The whole buffer is checked at once; only if that fails are the rows looked at one by one,
    /// `repaired` is told about each that is not UTF-8, and what is wrong in it becomes U+FFFD (mysql-sources.md 9).
    pub(super) fn finish_text(&mut self, repaired: &mut dyn FnMut(usize, &[u8])) -> Result<StringArray, Malformed> {
        let (offsets, values, nulls) = self.take();
        if let Ok(array) = StringArray::try_new(offsets.clone(), values.clone(), nulls.clone()) {
            return Ok(array);
        }
        let raw = BinaryArray::new(offsets, values, nulls);
        let mut rewritten = Self::new();
        for (row, bytes) in raw.iter().enumerate() {
            match bytes {
                None => rewritten.push_null(),
                Some(bytes) => {
                    let text = String::from_utf8_lossy(bytes);
                    if text.as_bytes() != bytes {
                        repaired(row, bytes);
                    }
                    rewritten.push(text.as_bytes())?;
                }
            }
        }
        let (offsets, values, nulls) = rewritten.take();
        StringArray::try_new(offsets, values, nulls).map_err(|_| Malformed::Text)
    }
}

/// Lists of floats.
#[derive(Debug)]
pub(super) struct Floats {
    values: Vec<f32>,
    offsets: Vec<i32>,
    nulls: NullBufferBuilder,
}

impl Floats {
    pub(super) fn new() -> Self {
        Self { values: Vec::new(), offsets: vec![0], nulls: NullBufferBuilder::new(0) }
    }

    /// Appends little-endian floats; false if the bytes are not a whole number of them, and then nothing is appended.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<bool, Malformed> {
        let (floats, rest) = bytes.as_chunks::<4>();
        if !rest.is_empty() {
            return Ok(false);
        }
        self.values.extend(floats.iter().map(|float| f32::from_le_bytes(*float)));
        self.offsets.push(i32::try_from(self.values.len()).map_err(|_| Malformed::Length)?);
        self.nulls.append_non_null();
        Ok(true)
    }

    pub(super) fn push_null(&mut self) {
        self.offsets.push(self.offsets.last().copied().unwrap_or(0));
        self.nulls.append_null();
    }

    pub(super) fn finish(&mut self) -> ListArray {
        let offsets = OffsetBuffer::new(ScalarBuffer::from(std::mem::replace(&mut self.offsets, vec![0])));
        let values: ArrayRef = Arc::new(Float32Array::from(std::mem::take(&mut self.values)));
        ListArray::new(vector_element(), offsets, values, self.nulls.finish())
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::Array;

    use super::*;

    #[test]
    fn halves_of_a_character_in_neighbouring_rows_are_not_taken_for_text() {
        // "é" is C3 A9: the buffer as a whole is valid UTF-8, the two rows are not.
        let mut bytes = Bytes::new();
        bytes.push(&[0xC3]).unwrap();
        bytes.push(&[0xA9]).unwrap();
        bytes.push_null();
        bytes.push("é".as_bytes()).unwrap();
        let mut repaired = Vec::new();
        let text = bytes.finish_text(&mut |row, _| repaired.push(row)).unwrap();
        assert_eq!(repaired, [0, 1]);
        assert_eq!(text.iter().collect::<Vec<_>>(), [Some("\u{FFFD}"), Some("\u{FFFD}"), None, Some("é")]);
    }

    #[test]
    fn a_finished_column_starts_again_empty() {
        let mut fixed = Fixed::<i32>::new();
        fixed.push(7);
        fixed.push_null();
        assert_eq!(fixed.finish::<arrow_array::types::Int32Type>().len(), 2);
        fixed.push(8);
        let array = fixed.finish::<arrow_array::types::Int32Type>();
        assert_eq!((array.len(), array.null_count(), array.value(0)), (1, 0, 8));
    }

    #[test]
    fn a_vector_of_a_wrong_length_is_told() {
        let mut floats = Floats::new();
        assert_eq!(floats.push(&1.5_f32.to_le_bytes()), Ok(true));
        assert_eq!(floats.push(&[1, 2, 3]), Ok(false));
        floats.push_null();
        assert_eq!((floats.finish().len(), floats.finish().len()), (2, 0));
    }
}
