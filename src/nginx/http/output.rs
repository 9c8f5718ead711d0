//! Bytes on their way to a client, in the form in which nginx's output filters take them.
//!
//! A filter may keep pointers to the buffers that it was given: the chunked filter, for one, looks
//! at their tags for as long as the header of their chunk is unsent. So it goes as with nginx's own
//! sources of output: a buffer lives as long as the request's pool, its tag never changes, and it is
//! filled anew only when it is empty, which is how the filters say that its bytes are sent.

use std::collections::VecDeque;
use std::ptr::{self, NonNull};
use std::rc::Rc;

use live::Block;
use nginx_sys::{ngx_buf_t, ngx_buf_tag_t, ngx_chain_t};

use crate::nginx::module;

/// What is queued and what nginx has. To be dropped after the request's pool, or with it.
#[derive(Default)]
pub struct Output {
    /// First those that nginx has, in their order, then those that wait for the next flush. C points
    /// to them, so they are never moved, and only reached through these pointers.
    parts: VecDeque<NonNull<Part>>,
    handed: usize,
    /// Empty ones. There are never more than were in use at one time.
    spare: Vec<NonNull<Part>>,
}

struct Part {
    buf: ngx_buf_t,
    link: ngx_chain_t,
    owner: Owner,
}

/// What keeps the bytes of a part.
enum Owner {
    Nobody,
    #[allow(dead_code)] // held, not looked at
    Own(Box<[u8]>),
    #[allow(dead_code)] // held, not looked at
    Block(Rc<Block>),
}

impl Part {
    fn new() -> NonNull<Part> {
        // SAFETY: zeroes are an empty buffer and a link to nothing.
        let (mut buf, link): (ngx_buf_t, ngx_chain_t) =
            unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
        buf.tag = tag();
        // read-only: whoever wants to change the bytes makes a copy
        buf.set_memory(1);
        NonNull::from(Box::leak(Box::new(Part { buf, link, owner: Owner::Nobody })))
    }
}

/// What nginx knows by whose buffers they are: an address of ours.
fn tag() -> ngx_buf_tag_t {
    module::http().cast()
}

impl Output {
    /// Queues bytes for the next flush.
    pub fn push(&mut self, bytes: Box<[u8]>) {
        let range = bytes.as_ptr_range();
        self.put(range.start, range.end, Owner::Own(bytes));
    }

    /// Queues bytes for the next flush: without a copy, if they lie in `block`.
    pub fn push_shared(&mut self, bytes: &[u8], block: Option<&Rc<Block>>) {
        match block.filter(|block| lies_in(bytes, block.filled())) {
            Some(block) => {
                let range = bytes.as_ptr_range();
                self.put(range.start, range.end, Owner::Block(block.clone()));
            }
            None => self.push(bytes.into()),
        }
    }

    fn put(&mut self, start: *const u8, end: *const u8, owner: Owner) {
        if start == end {
            return;
        }
        let part = self.spare.pop().unwrap_or_else(Part::new);
        let (start, end) = (start.cast_mut(), end.cast_mut());
        // SAFETY: the part is alive and ours: it is empty, so nginx looks at its tag at the most.
        unsafe {
            let part = part.as_ptr();
            ((*part).buf.start, (*part).buf.end) = (start, end);
            ((*part).buf.pos, (*part).buf.last) = (start, end);
            (*part).owner = owner;
        }
        self.parts.push_back(part);
    }

    /// Whether nginx has bytes that are not sent.
    pub fn is_handed(&self) -> bool {
        self.handed > 0
    }

    /// Bytes that nginx does not have yet.
    pub fn queued(&self) -> usize {
        let parts = self.parts.range(self.handed..);
        // SAFETY: the parts are alive, and nobody changes them now.
        parts.map(|part| unsafe { len(part.as_ptr()) }).sum()
    }

    /// The chain of the parts that nginx does not have yet, to be sent without waiting for more.
    pub fn chain(&mut self) -> *mut ngx_chain_t {
        let mut chain: *mut ngx_chain_t = ptr::null_mut();
        for part in self.parts.range(self.handed..).rev() {
            let part = part.as_ptr();
            // SAFETY: the part is alive and ours until it is handed over.
            unsafe {
                (*part).buf.set_flush(u32::from(chain.is_null()));
                (*part).link.buf = &raw mut (*part).buf;
                (*part).link.next = chain;
                chain = &raw mut (*part).link;
            }
        }
        self.handed = self.parts.len();
        chain
    }

    /// Lets go of the bytes that nginx has sent.
    pub fn release(&mut self) {
        while self.handed > 0 {
            let Some(&part) = self.parts.front() else { break };
            // SAFETY: the part is alive, and nginx is not at work on it now.
            unsafe {
                if len(part.as_ptr()) > 0 {
                    break;
                }
                (*part.as_ptr()).owner = Owner::Nobody;
            }
            self.handed -= 1;
            self.parts.pop_front();
            self.spare.push(part);
        }
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        for part in self.parts.drain(..).chain(self.spare.drain(..)) {
            // SAFETY: each was leaked by `Part::new` and is in one of the two lists, once.
            drop(unsafe { Box::from_raw(part.as_ptr()) });
        }
    }
}

/// # Safety
///
/// The part is alive.
unsafe fn len(part: *const Part) -> usize {
    // SAFETY: the caller's promise.
    unsafe { ((*part).buf.last as usize).saturating_sub((*part).buf.pos as usize) }
}

fn lies_in(bytes: &[u8], all: &[u8]) -> bool {
    let (bytes, all) = (bytes.as_ptr_range(), all.as_ptr_range());
    all.start <= bytes.start && bytes.end <= all.end
}
