"""Documents name what is there: paths, modules, links and anchors; pages of internals are whole."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
INTERNALS = ROOT / "docs" / "internals"
PAGES = sorted(page for page in INTERNALS.glob("*.md") if page.name != "README.md")
DOCUMENTS = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
# What is built, and what a user has, is not in the repository.
TOP = {path.name for path in ROOT.iterdir() if path.is_dir() and path.name[0] not in "._"} - {
    "build"
}
MOST_LINES_OF_A_PICTURE = 26

_FENCE = re.compile(r"^ *(```|~~~)")
_SPAN = re.compile(r"`([^`]+)`")
_LINK = re.compile(r"(?<!!)\[(?:[^\[\]]|\[[^\]]*\])*\]\(([^()\s]+)\)")
_PLACEHOLDER = re.compile(r"<[^<>/]*>|\{[^{}/]*\}")
_FILE_NAME = re.compile(r"[\w@.-]+\.(?:py|yml|j2|sh)")
_WORD = re.compile(r"\w+")
_NAME = re.compile(r"[A-Z]+[a-z]\w*(?:\.\w+)?|[a-z]\w*_\w+")
"""A class, perhaps with an attribute, or a function, setting or variable of several words."""

_DOTTED = re.compile(r"(?:mms_server|tests|testhosts)(?:\.\w+)+")


def named(document: Path) -> str:
    return str(document.relative_to(ROOT))


@cache
def text_of(document: Path) -> str:
    """Return a document's text; of the changelog, what is true of today: its newest section."""
    text = document.read_text("utf-8")
    if document.name != "CHANGELOG.md":
        return text
    return "## [".join(text.split("\n## [")[:2])


def prose(document: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines, with their numbers, that are in no block of code."""
    fenced = False
    for number, line in enumerate(text_of(document).splitlines(), 1):
        if _FENCE.match(line):
            fenced = not fenced
        elif not fenced:
            yield number, line


@cache
def anchors(document: Path) -> frozenset[str]:
    """Return the anchors of a document's headings, as GitHub makes them."""
    found: dict[str, int] = {}
    for _number, line in prose(document):
        if re.match(r"#{1,6} ", line):
            title = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", line.lstrip("# "))
            slug = re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-")
            found[slug] = found.get(slug, -1) + 1
    return frozenset(
        f"{slug}-{count}" if count else slug
        for slug, last in found.items()
        for count in range(last + 1)
    )


def there(word: str, base: Path = ROOT) -> bool:
    """Return whether a path exists; a placeholder (`<name>`, `*`) stands for one at least."""
    pattern = _PLACEHOLDER.sub("*", word.partition("::")[0].rstrip("/.,:;"))
    return any(base.glob(pattern)) if "*" in pattern else (base / pattern).exists()


def missing_paths(line: str) -> Iterator[str]:
    """Yield the paths in a line that lead nowhere; in a table a file name goes on from a path."""
    for cell in line.split("|") if line.startswith("|") else [line]:
        base: Path | None = None
        for word in (word for span in _SPAN.findall(cell) for word in span.split()):
            if "/" in word and word.partition("/")[0] in TOP:
                place = ROOT / word
                base = place if word.endswith("/") else place.parent
                if not there(word):
                    yield word
            elif base and _goes_on(line, word) and not there(word, base):
                yield f"{base.relative_to(ROOT)}/{word}"


def _goes_on(line: str, word: str) -> bool:
    """Return whether a word is a file of the directory that the cell of a table has named."""
    return line.startswith("|") and _FILE_NAME.fullmatch(word) is not None


def is_module(name: str) -> bool:
    """Return whether a dotted name leads to a module, or to a name that its text has."""
    first, *rest = name.split(".")
    place = ROOT / first
    for number, part in enumerate(rest):
        if (place / part).is_dir():
            place /= part
            continue
        module = place / f"{part}.py"
        if not module.exists():
            own = place / "__init__.py"
            return own.exists() and part in own.read_text("utf-8")
        after = rest[number + 1 :]
        return not after or re.search(rf"\b{after[0]}\b", module.read_text("utf-8")) is not None
    return True


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_paths_lead_to_files(document: Path) -> None:
    missing = [
        f"{number}: {path}" for number, line in prose(document) for path in missing_paths(line)
    ]
    assert not missing


# The changelog says what was called otherwise.
@pytest.mark.parametrize(
    "document", [each for each in DOCUMENTS if each.name != "CHANGELOG.md"], ids=named
)
def test_dotted_names_lead_to_modules(document: Path) -> None:
    lines = enumerate(text_of(document).splitlines(), 1)
    found = [(number, name) for number, line in lines for name in _DOTTED.findall(line)]
    assert [f"{number}: {name}" for number, name in found if not is_module(name)] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_links_lead_somewhere(document: Path) -> None:
    broken = []
    for number, line in prose(document):
        for target in _LINK.findall(_SPAN.sub("`", line)):
            if re.match(r"[a-z]+:", target):
                continue
            path, _, anchor = target.partition("#")
            place = document.parent / path if path else document
            if not place.exists() or (
                anchor and place.suffix == ".md" and anchor not in anchors(place.resolve())
            ):
                broken.append(f"{number}: {target}")
    assert not broken


def section(page: Path, title: str) -> list[str]:
    """Return the rows of the table below a heading, without its head."""
    _before, _title, rest = text_of(page).partition(f"\n## {title}\n")
    rows = [line for line in rest.partition("\n## ")[0].splitlines() if line.startswith("|")]
    return rows[2:]


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_a_page_of_internals_is_whole(page: Path) -> None:
    blocks = text_of(page).split("```")
    assert blocks[0].count("\n## ") == 0, "the picture stands before the first section"
    assert 2 < blocks[1].count("\n") <= MOST_LINES_OF_A_PICTURE
    for title in ("Modules", "Tests"):
        rows = section(page, title)
        assert rows, title
        for row in rows:
            assert _SPAN.search(row.split("|")[1]), row
    assert all("tests/" in row.split("|")[1] for row in section(page, "Tests"))


@cache
def words_of_the_code() -> frozenset[str]:
    """Return all words that stand in the project's code, roles and playbooks."""
    files = (
        file
        for part in ("mms", "mms_server", "playbooks", "roles", "testhosts", "tests")
        for file in (ROOT / part).rglob("*")
        if file.suffix in {".conf", ".j2", ".py", ".yml"} and file != Path(__file__)
    )
    return frozenset(word for file in files for word in _WORD.findall(file.read_text("utf-8")))


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_names_in_the_pages_of_internals_are_in_the_code(page: Path) -> None:
    spans = (span for _number, line in prose(page) for span in _SPAN.findall(line))
    names = {
        name
        for span in spans
        if _NAME.fullmatch(span) and not (ROOT / span).exists()
        for name in span.split(".")
    }
    assert sorted(names - words_of_the_code()) == []


def test_the_pages_of_internals_are_listed() -> None:
    listed = re.findall(
        r"^\| \[([\w-]+\.md)\]\(\1\) \|", text_of(INTERNALS / "README.md"), re.MULTILINE
    )
    assert sorted(listed) == [page.name for page in PAGES]


def test_the_architecture_names_the_packages_from_top_to_bottom() -> None:
    rows = section(ROOT / "docs" / "architecture.md", "Packages")
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    layers = settings["tool"]["importlinter"]["contracts"][0]["layers"]
    wanted = [f"`mms_server/{name.strip()}/`" for layer in layers for name in layer.split("|")]
    assert [row.split("|")[1].strip() for row in rows] == wanted


@pytest.mark.parametrize("file", sorted((ROOT / "requirements").glob("*.in")), ids=named)
def test_each_dependency_has_its_reason(file: Path) -> None:
    lines = [line.partition("#")[0].strip() for line in file.read_text("utf-8").splitlines()]
    names = {re.split(r"[<>=\[ ]", line)[0] for line in lines if line and line[0] != "-"}
    rows = "\n".join(
        line.split("|")[1]
        for _number, line in prose(ROOT / "docs" / "dependencies.md")
        if line.startswith("|")
    )
    assert sorted(name for name in names if not re.search(rf"(?<!\S){name}\b", rows)) == []
