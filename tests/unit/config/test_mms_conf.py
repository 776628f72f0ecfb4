"""A table of good and bad ``mms.conf`` files (compatibility.md, 3)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from gunicorn.config import KNOWN_SETTINGS, Config
from hypothesis import given
from hypothesis import strategies as st

from mms_server.config.mms_conf import MmsConf, parse, read
from mms_server.core.errors import ConfError

FILE = Path("mms.conf")

DATA = Path(__file__).parents[2] / "data"
SHIPPED_CPU = (DATA / "mms_app_cpu.conf").read_text()
SHIPPED_GPU = (DATA / "mms_app_gpu.conf").read_text()


def _parse(text: str) -> MmsConf:
    return parse(text, FILE)


def _one(text: str = "") -> MmsConf:
    return _parse("[MMS Arguments]\n--models\nm=/a.model\n" + text)


@pytest.mark.parametrize("text", [SHIPPED_CPU, SHIPPED_GPU], ids=["cpu", "gpu"])
def test_the_shipped_files(text: str) -> None:
    conf = _parse(text)
    assert [(model.name, model.line) for model in conf.models] == [("squeezenet", 5)]
    assert conf.models[0].location.startswith("https://s3.amazonaws.com/")
    assert conf.bind == "unix:/tmp/mms_app.sock"
    assert conf.workers is None
    assert [argument.argv() for argument in conf.gunicorn] == [("--limit-request-line", "0")]
    assert conf.nginx is not None
    assert conf.nginx.startswith("server {\n    listen       8080;\n    location / {")
    first = text.splitlines().index("server {") + 1
    assert conf.nginx_lines == (first, first + 1, *range(first + 3, first + 7))
    assert conf.arguments == {}
    assert conf.all_gpus == (text is SHIPPED_GPU)
    assert conf.warnings == ()
    assert conf.environment == ({"OMP_NUM_THREADS": "1"} if text is SHIPPED_CPU else {})


def test_what_either_original_parser_accepted() -> None:
    conf = _parse(
        "# comment\n\n$ comment\n  [mms arguments]  \n\n# c\n--model\n\n# not a value\n"
        "  a=/a.model  b-2.x=s3://b/k.model?x=1\tc=/c \n--port\n  9000\n"
        "[GUNICORN ARGUMENTS]\n--workers\n4\n--keep-alive 3\n--capture-output\n-t\n30\n--timeo=40\n"
        "[mxnet environment variables]\nA=1 B=x=y\nC=\n"
    )
    assert [(m.name, m.location) for m in conf.models] == [
        ("a", "/a.model"),
        ("b-2.x", "s3://b/k.model?x=1"),
        ("c", "/c"),
    ]
    assert {model.line for model in conf.models} == {10}
    assert conf.arguments == {"--port": ("9000", 12)}
    assert (conf.host, conf.port) == ("127.0.0.1", 9000)
    assert conf.workers == 4
    assert [argument.argv() for argument in conf.gunicorn] == [
        ("--keep-alive", "3"),
        ("--capture-output",),
        ("-t", "30"),
        ("--timeout", "40"),
    ]
    assert conf.environment == {"A": "1", "B": "x=y", "C": ""}
    assert conf.nginx is None


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("-t 30", ("-t", "30")),
        ("-t\n30", ("-t", "30")),
        ("-t30", ("-t", "30")),
        ("-t=30", ("-t", "30")),
        ("--timeout=30", ("--timeout", "30")),
        ("--timeout 30", ("--timeout", "30")),
        ("--timeout\n\n# seconds\n\t30", ("--timeout", "30")),
        ("--timeo 30", ("--timeout", "30")),
        ("--capture-output", ("--capture-output",)),
        ("--env A=1", ("--env", "A=1")),
        ("--proxy-protocol", ("--proxy-protocol",)),
        ("--proxy-protocol v1", ("--proxy-protocol", "v1")),
    ],
)
def test_forms_of_a_gunicorn_option(lines: str, words: tuple[str, ...]) -> None:
    conf = _one(f"[Gunicorn Arguments]\n{lines}\n-w 4\n")
    assert [argument.argv() for argument in conf.gunicorn] == [words]
    assert conf.workers == 4


_VALUES = {
    "asgi_loop": "auto",
    "asgi_lifespan": "auto",
    "http_parser": "auto",
    "forwarded_allow_ips": "127.0.0.1",
    "proxy_allow_ips": "127.0.0.1",
    "uwsgi_allow_ips": "127.0.0.1",
    "cert_reqs": "0",
    "access_log_format": "%(s)s",
    "logger_class": "gunicorn.glogging.Logger",
    "protocol": "http",
    "raw_env": "A=1",
    "ssl_version": "TLS",
    "worker_class": "gevent",
    "worker_tmp_dir": "/",
    "user": "root",
    "group": "root",
    "logconfig": "/dev/null",
    "logconfig_json": "/dev/null",
    "bind": "unix:/tmp/mms_app.sock",
    "header_map": "drop",
    "http_protocols": "h1",
    "http2_cleartext": "off",
    "workers": "2",
    "http2_initial_window_size": "65535",
    "http2_max_frame_size": "16384",
}
_CLI_OPTIONS = [(setting, flag) for setting in KNOWN_SETTINGS for flag in setting.cli or ()]


@pytest.mark.parametrize(("setting", "flag"), _CLI_OPTIONS, ids=[row[1] for row in _CLI_OPTIONS])
def test_every_option_of_gunicorn_is_known(setting: Any, flag: str) -> None:
    """Gunicorn's own parser takes what is passed on; the rest is used, or answered with words."""
    value = "" if setting.action else _VALUES.get(setting.name, "1")
    value = _VALUES[setting.name] if setting.name in {"raw_env", "bind"} else value
    value = "x" if setting.action == "append" and not value else value
    words = f"{flag} {value}".split()
    try:
        conf = _one(f"[Gunicorn Arguments]\n{' '.join(words)}\n")
    except ConfError as error:
        refusal = error.cause
    else:
        refusal = ""
    if refusal:
        assert f"{flag} cannot be used" in refusal
        return
    if conf.gunicorn:
        assert conf.gunicorn[0].argv() == tuple(words)
        Config().parser().parse_args(list(conf.gunicorn[0].argv()))
    else:
        used = setting.name in {"bind", "workers", "worker_class"}
        assert used != any("has no effect" in text for text in conf.warnings)


def test_a_bracket_in_the_nginx_section_is_no_header_before_a_digit_or_colon() -> None:
    text = "[Nginx Configurations]\n# c\nserver {\n  listen\n[::]:80;\n}\n"
    assert _one(text).nginx == "server {\n  listen\n[::]:80;\n}\n"


def test_the_last_nginx_section_counts() -> None:
    assert _one("[Nginx X]\na;\n[Nginx Y]\nb;\n").nginx == "b;\n"


def test_windows_line_ends_and_a_byte_order_mark(tmp_path: Path) -> None:
    file = tmp_path / "mms.conf"
    file.write_bytes(b"\xef\xbb\xbf[MMS Arguments]\r\n--models\r\nm=/a.model\r\n")
    assert read(file).models[0].location == "/a.model"


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ("--gen-api\npython\n", "mms.conf:5: --gen-api has no effect"),
        ("--gpu\n1\n--num-gpu\n2\n", "mms.conf:5: --gpu names the one GPU to use"),
        ("--port\n1\n--port\n2\n", "mms.conf:7: --port is given twice"),
        ("[Gunicorn Arguments]\n--daemon\n", "mms.conf:5: --daemon has no effect"),
        ("[Gunicorn Arguments]\n--pid\n/x\n", "mms.conf:5: --pid has no effect"),
    ],
)
def test_warnings(text: str, warning: str) -> None:
    (got,) = _one(text).warnings
    assert got.startswith(warning)


_MODELS = "[MMS Arguments]\n--models\n"


@pytest.mark.parametrize(
    ("text", "line", "cause"),
    [
        ("", 0, "no models are given"),
        ("\n--models\nm=/a\n", 2, "is before the first section header"),
        ("[MMS Arguments]\n", 0, "no models are given"),
        (_MODELS + "optional\n", 0, "no models are given"),
        (_MODELS + "m=/a\n[Modles]\n", 4, "unknown section header [Modles]"),
        (_MODELS + "m=/a m=/b\n", 3, "model m is given twice"),
        (_MODELS + "m=/a .n=/b\n", 3, "'.n' cannot be a model's name"),
        (_MODELS + "a/b=/b\n", 3, "'a/b' cannot be a model's name"),
        (_MODELS + "x" * 65 + "=/b\n", 3, "cannot be a model's name"),
        (_MODELS + "m\n", 3, "'m' is not a name=location pair"),
        (_MODELS + "m=\n", 3, "'m=' is not a name=location pair"),
        (_MODELS, 2, "--models has no value"),
        (_MODELS + "--port\n1\n", 2, "--models has no value"),
        (_MODELS + "m=/a\nn=/b\n", 4, "is a value without a flag"),
        (_MODELS + "m=/a\n--colour\nred\n", 4, "--colour is not a flag"),
        ("[MMS Arguments]\n--models m=/a\n", 2, "--models and its value are on one line"),
        ("[MMS Arguments]\n--models=m=/a\n", 2, "--models and its value are on one line"),
        (_MODELS + "m=/a\n--port\n70000\n", 5, "--port 70000 is not a port"),
        (_MODELS + "m=/a\n--gpu\nx\n", 5, "--gpu x is not the number"),
        (_MODELS + "m=/a\n--num-gpu\n0\n", 5, "--num-gpu 0 is not a number of GPUs"),
        (_MODELS + "m=/a\n--service\nx.txt\n", 5, "--service x.txt is not the path"),
        (_MODELS + "m=/a\n--log-level\nNOTEST\n", 5, "--log-level NOTEST is not one of"),
        (_MODELS + "m=/a\n--log-rotation-time\n0 H\n", 5, "--log-rotation-time 0 H is not a time"),
        (_MODELS + "m=/a\n--log-rotation-time\nW7\n", 5, "--log-rotation-time W7 is not a time"),
        (_MODELS + "m=/a\n--metrics-write-to\nx\n", 5, "--metrics-write-to x is not one of"),
        (_MODELS + "m=\0\n", 3, "NUL byte"),
    ],
)
def test_bad_mms_sections(text: str, line: int, cause: str) -> None:
    with pytest.raises(ConfError) as caught:
        _parse(text)
    assert caught.value.line == line
    assert cause in caught.value.cause
    assert caught.value.fix
    assert str(caught.value).startswith(f"mms.conf:{line}: " if line else "mms.conf: ")


@pytest.mark.parametrize(
    ("text", "line", "cause"),
    [
        ("--num-gpu\n1\n", 5, "--num-gpu is not an option of gunicorn"),
        ("-Z\n1\n", 5, "-Z is not an option of gunicorn"),
        ("--env\nNOTIFY_SOCKET=x\n", 5, "NOTIFY_SOCKET cannot be set here"),
        ("--limit-request\n1\n", 5, "--limit-request may be"),
        ("--timeout\n", 5, "--timeout has no value"),
        ("--timeout\n--workers\n2\n", 5, "--timeout has no value"),
        ("--timeout\nsoon\n", 5, "--timeout soon"),
        ("--limit-request-line\noptional\n", 5, "--limit-request-line optional"),
        ("--access-logformat\na b\n", 6, "'b' is a value without an option"),
        ("--capture-output=1\n", 5, "--capture-output is a switch"),
        ("--worker-class\nsync\n", 5, "--worker-class sync is not supported"),
        ("--workers\n0\n", 5, "--workers 0 is not a number of workers"),
        ("--workers\nmany\n", 5, "--workers many"),
        ("--bind\nunix:rel.sock\n", 5, "--bind unix:rel.sock is not an address"),
        ("--bind\n0.0.0.0:0\n", 5, "--bind 0.0.0.0:0 is not an address"),
        ("--bind\nunix:/a;b\n", 5, "is not an address"),
        ("--config\nx.py\n", 5, "--config cannot be used"),
        ("--certfile\nx\n", 5, "--certfile cannot be used"),
    ],
)
def test_bad_gunicorn_sections(text: str, line: int, cause: str) -> None:
    with pytest.raises(ConfError) as caught:
        _one("[Gunicorn Arguments]\n" + text)
    assert (caught.value.line, caught.value.fix != "") == (line, True)
    assert cause in caught.value.cause


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("OMP_NUM_THREADS\n", "'OMP_NUM_THREADS' is not KEY=VALUE"),
        ("1A=2\n", "'1A=2' is not KEY=VALUE"),
        ("A=1 B 2\n", "'B' is not KEY=VALUE"),
        ("LISTEN_FDS=1\n", "LISTEN_FDS cannot be set here"),
    ],
)
def test_bad_environment_sections(text: str, cause: str) -> None:
    with pytest.raises(ConfError, match=cause) as caught:
        _one("[MXNet Environment Variables]\n" + text)
    assert caught.value.line == 5


@pytest.mark.parametrize(
    ("data", "where", "cause"),
    [
        (None, "mms.conf:", "cannot be read: No such file"),
        (b"x" * (1024 * 1024 + 1), "mms.conf:", "larger than 1 MiB"),
        (b"[MMS Arguments]\n\xff\n", "mms.conf:2:", "not UTF-8"),
    ],
)
def test_files_that_cannot_be_read(
    tmp_path: Path, data: bytes | None, where: str, cause: str
) -> None:
    file = tmp_path / "mms.conf"
    if data is not None:
        file.write_bytes(data)
    with pytest.raises(ConfError, match=cause) as caught:
        read(file)
    assert where in str(caught.value)


_PIECES = st.sampled_from(
    [
        *SHIPPED_CPU.split("\n"),
        "--models",
        "m=/a",
        "[x]",
        "[",
        "--",
        "-",
        "--t",
        "-w",
        "=",
        "optional",
    ]
)
_LINES = st.lists(_PIECES | st.text(max_size=30), max_size=20).map("\n".join)


def _error(text: str) -> ConfError | None:
    try:
        assert _parse(text).models
    except ConfError as error:
        return error
    return None


@given(_LINES | st.text())
def test_nothing_but_a_conf_error_is_raised(text: str) -> None:
    error = _error(text)
    assert error is None or (error.fix and 0 <= error.line <= text.count("\n") + 1)


@given(_LINES)
def test_an_error_names_a_line_of_its_own_section(text: str) -> None:
    error = _error("[MMS Arguments]\n--models\nm=/a\n[Gunicorn Arguments]\n" + text)
    assert error is None or error.line == 0 or error.line > 4
