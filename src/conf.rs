//! The `rtmp`, `server` and `application` blocks: parsed, inherited, checked, and handed to
//! sessions as plain structs.
//!
//! A directive is declared once, in the table of the feature it belongs to, with its name, its
//! contexts, its default and its setter. A feature is a file with a `settings!` struct and a table;
//! it is added in three places: [`tables::TABLES`], the struct that sessions read ([`AppConf`],
//! [`ServerConf`] or [`MainConf`]), and [`finish`], which fills that.

pub mod access;
pub mod blocks;
pub mod cluster;
pub mod directive;
pub mod finish;
pub mod limit;
pub mod listen;
pub mod live;
pub mod log;
pub mod main;
pub mod oclp;
pub mod parse;
pub mod publish;
pub mod relay;
pub mod resolver;
pub mod scope;
pub mod server;
pub mod server_id;
pub mod server_name;
pub mod session;
pub mod tables;
pub mod value;

pub use access::Kind;
pub use listen::Listen;
pub use live::MergeWindow;
pub use main::{main_conf, MainConf};
pub use publish::Conflict;
pub use resolver::ResolverConf;
pub use server::{AppConf, Place, ServerConf};
pub use value::Msec;
