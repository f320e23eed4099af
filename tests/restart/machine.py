"""A real systemd as the first process of new namespaces, with the units of this project.

It needs root. Nothing of it touches the machine's own service manager: it has its own mounts, processes and control
groups, and shares only the network.
"""

import os
import pathlib
import shutil
import signal
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]

# Targets that services depend on. Their own dependencies would start the services of a whole machine.
TARGETS = ["sysinit", "basic", "shutdown", "sockets", "timers", "paths", "slices", "umount", "final", "multi-user",
           "network-online"]

BOOT = """#!/bin/bash
set -e
mount --make-rprivate /
mount -t proc proc /proc
mount -t tmpfs -o mode=755 tmpfs /run
mount -t tmpfs -o mode=755 tmpfs /var/lib
mount -t tmpfs -o mode=755 tmpfs /opt
umount -R /sys/fs/cgroup 2>/dev/null || true
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir -p /run/systemd /run/lock /opt/bin /opt/etc /opt/out
mount --bind {folder}/out /opt/out
cp {folder}/hookgate /opt/bin/hookgate
cp {folder}/hookgate.toml /opt/etc/hookgate.toml
chmod 755 /opt/bin /opt/bin/hookgate /opt/etc
mkfifo /run/kmsg
(cat /run/kmsg > {folder}/out/systemd.log) &
exec 9<>/run/kmsg
mount --bind /run/kmsg /dev/kmsg
export container=hookgate-test SYSTEMD_UNIT_PATH={folder}/units
exec /usr/lib/systemd/systemd --system --unit=test.target --log-target=kmsg --log-level=info --show-status=0
"""


class Machine:
    """One booted systemd."""

    def __init__(self, folder, binary, config, port):
        self.folder = pathlib.Path(folder)
        units = self.folder / "units"
        units.mkdir()
        (self.folder / "out").mkdir()
        # The temporary user of the service writes its log there.
        (self.folder / "out").chmod(0o777)
        self.folder.chmod(0o755)
        shutil.copy(binary, self.folder / "hookgate")
        (self.folder / "hookgate.toml").write_text(config)
        for name in TARGETS:
            lines = pathlib.Path(f"/lib/systemd/system/{name}.target").read_text().splitlines()
            kept = [line for line in lines if not line.startswith(("Wants=", "Requires=", "After="))]
            (units / f"{name}.target").write_text("\n".join(kept))
        (units / "test.target").write_text("[Unit]\nRequires=basic.target\nAfter=basic.target\nAllowIsolate=yes\n")
        service = (ROOT / "systemd/hookgate.service").read_text()
        service = service.replace("/usr/bin/hookgate", "/opt/bin/hookgate")
        service = service.replace("/etc/hookgate/hookgate.toml", "/opt/etc/hookgate.toml")
        # The port of the test's admin listener is not that of the unit.
        (units / "hookgate.service").write_text(service)
        drop = units / "hookgate.service.d"
        drop.mkdir()
        (drop / "test.conf").write_text("[Service]\nStandardOutput=append:/opt/out/gate.log\n"
                                        "StandardError=append:/opt/out/gate.log\n")
        socket = (ROOT / "systemd/hookgate.socket").read_text()
        lines = [line for line in socket.splitlines() if not line.startswith(("ListenStream=", "BindIPv6Only="))]
        text = "\n".join(lines).replace("[Socket]", f"[Socket]\nListenStream=127.0.0.1:{port}")
        (units / "hookgate.socket").write_text(text)
        boot = self.folder / "boot"
        boot.write_text(BOOT.format(folder=self.folder))
        boot.chmod(0o755)
        self.process = None
        self.init = None

    def start(self):
        command = ["unshare", "--pid", "--fork", "--kill-child", "--mount", "--cgroup", "--ipc", "--uts", "--",
                   str(self.folder / "boot")]
        with open(self.folder / "boot.log", "wb") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            start_new_session=True)
        limit = time.monotonic() + 30
        while time.monotonic() < limit:
            found = subprocess.run(["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True)
            if found.stdout.strip():
                self.init = int(found.stdout.split()[0])
                if self.run("systemctl", "is-active", "test.target").returncode == 0:
                    return
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        raise RuntimeError("systemd did not start: " + (self.folder / "boot.log").read_text())

    def enter(self, *command):
        return ["nsenter", "-t", str(self.init), "-m", "-p", "-C", "-i", "-u", *command]

    def run(self, *command, limit=90):
        return subprocess.run(self.enter(*command), capture_output=True, text=True, timeout=limit)

    def systemctl(self, *arguments, limit=90):
        return self.run("systemctl", *arguments, limit=limit)

    def show(self, name):
        return self.systemctl("show", "-P", name, "hookgate.service").stdout.strip()

    def install(self, source):
        """Replaces the program as a package manager does: a new file under the same name."""
        staged = self.folder / "out/staged"
        shutil.copy(source, staged)
        done = self.run("sh", "-c", "cp /opt/out/staged /opt/bin/new && chmod 755 /opt/bin/new && "
                        "mv /opt/bin/new /opt/bin/hookgate")
        assert done.returncode == 0, done.stderr

    def configure(self, text):
        (self.folder / "out/config").write_text(text)
        done = self.run("cp", "/opt/out/config", "/opt/etc/hookgate.toml")
        assert done.returncode == 0, done.stderr

    def log(self):
        path = self.folder / "out/gate.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def processes(self):
        done = self.run("sh", "-c", "cat /sys/fs/cgroup/system.slice/hookgate.service/cgroup.procs")
        return [int(line) for line in done.stdout.split()]

    def stop(self):
        if self.process is not None:
            # The init process ends, and with it all others of its namespace.
            if self.init:
                try:
                    os.kill(self.init, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            self.process.wait(10)


class PlainGate:
    """A gate without a service manager, which is upgraded by a signal."""

    def __init__(self, folder, binary, config):
        self.folder = pathlib.Path(folder)
        self.binary = self.folder / "hookgate"
        shutil.copy(binary, self.binary)
        (self.folder / "hookgate.toml").write_text(config)
        self.children = []

    def start(self):
        log = open(self.folder / "gate.log", "ab")
        command = [str(self.binary), "run", "--config", str(self.folder / "hookgate.toml")]
        environment = {"PATH": os.environ["PATH"]}
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)
        self.pid = self.process.pid
        self.wait_for(lambda: '"listening"' in self.log() or "listening" in self.log())

    def log(self):
        return (self.folder / "gate.log").read_text(errors="replace")

    def install(self, source):
        staged = self.folder / "staged"
        shutil.copy(source, staged)
        staged.rename(self.binary)

    def wait_for(self, condition, limit=30):
        end = time.monotonic() + limit
        while not condition():
            if time.monotonic() > end:
                raise RuntimeError("not in time; log:\n" + self.log())
            time.sleep(0.02)

    def stop(self):
        for pid in {self.pid, self.process.pid}:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait(10)
