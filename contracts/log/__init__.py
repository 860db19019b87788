"""The evidence log: its entries (SPEC.md, section 9), and the public formats in which anybody can check it.

entry       what one entry says, byte for byte
note        a signed text, and keys in their text form
checkpoint  the log at one size, and whom to believe about it
tile        the tree in pieces, entries in bundles, proofs out of both
proof       an entry's index, path and checkpoint, checked offline
fault       why something is not proven
"""
