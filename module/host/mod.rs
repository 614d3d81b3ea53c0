//! The Redis edge: commands, config, INFO, log.
