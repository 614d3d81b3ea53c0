//! All rooms put together; still no I/O.
