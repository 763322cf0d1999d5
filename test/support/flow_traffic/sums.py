"""The sums of the generator: what the applications wrote and read, by namespace, role, peer and port."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field


@dataclass
class Row:
    """Sums of one edge. While traffic runs, the kernel's byte counters lie between a minimum and a maximum; at rest both are equal.

    Bytes that the other application has read were surely sent; bytes that the kernel took from this application were sent at most.
    """

    sent_min: int = 0
    sent_max: int = 0
    received_min: int = 0
    received_max: int = 0
    # Attempts to connect whose outcome is not known yet.
    connecting: int = 0
    connections: int = 0
    # Connections that neither application has closed, in both directions.
    open: int = 0
    # Connections of which one direction is closed, or whose other end is gone unnoticed.
    half_open: int = 0
    failed: Counter = field(default_factory=Counter)
    ends: Counter = field(default_factory=Counter)


class Sums:
    def __init__(self):
        self.rows = defaultdict(Row)
        # Changes of the kernel's counters by namespace, as nstat names them.
        self.counters = defaultdict(Counter)
        # SYNs that a full accept queue refused, by namespace and port.
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
