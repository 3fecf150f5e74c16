//! What a TLS server really accepts. The hellos are written and read here by hand: a TLS library cannot offer what must be absent
//! (old versions, suites without forward secrecy), and what nobody offers nobody sees refused.
//!
//! | module | what it is for | may touch |
//! |---|---|---|
//! | [`catalogue`] | every suite and group that can be asked for | nothing: tables |
//! | `offer` | a ClientHello, written | nothing: computes |
//! | `answer` | what a server sends back, read | nothing: computes |
//! | `certificate` | the key of the certificate that it shows | nothing: computes |
//! | `sweep` | which offer is next, and what an answer says | nothing: decides |
//! | `dial` | one offer over one connection, with a deadline | sockets |
//! | `scan` | everything that a server accepts, an [`Observed`] | `dial` |
//! | `expectation` | whether that is what a profile asks for | nothing: computes |
//! | `handshake` | the certificates of a server of TLS 1.3 alone | `dial` |
//! | `verify` | the operator's question: is what is allowed accepted, and what is excluded refused | `dial` |
//!
//! A probe is a hello and what is answered to it, no more: nothing secret is agreed on, no certificate is trusted, no request
//! is sent. For TLS 1.2 and older that is the server's whole first flight, so the server has chosen, shown its certificate and signed; for
//! TLS 1.3 its ServerHello to a key share that it could use; and only to see the key of a server of TLS 1.3 alone a handshake is finished.

mod answer;
pub mod catalogue;
mod certificate;
mod dial;
mod expectation;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod handshake;
mod observed;
mod offer;
mod scan;
mod sweep;
mod verify;

pub use answer::{Accepted, Answer, Nonsense, Reader};
pub use certificate::Certificate;
pub use dial::{Dialer, Limits, Trouble};
pub use expectation::{Comparison, Expectation, Verdict};
pub use handshake::certificates;
pub use observed::{Observed, Order, Spoken};
pub use offer::{Offer, Protocol};
pub use scan::scan;
pub use verify::{Check, Seen, Verified, verify};
