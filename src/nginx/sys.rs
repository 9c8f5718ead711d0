//! What nginx-sys leaves out of nginx's headers: the macros that `sys.h` lists, as constants.
#![allow(dead_code, missing_docs, unused_imports, clippy::all)]

include!(concat!(env!("OUT_DIR"), "/sys.rs"));

// nginx's symbols exist only inside nginx
#[cfg(test)]
std::arch::global_asm!(include_str!(concat!(env!("OUT_DIR"), "/stand_ins.s")));
