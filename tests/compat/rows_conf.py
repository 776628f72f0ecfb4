"""Rows about ``mms.conf`` (compatibility.md, 3): one parser for the texts of the original's two."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mms_server.config.mms_conf import MmsConf, parse
from mms_server.core.errors import ConfError
from tests.compat.rows import Ground, fixed, kept

FILE = Path("mms.conf")
_MODELS = "[MMS Arguments]\n--models\nm=/a.model\n"
_SHIPPED = """\
[MMS Arguments]
--models
squeezenet=https://s3.amazonaws.com/model-server/models/squeezenet_v1.1/squeezenet_v1.1.model

--service
optional

--gen-api
optional

--log-file
optional

--log-rotation-time
optional

--log-level
optional

--metrics-write-to
optional
{num_gpu}
[Gunicorn Arguments]
--bind
unix:/tmp/mms_app.sock

# the comment of the shipped file stands here
--workers
optional

--worker-class
gevent

--limit-request-line
0

[Nginx Configurations]
server {{
    listen       8080;

    location / {{
        proxy_pass http://unix:/tmp/mms_app.sock;
    }}
}}
{mxnet}"""
CPU = _SHIPPED.format(num_gpu="", mxnet="\n[MXNet Environment Variables]\nOMP_NUM_THREADS=1\n")
GPU = _SHIPPED.format(num_gpu="\n--num-gpu\noptional\n", mxnet="")


def _parse(text: str) -> MmsConf:
    return parse(text, FILE)


def says(text: str, expected: Callable[[MmsConf], bool]) -> Callable[[Ground], None]:
    """Return a check that ``expected`` is true for the parsed text."""

    def check(_ground: Ground) -> None:
        assert expected(_parse(text))

    return check


def refuses(text: str, line: int, cause: str) -> Callable[[Ground], None]:
    """Return a check that the text is refused at a line, with ``cause`` in the error."""

    def check(_ground: Ground) -> None:
        with pytest.raises(ConfError) as caught:
            _parse(text)
        assert caught.value.line == line
        assert cause in str(caught.value)

    return check


def _names(conf: MmsConf) -> list[str]:
    return [model.name for model in conf.models]


def _shipped(conf: MmsConf) -> bool:
    return (
        _names(conf) == ["squeezenet"]
        and conf.arguments == {}
        and conf.bind == "unix:/tmp/mms_app.sock"
        and conf.workers is None
        and "proxy_pass http://unix:/tmp/mms_app.sock;" in str(conf.nginx)
    )


def _value(flag: str, value: str) -> Callable[[MmsConf], bool]:
    return lambda conf: conf.arguments[flag][0] == value


_HEADERS = "[mms]\n--models\nm=/a\n[GUNICORN]\n--workers\n3\n[ my nginx ]\nserver\n[mxnet]\nA=1\n"

ROWS = (
    kept(
        "3.2",
        "The shipped CPU file is read unchanged.",
        says(CPU, lambda conf: _shipped(conf) and conf.environment == {"OMP_NUM_THREADS": "1"}),
    ),
    kept(
        "3.2",
        "The shipped GPU file is read unchanged.",
        says(GPU, lambda conf: _shipped(conf) and conf.environment == {}),
    ),
    kept(
        "3.3",
        "White space around a line is ignored.",
        says(
            " [MMS Arguments] \n\t--models\t\n  m=/a.model  \n",
            lambda conf: conf.models[0].location == "/a.model",
        ),
    ),
    kept(
        "3.3",
        "Blank lines and comments (# or $) between flags are ignored.",
        says(
            "[MMS Arguments]\n\n# one\n$ two\n--models\nm=/a\n\n#\n--port\n80\n",
            _value("--port", "80"),
        ),
    ),
    fixed(
        "3.3",
        "A worker reads a blank line or a comment after a flag as the flag's value.",
        "The line is skipped, as the control script did.",
        says("[MMS Arguments]\n--models\n\n# mine\nm=/a\n", lambda conf: _names(conf) == ["m"]),
    ),
    kept(
        "3.3",
        "A section is recognized by a word in its header, in any case.",
        says(
            _HEADERS,
            lambda conf: (
                (_names(conf), conf.workers, conf.nginx, dict(conf.environment))
                == (["m"], 3, "server\n", {"A": "1"})
            ),
        ),
    ),
    kept(
        "3.3",
        "A header with several of these words counts as the first of gunicorn, mxnet, nginx, mms.",
        says(_MODELS + "[nginx of MXNet]\nA=1\n", lambda conf: conf.environment == {"A": "1"}),
    ),
    fixed(
        "3.3",
        "An unknown header is an error, or is ignored by the workers.",
        "An unknown header is an error that names the line.",
        refuses(_MODELS + "[Apache]\n", 4, "unknown section header [Apache]"),
    ),
    kept(
        "3.3",
        "Lines before the first header are an error.",
        refuses("--models\n" + _MODELS, 1, "before the first section header"),
    ),
    kept(
        "3.3",
        "The value `optional` omits the flag.",
        says(_MODELS + "--service\noptional\n", lambda conf: "--service" not in conf.arguments),
    ),
    fixed(
        "3.3",
        "The value `Optional` has no special meaning.",
        "The value is the same as `optional`.",
        says(_MODELS + "--service\nOptional\n", lambda conf: "--service" not in conf.arguments),
    ),
    kept(
        "3.3",
        "`--workers optional` lets the server choose.",
        says(
            _MODELS + "[Gunicorn Arguments]\n--workers\nOPTIONAL\n",
            lambda conf: conf.workers is None,
        ),
    ),
    kept(
        "3.4",
        "--model is the same flag as --models.",
        says("[MMS Arguments]\n--model\nm=/a\n", lambda conf: _names(conf) == ["m"]),
    ),
    kept(
        "3.4",
        "If --models is given several times, the last one counts.",
        says(_MODELS + "--models\nn=/b\n", lambda conf: _names(conf) == ["n"]),
    ),
    kept(
        "3.4",
        "--port and --host are allowed in the file.",
        says(
            _MODELS + "--port\n81\n--host\nh.example.com\n",
            lambda conf: (conf.port, conf.host) == (81, "h.example.com"),
        ),
    ),
    kept(
        "3.4",
        "A value may contain blanks.",
        says(_MODELS + "--log-rotation-time\n1 H\n", _value("--log-rotation-time", "1 H")),
    ),
    fixed(
        "3.4",
        "An unknown flag ends every worker with code 2.",
        "The file is refused before anything starts; the error names the line.",
        refuses(_MODELS + "--colour\nred\n", 4, "--colour is not a flag"),
    ),
    fixed(
        "3.4",
        "Two blanks or a tab between models break the workers.",
        "Any white space separates models.",
        says(
            "[MMS Arguments]\n--models\na=/a  b=/b\tc=/c\n",
            lambda conf: _names(conf) == ["a", "b", "c"],
        ),
    ),
    fixed(
        "4.2",
        "A location that contains = (a signed URL) is an error on a host.",
        "The first = separates name and location.",
        says(
            "[MMS Arguments]\n--models\nm=https://h/a.model?X=1&Y=2\n",
            lambda conf: conf.models[0].location == "https://h/a.model?X=1&Y=2",
        ),
    ),
    kept(
        "3.5",
        "Any option of gunicorn is allowed, with its value on the same or the next line.",
        says(
            _MODELS + "[Gunicorn Arguments]\n--max-requests\n7\n--timeout 60\n",
            lambda conf: (
                [one.argv() for one in conf.gunicorn]
                == [("--max-requests", "7"), ("--timeout", "60")]
            ),
        ),
    ),
    kept(
        "3.5",
        "A switch of gunicorn has no value.",
        says(
            _MODELS + "[Gunicorn Arguments]\n--no-sendfile\n--timeout\n60\n",
            lambda conf: (
                [one.argv() for one in conf.gunicorn] == [("--no-sendfile",), ("--timeout", "60")]
            ),
        ),
    ),
    fixed(
        "3.5",
        "An unknown option stops gunicorn, after the running gunicorn was killed.",
        "The file is refused; the error names the line.",
        refuses(
            _MODELS + "[Gunicorn Arguments]\n--wurkers\n3\n",
            5,
            "--wurkers is not an option of gunicorn",
        ),
    ),
    kept(
        "3.5",
        "`optional` is an error for all options of gunicorn other than --workers.",
        refuses(_MODELS + "[Gunicorn Arguments]\n--timeout\noptional\n", 5, "--timeout optional"),
    ),
    kept(
        "3.6",
        "The nginx section is used verbatim, without blank lines and comments.",
        says(
            _MODELS + "[Nginx Configurations]\nserver {\n\n# no\nlisten 1;\n}\n",
            lambda conf: conf.nginx == "server {\nlisten 1;\n}\n",
        ),
    ),
    kept(
        "3.6",
        "Only `[` before a letter or a blank starts a header.",
        says(
            _MODELS + "[Nginx Configurations]\nlisten\n[::]:80;\n",
            lambda conf: conf.nginx == "listen\n[::]:80;\n",
        ),
    ),
    kept(
        "3.7",
        "KEY=VALUE pairs set the environment, several per line.",
        says(
            _MODELS + "[MXNet Environment Variables]\nA=1 B=x=y\nC=\n",
            lambda conf: conf.environment == {"A": "1", "B": "x=y", "C": ""},
        ),
    ),
    fixed(
        "3.7",
        "Text that is not KEY=VALUE is an error of the shell, which is ignored.",
        "The file is refused; the error names the line.",
        refuses(_MODELS + "[MXNet Environment Variables]\nOMP NUM\n", 5, "is not KEY=VALUE"),
    ),
)
