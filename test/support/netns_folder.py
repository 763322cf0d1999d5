"""Prepares the directory of named network namespaces as `ip netns add` does (iproute2, ip/ipnetns.c)."""

import ctypes
import os

MS_BIND, MS_REC, MS_SHARED = 4096, 1 << 14, 1 << 20
FOLDER = b'/run/netns'


def prepare() -> None:
    """Makes the directory a shared mount. Otherwise, a later `ip netns add` mounts the directory over itself, after which the earlier namespaces can no
    longer be unmounted."""
    libc = ctypes.CDLL(None, use_errno=True)
    os.makedirs(FOLDER, exist_ok=True)
    if libc.mount(b'', FOLDER, b'none', MS_SHARED | MS_REC, None) == 0:
        return
    for source, flags in ((FOLDER, MS_BIND | MS_REC), (b'', MS_SHARED | MS_REC)):
        if libc.mount(source, FOLDER, b'none', flags, None) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
