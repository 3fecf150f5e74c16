//! Protobuf's wire format: fields one after the other, each a number and a payload.

use super::Error;

/// Walks over the fields of a message.
pub(super) struct Reader<'a>(&'a [u8]);

/// What a field holds, before its type is known.
#[derive(Clone, Copy, Debug)]
pub(super) enum Payload<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
}

impl<'a> Payload<'a> {
    pub(super) fn bytes(self) -> Result<&'a [u8], Error> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            Self::Varint(_) => Err(Error::Malformed("a number where bytes were expected")),
        }
    }

    pub(super) fn text(self) -> Result<&'a str, Error> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Error::Malformed("a text is not UTF-8"))
    }

    pub(super) fn integer(self) -> Result<i64, Error> {
        match self {
            // Negative numbers are written in two's complement, ten bytes long.
            Self::Varint(number) => Ok(number.cast_signed()),
            Self::Bytes(_) => Err(Error::Malformed("bytes where a number was expected")),
        }
    }
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The next field; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<(u32, Payload<'a>)>, Error> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).map_err(|_| Error::Malformed("a field number is out of range"))?;
        let payload = match tag & 7 {
            0 => Payload::Varint(self.varint()?),
            1 => Payload::Bytes(self.take(8)?),
            2 => {
                let length =
                    usize::try_from(self.varint()?).map_err(|_| Error::Malformed("a length is out of range"))?;
                Payload::Bytes(self.take(length)?)
            }
            5 => Payload::Bytes(self.take(4)?),
            _ => return Err(Error::Malformed("an unknown wire type")),
        };
        Ok(Some((number, payload)))
    }

    /// The next of numbers that are written one after the other; `None` at the end.
    pub(super) fn packed(&mut self) -> Result<Option<i64>, Error> {
        if self.0.is_empty() { Ok(None) } else { Ok(Some(self.varint()?.cast_signed())) }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Error> {
        let (taken, rest) =
            self.0.split_at_checked(length).ok_or(Error::Malformed("it ends in the middle of a field"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn varint(&mut self) -> Result<u64, Error> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let (first, rest) = self.0.split_first().ok_or(Error::Malformed("it ends in the middle of a number"))?;
            self.0 = rest;
            number |= u64::from(first & 0x7f) << shift;
            if first & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(Error::Malformed("a number is too long"))
    }
}
