#!/usr/bin/env python3
"""Writes an OCI image as a tar file, without a container engine. The same input gives the same bytes.

The image has no distribution in it: the program, the certificates of public authorities, a user, and folders. A program that is
not static gets the libraries that it names, and nothing else.

usage: image.py --out FILE --version VERSION --certificates FILE amd64=PROGRAM [arm64=PROGRAM]
       podman load -i FILE        skopeo inspect oci-archive:FILE
"""
import argparse
import gzip
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import time
from pathlib import Path

EPOCH = int(os.environ.get("SOURCE_DATE_EPOCH", "0"))
CREATED = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(EPOCH))
# Kubernetes checks `runAsNonRoot` by the number, so the image names a number. 65532 is the usual one for such images.
USER = 65532
INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


class Layer:
    """One layer: a tar file whose entries have a fixed order, owner and time."""

    def __init__(self):
        self.buffer = io.BytesIO()
        self.tar = tarfile.open(fileobj=self.buffer, mode="w", format=tarfile.PAX_FORMAT)
        self.folders = set()

    def folder(self, path, mode=0o755, owner=0):
        parent = os.path.dirname(path)
        if path in self.folders:
            return
        if parent:
            self.folder(parent)
        self.folders.add(path)
        self._add(path, mode, owner, tarfile.DIRTYPE)

    def file(self, path, content, mode=0o644):
        self.folder(os.path.dirname(path))
        self._add(path, mode, 0, tarfile.REGTYPE, content)

    def _add(self, path, mode, owner, kind, content=b""):
        entry = tarfile.TarInfo(path)
        entry.type, entry.mode, entry.mtime, entry.size = kind, mode, EPOCH, len(content)
        entry.uid = entry.gid = owner
        self.tar.addfile(entry, io.BytesIO(content))

    def close(self):
        """Returns the uncompressed bytes."""
        self.tar.close()
        return self.buffer.getvalue()


class Image:
    """The blobs of an OCI layout, by digest."""

    def __init__(self):
        self.blobs = {}

    def add(self, content, media_type, **more):
        """Stores a blob and returns its descriptor."""
        digest = hashlib.sha256(content).hexdigest()
        self.blobs[digest] = content
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content), **more}

    def add_json(self, value, media_type, **more):
        return self.add(json.dumps(value, sort_keys=True, separators=(",", ":")).encode(), media_type, **more)

    def write(self, path, top):
        files = {
            "oci-layout": json.dumps({"imageLayoutVersion": "1.0.0"}).encode(),
            "index.json": json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [top]}, sort_keys=True).encode(),
        }
        files.update({f"blobs/sha256/{digest}": self.blobs[digest] for digest in sorted(self.blobs)})
        layout = Layer()
        for name, content in files.items():
            if "/" in name:
                layout.file(name, content)
            else:
                layout._add(name, 0o644, 0, tarfile.REGTYPE, content)
        Path(path).write_bytes(layout.close())


def base_layer(certificates):
    """Builds the layer that every architecture shares."""
    layer = Layer()
    layer.file("etc/passwd", f"root:x:0:0:root:/:/sbin/nologin\nhookgate:x:{USER}:{USER}:hookgate:/var/lib/hookgate:/sbin/nologin\n".encode())
    layer.file("etc/group", f"root:x:0:\nhookgate:x:{USER}:\n".encode())
    layer.file("etc/ssl/certs/ca-certificates.crt", Path(certificates).read_bytes())
    layer.folder("etc/hookgate")
    # A named volume that is mounted here takes over this owner.
    layer.folder("var/lib/hookgate", 0o700, USER)
    layer.folder("run/hookgate", 0o700, USER)
    layer.folder("run/secrets")
    layer.folder("tmp", 0o1777)
    return layer.close()


def program_layer(program):
    """Builds the layer of one architecture: the program, and the libraries of one that is not static."""
    layer = Layer()
    for path in libraries(program):
        layer.file(path.lstrip("/"), Path(path).read_bytes(), 0o755)
    layer.file("usr/bin/hookgate", Path(program).read_bytes(), 0o755)
    return layer.close()


def libraries(program):
    """Returns the paths of the libraries that the program names, its loader included."""
    # A static program, or one of another machine, has nothing to list: `ldd` fails for both.
    listed = subprocess.run(["ldd", program], capture_output=True, text=True)
    if listed.returncode != 0 or "statically linked" in listed.stdout:
        if is_dynamic(program):
            sys.exit(f"error: {program} is not static, and its libraries are not those of this machine: build it for musl")
        return []
    words = [word for line in listed.stdout.splitlines() for word in line.split()]
    return sorted({word for word in words if word.startswith("/")})


def is_dynamic(program):
    """Returns whether the ELF file asks for a loader (a program header of type PT_INTERP)."""
    head = Path(program).read_bytes()[:4096]
    if head[:4] != b"\x7fELF":
        sys.exit(f"error: {program} is not an ELF program")
    start, size, count = (int.from_bytes(head[at : at + width], "little") for at, width in ((32, 8), (54, 2), (56, 2)))
    return any(head[start + size * number] == 3 for number in range(count))


def build(arguments):
    image = Image()
    compress = lambda content: gzip.compress(content, 9, mtime=0)
    labels = {
        "org.opencontainers.image.title": "hookgate",
        "org.opencontainers.image.description": "An edge proxy that verifies webhooks and forwards only the genuine ones",
        "org.opencontainers.image.version": arguments.version,
        "org.opencontainers.image.licenses": "Apache-2.0",
    }
    base = base_layer(arguments.certificates)
    manifests = []
    for pair in arguments.program:
        architecture, program = pair.split("=", 1)
        layers = [base, program_layer(program)]
        config = {
            "architecture": architecture,
            "os": "linux",
            "created": CREATED,
            "config": {
                "User": f"{USER}:{USER}",
                "Entrypoint": ["/usr/bin/hookgate"],
                "Cmd": ["run", "--config", "/etc/hookgate/hookgate.toml"],
                # Engines mount secrets as files in this folder, so `secret = { credential = "NAME" }` finds them.
                "Env": ["PATH=/usr/bin", "CREDENTIALS_DIRECTORY=/run/secrets", "STATE_DIRECTORY=/var/lib/hookgate"],
                "ExposedPorts": {"8443/tcp": {}, "9180/tcp": {}},
                "Volumes": {"/var/lib/hookgate": {}},
                "WorkingDir": "/var/lib/hookgate",
                "StopSignal": "SIGTERM",
                "Labels": labels,
            },
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}" for layer in layers]},
            "history": [{"created": CREATED, "created_by": f"packaging/image.py: {name}"} for name in ("base", "program")],
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": image.add_json(config, CONFIG),
            "layers": [image.add(compress(layer), LAYER) for layer in layers],
            "annotations": labels,
        }
        manifests.append(image.add_json(manifest, MANIFEST, platform={"architecture": architecture, "os": "linux"}))
    top = manifests[0]
    if len(manifests) > 1:
        # One entry in index.json, which lists the architectures: some tools refuse a layout with several images.
        top = image.add_json({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}, INDEX)
    top["annotations"] = {
        "org.opencontainers.image.ref.name": arguments.version,
        "io.containerd.image.name": f"docker.io/library/hookgate:{arguments.version}",
    }
    image.write(arguments.out, top)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", required=True)
    parser.add_argument("--version", required=True)
    parser.add_argument("--certificates", required=True, help="PEM file of the public authorities")
    parser.add_argument("program", nargs="+", help="ARCHITECTURE=PROGRAM, such as amd64=target/release/hookgate")
    build(parser.parse_args())


if __name__ == "__main__":
    main()
