//! Memory that the workers of all generations share, and a table in it: see [`shared_table`].
//!
//! It is a file without a name, not one of nginx's zones: those are lost when their size changes, and
//! when a new binary takes over. Its descriptor goes with the master into the next binary, by a
//! number in the environment, as listening sockets do. The lock over it is one that the kernel gives
//! to the next when its holder has died.

use std::cell::{Cell, OnceCell, UnsafeCell};
use std::io;
use std::mem;
use std::os::fd::RawFd;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use nginx_sys::{
    ngx_array_push, ngx_core_conf_t, ngx_core_module, ngx_cycle, ngx_cycle_t, ngx_inherited,
    ngx_str_t,
};
use shared_table::{Class, Full, Root, Table, SPARE};

use crate::nginx::cycle::Cycle;
use crate::nginx::log;
use crate::nginx::random;

/// Marks memory of this layout: a version of the module that has another must not read it.
const LAYOUT: u64 = 0x6e67_7872_746d_7003;
/// Bytes of the zone for each slot of the table: about what a stream with one worker takes.
const BYTES_A_SLOT: usize = 256;
/// A zone may grow later, and the number of its slots stays.
const SLOTS: std::ops::RangeInclusive<usize> = 4096..=1 << 20;
const PAGE: usize = 4096;
/// The variable that tells the next binary the descriptor.
const VARIABLE: &str = "NGX_RTMP_ZONE";

#[repr(C)]
struct Header {
    layout: u64,
    slots: u64,
    /// Cells of the file. It only ever grows.
    cells: AtomicU64,
    secret: [u8; 32],
    lock: UnsafeCell<libc::pthread_mutex_t>,
    root: Root,
}

/// What is known of the zone in this process.
struct Zone {
    fd: Cell<RawFd>,
    header: NonNull<Header>,
    slots: &'static [AtomicU32],
    cells: Cell<&'static [shared_table::Cell]>,
}

thread_local! {
    static ZONE: OnceCell<Zone> = const { OnceCell::new() };
}

fn round_up(bytes: usize) -> usize {
    bytes.div_ceil(PAGE) * PAGE
}

fn last_error<T>() -> io::Result<T> {
    Err(io::Error::last_os_error())
}

impl Zone {
    /// Where the cells begin in the file.
    fn cells_at(slots: usize) -> usize {
        round_up(size_of::<Header>() + slots * size_of::<AtomicU32>())
    }

    fn create(size: usize) -> io::Result<Zone> {
        let secret = random::secret()?;
        let key = random::secret()?;
        let slots = (size / BYTES_A_SLOT).clamp(*SLOTS.start(), *SLOTS.end());
        // SAFETY: plain system calls. The descriptor is to outlive an exec, so it is not marked for
        // closing; the file can't be cut short under those who have mapped it.
        let fd = unsafe {
            let fd = libc::memfd_create(c"ngx_rtmp_zone".as_ptr(), libc::MFD_ALLOW_SEALING);
            if fd == -1
                || libc::ftruncate(fd, Zone::cells_at(slots) as libc::off_t) == -1
                || libc::fcntl(fd, libc::F_ADD_SEALS, libc::F_SEAL_SHRINK) == -1
            {
                return last_error();
            }
            fd
        };
        let mapped = map(fd, Zone::cells_at(slots))?;
        let header: *mut Header = mapped.cast().as_ptr();
        // SAFETY: the mapping is new, of zeroes, page-aligned and large enough; nobody else has it.
        unsafe {
            (*header).layout = LAYOUT;
            (*header).slots = slots as u64;
            (*header).secret = secret;
            let mut shared: libc::pthread_mutexattr_t = mem::zeroed();
            libc::pthread_mutexattr_init(&mut shared);
            libc::pthread_mutexattr_setpshared(&mut shared, libc::PTHREAD_PROCESS_SHARED);
            libc::pthread_mutexattr_setrobust(&mut shared, libc::PTHREAD_MUTEX_ROBUST);
            libc::pthread_mutex_init((*header).lock.get(), &shared);
            libc::pthread_mutexattr_destroy(&mut shared);
        }
        let zone = Zone::over(fd, mapped, slots);
        let [key @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = key;
        Table::new(zone.root(), zone.slots, &[]).set_key(key);
        Ok(zone)
    }

    /// The zone of the master before this one, or of the module that was loaded before this one.
    fn inherit(fd: RawFd) -> io::Result<Zone> {
        // SAFETY: plain system calls; a descriptor that is not what it should be fails one of them.
        let size = unsafe {
            let seals = libc::fcntl(fd, libc::F_GET_SEALS);
            if seals == -1 || seals & libc::F_SEAL_SHRINK == 0 {
                return Err(io::Error::other("it is no such file"));
            }
            let mut stat: libc::stat = mem::zeroed();
            if libc::fstat(fd, &mut stat) == -1 {
                return last_error();
            }
            stat.st_size as usize
        };
        if size < size_of::<Header>() {
            return Err(io::Error::other("it is no such file"));
        }
        let mapped = map(fd, size_of::<Header>())?;
        // SAFETY: the file has a header, which was written before anybody could inherit it.
        let (layout, slots) = unsafe {
            let header: *const Header = mapped.cast().as_ptr();
            ((*header).layout, (*header).slots as usize)
        };
        // SAFETY: nothing points to this mapping.
        unsafe { libc::munmap(mapped.as_ptr(), size_of::<Header>()) };
        if layout != LAYOUT || !SLOTS.contains(&slots) || size < Zone::cells_at(slots) {
            return Err(io::Error::other("another version of the module laid it out"));
        }
        Ok(Zone::over(fd, map(fd, Zone::cells_at(slots))?, slots))
    }

    /// `mapped` is the file up to its cells.
    fn over(fd: RawFd, mapped: NonNull<libc::c_void>, slots: usize) -> Zone {
        let header: NonNull<Header> = mapped.cast();
        // SAFETY: the slots are behind the header; the mapping stays to the end of the process.
        let slots = unsafe { std::slice::from_raw_parts(header.add(1).cast().as_ptr(), slots) };
        Zone { fd: Cell::new(fd), header, slots, cells: Cell::new(&[]) }
    }

    fn root(&self) -> &'static Root {
        // SAFETY: the header stays mapped, and what is in a root may change at any time.
        unsafe { &(*self.header.as_ptr()).root }
    }

    fn file_cells(&self) -> &AtomicU64 {
        // SAFETY: as above.
        unsafe { &(*self.header.as_ptr()).cells }
    }

    /// Makes the file as large as a zone of `size` bytes needs. Call it with the lock held.
    fn grow(&self, size: usize) -> io::Result<()> {
        let size_of_cell = size_of::<shared_table::Cell>();
        let cells = size / size_of_cell + SPARE as usize;
        if cells as u64 <= self.file_cells().load(Ordering::Relaxed) {
            return Ok(());
        }
        let end = Zone::cells_at(self.slots.len()) + round_up(cells * size_of_cell);
        // SAFETY: a plain system call.
        if unsafe { libc::ftruncate(self.fd.get(), end as libc::off_t) } == -1 {
            return last_error();
        }
        self.file_cells().store(cells as u64, Ordering::Relaxed);
        self.map_cells()
    }

    /// Maps the cells that came with a larger size. Call it with the lock held, so that nobody uses
    /// the old mapping.
    fn map_cells(&self) -> io::Result<()> {
        let have = self.cells.get();
        let cells = self.file_cells().load(Ordering::Relaxed) as usize;
        if cells == have.len() {
            return Ok(());
        }
        let bytes = |cells: usize| round_up(cells * size_of::<shared_table::Cell>());
        // SAFETY: the file is as large as its header says. Where there is a mapping, it is the one
        // made here, and no reference into it lives while the lock is not held by a change.
        let at = unsafe {
            match have.is_empty() {
                true => libc::mmap(
                    ptr::null_mut(),
                    bytes(cells),
                    libc::PROT_READ | libc::PROT_WRITE,
                    libc::MAP_SHARED,
                    self.fd.get(),
                    Zone::cells_at(self.slots.len()) as libc::off_t,
                ),
                false => libc::mremap(
                    have.as_ptr().cast_mut().cast(),
                    bytes(have.len()),
                    bytes(cells),
                    libc::MREMAP_MAYMOVE,
                ),
            }
        };
        if at == libc::MAP_FAILED {
            return last_error();
        }
        // SAFETY: as large as that, page-aligned, and zeroes are cells.
        self.cells.set(unsafe { std::slice::from_raw_parts(at.cast(), cells) });
        Ok(())
    }

    /// Takes the lock, and puts right what a holder who died has left.
    fn lock(&self) -> io::Result<Locked<'_>> {
        // SAFETY: the lock was made with the zone, and it stays where it is.
        let rc = unsafe {
            let lock = (*self.header.as_ptr()).lock.get();
            let rc = libc::pthread_mutex_lock(lock);
            if rc == libc::EOWNERDEAD {
                libc::pthread_mutex_consistent(lock);
            }
            rc
        };
        if rc != 0 && rc != libc::EOWNERDEAD {
            return Err(io::Error::from_raw_os_error(rc));
        }
        let locked = Locked(self);
        self.map_cells()?;
        if rc == libc::EOWNERDEAD {
            log::warning!(log::cycle(), "rtmp: a worker died while it changed \"rtmp_zone\"");
            locked.table().sweep();
        }
        Ok(locked)
    }
}

fn map(fd: RawFd, len: usize) -> io::Result<NonNull<libc::c_void>> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping at any address.
    let at = unsafe { libc::mmap(ptr::null_mut(), len, protection, libc::MAP_SHARED, fd, 0) };
    if at == libc::MAP_FAILED {
        return last_error();
    }
    NonNull::new(at).ok_or_else(|| io::ErrorKind::OutOfMemory.into())
}

/// The zone with its lock held.
struct Locked<'a>(&'a Zone);

impl Locked<'_> {
    fn table(&self) -> Table<'_> {
        Table::new(self.0.root(), self.0.slots, self.0.cells.get())
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        // SAFETY: the lock is held.
        unsafe { libc::pthread_mutex_unlock((*self.0.header.as_ptr()).lock.get()) };
    }
}

/// Finds the zone of the configuration that is running, if this process is its master or takes over
/// from that.
pub fn attach() {
    ZONE.with(|zone| {
        let Some(fd) = zone.get().is_none().then(descriptor).flatten() else { return };
        match Zone::inherit(fd) {
            Ok(inherited) => drop(zone.set(inherited)),
            Err(error) => log::warning!(
                log::cycle(),
                "rtmp: the streams of the workers that are running can't be seen: {error}"
            ),
        }
    });
}

/// Opens the zone in a process that will be, or is, a master: the one that is there, whatever its
/// size, or else a new one.
pub fn open(size: usize) -> io::Result<()> {
    attach();
    ZONE.with(|zone| {
        let zone = match zone.get() {
            Some(zone) => zone,
            None => {
                let new = Zone::create(size)?;
                zone.get_or_init(|| new)
            }
        };
        let _locked = zone.lock()?;
        zone.grow(size)
    })
}

/// A configuration with a zone of `size` bytes holds from now on.
pub fn commit(cycle: Cycle, size: usize) {
    let cycle = cycle.as_ptr();
    ZONE.with(|zone| {
        let Some(zone) = zone.get() else { return };
        with_table(|table| table.set_limit(size));
        // SAFETY: a cycle that is started has the configuration of nginx's core, whose
        // variables are texts in the cycle's pool.
        unsafe {
            let text = format!("{VARIABLE}={}\0", zone.fd.get());
            let Some(variables) = variables(cycle) else { return };
            let Some(text) = ngx_str_t::from_bytes((*cycle).pool, text.as_bytes()) else { return };
            let variable: *mut ngx_str_t = ngx_array_push(variables).cast();
            if !variable.is_null() {
                variable.write(ngx_str_t { len: VARIABLE.len(), data: text.data });
            }
        }
    });
}

/// The variables that a configuration sets for processes that nginx starts.
///
/// # Safety
///
/// `cycle` is live.
unsafe fn variables(cycle: *mut ngx_cycle_t) -> Option<*mut nginx_sys::ngx_array_t> {
    // SAFETY: the caller's promise; a cycle without a configuration has no table of them.
    unsafe {
        let confs = (*cycle).conf_ctx;
        if confs.is_null() {
            return None;
        }
        let core: *mut ngx_core_conf_t = (*confs.add(ngx_core_module.index)).cast();
        (!core.is_null()).then(|| &raw mut (*core).env)
    }
}

/// The descriptor that the running configuration, or the binary before this one, tells of.
fn descriptor() -> Option<RawFd> {
    // SAFETY: the cycle that ran until now, or the one that nginx begins with.
    let told = unsafe {
        variables(ngx_cycle).and_then(|variables| {
            let texts = (*variables).as_slice::<ngx_str_t>();
            let ours = texts.iter().find(|text| text.as_bytes() == VARIABLE.as_bytes())?;
            std::ffi::CStr::from_ptr(ours.data.add(ours.len + 1).cast()).to_str().ok()
        })
    };
    // SAFETY: a plain word.
    let after_exec = unsafe { ngx_inherited } != 0;
    let told = told.map(str::to_owned);
    told.or_else(|| std::env::var(VARIABLE).ok().filter(|_| after_exec))?.parse().ok()
}

/// A worker needs no descriptor, as its memory is mapped.
pub fn close_descriptor() {
    ZONE.with(|zone| {
        if let Some(zone) = zone.get() {
            // mapped before, so that it is never asked for
            drop(zone.lock());
            // SAFETY: the zone's own descriptor, in this process's table.
            unsafe { libc::close(zone.fd.replace(-1)) };
        }
    });
}

/// What only those who share the zone know.
pub fn secret() -> Option<[u8; 32]> {
    // SAFETY: written once, before there were others.
    ZONE.with(|zone| zone.get().map(|zone| unsafe { (*zone.header.as_ptr()).secret }))
}

fn with_table<R>(f: impl FnOnce(Table<'_>) -> R) -> Option<R> {
    ZONE.with(|zone| match zone.get()?.lock() {
        Ok(locked) => Some(f(locked.table())),
        Err(error) => {
            log::alert!(log::cycle(), "rtmp: \"rtmp_zone\" can't be used: {error}");
            None
        }
    })
}

/// The value of `key`; empty if it has none.
pub fn get(key: &[u8]) -> Vec<u8> {
    with_table(|table| table.get(key)).unwrap_or_default()
}

/// Changes the value of `key` in one step: see [`Table::update`]. `f` must be short: every worker
/// waits meanwhile. Without an `rtmp` block there is nobody else, and the change is lost.
pub fn update<R>(key: &[u8], f: impl FnOnce(&mut Vec<u8>) -> (R, Class)) -> Result<R, Full> {
    let mut f = Some(f);
    let done = with_table(|table| f.take().map(|f| table.update(key, f))).flatten();
    match (done, f) {
        (Some(done), _) => done,
        (None, Some(f)) => Ok(f(&mut Vec::new()).0),
        (None, None) => Err(Full),
    }
}

/// Changes all values: see [`Table::update_all`].
pub fn update_all(f: impl FnMut(&[u8], &mut Vec<u8>) -> Class) {
    with_table(|table| table.update_all(f));
}
