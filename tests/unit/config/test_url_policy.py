"""Where archives may come from, and every way around it that somebody was hit by."""

from __future__ import annotations

import socket
from typing import Any
from urllib.parse import urlsplit

import pytest

from mms_server.config.url_policy import RefusedError, UnresolvedError, UrlPolicy, parse_words

PUBLIC_ADDRESS = "93.184.215.14"
INNER = "https://models.example/store/"


def names(**addresses: str) -> Any:
    """Return a resolver that knows these names, and numbers as every resolver does."""

    def resolve(host: str, port: int, **_: Any) -> list[tuple[Any, ...]]:
        known = addresses.get(host.replace(".", "_").replace("-", "_"), "")
        if not known:
            return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=_NUMBERS)
        return [(0, 0, 0, "", (text, port)) for text in known.split()]

    return resolve


_NUMBERS = socket.AI_NUMERICHOST
_RESOLVE = names(
    example_com=PUBLIC_ADDRESS,
    models_example=PUBLIC_ADDRESS,
    a_models_example=PUBLIC_ADDRESS,
    inner_example="10.0.0.5",
    loop_example="127.0.0.1",
    loop6_example="::1",
    meta_example="169.254.169.254",
    meta6_example="fd00:ec2::254",
    mapped_example="::ffff:127.0.0.1",
    mixed_example=f"{PUBLIC_ADDRESS} 10.0.0.5",
    xn__mnchen_3ya_example=PUBLIC_ADDRESS,
)

ALLOWED = [
    ("public", "https://example.com/a.model"),
    ("public", "http://example.com:8080/a.model?x=../.."),
    ("public", "HTTPS://EXAMPLE.com./a.model"),
    ("public", f"https://{PUBLIC_ADDRESS}/a.model"),
    ("public", "https://user:word@example.com/a.model"),
    ("public", "https://münchen.example/a.model"),
    ("public", "https://[2606:2800:21f:cb07:6820:80da:af6b:8b2c]/a.model"),
    ("inner.example", "https://inner.example/a.model"),
    ("inner.example:81", "http://inner.example:81/a.model"),
    ("10.0.0.5", "http://10.0.0.5/a.model"),
    ("loop.example", "http://loop.example:1234/a"),
    ("*.models.example", "https://a.models.example/a"),
    (INNER, "https://models.example/store/a.model"),
    (INNER, "https://models.example/store/x/a.model?v=1"),
    (INNER, "https://MODELS.example:443/store/a.model"),
    ("https://models.example/store", "https://models.example/store/a.model"),
]
REFUSED = [
    ("", "https://example.com/a.model"),
    ("public", "ftp://example.com/a"),
    ("public", "file:///etc/passwd"),
    ("public", "gopher://example.com/a"),
    ("public", "//example.com/a"),
    ("public", "http:///a"),
    ("public", "http://"),
    ("public", "http://example.com:0/a"),
    ("public", "http://example.com:65536/a"),
    ("public", "http://example.com:-1/a"),
    ("public", "http://example.com:80x/a"),
    ("public", "http://exa mple.com/a"),
    ("public", "http://exam$ple.com/a"),
    ("public", f"http://{'a' * 64}.com/a"),
    ("public", "http://a..example/a"),
    ("public", "http://127.0.0.1/a"),
    ("public", "http://127.1/a"),
    ("public", "http://2130706433/a"),
    ("public", "http://0x7f000001/a"),
    ("public", "http://0177.0.0.1/a"),
    ("public", "http://0/a"),
    ("public", "http://0.0.0.0/a"),
    ("public", "http://localhost.@127.0.0.1/a"),
    ("public", "http://example.com@127.0.0.1/a"),
    ("public", "http://10.0.0.5/a"),
    ("public", "http://172.16.0.1/a"),
    ("public", "http://192.168.1.1/a"),
    ("public", "http://100.64.0.1/a"),
    ("public", "http://198.18.0.1/a"),
    ("public", "http://192.0.2.1/a"),
    ("public", "http://224.0.0.1/a"),
    ("public", "http://255.255.255.255/a"),
    ("public", "http://169.254.169.254/latest/meta-data/"),
    ("public", "http://[::1]/a"),
    ("public", "http://[::]/a"),
    ("public", "http://[::ffff:127.0.0.1]/a"),
    ("public", "http://[::ffff:a9fe:a9fe]/a"),
    ("public", "http://[fe80::1]/a"),
    ("public", "http://[fe80::1%25eth0]/a"),
    ("public", "http://[fd00::1]/a"),
    ("public", "http://[ff02::1]/a"),
    ("public", "http://[2002:7f00:1::]/a"),
    ("public", "http://[2002:a9fe:a9fe::]/a"),
    ("public", "http://[64:ff9b::7f00:1]/a"),
    ("public", "http://[64:ff9b::a9fe:a9fe]/a"),
    ("public", "http://inner.example/a"),
    ("public", "http://loop.example/a"),
    ("public", "http://loop6.example/a"),
    ("public", "http://mapped.example/a"),
    ("public", "http://mixed.example/a"),
    ("public", "http://meta.example/a"),
    ("meta.example", "http://meta.example/a"),
    ("meta6.example", "http://meta6.example/a"),
    ("169.254.169.254", "http://169.254.169.254/a"),
    ("0.0.0.0", "http://0.0.0.0/a"),  # noqa: S104
    ("inner.example", "http://example.com/a"),
    ("inner.example", "http://inner.example.example.com/a"),
    ("inner.example:81", "http://inner.example/a"),
    ("*.models.example", "https://models.example/a"),
    ("*.models.example", "https://xmodels.example/a"),
    ("*.models.example", "https://models.example.example.com/a"),
    (INNER, "http://models.example/store/a.model"),
    (INNER, "https://models.example:444/store/a.model"),
    (INNER, "https://models.example/storeroom/a.model"),
    (INNER, "https://models.example/a.model"),
    (INNER, "https://models.example/store/../a.model"),
    (INNER, "https://models.example/store/./../a.model"),
    (INNER, "https://models.example/store/%2e%2e/a.model"),
    (INNER, "https://models.example/store/%2E%2E/a.model"),
    (INNER, "https://models.example/store/.%2e/a.model"),
    (INNER, "https://models.example/store/%252e%252e/a.model"),
    (INNER, "https://models.example/store/..%2fa.model"),
    (INNER, "https://models.example/store/..\\a.model"),
    (INNER, "https://models.example/store/..%5ca.model"),
    (INNER, "https://models.example/%73tore%2fa.model"),
    (INNER, "https://models.example@example.com/store/a.model"),
    (INNER, "https://example.com/https://models.example/store/a.model"),
    (INNER, "https://a.models.example/store/a.model"),
]


@pytest.mark.parametrize(("words", "url"), ALLOWED)
def test_allowed(words: str, url: str) -> None:
    assert UrlPolicy(words.split(), _RESOLVE).admit(urlsplit(url))


@pytest.mark.parametrize(("words", "url"), REFUSED)
def test_refused(words: str, url: str) -> None:
    with pytest.raises((RefusedError, UnresolvedError)):
        UrlPolicy(words.split(), _RESOLVE).admit(urlsplit(url))


def test_the_addresses_that_were_checked_are_the_answer() -> None:
    """A name that leads elsewhere at the second lookup leads nowhere: there is none."""
    answers = iter([PUBLIC_ADDRESS, "127.0.0.1"])

    def changing(_host: str, port: int, **_: Any) -> list[tuple[Any, ...]]:
        return [(0, 0, 0, "", (next(answers), port))]

    rules = UrlPolicy(["public"], changing)
    assert rules.admit(urlsplit("http://example.com/a")) == [PUBLIC_ADDRESS]
    with pytest.raises(RefusedError, match="not a public address"):
        rules.admit(urlsplit("http://example.com/a"))


def test_a_name_without_an_address_may_have_one_later() -> None:
    with pytest.raises(UnresolvedError, match=r"nowhere\.example has no address"):
        UrlPolicy(["public"], _RESOLVE).admit(urlsplit("http://nowhere.example/a"))


@pytest.mark.parametrize(
    ("words", "bucket", "key", "allowed"),
    [
        ("public", "models", "a/b.model", True),
        ("s3://models", "models", "a/b.model", True),
        ("s3://models/a/", "models", "a/b.model", True),
        ("s3://models/a", "models", "a/b.model", True),
        ("s3://models/a", "models", "ab.model", False),
        ("s3://models/a/", "models", "a/../b.model", False),
        ("s3://models", "other", "a", False),
        ("example.com", "models", "a", False),
        ("public", "Models_", "a", False),
        ("public", "x", "a", False),
        ("", "models", "a", False),
    ],
)
def test_buckets(words: str, bucket: str, key: str, *, allowed: bool) -> None:
    rules = parse_words(words)
    if allowed:
        rules.admit_object("s3", bucket, key)
        return
    with pytest.raises(RefusedError):
        rules.admit_object("s3", bucket, key)


def test_a_bucket_is_that_of_its_scheme() -> None:
    rules = parse_words("S3://models")
    rules.admit_object("s3", "models", "a")
    with pytest.raises(RefusedError, match="gs://models is not in fetch_allow"):
        rules.admit_object("gs", "models", "a")


@pytest.mark.parametrize(
    "word",
    [
        "http://",
        "ftp://example.com/",
        "https://user@example.com/",
        "https://example.com/?a=b",
        "example.com/path",
        "example.com:0",
        "example.com:99999",
        "*",
        "*.",
        "s3://",
        "s3://A",
        "a,b",
    ],
)
def test_words_that_mean_nothing(word: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_words(f"public {word}")
