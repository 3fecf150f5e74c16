//! Authentication: whose request is this? A client certificate, then a bearer token, else nobody. Impersonation on top of it:
//! as whom is it made? Reads headers and the store.

mod impersonation;
mod service_account;
mod token;

use std::sync::Arc;

use http::{HeaderMap, header};
use paddock_serve::Peer;

pub(crate) use impersonation::LastModes;
pub(crate) use service_account::CREDENTIAL_ID;
pub(crate) use token::{Bound, Claims, ISSUER, ISSUER_HOST, Named, Tokens, openid_configuration};

use crate::api::Api;
use crate::identity;
use crate::status::Status;
use crate::user::User;

/// Who asks, and what they should be told about how they said so.
#[derive(Debug)]
pub(crate) struct Caller {
    /// Shared with the connection.
    pub(crate) user: Arc<User>,
    pub(crate) warning: Option<&'static str>,
}

/// What the `Authorization` header says.
#[derive(Debug, PartialEq, Eq)]
enum Bearer<'a> {
    /// Nothing about a bearer.
    None,
    /// Two blanks before the token: it is passed over, with a warning.
    Misplaced,
    Token(&'a [u8]),
}

impl Api {
    /// The caller of a request from a socket.
    ///
    /// # Errors
    /// 401 for credentials that were shown and do not hold, unless others do. Without any the caller is anonymous.
    pub(crate) fn authenticate(&self, peer: Option<&Peer>, headers: &HeaderMap) -> Result<Caller, Status> {
        let mut rejected = false;
        if let Some(peer) = peer {
            // A certificate is read once for each connection: that takes longer than to answer a GET.
            match &*peer.memo(|| identity::user(&peer.certificates).map(|user| user.map(Arc::new))) {
                Ok(Some(user)) => return Ok(Caller { user: user.clone(), warning: None }),
                Ok(None) => rejected = peer.rejected.is_some(),
                Err(identity::Rejected) => rejected = true,
            }
        }
        let warning = match bearer(headers) {
            Bearer::Token(token) => {
                let token = std::str::from_utf8(token).map_err(|_| Status::unauthorized())?;
                let holder = self.authenticate_token(token, &[]).map_err(|_| Status::unauthorized())?;
                return Ok(Caller { user: holder.user.into(), warning: holder.warning });
            }
            Bearer::Misplaced => {
                Some("the provided Authorization header contains extra space before the bearer token, and is ignored")
            }
            Bearer::None => None,
        };
        // A certificate that was shown and is not believed is an error, not an anonymous caller.
        if rejected { Err(Status::unauthorized()) } else { Ok(Caller { user: User::anonymous().into(), warning }) }
    }
}

/// Reads `Authorization: Bearer TOKEN`; the word in any case, what follows the token does not count.
fn bearer(headers: &HeaderMap) -> Bearer<'_> {
    let Some(value) = headers.get(header::AUTHORIZATION) else { return Bearer::None };
    let mut parts = value.as_bytes().trim_ascii().splitn(3, |byte| *byte == b' ');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(word), Some(token), rest) if word.eq_ignore_ascii_case(b"bearer") => match (token, rest) {
            (b"", Some(_)) => Bearer::Misplaced,
            (b"", None) => Bearer::None,
            (token, _) => Bearer::Token(token),
        },
        _ => Bearer::None,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn read(value: &'static str) -> Option<Vec<u8>> {
        let headers = HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::from_static(value))]);
        match bearer(&headers) {
            Bearer::Token(token) => Some(token.to_vec()),
            _ => None,
        }
    }

    #[test]
    fn the_word_bearer_is_read_in_any_case() {
        assert_eq!(read("bEARER t"), Some(b"t".to_vec()));
    }

    #[test]
    fn what_follows_the_token_does_not_count() {
        assert_eq!(read("Bearer t u v"), Some(b"t".to_vec()));
    }

    #[test]
    fn an_empty_token_is_no_token() {
        assert_eq!(read("Bearer "), None);
        assert_eq!(read("Bearer"), None);
    }

    #[test]
    fn another_scheme_is_no_token() {
        assert_eq!(read("Basic dTpw"), None);
    }

    #[test]
    fn two_blanks_before_the_token_hide_it() {
        let headers = HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::from_static("Bearer  t"))]);
        assert_eq!(bearer(&headers), Bearer::Misplaced);
    }
}
