//! Starts and drives real servers for Weir: for its tests, its demonstration and its benchmark.
