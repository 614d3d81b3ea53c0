//! Which replicas have which writes: the answers of WAIT and WAITAOF.
