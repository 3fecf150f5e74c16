//! Paddock's controllers: each is a snapshot and a pure plan on the engine of `paddock-reconcile`.
//!
//! | room | what it keeps right |
//! |---|---|
//! | [`gateways`] | an OpenShell agent gateway in each tenant namespace that `platform-config` names |
//! | [`tls_profile`] | what every listener serves, decided once and handed to whoever follows |

#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod gateways;
pub mod tls_profile;
