"""How often somebody may ask: a quota for each key, counted by the generic cell rate algorithm in bounded memory.

A quota of N requests in W seconds allows N at once, and then one every W/N seconds. Each process counts for itself:
with several behind one address, a caller has as many times the quota. The headers are those of the IETF's draft
"RateLimit header fields for HTTP" (draft-ietf-httpapi-ratelimit-headers).
"""

import ipaddress
import math
from collections import OrderedDict
from dataclasses import dataclass
from typing import NamedTuple

# A key costs some 200 bytes. Whoever has more addresses than this only makes others' counts start anew.
KEYS_MAX = 20_000
WINDOW_S = 60
# Whoever rents a machine has at least so much of IPv6 for itself.
IPV6_PREFIX = 64


@dataclass(frozen=True, slots=True)
class Quota:
    """So many requests a minute; 0 allows any number."""

    name: str
    requests: int


class Verdict(NamedTuple):
    """Whether one more request is within the quota, and what the caller is told."""

    quota: Quota
    allowed: bool
    remaining: int
    reset_s: int

    def headers(self) -> dict[str, str]:
        """Return the header fields; `t` is in how many seconds the whole quota is there again."""
        name = self.quota.name
        told = {
            "RateLimit-Policy": f'"{name}";q={self.quota.requests};w={WINDOW_S}',
            "RateLimit": f'"{name}";r={self.remaining};t={self.reset_s}',
        }
        return told if self.allowed else told | {"Retry-After": str(self.retry_after_s())}

    def retry_after_s(self) -> int:
        """Return in how many whole seconds the next request is allowed."""
        return max(1, math.ceil(WINDOW_S / self.quota.requests))


class Limiter:
    """Counts the requests of each key against one quota."""

    def __init__(self, quota: Quota, keys_max: int = KEYS_MAX) -> None:
        self._quota = quota
        self._keys_max = keys_max
        # When each key's quota would be whole again, the key that asked last at the end.
        self._whole_at_s: OrderedDict[str, float] = OrderedDict()

    def take(self, key: str, now_s: float) -> Verdict | None:
        """Count one request; None where there is no limit. A refused request does not count."""
        quota = self._quota
        if not quota.requests:
            return None
        interval_s = WINDOW_S / quota.requests
        whole_at_s = max(self._whole_at_s.get(key, now_s), now_s) + interval_s
        # A float's last bit must not cost the last request of the quota.
        allowed = whole_at_s - now_s <= WINDOW_S + interval_s * 1e-6
        if allowed:
            self._whole_at_s[key] = whole_at_s
            self._whole_at_s.move_to_end(key)
            while len(self._whole_at_s) > self._keys_max:
                self._whole_at_s.popitem(last=False)
        else:
            whole_at_s -= interval_s
        used = math.ceil((whole_at_s - now_s) / interval_s - 1e-6)
        return Verdict(quota, allowed, max(0, quota.requests - used), math.ceil(whole_at_s - now_s))

    def __len__(self) -> int:
        return len(self._whole_at_s)


def group_address(address: str) -> str:
    """Return what an address counts as: itself, or in IPv6 the network that one subscriber has."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return address
    return str(ipaddress.ip_network((parsed, IPV6_PREFIX), strict=False))
