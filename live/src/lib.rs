//! The live engine: a publisher's messages become packets of a [`Stream`], encoded once per wire
//! form; each subscriber is a cursor over the same bytes. It knows nothing beyond media messages.

#![deny(unsafe_code)]
#![warn(unreachable_pub)]
#![cfg_attr(
    not(test),
    deny(
        clippy::indexing_slicing,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::too_many_lines
    )
)]

mod append;
mod change;
mod cost;
mod cursor;
mod cursors;
mod delivery;
mod flush;
mod form;
mod head;
mod headers;
mod host;
mod key;
mod media;
mod members;
mod metadata;
mod outlets;
mod output;
mod pace;
mod packets;
mod picked;
mod registry;
mod settings;
mod sink;
mod sources;
mod state;
mod stickies;
mod stream;
mod tracks;
mod wire;

pub use change::Change;
pub use cost::Held;
pub use cursor::Filter;
pub use form::Form;
pub use host::{Call, Host};
pub use key::Key;
pub use media::{Kind, Media};
pub use metadata::Meta;
pub use output::{Block, Socket};
pub use registry::Registry;
pub use settings::Settings;
pub use sink::{Data, Direct, End, Framing, Sink};
pub use sources::{Busy, Source};
pub use state::Subscriber;
pub use stream::publication::Publication;
pub use stream::subscription::Subscription;
pub use stream::Stream;
