//! One row per option.
