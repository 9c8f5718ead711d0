//! Load for RTMP and HTTP-FLV servers on this machine, and a comparison of such servers.

#![forbid(unsafe_code)]

mod cli;
mod compare;
mod cores;
mod floor;
mod flv;
mod latency;
mod load;
mod media;
mod net;
mod progress;
mod report;
mod rtmp;
mod run;
mod skim;
mod stamp;
mod target;
mod usage;

use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("rtmp-bench: {error:#}");
            ExitCode::from(2)
        }
    }
}
