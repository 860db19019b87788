"""The rules: what a set of facts amounts to, whoever computes it and in whatever order the facts came."""
