"""``mms tune`` on a host whose releases are not real: what is started, asked, written and left."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from mms_server.archives import golden_samples
from mms_server.archives.golden_samples import Sample
from mms_server.cli import main
from mms_server.config.mms_conf import read
from mms_server.core.errors import ConfError, MMSError, NoRoomError, SupervisorError
from mms_server.core.paths import Layout
from mms_server.deploy.apply import apply
from mms_server.host.release import Release
from mms_server.host.resource_profile import WORKER_BYTES
from mms_server.tuning.load_generator import Question
from mms_server.tuning.search import Candidate, Window
from mms_server.tuning.tune import NothingInTimeError, tune
from tests.fixtures.fake_host import MIB, FakeHost


class Looks:
    """Answers by the settings of the release that is asked: a worker gives 100 a second."""

    def __init__(self, layout: Layout, batch: float = 1.0, delay: float = 1.0) -> None:
        self._layout = layout
        self._batch = batch
        self._delay = delay
        self.asked: list[Question] = []

    def __call__(
        self, socket: Path, questions: Sequence[Question], connections: int, seconds: float
    ) -> Window:
        self.asked += questions
        text = self._layout.release_file(socket.name.removesuffix(".sock")).read_text()
        release = Release.from_json(text)
        most = 100.0 * release.workers * (self._batch if release.max_batch_size > 1 else 1)
        most *= self._delay if release.max_batch_delay_ms else 1
        rate = min(100.0 * connections, most)
        return Window(rate, 1000 * connections / rate, 1000 * connections / rate)


@pytest.fixture
def served(fake: FakeHost) -> FakeHost:
    """A host that serves a model with a golden sample beside its archive."""
    conf = fake.write_conf({"a": "1"})
    beside = fake.root / "efs/a.model.golden"
    beside.mkdir()
    for name, content in golden_samples.encode([Sample(([[1, 2, 3]],), ["[[1]]"])]).items():
        (beside / name).write_bytes(content)
    apply(fake.host, conf)
    return fake


def test_the_best_is_written_with_its_evidence(served: FakeHost) -> None:
    conf = served.root / "efs/mms.conf"
    before = served.serving()
    looks = Looks(served.layout)
    tuned = tune(served.host, "a", 1000, conf, count=lambda: 4, look=looks)
    assert (tuned.serves, tuned.best.candidate) == (Candidate(1, 8), Candidate(4, 1))
    assert tuned.changed
    own = read(conf).model_settings["a"]
    assert (own.workers, own.max_batch_size) == (4, 1)
    text = conf.read_text()
    assert (
        "# mms tune: a: 2020-01-02, for a p99 of 1000 ms: 4 workers, batches of up to 1, " in text
    )
    assert "# mms tune: a: before: 1 worker, batches of up to 8, 1 connection: 100.0 " in text
    assert served.serving() == before
    served.check_settled({"a": "1"})
    assert b'name="data"\r\n\r\n[[1, 2, 3]]' in looks.asked[0].body


def test_a_check_writes_nothing(served: FakeHost) -> None:
    conf = served.root / "efs/mms.conf"
    before = conf.read_text()
    tuned = tune(served.host, "a", 1000, None, count=lambda: 2, look=Looks(served.layout))
    assert tuned.written == ""
    assert conf.read_text() == before


def test_batches_that_help_are_chosen(served: FakeHost) -> None:
    looks = Looks(served.layout, batch=3)
    tuned = tune(served.host, "a", 1000, None, count=lambda: 1, look=looks)
    assert tuned.best.candidate == Candidate(1, 8)
    assert not tuned.changed


def test_a_delay_that_helps_is_written_and_one_that_does_not_is_removed(served: FakeHost) -> None:
    conf = served.root / "efs/mms.conf"
    looks = Looks(served.layout, batch=3, delay=1.2)
    tuned = tune(served.host, "a", 1000, conf, count=lambda: 1, look=looks)
    assert tuned.best.candidate == Candidate(1, 8, 2)
    assert read(conf).model_settings["a"].max_batch_delay_ms == 2
    assert "1 worker, batches of up to 8 that wait 2 ms, 4 connections: 360.0" in conf.read_text()
    tune(served.host, "a", 1000, conf, count=lambda: 1, look=Looks(served.layout, batch=3))
    assert read(conf).model_settings["a"].max_batch_delay_ms is None


def test_nothing_in_time(served: FakeHost) -> None:
    with pytest.raises(NothingInTimeError, match=r"within 5 ms; nearest is .* p99 10\.0 ms"):
        tune(served.host, "a", 5, None, count=lambda: 2, look=Looks(served.layout))
    served.check_settled({"a": "1"})


def test_a_trial_that_does_not_start_is_removed(served: FakeHost) -> None:
    served.supervisor.broken = {"a"}
    with pytest.raises(SupervisorError):
        tune(served.host, "a", 1000, None, count=lambda: 2, look=Looks(served.layout))
    served.supervisor.broken = set()
    served.check_settled({"a": "1"})


def test_a_trial_has_to_fit(served: FakeHost) -> None:
    # What serves, with one worker, takes one MiB, and was measured with as much.
    beside = MIB + 3 * WORKER_BYTES
    served.memory_bytes = MIB + beside - 1
    looks = Looks(served.layout)
    with pytest.raises(NoRoomError, match="a trial beside it needs"):
        tune(served.host, "a", 1000, None, count=lambda: 4, look=looks)
    served.memory_bytes += 1
    assert tune(served.host, "a", 1000, None, count=lambda: 4, look=looks)


def test_what_cannot_be_tuned(fake: FakeHost) -> None:
    look = Looks(fake.layout)
    with pytest.raises(MMSError, match="not served by this host"):
        tune(fake.host, "a", 50, None, look=look)
    apply(fake.host, fake.write_conf({"a": "1"}))
    with pytest.raises(MMSError, match="no golden samples") as caught:
        tune(fake.host, "a", 50, None, look=look)
    assert "--sample" in caught.value.fix


def test_a_file_without_the_model_is_left_as_it_is(served: FakeHost) -> None:
    conf = served.write_conf({"b": "1"})
    before = conf.read_text()
    looks = Looks(served.layout)
    with pytest.raises(ConfError, match="'a' is not a model of --models"):
        tune(served.host, "a", 1000, conf, count=lambda: 2, look=looks)
    assert conf.read_text() == before
    assert not looks.asked, "it is found out before anything is measured"


@pytest.mark.parametrize(
    ("text", "value"), [("50ms", 50.0), ("0.5s", 500.0), ("1.25ms", 1.25), ("2s", 2000.0)]
)
def test_times(text: str, value: float) -> None:
    assert main.parser().parse_args(["tune", "a", "--p99", text]).p99 == value


@pytest.mark.parametrize("text", ["50", "0ms", "1m", "ms", "1e3ms"])
def test_what_is_no_time(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main.parser().parse_args(["tune", "a", "--p99", text])
    assert "is no time: write 50ms, or 0.5s" in capsys.readouterr().err
