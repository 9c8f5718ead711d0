//! Small safe wrappers over what the ngx crate lacks. `unsafe` lives here and in module glue.
#![allow(unsafe_code)]

pub mod address;
pub mod addresses;
pub mod async_conn;
pub mod clock;
pub mod connection;
pub mod cycle;
pub mod event;
pub mod file;
pub mod guard;
pub mod http;
pub mod listen_options;
pub mod listening;
pub mod log;
pub mod module;
pub mod parser;
pub mod process;
pub mod proxy_protocol;
pub mod random;
pub mod resolver;
pub mod seldom;
pub mod share;
pub mod stop;
pub mod sys;
pub mod task;
pub mod zone;
