"""Take converted networks out of where a release's processes leave them, into the store.

They can be anything that a model's code has written: nothing of them is read here.
"""

from __future__ import annotations

from mms_server.archives.content_store import Store
from mms_server.core.paths import Layout
from mms_server.core.untrusted_files import open_regular
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
        stream = open_regular(left)
    except FileNotFoundError:
        return False
    except OSError:
        # A link, which is not followed, or no file.
        left.unlink(missing_ok=True)
        return False
    with stream:
        kept = store.put(release.conversion, FILE_NAME, stream, MAX_BYTES)
    # It takes memory there.
    left.unlink(missing_ok=True)
    return kept
