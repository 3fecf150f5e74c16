//! The bytes of one call: the empty request in a gRPC frame, and the answer read back. Pure; every byte of an answer is foreign.

/// The path of the gateway's health RPC.
pub(super) const PATH: &str = "/openshell.v1.OpenShell/Health";
/// The most bytes of an answer that are read.
pub(super) const MAX_ANSWER: usize = 16 * 1024;
/// The request: a frame, not compressed, around a message without fields.
pub(super) const REQUEST: &[u8] = &[0, 0, 0, 0, 0];

/// What a gateway says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// It says nothing, or something that this build does not know: not healthy.
    Unspecified,
    /// All is well.
    Healthy,
    /// It works in part.
    Degraded,
    /// It does not work.
    Unhealthy,
}

/// Why bytes are no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The frame ends before its message, or before its own five bytes.
    #[error("the answer is cut off")]
    Short,
    /// The message is compressed, which was not asked for.
    #[error("the answer is compressed")]
    Compressed,
    /// More follows the one message.
    #[error("more than one message came")]
    Trailing,
    /// The message is not protobuf.
    #[error("the answer is not protobuf")]
    Protobuf,
}

/// Reads the body of an answer: one frame with a `HealthResponse`, whose field 1 is the status. Fields of later versions are
/// passed over; of a field that comes twice the last one counts, as protobuf has it.
///
/// # Errors
/// [`Malformed`].
pub(super) fn read(body: &[u8]) -> Result<Health, Malformed> {
    let (&[compressed, a, b, c, d], message) = body.split_first_chunk::<5>().ok_or(Malformed::Short)?;
    if compressed != 0 {
        return Err(Malformed::Compressed);
    }
    let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).map_err(|_| Malformed::Short)?;
    match message.len() {
        have if have < length => return Err(Malformed::Short),
        have if have > length => return Err(Malformed::Trailing),
        _ => {}
    }
    let mut status = 0;
    let mut rest = message;
    while !rest.is_empty() {
        let tag = varint(&mut rest)?;
        match (tag >> 3, tag & 7) {
            (0, _) => return Err(Malformed::Protobuf),
            (1, 0) => status = varint(&mut rest)?,
            (_, 0) => drop(varint(&mut rest)?),
            (_, 1) => skip(&mut rest, 8)?,
            (_, 2) => {
                let length = varint(&mut rest)?;
                skip(&mut rest, usize::try_from(length).map_err(|_| Malformed::Protobuf)?)?;
            }
            (_, 5) => skip(&mut rest, 4)?,
            // Groups have been out of use since before gRPC.
            _ => return Err(Malformed::Protobuf),
        }
    }
    Ok(match status {
        1 => Health::Healthy,
        2 => Health::Degraded,
        3 => Health::Unhealthy,
        _ => Health::Unspecified,
    })
}

fn varint(rest: &mut &[u8]) -> Result<u64, Malformed> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (&byte, after) = rest.split_first().ok_or(Malformed::Protobuf)?;
        *rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(Malformed::Protobuf)
}

fn skip(rest: &mut &[u8], length: usize) -> Result<(), Malformed> {
    *rest = rest.get(length..).ok_or(Malformed::Protobuf)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn framed(message: &[u8]) -> Vec<u8> {
        let mut frame = vec![0];
        frame.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
        frame.extend(message);
        frame
    }

    #[test]
    fn status_is_read_beside_the_version_and_fields_of_the_future() {
        let message = [&[0x08, 1, 0x12, 3][..], b"0.1", &[0x1a, 1, 0, 0x25, 1, 2, 3, 4, 0x29, 1, 2, 3, 4, 5, 6, 7, 8]];
        assert_eq!(read(&framed(&message.concat())), Ok(Health::Healthy));
        assert_eq!(read(&framed(&[0x08, 2])), Ok(Health::Degraded));
        assert_eq!(read(&framed(&[0x08, 3])), Ok(Health::Unhealthy));
    }

    #[test]
    fn silence_is_not_health() {
        assert_eq!(read(&framed(&[])), Ok(Health::Unspecified));
        assert_eq!(read(&framed(&[0x08, 9])), Ok(Health::Unspecified));
    }

    #[test]
    fn what_is_no_answer_is_told_apart() {
        assert_eq!(read(&[0, 0]), Err(Malformed::Short));
        assert_eq!(read(&[0, 0, 0, 0, 2, 8]), Err(Malformed::Short));
        assert_eq!(read(&[1, 0, 0, 0, 0]), Err(Malformed::Compressed));
        assert_eq!(read(&[framed(&[8, 1]), framed(&[8, 1])].concat()), Err(Malformed::Trailing));
        assert_eq!(read(&framed(&[8])), Err(Malformed::Protobuf));
        assert_eq!(
            read(&framed(&[0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f])),
            Err(Malformed::Protobuf)
        );
        assert_eq!(read(&framed(&[0xff; 11])), Err(Malformed::Protobuf));
    }

    proptest! {
        #[test]
        fn foreign_bytes_never_panic(message in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = read(&message);
            let _ = read(&framed(&message));
        }
    }
}
