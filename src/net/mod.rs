//! Shared by every network client: a thread that drives connections, bounds on waiting, and TLS set-up.

mod driver;
mod stall_guard;
mod tls;

pub use driver::Driver;
pub use stall_guard::{Stall, StallGuard};
pub use tls::{certificate_error, install_crypto_provider, is_loopback};
