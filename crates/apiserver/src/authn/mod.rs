//! Authentication: whose request is this? Impersonation on top of it: as whom is it made? Reads headers and the store.

mod impersonation;

pub(crate) use impersonation::LastModes;
