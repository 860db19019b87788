"""The oversight body's own tools, on its own machine: they trust no hub, and import nothing but contracts.

verify      rechecks one recommendation from one file, offline
monitor     follows the whole log, rechecks every recommendation, alarms
witness     cosigns the log's checkpoints, and refuses a log that contradicts itself
"""
