//! What a server sends back, read as it arrives. Foreign bytes: every length is checked, what is kept is bounded, and the work
//! grows with the number of bytes alone.

use crate::catalogue::{self, Exchange};

/// What a server made of an offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It takes part.
    Accepted(Accepted),
    /// TLS 1.3: it would, with a key share of this group.
    Retry {
        /// The suite that it chose.
        suite: u16,
        /// The group that it asks for; some servers only ask for another hello.
        group: Option<u16>,
    },
    /// It does not.
    Refused {
        /// The alert's number; `None` where the connection ended without one.
        alert: Option<u8>,
        /// The suite that it had chosen before.
        chosen: Option<u16>,
    },
}

/// What a server chose.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accepted {
    /// The version, by number.
    pub version: u16,
    /// The suite, by number.
    pub suite: u16,
    /// The group, by number; `None` for key exchanges without one.
    pub group: Option<u16>,
    /// The application protocol, which only versions before TLS 1.3 say in the open.
    pub alpn: Option<Vec<u8>>,
    /// The server's certificate as DER, which only versions before TLS 1.3 show in the open.
    pub certificate: Option<Vec<u8>>,
}

/// Why bytes are no answer to a hello.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Nonsense {
    /// The first bytes are of something else; they are shown as text.
    #[error("this is not TLS: it answers {0:?}")]
    NotTls(String),
    /// A length or a value that cannot be.
    #[error("broken TLS: {0}")]
    Broken(&'static str),
    /// The server chose what was not offered.
    #[error("the server chose {0}, which was not offered")]
    NotOffered(String),
}

/// Longest record (RFC 5246, section 6.2.3).
const MAX_RECORD: usize = (1 << 14) + 2048;
/// Longest handshake message that is read: a chain of certificates fits.
const MAX_MESSAGE: usize = 1 << 17;
/// Most bytes of an answer that are read.
const MAX_ANSWER: usize = 1 << 18;

/// The random value that makes a ServerHello a HelloRetryRequest (RFC 8446, section 4.1.3).
const RETRY: [u8; 32] = [
    0xCF, 0x21, 0xAD, 0x74, 0xE5, 0x9A, 0x61, 0x11, 0xBE, 0x1D, 0x8C, 0x02, 0x1E, 0x65, 0xB8, 0x91, 0xC2, 0xA2, 0x11,
    0x16, 0x7A, 0xBB, 0x8C, 0x5E, 0x07, 0x9E, 0x09, 0xE2, 0xC8, 0xA8, 0x33, 0x9C,
];

/// Reads an answer piece by piece.
#[derive(Debug, Default)]
pub struct Reader {
    /// Records that are not complete.
    records: Pending,
    /// Handshake messages that are not complete.
    messages: Pending,
    /// How many bytes came.
    count: usize,
    /// What the ServerHello of TLS 1.2 or older said; the flight goes on after it.
    hello: Option<Accepted>,
}

impl Reader {
    /// A reader of one answer.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes. `Some`: the answer is complete.
    ///
    /// # Errors
    /// When this cannot be an answer to a hello.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Option<Answer>, Nonsense> {
        self.count = self.count.saturating_add(bytes.len());
        if self.count > MAX_ANSWER {
            return Err(Nonsense::Broken("the answer does not end"));
        }
        let mut records = std::mem::take(&mut self.records);
        records.push(bytes);
        let mut answer = None;
        while answer.is_none() {
            let mut rest = Bytes(records.rest());
            let before = rest.0.len();
            let Some(kind) = rest.u8() else { break };
            if !(20..=23).contains(&kind) {
                return Err(if self.hello.is_none() { not_tls(records.rest()) } else { UNKNOWN_RECORD });
            }
            let (Some(version), Some(length)) = (rest.u16(), rest.u16()) else { break };
            if version >> 8 != 3 {
                return Err(not_tls(records.rest()));
            }
            let length = usize::from(length);
            if length > MAX_RECORD {
                return Err(Nonsense::Broken("a record is too long"));
            }
            let Some(body) = rest.take(length) else { break };
            let after = rest.0.len();
            answer = self.record(kind, body)?;
            records.skip(before.saturating_sub(after));
        }
        self.records = records;
        Ok(answer)
    }

    /// The connection ended.
    pub fn end(self) -> Answer {
        self.refused(None)
    }

    fn refused(&self, alert: Option<u8>) -> Answer {
        Answer::Refused { alert, chosen: self.hello.as_ref().map(|hello| hello.suite) }
    }

    fn record(&mut self, kind: u8, body: &[u8]) -> Result<Option<Answer>, Nonsense> {
        match kind {
            21 => match body {
                // A warning; the handshake goes on. `close_notify` ends it.
                [1, description] if *description != 0 => Ok(None),
                [_, 0] => Ok(Some(self.refused(None))),
                [_, description] => Ok(Some(self.refused(Some(*description)))),
                _ => Err(Nonsense::Broken("an alert is not two bytes")),
            },
            22 => self.handshake(body),
            _ => Err(UNKNOWN_RECORD),
        }
    }

    fn handshake(&mut self, body: &[u8]) -> Result<Option<Answer>, Nonsense> {
        let mut messages = std::mem::take(&mut self.messages);
        messages.push(body);
        let mut answer = None;
        while answer.is_none() {
            let mut rest = Bytes(messages.rest());
            let before = rest.0.len();
            let (Some(kind), Some(length)) = (rest.u8(), rest.u24()) else { break };
            if length > MAX_MESSAGE {
                return Err(Nonsense::Broken("a message is too long"));
            }
            let Some(body) = rest.take(length) else { break };
            let after = rest.0.len();
            answer = self.message(kind, body)?;
            messages.skip(before.saturating_sub(after));
        }
        self.messages = messages;
        Ok(answer)
    }

    fn message(&mut self, kind: u8, body: &[u8]) -> Result<Option<Answer>, Nonsense> {
        match (kind, &mut self.hello) {
            (2, None) => {
                let hello = server_hello(Bytes(body)).ok_or(Nonsense::Broken("the ServerHello is cut short"))?;
                match hello {
                    Answer::Accepted(hello) if hello.version < 0x0304 => self.hello = Some(hello),
                    complete => return Ok(Some(complete)),
                }
            }
            (11, Some(hello)) => {
                let mut rest = Bytes(body);
                let chain = rest.u24().and_then(|length| rest.take(length));
                let chain = chain.ok_or(Nonsense::Broken("the certificates are cut short"))?;
                let mut chain = Bytes(chain);
                let leaf = chain.u24().and_then(|length| chain.take(length));
                hello.certificate = leaf.map(<[u8]>::to_vec);
            }
            (12, Some(hello)) if catalogue::exchange(hello.suite) == Some(Exchange::NamedCurve) => {
                let mut rest = Bytes(body);
                // 3 is named_curve (RFC 8422, section 5.4); other kinds have no number.
                hello.group = if rest.u8() == Some(3) { rest.u16() } else { None };
            }
            (14, Some(hello)) => return Ok(Some(Answer::Accepted(std::mem::take(hello)))),
            (0 | 12 | 13 | 22 | 23, Some(_)) => {} // HelloRequest, key exchange, CertificateRequest and -Status, SupplementalData
            _ => return Err(Nonsense::Broken("a message out of order")),
        }
        Ok(None)
    }
}

const UNKNOWN_RECORD: Nonsense = Nonsense::Broken("a record that does not belong into a handshake");

fn not_tls(bytes: &[u8]) -> Nonsense {
    Nonsense::NotTls(String::from_utf8_lossy(bytes.get(..32).unwrap_or(bytes)).into_owned())
}

/// RFC 5246, section 7.4.1.3; RFC 8446, sections 4.1.3 and 4.1.4.
fn server_hello(mut body: Bytes<'_>) -> Option<Answer> {
    let mut hello = Accepted { version: body.u16()?, ..Accepted::default() };
    let retry = body.take(32)? == RETRY;
    let session = body.u8()?;
    body.take(usize::from(session))?;
    hello.suite = body.u16()?;
    body.u8()?; // compression: none was offered
    if !body.0.is_empty() {
        let length = body.u16()?;
        let mut extensions = Bytes(body.take(usize::from(length))?);
        while !extensions.0.is_empty() {
            let (kind, length) = (extensions.u16()?, extensions.u16()?);
            let mut content = Bytes(extensions.take(usize::from(length))?);
            match kind {
                43 => hello.version = content.u16()?,
                51 => hello.group = Some(content.u16()?),
                16 => {
                    content.u16()?;
                    let length = content.u8()?;
                    hello.alpn = Some(content.take(usize::from(length))?.to_vec());
                }
                _ => {}
            }
        }
    }
    Some(if retry && hello.version >= 0x0304 {
        Answer::Retry { suite: hello.suite, group: hello.group }
    } else {
        Answer::Accepted(hello)
    })
}

/// Bytes that wait for those that complete them. What was read goes away when it is the larger part, so that the work grows with the
/// number of bytes, however small the pieces are that they come in.
#[derive(Debug, Default)]
struct Pending {
    bytes: Vec<u8>,
    read: usize,
}

impl Pending {
    fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    fn rest(&self) -> &[u8] {
        self.bytes.get(self.read..).unwrap_or_default()
    }

    fn skip(&mut self, length: usize) {
        self.read = self.read.saturating_add(length).min(self.bytes.len());
        if self.read > self.bytes.len() / 2 {
            self.bytes.drain(..self.read);
            self.read = 0;
        }
    }
}

/// What is left to read; every read says whether there was enough.
#[derive(Clone, Copy)]
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1).and_then(|bytes| bytes.first().copied())
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    fn u24(&mut self) -> Option<usize> {
        let [high, middle, low]: [u8; 3] = self.take(3)?.try_into().ok()?;
        usize::try_from(u32::from_be_bytes([0, high, middle, low])).ok()
    }
}

#[cfg(test)]
mod tests;
