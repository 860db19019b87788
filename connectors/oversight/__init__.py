"""The oversight body's own tools, on its own machine: they trust no hub, and import nothing but contracts.

witness     cosigns the log's checkpoints, and refuses a log that contradicts itself
"""
