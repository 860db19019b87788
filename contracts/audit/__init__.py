"""The offline pack of one case, and its recheck by anybody who trusts nobody (SPEC.md, section 12).

pack      the file: originals, leaves with their paths, registry history, rule sets, one checkpoint
finding   what a recheck comes to: proven, not proven, beyond any pack; each in plain words
history   the registry and its keys by log position
replay    the case folded and decided again, each recommendation compared byte for byte
verify    all of that in order
"""
