"""Publications: numbered versions of what the fleet is to serve; each can be restored.

A publication maps places of the share to contents: archives, golden samples, the service file and
``mms.conf``. A switch copies the contents to their places, ``mms.conf`` last, so that a reader of
mms.conf finds the archives. Afterwards the link ``current`` is set. The link ``approved`` is set
when the whole fleet serves the publication. Only the holder of the lease may call functions that
write.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Final

from mms_server.archives import golden_samples
from mms_server.archives.locator import local_path
from mms_server.config import mms_conf as parser
from mms_server.config import model_uri
from mms_server.core.errors import MMSError
from mms_server.core.files import replace_link, write_atomically
from mms_server.core.io_timeout import with_io_timeout
from mms_server.fleet import content_store
from mms_server.fleet.shared_paths import Share

KEPT: Final = 10
"""Number of publications that are kept of those that the fleet has served."""

_FILE: Final = "publication.json"
_APPROVED: Final = "approved"


@dataclass(frozen=True)
class Publication:
    """A publication; ``places`` maps paths in the share to digests, empty for no file."""

    number: int
    made_at: str
    by: str
    places: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Published:
    """The result of publishing; ``changed`` are the places whose content has changed."""

    number: int
    changed: tuple[str, ...]
    made: bool


def numbers(share: Share) -> list[int]:
    """Return the numbers of the publications that are kept, newest first."""

    def act() -> list[str]:
        return [path.name for path in share.published.iterdir()]

    try:
        names = with_io_timeout(act, share.published)
    except FileNotFoundError:
        return []
    return sorted((int(name) for name in names if name.isdecimal()), reverse=True)


def load(share: Share, number: int) -> Publication:
    """Return one publication.

    Raises:
        MMSError: there is no publication of this number, or it cannot be read.
    """
    file = share.publication(number) / _FILE
    try:
        return Publication(**json.loads(with_io_timeout(lambda: file.read_text("utf-8"), file)))
    except FileNotFoundError:
        kept = ", ".join(map(str, numbers(share))) or "none"
        cause = f"there is no publication {number}; there are: {kept}."
        raise MMSError(cause, fix="name one of these.") from None
    except (OSError, ValueError, TypeError) as error:
        cause = f"{file} is not a publication: {error}."
        raise MMSError(cause, fix="remove its directory and publish again.") from error


def linked(link: Path) -> int | None:
    """Return the number of the publication that a link points to, None if there is no link."""
    try:
        name = with_io_timeout(link.readlink, link).name
    except FileNotFoundError:
        return None
    return int(name) if name.isdecimal() else None


def before(share: Share, number: int) -> int | None:
    """Return the newest publication before ``number`` that the whole fleet has served, if any.

    A publication that failed and was put back does not count.
    """
    return next(_served(share, (each for each in numbers(share) if each < number)), None)


@dataclass(frozen=True)
class Earlier:
    """The publication to roll back to, None if there is none, and why it is not an older one."""

    number: int | None
    why: str = ""


def earlier(share: Share) -> Earlier:
    """Return the publication that undoes the last change of the fleet.

    A second rollback leads to the same publication: a user who repeats it, because a run was
    interrupted or in haste, must not undo two changes.
    """
    approved, current = linked(share.approved), linked(share.current)
    if approved is None:
        return Earlier(None)
    if current is not None and current > approved:
        return Earlier(approved, f"publication {current} was not brought to an end")
    newest = next(_served(share, numbers(share)), approved)
    if newest > approved:
        why = (
            f"publication {newest} is rolled back already; -e mms_publication=N goes to another one"
        )
        return Earlier(approved, why)
    return Earlier(before(share, approved))


def places_of(text: str, share: Share) -> list[str]:
    """Return the places of the share that an ``mms.conf`` names, relative to it.

    Raises:
        MMSError: the file, or a location in it, is wrong.
    """
    parsed = parser.parse(text, share.conf)
    found: list[str] = []
    for spec in parsed.models:
        location = model_uri.parse(spec.location)
        if not location.remote:
            path = local_path(location, share.root)
            found += _inside(path.with_name(path.name + golden_samples.BESIDE), share)
            found += _inside(path, share)
    if "--service" in parsed.arguments:
        found += _inside(share.root / parsed.arguments["--service"][0], share)
    return list(dict.fromkeys(found))


def plan(share: Share, wanted: Mapping[str, str]) -> list[str]:
    """Return the places whose content :func:`publish` would change."""
    return [place for place, digest in wanted.items() if _at(share, place) != digest]


def publish(
    share: Share, conf_digest: str, given: Mapping[str, str], by: str, now: datetime
) -> Published:
    """Publish contents that are on the share, unless the newest publication has the same.

    ``given`` maps places (relative to the share) to digests; other places that ``mms.conf`` names
    keep their files. The files before the first publication become a publication of their own, so
    that they can be restored.

    Raises:
        MMSError: a content or a file that mms.conf names is missing, or mms.conf is wrong.
    """
    for digest in {conf_digest, *given.values()} - {content_store.NOTHING}:
        content_store.require(share.contents, digest)
    conf_file = share.contents / conf_digest
    text = with_io_timeout(lambda: conf_file.read_text("utf-8-sig"), conf_file)
    known = numbers(share)
    if not known and with_io_timeout(share.conf.exists, share.conf):
        _adopt(share, by, now)
        known = numbers(share)
    places = places_of(text, share)
    stranger = sorted(given.keys() - set(places))
    if stranger:
        raise MMSError(f"mms.conf does not name {stranger[0]}.", fix="publish what it names.")
    wanted = {place: given[place] if place in given else _kept(share, place) for place in places}
    wanted[share.conf.name] = conf_digest
    newest = load(share, known[0]) if known else None
    made = newest is None or dict(newest.places) != wanted
    if newest is None or made:
        number = known[0] + 1 if known else 1
        newest = Publication(number, now.isoformat(timespec="seconds"), by, wanted)
        _write(share, newest, text)
    return Published(newest.number, switch(share, newest), made)


def switch(share: Share, publication: Publication) -> tuple[str, ...]:
    """Copy a publication to its places and set ``current`` to it; return the changed places.

    Raises:
        MMSError: a content is missing; nothing was changed.
    """
    for digest in set(publication.places.values()) - {content_store.NOTHING}:
        content_store.require(share.contents, digest)
    rest = {name: each for name, each in publication.places.items() if name != share.conf.name}
    conf = {share.conf.name: publication.places[share.conf.name]}
    changed = [
        place
        for place, digest in {**rest, **conf}.items()
        if content_store.put(share.contents, digest, share.root / place)
    ]
    _point(share.current, publication.number)
    return tuple(changed)


def differences(share: Share, publication: Publication) -> list[str]:
    """Return the places whose content is not that of a publication."""
    return [place for place, digest in publication.places.items() if _at(share, place) != digest]


def approve(share: Share, number: int) -> None:
    """Approve a publication: hosts that were away switch to it by themselves."""
    (share.publication(number) / _APPROVED).touch()
    _point(share.approved, number)


def prune(share: Share, keep: int = KEPT) -> list[int]:
    """Keep the newest ``keep`` served publications, the newest and the current; remove others."""
    known = numbers(share)
    served = islice(_served(share, known), keep)
    needed = {*known[:1], *served, linked(share.current), linked(share.approved)}
    gone = [number for number in known if number not in needed]
    for number in gone:
        shutil.rmtree(share.publication(number))
    used = {
        digest
        for number in known
        if number in needed
        for digest in load(share, number).places.values()
    }
    for path in share.contents.iterdir() if share.contents.is_dir() else ():
        if path.name not in used:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    return gone


def _served(share: Share, known: Iterable[int]) -> Iterator[int]:
    """Yield the publications that the whole fleet has served, in the given order."""
    for number in known:
        file = share.publication(number) / _APPROVED
        if with_io_timeout(file.exists, file):
            yield number


def _inside(path: Path, share: Share) -> Iterator[str]:
    normal = Path(os.path.normpath(path))
    if normal.is_relative_to(share.root) and normal != share.root:
        yield str(normal.relative_to(share.root))


def _at(share: Share, place: str) -> str:
    return content_store.digest(share.root / place)


def _kept(share: Share, place: str) -> str:
    path = share.root / place
    if not with_io_timeout(path.exists, path):
        if place.endswith(golden_samples.BESIDE):
            return content_store.NOTHING
        cause = f"mms.conf names {path}, which is not there and was not given."
        raise MMSError(cause, fix="put it there, or correct the location in mms.conf.")
    return content_store.keep(share.contents, path)


def _adopt(share: Share, by: str, now: datetime) -> None:
    """Make a publication of the files at the places, if they are complete and valid."""
    try:
        text = with_io_timeout(lambda: share.conf.read_text("utf-8-sig"), share.conf)
        places = {place: _kept(share, place) for place in places_of(text, share)}
        places[share.conf.name] = content_store.keep(share.contents, share.conf)
    except (MMSError, UnicodeDecodeError):
        return
    found = Publication(1, now.isoformat(timespec="seconds"), f"found by {by}", places)
    _write(share, found, text)
    _point(share.current, found.number)
    approve(share, found.number)


def _write(share: Share, publication: Publication, text: str) -> None:
    target = share.publication(publication.number)
    temporary = target.with_name(f".{target.name}.new")
    if temporary.exists():
        shutil.rmtree(temporary)
    temporary.mkdir(parents=True)
    write_atomically(temporary / share.conf.name, text)
    write_atomically(temporary / _FILE, json.dumps(asdict(publication), indent=2) + "\n")
    temporary.rename(target)


def _point(link: Path, number: int) -> None:
    if linked(link) != number:
        replace_link(link, str(number))
