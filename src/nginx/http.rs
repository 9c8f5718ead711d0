//! An HTTP request of nginx's that is answered over a long time, through nginx's own filters.

mod answer;
mod asked;
mod hold;
mod output;
mod request;

pub use answer::Head;
pub use request::{Ended, Request, Responder};
