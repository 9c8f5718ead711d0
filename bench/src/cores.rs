//! Binding to cores.

use anyhow::{ensure, Context, Result};
use rustix::thread::{sched_getaffinity, sched_setaffinity, CpuSet};
use std::process::{Child, Command};

/// Binds this thread, and what it starts from now on.
pub fn bind(cores: &[usize]) -> Result<()> {
    let mut set = CpuSet::new();
    for core in cores {
        ensure!(*core < CpuSet::MAX_CPU, "there is no core {core}");
        set.set(*core);
    }
    sched_setaffinity(None, &set).with_context(|| format!("cannot be bound to cores {cores:?}"))
}

/// Starts a program bound to cores.
pub fn spawn_on(cores: &[usize], command: &mut Command) -> Result<Child> {
    let own = sched_getaffinity(None)?;
    bind(cores)?;
    let child = command.spawn();
    sched_setaffinity(None, &own)?;
    Ok(child?)
}
