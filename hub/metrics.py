"""The hub's figures, in one place, so that their names and labels can be read together.

No label ever holds anything from inside a message: only topics, partitions, codes and names from the registry.
"""

from prometheus_client import Counter, Gauge, Histogram

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_MESSAGES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000)

INTAKE_MESSAGES = Counter("hub_intake_messages", "Records that got their disposition.", ["topic", "disposition"])
INTAKE_REFUSALS = Counter("hub_intake_refusals", "Refused records.", ["code"])
INTAKE_BATCH_MESSAGES = Histogram("hub_intake_batch_messages", "Records in one transaction.", buckets=_MESSAGES)
INTAKE_TRANSACTION_SECONDS = Histogram(
    "hub_intake_transaction_seconds", "From a batch in hand to its commit.", buckets=_SECONDS
)
INTAKE_LAG_MESSAGES = Gauge("hub_intake_lag_messages", "Records not yet taken.", ["topic", "partition"])
INTAKE_LOST = Counter("hub_intake_lost", "Offsets that a topic no longer held when the hub came back.", ["topic"])
LOST_UNACKNOWLEDGED = Gauge("hub_lost_unacknowledged", "Lost stretches that nobody acknowledged.", ["topic"])
INTAKE_SUPERSEDED = Counter("hub_intake_superseded", "Batches dropped because another owner moved on.")

RELAY_MESSAGES = Counter("hub_relay_messages", "Messages committed to an output topic.", ["topic"])
RELAY_POSITION = Gauge("hub_relay_position", "Last hub-seq committed to Kafka.", ["topic", "partition"])
RELAY_LAG_MESSAGES = Gauge("hub_relay_lag_messages", "Messages not yet in Kafka.", ["topic", "partition"])
RELAY_LEADING = Gauge("hub_relay_leading", "1 while this process writes the topic.", ["topic"])
RELAY_TRANSACTION_SECONDS = Histogram(
    "hub_relay_transaction_seconds", "One Kafka transaction, from its begin to its commit.", buckets=_SECONDS
)
RELAY_RECYCLED = Counter("hub_relay_recycled", "Producers thrown away after an error.", ["topic"])

LOG_SIZE = Gauge("hub_log_size", "Leaves in the evidence log's tree.")
SEQUENCER_LEADING = Gauge("hub_sequencer_leading", "1 while this process signs the evidence log.")
LOG_ROUND_SECONDS = Histogram(
    "hub_log_round_seconds", "From the look for new leaves to their signed checkpoint.", buckets=_SECONDS
)
LOG_COSIGNED_SIZE = Gauge("hub_log_cosigned_size", "Size that a witness cosigned last.", ["witness"])
LOG_WITNESS_FAILURES = Counter("hub_log_witness_failures", "Requests to a witness that failed.", ["url"])

DEADLINES_LEADING = Gauge("hub_deadlines_leading", "1 while this process watches the clocks.")
DEADLINES_FIRED = Counter("hub_deadlines_fired", "Timers that fired.", ["name"])
DEADLINES_RETRIED = Counter("hub_deadlines_retried", "Deferred records that got their disposition.", ["disposition"])
REPAIR_ACTIONS = Counter("hub_repair_actions", "What operators asked of refused messages.", ["verb", "outcome"])
REPAIR_MESSAGES = Counter("hub_repair_messages", "Refused messages that a repair dealt with.")
RECONCILIATION_REPORTS = Counter("hub_reconciliation_reports", "Daily reports published.", ["participant"])
DIFFERENCES_OPEN = Gauge("hub_differences_open", "Differences that are open.", ["participant", "kind"])
OVERSIGHT_FOLLOWED = Counter("hub_oversight_followed", "Entries of the log put into dossiers.")
COUNTS_STATED = Counter("hub_counts_stated", "Daily counts that participants told.", ["participant", "verdict"])
COUNTS_DIFFERING = Gauge("hub_counts_differing", "Daily counts that differ from the participant's.", ["participant"])
SOURCE_BEHIND_GAP = Gauge("hub_source_behind_gap", "Highest sequence minus the last one before a gap.", ["source"])

# The readiness of each part, and since when, for an alarm that says more than that a process answers.
PROBLEM_SINCE = Gauge(
    "hub_problem_since_timestamp_seconds", "Since when something stops or slows a part; 0: nothing.", ["part"]
)

SCHEMA_VERSION = Gauge("hub_schema_version", "The schema revision that this process was built for.")
API_REQUESTS = Counter("hub_api_requests", "Answers given.", ["route", "status"])
