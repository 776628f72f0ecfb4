"""nginx is reloaded under keep-alive clients; none of them loses a request."""

from __future__ import annotations

import pytest

from tests import lab
from tests.situations.load import Load, Request

pytestmark = pytest.mark.fleet

CHANGE = "sed -i 's/^    client_body_buffer_size .*/    client_body_buffer_size {}k;/'"


@pytest.mark.soak
@pytest.mark.timeout(400)
def test_a_reload_loses_no_request(machines: list[lab.Machine]) -> None:
    machine = machines[0]
    frame = "/etc/mms/nginx.conf.frame"
    pids = lab.on(machine, "pgrep --exact nginx")
    lab.on(machine, f"cp --preserve {frame} /root/frame")
    # Mostly idle connections are those that a reload cuts.
    load = Load([Request.of_image(machine.address, "digits", lab.SEVEN, "7")])
    try:
        with load:
            load.wait_for_answers(40)
            for size in (512, 768, 640):
                lab.on(machine, f"{CHANGE.format(size)} {frame}")
                said = lab.on(machine, "mms edge", timeout_s=180)
                assert "still open" not in said
                load.wait_for_answers(60)
    finally:
        lab.on(machine, f"mv /root/frame {frame}")
        lab.on(machine, "mms edge", timeout_s=180)
    assert lab.on(machine, "pgrep --exact nginx") != pids
    assert not load.report.failed, load.report
    assert not load.report.wrong, load.report
