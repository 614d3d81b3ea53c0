//! One client: its seats and its mode.

pub mod seats;
