//! The server's clock: the engine's own, so that a test that moves it moves the server and its loops together.

use jiff::Timestamp;

pub use paddock_reconcile::Clock;

/// `metav1.Time`: RFC 3339 in UTC with whole seconds.
pub fn rfc3339_seconds(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// `metav1.MicroTime`: RFC 3339 in UTC with six digits of fraction.
pub fn rfc3339_micros(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}
