"""The generator's sums of what the applications wrote and read, by namespace, role, peer and port."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field


@dataclass
class Row:
    """Sums of one edge. While traffic is running, the kernel's byte counters are between a minimum and a maximum. At
    rest, both limits are equal.

    The minimum of the sent bytes consists of the bytes that the other application has read. The maximum consists of the
    bytes that the kernel accepted from this application.
    """

    sent_min: int = 0
    sent_max: int = 0
    received_min: int = 0
    received_max: int = 0
    # Connection attempts whose outcome is unknown so far.
    connecting: int = 0
    connections: int = 0
    # Connections with both directions open.
    open: int = 0
    # Connections with one closed direction, or whose other end is gone without this end's knowledge.
    half_open: int = 0
    failed: Counter = field(default_factory=Counter)
    ends: Counter = field(default_factory=Counter)


class Sums:
    def __init__(self):
        self.rows = defaultdict(Row)
        # Increases of the kernel's counters, by namespace and nstat name.
        self.counters = defaultdict(Counter)
        # SYNs that were dropped because an accept queue was full, by namespace and port.
        self.listen_drops = defaultdict(Counter)

    def row(self, netns, role, peer, port):
        return self.rows[netns, role, peer, port]

    def as_json(self):
        return {
            "rows": [
                {
                    "netns": netns,
                    "role": role,
                    "peer": peer,
                    "port": port,
                    "sent": [row.sent_min, row.sent_max],
                    "received": [row.received_min, row.received_max],
                    "connections": [row.connections, row.connections + row.connecting],
                    "open": [row.open, row.open + row.half_open + row.connecting],
                    "failed": row.failed,
                    "ends": row.ends,
                }
                for (netns, role, peer, port), row in self.rows.items()
            ],
            "counters": self.counters,
            "listenDrops": self.listen_drops,
        }


sums = Sums()
