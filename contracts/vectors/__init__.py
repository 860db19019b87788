"""Cases to accept and to refuse, each with its code, that an implementation in any language can run."""
