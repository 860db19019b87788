"""Topics for the hub's tests, made as `hub kafka apply` makes them."""

import asyncio
from collections.abc import Mapping

from hub import administration
from hub.cluster import Cluster
from hub.transport import Wanted, make_plan


async def create_topics(cluster: Cluster, topics: Mapping[str, int]) -> None:
    """Create those of the logical topics (name -> partitions) that do not exist."""
    named = {cluster.physical(name): partitions for name, partitions in topics.items()}
    wanted = Wanted(cluster.prefix, named, frozenset(), {}, frozenset())
    found = await asyncio.to_thread(administration.find, cluster, wanted)
    await asyncio.to_thread(administration.carry_out, cluster, wanted, make_plan(wanted, found))
