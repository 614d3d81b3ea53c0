//! What a command is: arity, flags, keys and policies, as `COMMAND` tells them.
