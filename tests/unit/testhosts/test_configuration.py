"""The guest's kernel line, the command around it, and the NFS server's configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from testhosts.errors import InputError, TestHostError
from testhosts.host import Host
from testhosts.inventory import HostSpec
from testhosts.nfs import configuration
from testhosts.ssh import SSH
from testhosts.state import State
from testhosts.supervisor import Record, argv, kernel_arguments

SPEC = HostSpec("mms-1", "10.77.0.11", 2048, "10.77.0.1")
RECORD = Record(SPEC, "d1ge57")


def host(tmp_path: Path, wanted: HostSpec | None = SPEC) -> Host:
    return Host(State(tmp_path), "mms-1", wanted, lambda: "d1ge57")


def test_the_kernel_line_names_everything_by_its_place_inside_the_chroot() -> None:
    line = kernel_arguments(RECORD, mtu=1400, nameservers=["192.0.2.1", "192.0.2.2"])
    assert line[:5] == [
        "mem=2048M",
        "ubd0=/state/hosts/mms-1/disk.cow,/state/images/d1ge57/root.img",
        "root=/dev/ubda",
        "rw",
        "noreboot",
    ]
    assert "vec0:transport=tap,ifname=thtap0a4d000b,depth=64,gro=1,mac=02:00:0a:4d:00:0b" in line
    assert {
        "seccomp=on",
        "systemd.hostname=mms-1",
        "testhosts.address=10.77.0.11/24",
        "testhosts.gateway=10.77.0.1",
        "testhosts.nameservers=192.0.2.1,192.0.2.2",
        "testhosts.mtu=1400",
    } <= set(line)


def test_the_kernel_dies_with_its_supervisor(tmp_path: Path) -> None:
    command = argv(State(tmp_path), RECORD, ["mem=1M"])
    assert command[:3] == ["setpriv", "--pdeathsig", "KILL"]
    assert "--kill-child=KILL" in command
    assert command[-3:] == [str(tmp_path / "images/d1ge57/kernel"), str(tmp_path), "mem=1M"]


def test_a_record_survives_its_file(tmp_path: Path) -> None:
    RECORD.save(tmp_path / "host.json")
    assert Record.load(tmp_path / "host.json") == RECORD
    (tmp_path / "host.json").write_text('{"name": "mms-1"}')
    assert Record.load(tmp_path / "host.json") is None


def test_ganesha_serves_nfs_4_1_on_the_gateway_alone(tmp_path: Path) -> None:
    text = configuration(State(tmp_path), "10.77.0.1")
    assert "Bind_addr = 10.77.0.1;" in text
    assert "Minor_Versions = 1;" in text
    assert f'Path = "{tmp_path}/efs";' in text
    assert f'RecoveryRoot = "{tmp_path}/nfs/recovery";' in text
    assert "$" not in text


def test_ganesha_cannot_serve_a_path_that_it_cannot_quote() -> None:
    with pytest.raises(InputError, match="quotation mark"):
        configuration(State(Path('/a"b')), "10.77.0.1")


def test_ssh_asks_nothing_and_remembers_no_host(tmp_path: Path) -> None:
    line = SSH("mms-1", "10.77.0.11", tmp_path / "key").argv("id")
    assert line[-2:] == ["admin@10.77.0.11", "id"]
    assert {"BatchMode=yes", "UserKnownHostsFile=/dev/null", "IdentitiesOnly=yes"} <= set(line)


def test_waiting_for_a_dead_host_ends_at_once_with_the_reason(tmp_path: Path) -> None:
    client = SSH("mms-1", "127.0.0.1", tmp_path / "key")
    with pytest.raises(TestHostError, match="mms-1 does not boot: no kernel"):
        client.wait(lambda: "no kernel", 60)


def test_waiting_has_a_limit(tmp_path: Path) -> None:
    client = SSH("mms-1", "192.0.2.255", tmp_path / "key")
    with pytest.raises(TestHostError, match=r"took no login within 0.3 s: no answer on port 22"):
        client.wait(lambda: "", 0.3)


def test_an_absent_host_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(TestHostError, match=r"mms-1 does not exist. Fix: run .*create mms-1"):
        host(tmp_path).existing()
    assert host(tmp_path).failure_reason().startswith("it is off")
    with pytest.raises(InputError, match="no host 'mms-1'"):
        _ = host(tmp_path, None).spec


def test_a_host_is_what_it_was_created_as(tmp_path: Path) -> None:
    here = host(tmp_path, HostSpec("mms-1", "10.77.0.11", 4096, "10.77.0.1"))
    here.files.directory.mkdir(parents=True)
    RECORD.save(here.files.record)
    assert here.spec == SPEC
    assert here.running() is None
    with pytest.raises(TestHostError, match="mms-1 is not running"):
        here.require_running()
