"""A real Ceph gateway on loopback: one monitor, one OSD in memory, one radosgw, in a folder of their own.

Another S3 than moto, with conditional writes that are atomic by construction. Needs Debian's packages `radosgw`,
`ceph-mon` and `ceph-osd` (16.2.15 in Debian 12, measured 2026-11-24: up in 1.5 s); where they are not installed, what
would run on it does not.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx

from seedream_assets_tests.storage.s3_server import ACCESS_KEY_ID, SECRET_ACCESS_KEY, S3Server, s3_environment

PROGRAMS = ("radosgw", "ceph-mon", "ceph-osd", "ceph", "ceph-authtool", "monmaptool", "radosgw-admin")
CONFIGURATION = """\
[global]
fsid = {fsid}
mon host = [v1:127.0.0.1:{monitor_port}]
public addr = 127.0.0.1
cluster addr = 127.0.0.1
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
keyring = {folder}/keyring
run dir = {folder}
admin socket = {folder}/$name.asok
pid file = {folder}/$name.pid
log file = {folder}/$name.log
mon data = {folder}/mon
osd data = {folder}/osd
rgw data = {folder}/rgw
osd objectstore = memstore
memstore device bytes = 4294967296
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
ms bind msgr2 = false
paxos propose interval = 0.05
rgw frontends = beast endpoint=127.0.0.1:{gateway_port}
rgw dns name = localhost
"""
_KEYS = (
    ("mon.", "--cap", "mon", "allow *"),
    ("client.admin", "--cap", "mon", "allow *", "--cap", "osd", "allow *", "--cap", "mgr", "allow *"),
    ("osd.0", "--cap", "mon", "allow profile osd", "--cap", "osd", "allow *"),
    ("client.rgw", "--cap", "mon", "allow rwx", "--cap", "osd", "allow rwx"),
)


def ceph_is_installed() -> bool:
    """True where every program that a gateway needs is found."""
    return all(shutil.which(program) for program in PROGRAMS)


@contextmanager
def running_ceph_gateway() -> Iterator[S3Server]:
    """Start a gateway on free ports and stop it afterwards. Everything is forgotten then."""
    folder = Path(tempfile.mkdtemp(prefix="ceph-"))
    try:
        endpoint_url = _start(folder)
        yield S3Server(endpoint_url=endpoint_url, environment=s3_environment(endpoint_url), checks_signatures=True)
    finally:
        _stop(folder)
        shutil.rmtree(folder, ignore_errors=True)


def _start(folder: Path) -> str:
    for name in ("mon", "osd", "rgw"):
        (folder / name).mkdir()
    fsid, osd = str(uuid.uuid4()), str(uuid.uuid4())
    monitor_port, gateway_port = _free_port(), _free_port()
    configuration, keyring, monmap = folder / "ceph.conf", folder / "keyring", folder / "monmap"
    configuration.write_text(
        CONFIGURATION.format(fsid=fsid, folder=folder, monitor_port=monitor_port, gateway_port=gateway_port)
    )
    for number, (name, *caps) in enumerate(_KEYS):
        _run("ceph-authtool", *(["--create-keyring"] if number == 0 else []), keyring, "--gen-key", "-n", name, *caps)
    _run("monmaptool", "--create", "--fsid", fsid, "--addv", "a", f"[v1:127.0.0.1:{monitor_port}]", monmap)
    here = ("-c", configuration)
    _run("ceph-mon", *here, "--mkfs", "-i", "a", "--monmap", monmap, "--keyring", keyring)
    _run("ceph-mon", *here, "-i", "a")
    _run("ceph", *here, "osd", "new", osd, "0")
    _run("ceph-osd", *here, "-i", "0", "--mkfs", "--osd-uuid", osd)
    _run("ceph-osd", *here, "-i", "0")
    _run("radosgw", *here, "-n", "client.rgw")
    endpoint_url = f"http://127.0.0.1:{gateway_port}"
    _wait_for(endpoint_url)
    user = ("--uid=test", "--display-name=test", f"--access-key={ACCESS_KEY_ID}", f"--secret-key={SECRET_ACCESS_KEY}")
    _run("radosgw-admin", *here, "user", "create", *user)
    return endpoint_url


def _run(program: str, *arguments: str | Path) -> None:
    done = subprocess.run(
        [program, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, f"{program}: {done.stderr}"


def _wait_for(endpoint_url: str) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        with suppress(httpx.HTTPError):
            httpx.get(endpoint_url, trust_env=False)
            return
        time.sleep(0.1)
    raise AssertionError("the Ceph gateway did not start within 60 s")


def _stop(folder: Path) -> None:
    """End the three daemons, the gateway first; nothing in memory is worth a goodbye."""
    for name in ("client.rgw", "osd.0", "mon.a"):
        with suppress(FileNotFoundError, ProcessLookupError, ValueError):
            os.kill(int((folder / f"{name}.pid").read_text()), signal.SIGKILL)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
