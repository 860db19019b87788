"""For each alert, series on which it must fire and series that are nearly those, on which it must not.

Series are in promtool's notation: `a+bxn` is a value, its change a minute, and how often. Times are in minutes.
"""

from typing import NamedTuple


class Case(NamedTuple):
    """When an alert fires (`broken`, after `after` minutes), and what must leave it quiet all the while (`well`)."""

    broken: dict[str, str]
    well: dict[str, str]
    after: int = 20


REFUSALS = "hub_intake_refusals_total"
RECEIPTS = "tkahub_connector_receipts_total"
# Where an alert is about the lack of something, everything is lacking that is not named.
CASES: dict[str, Case] = {
    "HubProcessDown": Case({'up{job="hub"}': "1 0x30"}, {'up{job="hub"}': "1x30", 'up{job="other"}': "0x30"}),
    "HubPartNotReady": Case(
        {'hub_problem_since_timestamp_seconds{part="intake"}': "0 0 700x30"},
        {'hub_problem_since_timestamp_seconds{part="intake"}': "0 700 700 0x30"},
    ),
    "NobodyTakesMessagesIn": Case({}, {'hub_intake_lag_messages{topic="from.bri",partition="0"}': "0x30"}),
    "IntakeFallsBehind": Case(
        {
            'hub_intake_lag_messages{topic="from.bri",partition="0"}': "6000x30",
            'hub_intake_lag_messages{topic="from.bri",partition="1"}': "6000x30",
        },
        # Two intakes that tell of the same partition tell of the same messages.
        {
            'hub_intake_lag_messages{topic="from.bri",partition="0",instance="a"}': "6000x30",
            'hub_intake_lag_messages{topic="from.bri",partition="0",instance="b"}': "6000x30",
        },
    ),
    "MessagesLostToRetention": Case(
        {'hub_lost_unacknowledged{topic="from.bri"}': "1x30"}, {'hub_lost_unacknowledged{topic="from.bri"}': "0x30"}
    ),
    "DailyCountsDiffer": Case(
        {'hub_counts_differing{participant="bri"}': "1x30"}, {'hub_counts_differing{participant="bri"}': "0x30"}
    ),
    "SourceHasGap": Case(
        {'hub_source_behind_gap{source="https://bri.example/tka"}': "3x90"},
        {'hub_source_behind_gap{source="https://bri.example/tka"}': "3x30 0x60"},
        after=70,
    ),
    "ManyRefusals": Case(
        {f'{REFUSALS}{{code="data_invalid"}}': "0+1x30"},
        {f'{REFUSALS}{{code="data_invalid"}}': "0 5x30", f'{REFUSALS}{{code="signature_invalid"}}': "0+1x30"},
    ),
    "ForgerySuspected": Case(
        {f'{REFUSALS}{{code="equivocation"}}': "0x10 1x30"}, {f'{REFUSALS}{{code="data_invalid"}}': "0+1x30"}
    ),
    "HubChokedOnMessage": Case(
        {f'{REFUSALS}{{code="poison"}}': "0x10 1x30"}, {f'{REFUSALS}{{code="data_invalid"}}': "0+1x30"}
    ),
    "NobodyWritesTopic": Case(
        # Its relay died, and with it went its figures.
        {'hub_relay_leading{topic="to.bri",instance="a"}': "1x10 stale"},
        # Another one went on.
        {
            'hub_relay_leading{topic="to.bri",instance="a"}': "1x10 stale",
            'hub_relay_leading{topic="to.bri",instance="b"}': "0x10 1x20",
        },
    ),
    "RelayFallsBehind": Case(
        {'hub_relay_lag_messages{topic="to.bri",partition="0"}': "10001x30"},
        {'hub_relay_lag_messages{topic="to.bri",partition="0"}': "10000x30"},
    ),
    # Every process of the hub shows these figures; those that do something else show 0.
    "NobodyWatchesClocks": Case(
        {'hub_deadlines_leading{instance="api"}': "0x30"},
        {'hub_deadlines_leading{instance="api"}': "0x30", 'hub_deadlines_leading{instance="d"}': "1x30"},
    ),
    "LogNotSigned": Case(
        {'hub_sequencer_leading{instance="api"}': "0x30", 'hub_log_size{instance="api"}': "0x30"},
        {'hub_sequencer_leading{instance="api"}': "0x30", 'hub_sequencer_leading{instance="s"}': "1x30"},
    ),
    "WitnessBehind": Case(
        {
            'hub_log_size{instance="s"}': "100+10x40",
            'hub_log_size{instance="api"}': "0x40",
            'hub_log_cosigned_size{witness="kpk.example/witness",instance="s"}': "100x40",
        },
        {
            'hub_log_size{instance="s"}': "100+10x40",
            'hub_log_cosigned_size{witness="kpk.example/witness",instance="s"}': "90+10x40",
        },
        after=30,
    ),
    "ApiFails": Case(
        {'hub_api_requests_total{status="500"}': "0+10x30", 'hub_api_requests_total{status="200"}': "0+100x30"},
        {'hub_api_requests_total{status="404"}': "0+100x30", 'hub_api_requests_total{status="500"}': "0+1x30"},
    ),
    "ConnectorDown": Case({'up{job="connector"}': "1 0x30"}, {'up{job="connector"}': "1x30"}),
    "SpoolWaits": Case(
        {"tkahub_connector_spool_oldest_timestamp_seconds": "60x30"},
        {"tkahub_connector_spool_oldest_timestamp_seconds": "0x30"},
    ),
    "SpoolFills": Case(
        {"tkahub_connector_spool_bytes": "81x30", "tkahub_connector_spool_bytes_max": "100x30"},
        {"tkahub_connector_spool_bytes": "79x30", "tkahub_connector_spool_bytes_max": "100x30"},
    ),
    "ReceiptsMissing": Case(
        {"tkahub_connector_receipts_missing": "1x30"}, {"tkahub_connector_receipts_missing": "0x30"}
    ),
    "HubCountsOtherwise": Case(
        {"tkahub_connector_counts_differing": "1x30"}, {"tkahub_connector_counts_differing": "0x30"}
    ),
    "MessagesRefused": Case(
        {f'{RECEIPTS}{{outcome="refused"}}': "0x10 1x30"}, {f'{RECEIPTS}{{outcome="accepted"}}': "0+1x30"}
    ),
    "NameUsedByAnother": Case(
        {f'{RECEIPTS}{{outcome="foreign"}}': "0x10 1x30"}, {f'{RECEIPTS}{{outcome="foreign"}}': "0x30"}
    ),
    "FactsSetAside": Case(
        {"tkahub_connector_spool_set_aside": "7x10 8x30"}, {"tkahub_connector_spool_set_aside": "7x30"}
    ),
    "StreamStopped": Case(
        {'tkahub_connector_stream_stopped{topic="to.bri",partition="0"}': "1x30"},
        {'tkahub_connector_stream_stopped{topic="to.bri",partition="0"}': "0x30"},
    ),
    "RegistryRefused": Case(
        {"tkahub_connector_registry_refused_total": "0x10 1x30"}, {"tkahub_connector_registry_refused_total": "3x30"}
    ),
    "ErasureForged": Case(
        {'tkahub_connector_erasures_total{became="refused"}': "0x10 1x30"},
        {'tkahub_connector_erasures_total{became="obeyed"}': "0+1x30"},
    ),
    "ClockIsOff": Case(
        {"tkahub_connector_clock_offset_seconds": "-6x30"}, {"tkahub_connector_clock_offset_seconds": "-4x30"}
    ),
    "OfficeFallsBehind": Case(
        {'tkahub_connector_office_oldest_timestamp_seconds{office="ngurah-rai"}': "60x30"},
        {'tkahub_connector_office_oldest_timestamp_seconds{office="ngurah-rai"}': "0x30"},
    ),
    "VisaWithoutBasis": Case(
        {"tkahub_connector_visa_alarms_open": "1x30"}, {"tkahub_connector_visa_alarms_open": "0x30"}
    ),
}
