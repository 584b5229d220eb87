//! What every client of a server needs, whatever the two talk of: a thread that drives its connections, bounds on how long
//! it waits, and texts of others made fit to be shown.

mod driver;
mod pace;
mod said;
mod trust;

pub use driver::Driver;
pub use pace::{Late, Pace};
pub use said::{chain, plain, said};
pub use trust::{disbelief, is_loopback, provide_cryptography};
