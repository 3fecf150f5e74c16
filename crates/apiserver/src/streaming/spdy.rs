//! The part of SPDY/3.1 (draft-mbelshe-httpbis-spdy-00) that port-forward uses: frames in and out of bytes. Pure.
//!
//! kubectl sends these frames inside a WebSocket. There is no flow control: neither side of Kubernetes does any.

use std::sync::LazyLock;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status as Flate};

const VERSION: u16 = 3;
const FIN: u8 = 1;
const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const PING: u16 = 6;
const GOAWAY: u16 = 7;
const HEADERS: u16 = 8;

/// Largest frame that is taken.
const FRAME: usize = 1024 * 1024;
/// Largest header block, unpacked. Port-forward needs some 60 bytes.
const BLOCK: usize = 16 * 1024;

/// Why the stream makes no sense any more. Nothing after it can be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Broken {
    #[error("a frame of {0} bytes is larger than this server takes")]
    TooLarge(usize),
    #[error("a control frame of version {0}: only SPDY/3 is spoken")]
    Version(u16),
    #[error("a frame is too short for its type")]
    Short,
    #[error("a header block cannot be unpacked")]
    Headers,
}

/// What the other side says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// A new stream.
    Open { stream: u32, headers: Vec<(String, String)>, fin: bool },
    /// Bytes of a stream; `fin` says that they are its last.
    Data { stream: u32, data: Bytes, fin: bool },
    /// The stream is given up.
    Reset { stream: u32 },
    /// To be sent back as it is.
    Ping { id: u32 },
    /// No more streams will come.
    GoAway,
    /// What does not matter here: settings, window updates, further headers.
    Other,
}

/// Bytes to frames.
pub(crate) struct Decoder {
    buffer: BytesMut,
    inflate: Decompress,
}

impl Decoder {
    pub(crate) fn new() -> Self {
        Self { buffer: BytesMut::new(), inflate: Decompress::new(true) }
    }

    /// Takes bytes as they come.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame.
    pub(crate) fn next(&mut self) -> Result<Option<Frame>, Broken> {
        let Some(&[a, b, c, d, flags, l1, l2, l3]) = self.buffer.first_chunk::<8>() else { return Ok(None) };
        let length = u32::from_be_bytes([0, l1, l2, l3]) as usize;
        if length > FRAME {
            return Err(Broken::TooLarge(length));
        }
        if self.buffer.len() < 8 + length {
            return Ok(None);
        }
        let mut body = self.buffer.split_to(8 + length).freeze();
        body.advance(8);
        let word = u32::from_be_bytes([a, b, c, d]);
        let fin = flags & FIN != 0;
        if word >> 31 == 0 {
            return Ok(Some(Frame::Data { stream: word, data: body, fin }));
        }
        let version = u16::from_be_bytes([a & 0x7f, b]);
        if version != VERSION {
            return Err(Broken::Version(version));
        }
        let mut id = || body.try_get_u32().map(|id| id & 0x7fff_ffff).map_err(|_| Broken::Short);
        Ok(Some(match u16::from_be_bytes([c, d]) {
            SYN_STREAM => {
                let stream = id()?;
                id()?;
                body.try_get_u16().map_err(|_| Broken::Short)?;
                Frame::Open { stream, headers: self.headers(&body)?, fin }
            }
            RST_STREAM => Frame::Reset { stream: id()? },
            PING => Frame::Ping { id: body.try_get_u32().map_err(|_| Broken::Short)? },
            GOAWAY => Frame::GoAway,
            SYN_REPLY | HEADERS => {
                id()?;
                // All header blocks of a connection are one compressed stream: none can be left out.
                self.headers(&body)?;
                Frame::Other
            }
            _ => Frame::Other,
        }))
    }

    fn headers(&mut self, packed: &[u8]) -> Result<Vec<(String, String)>, Broken> {
        let block = self.unpack(packed)?;
        let mut block = &block[..];
        let count = block.try_get_u32().map_err(|_| Broken::Headers)?;
        let mut headers = Vec::new();
        for _ in 0..count {
            headers.push((text(&mut block)?, text(&mut block)?));
        }
        Ok(headers)
    }

    fn unpack(&mut self, mut packed: &[u8]) -> Result<Vec<u8>, Broken> {
        let mut out = Vec::with_capacity(1024);
        loop {
            let (read, written) = (self.inflate.total_in(), self.inflate.total_out());
            let done = self.inflate.decompress_vec(packed, &mut out, FlushDecompress::Sync);
            let taken = usize::try_from(self.inflate.total_in() - read).map_err(|_| Broken::Headers)?;
            packed = packed.get(taken..).ok_or(Broken::Headers)?;
            match done {
                Ok(Flate::StreamEnd) => return Err(Broken::Headers),
                Ok(_) => {}
                Err(error) if error.needs_dictionary().is_some() => {
                    self.inflate.set_dictionary(&DICTIONARY).map_err(|_| Broken::Headers)?;
                    continue;
                }
                Err(_) => return Err(Broken::Headers),
            }
            if out.len() < out.capacity() && packed.is_empty() {
                return Ok(out);
            }
            if out.len() >= BLOCK || (taken == 0 && self.inflate.total_out() == written) {
                return Err(Broken::Headers);
            }
            out.reserve(1024);
        }
    }
}

fn text(block: &mut &[u8]) -> Result<String, Broken> {
    let length = block.try_get_u32().map_err(|_| Broken::Headers)? as usize;
    let (text, rest) = block.split_at_checked(length).ok_or(Broken::Headers)?;
    *block = rest;
    String::from_utf8(text.to_vec()).map_err(|_| Broken::Headers)
}

/// Frames to bytes.
pub(crate) struct Encoder {
    deflate: Compress,
}

impl Encoder {
    pub(crate) fn new() -> Self {
        let mut deflate = Compress::new(Compression::fast(), true);
        // A compressor that was just made takes any dictionary; without it the blocks are only larger.
        let _ = deflate.set_dictionary(&DICTIONARY);
        Self { deflate }
    }

    /// The stream is accepted, without headers.
    pub(crate) fn reply(&mut self, stream: u32) -> Bytes {
        let block = self.pack(&[]);
        let mut body = BytesMut::with_capacity(4 + block.len());
        body.put_u32(stream);
        body.put_slice(&block);
        control(SYN_REPLY, &body)
    }

    fn pack(&mut self, headers: &[(&str, &str)]) -> Vec<u8> {
        let mut plain = Vec::new();
        plain.put_u32(u32::try_from(headers.len()).unwrap_or_default());
        for text in headers.iter().flat_map(|(name, value)| [name, value]) {
            plain.put_u32(u32::try_from(text.len()).unwrap_or_default());
            plain.put_slice(text.as_bytes());
        }
        // Headers are few and short: they fit, with the mark of a flush.
        let mut out = Vec::with_capacity(plain.len() + 1024);
        let _ = self.deflate.compress_vec(&plain, &mut out, FlushCompress::Sync);
        out
    }
}

/// Bytes of a stream.
pub(crate) fn data(stream: u32, data: &[u8], fin: bool) -> Bytes {
    let mut frame = BytesMut::with_capacity(8 + data.len());
    frame.put_u32(stream & 0x7fff_ffff);
    frame.put_u32(length(data.len(), if fin { FIN } else { 0 }));
    frame.put_slice(data);
    frame.freeze()
}

/// The stream is given up; `REFUSED_STREAM` (3) is for what was never taken, `CANCEL` (5) for the rest.
pub(crate) fn reset(stream: u32, refused: bool) -> Bytes {
    let mut body = [0; 8];
    body[..4].copy_from_slice(&stream.to_be_bytes());
    body[7] = if refused { 3 } else { 5 };
    control(RST_STREAM, &body)
}

/// The answer to a ping.
pub(crate) fn ping(id: u32) -> Bytes {
    control(PING, &id.to_be_bytes())
}

fn control(kind: u16, body: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(8 + body.len());
    frame.put_u16(0x8000 | VERSION);
    frame.put_u16(kind);
    frame.put_u32(length(body.len(), 0));
    frame.put_slice(body);
    frame.freeze()
}

/// Flags and length in one word. Nothing longer than [`FRAME`] is ever sent.
fn length(length: usize, flags: u8) -> u32 {
    u32::from(flags) << 24 | u32::try_from(length).unwrap_or_default() & 0x00ff_ffff
}

/// The dictionary that both sides begin their compression with (section 2.6.10.1): words with their length in front, then
/// text as it is.
static DICTIONARY: LazyLock<Vec<u8>> = LazyLock::new(|| {
    const WORDS: &str = "options head post put delete trace accept accept-charset accept-encoding accept-language \
        accept-ranges age allow authorization cache-control connection content-base content-encoding content-language \
        content-length content-location content-md5 content-range content-type date etag expect expires from host if-match \
        if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards pragma \
        proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade \
        user-agent vary via warning www-authenticate method get status";
    const MORE: [&str; 8] = ["200 OK", "version", "HTTP/1.1", "url", "public", "set-cookie", "keep-alive", "origin"];
    const TAIL: &str = "1001012012022052063003023033043053063074024054064074084094104114124134144154164175025045052\
        03 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden404 Not \
        Found500 Internal Server Error501 Not Implemented503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov \
        Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,application/xml,\
        application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,\
        utf-,*,enq=0.";
    let mut out = Vec::with_capacity(1423);
    for word in WORDS.split_whitespace().chain(MORE) {
        out.put_u32(u32::try_from(word.len()).unwrap_or_default());
        out.put_slice(word.as_bytes());
    }
    out.put_slice(TAIL.as_bytes());
    out
});

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_dictionary_is_the_one_of_the_specification() {
        // Adler-32, as the header of every SPDY/3 compression says it: 78 bb e3 c6 a7 c2.
        let (mut a, mut b) = (1u32, 0u32);
        for byte in DICTIONARY.iter() {
            a = (a + u32::from(*byte)) % 65521;
            b = (b + a) % 65521;
        }
        assert_eq!((DICTIONARY.len(), b << 16 | a), (1423, 0xe3c6_a7c2));
    }

    fn open(encoder: &mut Encoder, stream: u32, headers: &[(&str, &str)]) -> Bytes {
        let block = encoder.pack(headers);
        let mut body = BytesMut::new();
        body.put_u32(stream);
        body.put_u32(0);
        body.put_u16(0);
        body.put_slice(&block);
        control(SYN_STREAM, &body)
    }

    #[test]
    fn header_blocks_are_one_compressed_stream() {
        let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new());
        for stream in [1, 3] {
            decoder.push(&open(&mut encoder, stream, &[("streamtype", "data"), ("port", "80")]));
            let headers = vec![("streamtype".to_owned(), "data".to_owned()), ("port".to_owned(), "80".to_owned())];
            assert_eq!(decoder.next(), Ok(Some(Frame::Open { stream, headers, fin: false })));
        }
    }

    #[test]
    fn frames_may_come_byte_by_byte() {
        let mut decoder = Decoder::new();
        let frame = data(5, b"hello", true);
        for byte in &frame[..frame.len() - 1] {
            decoder.push(&[*byte]);
            assert_eq!(decoder.next(), Ok(None));
        }
        decoder.push(&frame[frame.len() - 1..]);
        assert_eq!(decoder.next(), Ok(Some(Frame::Data { stream: 5, data: Bytes::from_static(b"hello"), fin: true })));
    }

    #[test]
    fn a_header_block_that_unpacks_to_much_is_refused() {
        let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new());
        let mut body = BytesMut::from(&[0, 0, 0, 1, 0, 0, 0, 0, 0, 0][..]);
        let mut out = Vec::with_capacity(100_000);
        encoder.deflate.compress_vec(&vec![0; 1_000_000], &mut out, FlushCompress::Sync).unwrap();
        body.put_slice(&out);
        decoder.push(&control(SYN_STREAM, &body));
        assert_eq!(decoder.next(), Err(Broken::Headers));
    }

    proptest! {
        #[test]
        fn no_bytes_bring_the_decoder_down(bytes in proptest::collection::vec(any::<u8>(), 0..600), cut in 0usize..8) {
            let mut decoder = Decoder::new();
            // Half of them begin like a frame that has headers.
            if cut < 4 {
                decoder.push(&[0x80, 3, 0, 1, 0, 0, 0, 200]);
            }
            decoder.push(&bytes);
            while let Ok(Some(_)) = decoder.next() {}
        }
    }
}
