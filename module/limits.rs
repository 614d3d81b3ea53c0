//! Every bound, named, with its reason.
