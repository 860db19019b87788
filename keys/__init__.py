"""Private keys of processes: in a file that only its owner may read, or in a token that never gives them away."""
