"""Converted networks: moved from a release's instance directory into the store.

A model's code may have written anything into such a file, so its content is not interpreted here.
"""

from __future__ import annotations

from mms_server.archives.content_store import Store
from mms_server.core.paths import Layout
from mms_server.core.untrusted_files import open_regular
from mms_server.host.instance_files import InstanceFiles
from mms_server.host.release import Release
from mms_server.inference.backends.converted_network import FILE_NAME, MAX_BYTES


def move_to_store(layout: Layout, store: Store, release: Release) -> bool:
    """Move the converted network of a release into the store; return whether it is stored.

    Raises:
        OSError: the file cannot be read or written.
    """
    if not release.conversion:
        return False
    file = InstanceFiles(layout.instance(release.id)).conversion
    try:
        stream = open_regular(file)
    except FileNotFoundError:
        return False
    except OSError:
        # A symlink, which is not followed, or not a regular file.
        file.unlink(missing_ok=True)
        return False
    with stream:
        stored = store.put(release.conversion, FILE_NAME, stream, MAX_BYTES)
    # The instance directory is on a tmpfs, so the file takes memory.
    file.unlink(missing_ok=True)
    return stored
