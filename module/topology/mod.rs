//! Who the primaries and replicas are, and what changed.
