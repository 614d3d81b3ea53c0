//! One client: its seats and its mode.
