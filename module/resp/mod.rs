//! Bytes <-> frames.
