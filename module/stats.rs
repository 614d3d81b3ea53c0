//! Counters, one row each.
