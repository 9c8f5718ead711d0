//! Connections that we open, and bytes over them for futures to wait for.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::mem;
use std::pin::Pin;
use std::ptr::{self, NonNull};
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};

use nginx_sys::{
    ngx_close_connection, ngx_create_pool, ngx_destroy_pool, ngx_event_connect_peer,
    ngx_event_get_peer, ngx_log_t, ngx_peer_connection_t, ngx_pool_t, ngx_str_t, sockaddr,
    NGX_AGAIN, NGX_DECLINED, NGX_LOG_EMERG, NGX_OK,
};

use crate::nginx::address::{raw_address, text, Address};
use crate::nginx::clock;
use crate::nginx::connection::{Connection, Handler, POOL_SIZE};
use crate::nginx::listening;
use crate::nginx::log;
use crate::nginx::task;

/// nginx has no errno for this.
const NO_CONNECTION: &str = "no free connection in this worker";
/// What hyper is given at once. All connections of a worker share the buffer.
const HYPER_READ: usize = 32 * 1024;

thread_local! {
    static READ_BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; HYPER_READ]);
}

/// Why there is no connection, by whose failure it is.
#[derive(Debug)]
pub enum ConnectError {
    /// This side could not try: no free connection, descriptor, port or memory.
    Own(io::Error),
    /// The other side, or the network, said no.
    Peer(io::Error),
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConnectError::Own(error) | ConnectError::Peer(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ConnectError {}

impl From<ConnectError> for io::Error {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Own(error) | ConnectError::Peer(error) => error,
        }
    }
}

/// What `connect` answers when this machine has run out of something (connect(2), tcp(7)).
const EXHAUSTED: [libc::c_int; 4] =
    [libc::EADDRNOTAVAIL, libc::EAGAIN, libc::ENOBUFS, libc::ENOMEM];

/// Opens a connection to `address`, with TCP_NODELAY where it is TCP. Dropped, the attempt ends.
///
/// The caller bounds the time: the kernel alone would try for minutes.
///
/// # Errors
///
/// What `socket` or `connect` answered, at once or later.
pub async fn connect(address: &Address) -> Result<AsyncConn, ConnectError> {
    let (conn, pending) = start(address)?;
    let conn = AsyncConn::new(conn);
    if pending {
        conn.connected().await.map_err(ConnectError::Peer)?;
    }
    conn.conn.ignore_writable();
    conn.conn.set_nodelay();
    Ok(conn)
}

/// Whether this worker has a connection and a descriptor to spare.
///
/// # Errors
///
/// What it lacks.
pub fn room() -> io::Result<()> {
    // SAFETY: plain words of the running cycle. nginx closes reusable connections when it needs some.
    let connections = unsafe {
        let cycle = nginx_sys::ngx_cycle;
        (*cycle).free_connection_n + (*cycle).reusable_connections_n
    };
    if connections == 0 {
        return Err(io::Error::other(NO_CONNECTION));
    }
    // SAFETY: a new descriptor, which nobody else knows of.
    unsafe {
        let fd = libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        libc::close(fd);
    }
    Ok(())
}

/// The pool of a connection that is not made yet.
struct Pool(NonNull<ngx_pool_t>);

impl Pool {
    fn new() -> io::Result<Self> {
        // SAFETY: the cycle's log outlives every connection of the worker.
        let pool = unsafe { ngx_create_pool(POOL_SIZE, log::cycle().as_ptr()) };
        NonNull::new(pool).map(Pool).ok_or_else(|| io::ErrorKind::OutOfMemory.into())
    }

    /// Moves `value`, which needs no drop, into the pool.
    fn keep<T: Copy>(&self, value: T) -> io::Result<*mut T> {
        // SAFETY: the pool is live.
        let kept = unsafe { nginx_sys::ngx_palloc(self.0.as_ptr(), size_of::<T>()) }.cast::<T>();
        if kept.is_null() {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        // SAFETY: the memory is new, large enough, and aligned as malloc's is.
        unsafe { kept.write(value) };
        Ok(kept)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // SAFETY: whoever takes the pool over forgets this owner.
        unsafe { ngx_destroy_pool(self.0.as_ptr()) };
    }
}

/// Opens the socket; `true` if the peer has not answered yet.
fn start(address: &Address) -> Result<(Connection, bool), ConnectError> {
    prepare(address).map_err(ConnectError::Own)?.connect()
}

/// A connection that nginx is to be asked for. All that it needs is in the pool.
struct Prepared {
    pool: Pool,
    raw: *mut sockaddr,
    socklen: u32,
    name: *mut ngx_str_t,
    log: *mut ngx_log_t,
    log_level: usize,
}

fn prepare(address: &Address) -> io::Result<Prepared> {
    let (storage, socklen) = raw_address(address)?;
    if !listening::is_connection_free() {
        return Err(io::Error::other(NO_CONNECTION));
    }
    let pool = Pool::new()?;
    let raw = pool.keep(storage)?.cast::<sockaddr>();
    let text = text(address);
    // SAFETY: the pool is live and gets a copy of the text.
    let name = unsafe { ngx_str_t::from_bytes(pool.0.as_ptr(), &text) };
    let name = pool.keep(name.ok_or(io::ErrorKind::OutOfMemory)?)?;
    // SAFETY: the cycle's log is live.
    let mut own_log: ngx_log_t = unsafe { *log::cycle().as_ptr() };
    // what fails is silent here: the caller says it, together with what it was for
    let log_level = mem::replace(&mut own_log.log_level, NGX_LOG_EMERG as usize);
    let log = pool.keep(own_log)?;
    Ok(Prepared { pool, raw, socklen, name, log, log_level })
}

impl Prepared {
    fn connect(self) -> Result<(Connection, bool), ConnectError> {
        let Prepared { pool, raw, socklen, name, log, log_level } = self;
        // SAFETY: a C struct whose zeroes mean "not given", set up as nginx's own modules do. All
        // that it points to is in the pool, which lives until the connection is closed.
        unsafe {
            let mut pc: ngx_peer_connection_t = mem::zeroed();
            pc.sockaddr = raw;
            pc.socklen = socklen;
            pc.name = name;
            pc.get = Some(ngx_event_get_peer);
            pc.log = log;
            pc.set_log_error(nginx_sys::ngx_connection_log_error_e_NGX_ERROR_INFO as _);
            *libc::__errno_location() = 0;
            let rc = ngx_event_connect_peer(&mut pc);
            let Some(c) = NonNull::new(pc.connection) else {
                return Err(refused(rc, io::Error::last_os_error()));
            };
            if rc != NGX_OK as isize && rc != NGX_AGAIN as isize {
                ngx_close_connection(c.as_ptr());
                return Err(ConnectError::Own(io::Error::other("not connected")));
            }
            (*log).log_level = log_level;
            (*log).connection = (*c.as_ptr()).number;
            (*c.as_ptr()).sockaddr = raw;
            (*c.as_ptr()).socklen = socklen;
            (*c.as_ptr()).addr_text = *name;
            (*c.as_ptr()).pool = pool.0.as_ptr();
            mem::forget(pool);
            Ok((Connection::new(c), rc == NGX_AGAIN as isize))
        }
    }
}

/// What nginx gave no connection for: it declines when `connect` has failed, and fails before that.
fn refused(rc: isize, error: io::Error) -> ConnectError {
    match error.raw_os_error() {
        Some(0) => ConnectError::Own(io::Error::other(NO_CONNECTION)),
        Some(errno) if rc == NGX_DECLINED as isize && !EXHAUSTED.contains(&errno) => {
            ConnectError::Peer(error)
        }
        _ => ConnectError::Own(error),
    }
}

/// A connection that futures read and write. One task reads and one, maybe the same, writes.
pub struct AsyncConn {
    conn: Connection,
    wakers: Rc<Wakers>,
    lasting: Cell<bool>,
}

/// Whoever reads a connection within the event that tells of input. A task is polled behind all
/// events of the loop's turn, and by way of every future around the read.
pub trait Reader {
    /// There is something to read, or nginx wants the connection closed.
    fn readable(self: Rc<Self>);
}

#[derive(Default)]
struct Wakers {
    reader: RefCell<Option<Weak<dyn Reader>>>,
    read: Cell<Option<Waker>>,
    write: Cell<Option<Waker>>,
    /// How often the socket became writable, and how many of these [`AsyncConn::writable`] told.
    writable: Cell<u64>,
    told: Cell<u64>,
}

impl Wakers {
    fn wake(waker: &Cell<Option<Waker>>) {
        if let Some(waker) = waker.take() {
            waker.wake();
        }
    }
}

impl Handler for Wakers {
    fn readable(self: Rc<Self>) {
        let reader = self.reader.borrow().as_ref().and_then(Weak::upgrade);
        match reader {
            Some(reader) => reader.readable(),
            None => Self::wake(&self.read),
        }
        if clock::exiting() {
            // nginx may be closing idle connections outside of its loop, and what is posted there
            // would wait for the next event
            task::start();
        }
    }

    fn writable(self: Rc<Self>) {
        self.writable.set(self.writable.get().wrapping_add(1));
        Self::wake(&self.write);
    }

    fn panicked(self: Rc<Self>) {
        Self::wake(&self.read);
        Self::wake(&self.write);
    }
}

impl AsyncConn {
    /// Takes over the events of `conn`.
    pub fn new(conn: Connection) -> Self {
        let wakers = Rc::new(Wakers::default());
        conn.set_handler(wakers.clone());
        AsyncConn { conn, wakers, lasting: Cell::new(false) }
    }

    /// The connection itself.
    pub fn get_ref(&self) -> &Connection {
        &self.conn
    }

    /// Says whether nobody waits for anything on this connection, as when it is kept for a next
    /// request. A worker that is told to leave closes such connections: they read as aborted.
    pub fn set_idle(&self, idle: bool) {
        // SAFETY: the connection is live.
        unsafe { (*self.conn.as_ptr()).set_idle(idle.into()) };
    }

    /// Says whether a worker that is told to leave lets this connection be, also when its time is
    /// over: whoever uses it ends soon by itself.
    pub fn set_lasting(&self, lasting: bool) {
        self.lasting.set(lasting);
    }

    /// Has `reader` read at each event from now on, for as long as it lives, instead of a task.
    pub fn set_reader(&self, reader: Weak<impl Reader + 'static>) {
        self.wakers.reader.replace(Some(reader));
    }

    /// Reads what is there into `buf`: `Ok(0)` is the peer's end. While there is nothing, the next
    /// event is for the reader.
    pub fn try_read(&self, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        if self.conn.wants_close() && !self.lasting.get() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        match self.conn.recv(buf) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                match self.conn.await_readable() {
                    Ok(()) => Poll::Pending,
                    Err(error) => Poll::Ready(Err(error)),
                }
            }
            result => Poll::Ready(result),
        }
    }

    /// The same for a task, which is woken when there is more.
    pub fn poll_read(&self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let read = self.try_read(buf);
        if read.is_pending() {
            self.wakers.read.set(Some(cx.waker().clone()));
        }
        read
    }

    /// Writes a prefix of `data`, which must not be empty.
    pub fn poll_write(&self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        match self.conn.send(data) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.wakers.write.set(Some(cx.waker().clone()));
                Poll::Pending
            }
            result => Poll::Ready(result),
        }
    }

    /// Waits for bytes and reads them into `buf`: `Ok(0)` is the peer's end.
    pub async fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        poll_fn(|cx| self.poll_read(cx, buf)).await
    }

    /// Writes all of `data`.
    pub async fn write_all(&self, mut data: &[u8]) -> io::Result<()> {
        while !data.is_empty() {
            let n = poll_fn(|cx| self.poll_write(cx, data)).await?;
            data = data.get(n..).unwrap_or_default();
        }
        Ok(())
    }

    /// Waits until the socket becomes writable, counted from the last time that this was told: for
    /// one who writes to the connection itself, until it is full.
    pub async fn writable(&self) {
        poll_fn(|cx| {
            let times = self.wakers.writable.get();
            if self.wakers.told.replace(times) != times {
                return Poll::Ready(());
            }
            self.wakers.write.set(Some(cx.waker().clone()));
            Poll::Pending
        })
        .await
    }

    /// Waits until the peer has taken or refused the connection.
    async fn connected(&self) -> io::Result<()> {
        let c = self.conn.as_ptr();
        poll_fn(|cx| {
            // SAFETY: the connection is live. The socket is writable in either case.
            if unsafe { (*(*c).write).ready() != 0 } {
                return Poll::Ready(());
            }
            self.wakers.write.set(Some(cx.waker().clone()));
            Poll::Pending
        })
        .await;
        let mut errno: libc::c_int = 0;
        let mut len = size_of_val(&errno) as libc::socklen_t;
        // SAFETY: the connection is live; the option is an int, and so is what takes it.
        let rc = unsafe {
            let errno = ptr::from_mut(&mut errno).cast();
            libc::getsockopt((*c).fd, libc::SOL_SOCKET, libc::SO_ERROR, errno, &mut len)
        };
        match (rc, errno) {
            (0, 0) => Ok(()),
            (0, errno) => Err(io::Error::from_raw_os_error(errno)),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

/// A connection for hyper.
pub struct Io(pub Rc<AsyncConn>);

impl hyper::rt::Read for Io {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        READ_BUFFER.with_borrow_mut(|bytes| {
            let room = buf.remaining().min(bytes.len());
            let bytes = bytes.get_mut(..room).unwrap_or_default();
            let n = std::task::ready!(self.0.poll_read(cx, bytes))?;
            buf.put_slice(bytes.get(..n).unwrap_or_default());
            Poll::Ready(Ok(()))
        })
    }
}

impl hyper::rt::Write for Io {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        match data.is_empty() {
            true => Poll::Ready(Ok(0)),
            false => self.0.poll_write(cx, data),
        }
    }

    /// Nothing is held back.
    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// The connection is closed when it is dropped.
    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
