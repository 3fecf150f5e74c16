//! The server as its users see it: over HTTPS or through a client in the same process.

mod faults;
mod hostile;
mod impersonation;
mod life;
mod objects;
mod plugins;
mod policies;
mod puppet;
mod rbac;
mod streams;
mod tokens;
mod webhooks;
mod wire;
