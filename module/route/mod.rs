//! Request -> plan.
