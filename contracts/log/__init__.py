"""The evidence log: what one entry says, byte for byte (SPEC.md, section 9)."""
