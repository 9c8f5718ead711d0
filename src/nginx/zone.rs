//! A table in shared memory: what the workers, of all generations, know of each key.
//!
//! Each key has a list of members, one a worker. A change is: take the lock that nginx releases
//! for a worker which dies with it, copy the list out, change it in plain code, write it back. A
//! list that nobody is in takes no memory.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::mem::size_of;
use std::ptr::{self, addr_of_mut, NonNull};

use nginx_sys::{
    ngx_conf_t, ngx_cycle, ngx_int_t, ngx_shared_memory_add, ngx_shm_zone_t, ngx_shmtx_lock,
    ngx_shmtx_unlock, ngx_slab_alloc_locked, ngx_slab_calloc_locked, ngx_slab_free_locked,
    ngx_slab_pool_t, ngx_str_t, NGX_ERROR, NGX_OK,
};

use crate::nginx::log;

/// What a worker says of a key. Plain numbers, since other processes read them.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    pub pid: i32,
    /// Clients from outside that it serves.
    pub clients: u32,
    /// The priority of its source; [`NO_SOURCE`] = it has none.
    pub source: i32,
    /// Whether the worker is told when sources come and go.
    pub interested: u32,
    /// Whether those who ask for it are told that the key goes on; 0 or 1.
    pub updates: u32,
}

/// [`Member::source`] of a worker that has none.
pub const NO_SOURCE: i32 = i32::MIN;

impl Member {
    /// A worker that has nothing to do with the key yet.
    pub fn new(pid: i32) -> Self {
        Member { pid, clients: 0, source: NO_SOURCE, interested: 0, updates: 0 }
    }

    fn is_idle(&self) -> bool {
        self.clients == 0 && self.source == NO_SOURCE && self.interested == 0
    }
}

/// The zone has no room for another key.
#[derive(Debug)]
pub struct Full;

/// Marks a zone that this layout was written into: another version of the module must not read it.
const LAYOUT: u64 = 0x6e67_7872_746d_7002;
/// Bytes of the zone for each slot of the hash table: about what a key with one member takes.
const BYTES_A_SLOT: usize = 256;

/// The zone's name, in nginx's log.
const NAME: &std::ffi::CStr = c"ngx_rtmp_directory";

#[repr(C)]
struct Root {
    layout: u64,
    slots: usize,
    table: *mut *mut Entry,
}

/// A key's entry; the members and then the key's bytes follow it.
#[repr(C)]
struct Entry {
    next: *mut Entry,
    hash: u64,
    members: u32,
    room: u32,
    key_len: usize,
}

/// Asks nginx for the zone while it reads a configuration. A zone of the same size goes on into the
/// next generation of workers.
///
/// # Safety
///
/// `cf` is the configuration being read.
pub unsafe fn configure(cf: *mut ngx_conf_t, size: usize) -> Option<()> {
    let mut name = ngx_str_t { len: NAME.count_bytes(), data: NAME.as_ptr().cast_mut().cast() };
    // SAFETY: the caller's promise; the name is static, and the zone is nginx's own.
    unsafe {
        let zone = ngx_shared_memory_add(cf, addr_of_mut!(name), size, tag());
        if zone.is_null() {
            return None;
        }
        (*zone).init = Some(init);
    }
    Some(())
}

/// The zone of the running configuration. Looked up each time: the master may have read other
/// configurations and refused them, and at the end of a worker there is none any more.
fn zone() -> Option<NonNull<ngx_shm_zone_t>> {
    // SAFETY: nginx's list of the cycle's zones: parts of `nelts` elements each.
    unsafe {
        let mut part = &raw const (*ngx_cycle).shared_memory.part;
        while let Some(now) = part.as_ref() {
            let zones = now.elts.cast::<ngx_shm_zone_t>();
            for zone in (0..now.nelts).map(|i| zones.add(i)) {
                if (*zone).tag == tag() {
                    return NonNull::new(zone);
                }
            }
            part = now.next;
        }
    }
    None
}

/// What nginx knows by whose zone it is: an address of ours.
fn tag() -> *mut std::ffi::c_void {
    (&raw mut crate::ngx_rtmp_module).cast()
}

unsafe extern "C" fn init(zone: *mut ngx_shm_zone_t, old: *mut std::ffi::c_void) -> ngx_int_t {
    // SAFETY: nginx calls this once for each zone it has mapped, before there are workers.
    let ok = unsafe {
        let pool: *mut ngx_slab_pool_t = (*zone).shm.addr.cast();
        let kept = if old.is_null() { (*pool).data } else { old }.cast::<Root>();
        if !kept.is_null() && (*kept).layout == LAYOUT {
            (*zone).data = kept.cast();
            return NGX_OK as ngx_int_t;
        }
        // running out is our business: it is logged with the stream's name
        (*pool).set_log_nomem(0);
        let slots = ((*zone).shm.size / BYTES_A_SLOT).next_power_of_two();
        let root: *mut Root = ngx_slab_calloc_locked(pool, size_of::<Root>()).cast();
        let table = ngx_slab_calloc_locked(pool, slots / 2 * size_of::<*mut Entry>());
        if root.is_null() || table.is_null() {
            log::error!(log::cycle(), "rtmp: \"rtmp_zone\" is too small");
            false
        } else {
            *root = Root { layout: LAYOUT, slots: slots / 2, table: table.cast() };
            (*pool).data = root.cast();
            (*zone).data = root.cast();
            true
        }
    };
    if ok {
        NGX_OK as ngx_int_t
    } else {
        NGX_ERROR as ngx_int_t
    }
}

/// The zone with its lock held.
struct Locked {
    pool: NonNull<ngx_slab_pool_t>,
    root: NonNull<Root>,
}

impl Locked {
    /// `None` without an `rtmp` block, and at the end of a worker.
    fn new() -> Option<Self> {
        // SAFETY: the zone is mapped as long as its configuration lives, and `data` was set by
        // `init`.
        unsafe {
            let zone = zone()?;
            let pool = NonNull::new((*zone.as_ptr()).shm.addr.cast::<ngx_slab_pool_t>())?;
            let root = NonNull::new((*zone.as_ptr()).data.cast::<Root>())?;
            ngx_shmtx_lock(addr_of_mut!((*pool.as_ptr()).mutex));
            Some(Locked { pool, root })
        }
    }

    fn slot(&self, hash: u64) -> *mut *mut Entry {
        // SAFETY: the root and its table are written once, before there are workers; slots is a
        // power of two, so the index is in the table.
        unsafe {
            let root = self.root.as_ptr();
            (*root).table.add(hash as usize & ((*root).slots - 1))
        }
    }

    /// The link that points to the entry of `key`, or the null one where it would be.
    fn find(&self, hash: u64, key: &[u8]) -> *mut *mut Entry {
        let mut link = self.slot(hash);
        // SAFETY: with the lock held, links lead over whole entries to null.
        unsafe {
            while !(*link).is_null() {
                let entry = *link;
                if (*entry).hash == hash && key_of(entry) == key {
                    break;
                }
                link = addr_of_mut!((*entry).next);
            }
        }
        link
    }

    fn read(&self, entry: *const Entry) -> Vec<Member> {
        if entry.is_null() {
            return Vec::new();
        }
        // SAFETY: with the lock held, an entry has `members` members behind it.
        unsafe { std::slice::from_raw_parts(members_of(entry), (*entry).members as usize).to_vec() }
    }

    /// Puts `members` in the place of what `link` points to.
    fn write(
        &self,
        link: *mut *mut Entry,
        hash: u64,
        key: &[u8],
        members: &[Member],
    ) -> Result<(), Full> {
        // SAFETY: with the lock held, `link` is a link of the chain of `hash`; an entry is complete
        // before it is linked, so that a worker which dies in between leaves whole chains.
        unsafe {
            let old = *link;
            if !old.is_null() && members.len() <= (*old).room as usize && !members.is_empty() {
                ptr::copy_nonoverlapping(
                    members.as_ptr(),
                    members_of(old).cast_mut(),
                    members.len(),
                );
                (*old).members = members.len() as u32;
                return Ok(());
            }
            let next = if old.is_null() { ptr::null_mut() } else { (*old).next };
            if members.is_empty() {
                *link = next;
            } else {
                let room = members.len().next_power_of_two();
                let size = size_of::<Entry>() + room * size_of::<Member>() + key.len();
                let new: *mut Entry = ngx_slab_alloc_locked(self.pool.as_ptr(), size).cast();
                if new.is_null() {
                    return Err(Full);
                }
                let (len, room) = (members.len() as u32, room as u32);
                *new = Entry { next, hash, members: len, room, key_len: key.len() };
                let to = members_of(new).cast_mut();
                ptr::copy_nonoverlapping(members.as_ptr(), to, members.len());
                let key_at = to.add(room as usize).cast::<u8>();
                ptr::copy_nonoverlapping(key.as_ptr(), key_at, key.len());
                *link = new;
            }
            if !old.is_null() {
                ngx_slab_free_locked(self.pool.as_ptr(), old.cast());
            }
        }
        Ok(())
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        // SAFETY: the lock was taken in `new`.
        unsafe { ngx_shmtx_unlock(addr_of_mut!((*self.pool.as_ptr()).mutex)) };
    }
}

unsafe fn members_of(entry: *const Entry) -> *const Member {
    // SAFETY: the members follow the entry, as the caller promises it is one.
    unsafe { entry.add(1).cast() }
}

unsafe fn key_of<'a>(entry: *const Entry) -> &'a [u8] {
    // SAFETY: the key follows the room for members, as the caller promises it is an entry.
    unsafe {
        let at = members_of(entry).add((*entry).room as usize).cast::<u8>();
        std::slice::from_raw_parts(at, (*entry).key_len)
    }
}

fn hash_of(key: &[u8]) -> u64 {
    // the same in every process: its keys are fixed
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}

/// Changes the members of `key` in one step. `f` must be short: every worker waits meanwhile.
/// Without an `rtmp` block there is nobody else, and the change is lost.
pub fn update<R>(key: &[u8], f: impl FnOnce(&mut Vec<Member>) -> R) -> Result<R, Full> {
    let Some(locked) = Locked::new() else { return Ok(f(&mut Vec::new())) };
    let hash = hash_of(key);
    let link = locked.find(hash, key);
    // SAFETY: `find` gives a valid link.
    let before = locked.read(unsafe { *link });
    let mut members = before.clone();
    let result = f(&mut members);
    members.retain(|member| !member.is_idle());
    if members != before {
        locked.write(link, hash, key, &members)?;
    }
    Ok(result)
}

/// Takes the workers that `gone` picks out of every list, and gives the keys they had a source of.
pub fn purge(gone: impl Fn(i32) -> bool) -> Vec<Vec<u8>> {
    let mut lost = Vec::new();
    let Some(locked) = Locked::new() else { return lost };
    // SAFETY: with the lock held, the table and its chains are whole.
    let slots = unsafe { (*locked.root.as_ptr()).slots };
    for slot in 0..slots {
        let mut link = locked.slot(slot as u64);
        // SAFETY: as above; `write` leaves `link` pointing to the entry or to the one after it.
        unsafe {
            while !(*link).is_null() {
                let entry = *link;
                let (hash, key) = ((*entry).hash, key_of(entry).to_vec());
                let mut members = locked.read(entry);
                let had = members.len();
                if members.iter().any(|m| m.source != NO_SOURCE && gone(m.pid)) {
                    lost.push(key.clone());
                }
                members.retain(|member| !gone(member.pid));
                let removed = members.is_empty();
                if members.len() < had {
                    // a list only gets shorter, so there is room
                    let _ = locked.write(link, hash, &key, &members);
                }
                if !removed {
                    link = addr_of_mut!((**link).next);
                }
            }
        }
    }
    lost
}

/// The ids of all workers in the table.
pub fn workers() -> Vec<i32> {
    let mut pids = Vec::new();
    let Some(locked) = Locked::new() else { return pids };
    // SAFETY: with the lock held, the table and its chains are whole.
    unsafe {
        for slot in 0..(*locked.root.as_ptr()).slots {
            let mut entry = *locked.slot(slot as u64);
            while !entry.is_null() {
                pids.extend(locked.read(entry).iter().map(|member| member.pid));
                entry = (*entry).next;
            }
        }
    }
    pids.sort_unstable();
    pids.dedup();
    pids
}
