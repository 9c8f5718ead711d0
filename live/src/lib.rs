//! The live engine: a publisher's messages become packets of a [`Stream`], encoded once per wire
//! form; each subscriber is a cursor over the same bytes. It knows nothing beyond media messages.

#![deny(unsafe_code)]

mod cost;
mod direct;
mod head;
mod headers;
mod host;
mod media;
mod metadata;
mod output;
mod pace;
mod picked;
mod registry;
mod settings;
mod stickies;
mod stream;
mod subscriber;
mod wire;

pub use direct::{Direct, Framing};
pub use host::{Call, Host};
pub use media::{Kind, Media};
pub use metadata::Meta;
pub use output::{Block, Socket};
pub use registry::{Change, Key, Registry};
pub use settings::Settings;
pub use stream::{Publication, Source, Stream};
pub use subscriber::{Data, End, Filter, Sink, Subscriber, Subscription};
pub use wire::Form;
