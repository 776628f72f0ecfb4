"""Take converted networks out of where a release's processes leave them, into the store.

They can be anything that a model's code has written: nothing of them is read here.
"""

from __future__ import annotations

import os
import stat

from mms_server.archives.content_store import Store
from mms_server.core.paths import Layout
from mms_server.host.instance_files import InstanceFiles
from mms_server.host.release import Release
from mms_server.inference.backends.converted_network import FILE_NAME, MAX_BYTES


def take(layout: Layout, store: Store, release: Release) -> bool:
    """Keep what a release has left, if it has; return whether it was kept.

    Raises:
        OSError: it cannot be read or written.
    """
    if not release.conversion:
        return False
    left = InstanceFiles(layout.instance(release.id)).conversion
    try:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(left, flags)
    except FileNotFoundError:
        return False
    except OSError:
        # A link, which is not followed.
        left.unlink(missing_ok=True)
        return False
    with os.fdopen(descriptor, "rb") as stream:
        regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
        kept = regular and store.put(release.conversion, FILE_NAME, stream, MAX_BYTES)
    # It takes memory there.
    left.unlink(missing_ok=True)
    return kept
