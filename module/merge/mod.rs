//! Parts of a split request -> one reply.
