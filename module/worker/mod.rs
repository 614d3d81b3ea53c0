//! Threads, listener, mailboxes.
