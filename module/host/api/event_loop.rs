//! The host's event loop: how another thread has something done on the main thread; and what the
//! main thread is to publish.

use std::ffi::{c_int, c_void};
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};
use std::ptr;
use std::sync::Arc;

use redis_module::raw;

use super::{OK, ServerString};

/// A bell in the host's event loop: whoever rings it has a function called on the main thread,
/// soon. Dropping it, on the main thread, takes it out.
///
/// Its descriptor is one that the event loop has room for, so not one of the fleet's.
pub(in crate::host) struct LoopBell {
    fd: Arc<OwnedFd>,
}

/// Rings a [`LoopBell`], from any thread.
#[derive(Clone)]
pub(in crate::host) struct Ringer(Arc<OwnedFd>);

impl LoopBell {
    /// `rung` is called with `data`, which must be good for as long as this bell hangs.
    ///
    /// # Errors
    /// There is no descriptor left, or the event loop has no room for it.
    pub(in crate::host) fn hang(
        rung: raw::RedisModuleEventLoopFunc,
        data: *mut c_void,
    ) -> io::Result<Self> {
        // SAFETY: no pointers; the descriptor that comes back is nobody else's.
        let fd = unsafe {
            let fd = libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC);
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            OwnedFd::from_raw_fd(fd)
        };
        let mask = raw::REDISMODULE_EVENTLOOP_READABLE as c_int;
        // SAFETY: main thread; the function matches its type, and `data` is as the caller promises.
        let added =
            unsafe { server!(RedisModule_EventLoopAdd)(fd.as_raw_fd(), mask, rung, data) } == OK;
        if added { Ok(Self { fd: Arc::new(fd) }) } else { Err(io::Error::last_os_error()) }
    }

    pub(in crate::host) fn ringer(&self) -> Ringer {
        Ringer(Arc::clone(&self.fd))
    }

    /// To be said by the function that was called, before it looks for what there is to do.
    pub(in crate::host) fn silence(fd: RawFd) {
        let mut count = [0u8; 8];
        // SAFETY: eight bytes, as an eventfd wants. If it was silent already, nothing is read.
        unsafe { libc::read(fd, count.as_mut_ptr().cast(), count.len()) };
    }
}

impl Drop for LoopBell {
    fn drop(&mut self) {
        let mask = raw::REDISMODULE_EVENTLOOP_READABLE as c_int;
        // SAFETY: main thread; it was added by `hang`. The descriptor is open until all ringers are
        // gone too.
        unsafe { server!(RedisModule_EventLoopDel)(self.fd.as_raw_fd(), mask) };
    }
}

impl Ringer {
    pub(in crate::host) fn ring(&self) {
        let one = 1u64.to_ne_bytes();
        // SAFETY: eight bytes, as an eventfd wants. It fails only if it is ringing already.
        unsafe { libc::write(self.0.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }
}

/// Publishes a message to the host's own clients. Main thread.
pub(in crate::host) fn publish(to_shard_channel: bool, channel: &[u8], message: &[u8]) {
    let (channel, message) = (ServerString::new(channel), ServerString::new(message));
    // SAFETY: main thread; the server takes references of its own to the strings.
    unsafe {
        if to_shard_channel {
            server!(RedisModule_PublishMessageShard)(ptr::null_mut(), channel.raw(), message.raw());
        } else {
            server!(RedisModule_PublishMessage)(ptr::null_mut(), channel.raw(), message.raw());
        }
    }
}
