"""Packs one binary as an OCI image, without a container engine: from nothing, with certificate authorities and one user.

usage: oci.py BINARY OUT.tar [--version V] [--revision R] [--arch amd64|arm64] [--authorities FILE]

What goes in decides every byte that comes out: names are sorted, owners and times are fixed (SOURCE_DATE_EPOCH), so that two
builds of one commit have one digest. The last line on standard output is the digest of the image.
"""

import argparse
import gzip
import hashlib
import io
import json
import os
import tarfile
from datetime import datetime, timezone
from pathlib import Path

USER = 65532
PASSWD = f"nonroot:x:{USER}:{USER}:nonroot:/:/nonexistent\n"
GROUP = f"nonroot:x:{USER}:\n"
AUTHORITIES = "etc/ssl/certs/ca-certificates.crt"


def digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def entry(name: str, epoch: int, mode: int, content: bytes | None) -> tuple[tarfile.TarInfo, io.BytesIO | None]:
    info = tarfile.TarInfo(name)
    info.mtime, info.mode, info.uid, info.gid, info.uname, info.gname = epoch, mode, 0, 0, "", ""
    if content is None:
        info.type = tarfile.DIRTYPE
        return info, None
    info.size = len(content)
    return info, io.BytesIO(content)


def archive(files: dict[str, tuple[int, bytes]], epoch: int) -> bytes:
    """A tar of these files by name, with the folders they stand in."""
    folders = {str(folder) for name in files for folder in Path(name).parents} - {"."}
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name in sorted(folders | set(files)):
            mode, content = files.get(name, (0o755, None))
            tar.addfile(*entry(name, epoch, mode, content))
    return made.getvalue()


def image(binary: bytes, authorities: bytes, about: argparse.Namespace, epoch: int) -> tuple[bytes, str]:
    """The archive, and the digest of the image in it."""
    layer = archive(
        {
            "hookbus": (0o755, binary),
            "etc/passwd": (0o644, PASSWD.encode()),
            "etc/group": (0o644, GROUP.encode()),
            AUTHORITIES: (0o644, authorities),
        },
        epoch,
    )
    packed = gzip.compress(layer, compresslevel=9, mtime=0)
    created = datetime.fromtimestamp(epoch, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    labels = {
        "org.opencontainers.image.title": "hookbus",
        "org.opencontainers.image.description": "Webhooks on Kafka alone: signed, retried, logged.",
        "org.opencontainers.image.version": about.version,
        "org.opencontainers.image.revision": about.revision,
        "org.opencontainers.image.source": about.source,
        "org.opencontainers.image.licenses": "Apache-2.0",
    }
    config = {
        "created": created,
        "architecture": about.arch,
        "os": "linux",
        "config": {
            "User": f"{USER}:{USER}",
            "Entrypoint": ["/hookbus"],
            "WorkingDir": "/",
            # A static OpenSSL looks where it was built to look; this it reads everywhere.
            "Env": [f"SSL_CERT_FILE=/{AUTHORITIES}"],
            "Labels": {name: value for name, value in labels.items() if value},
        },
        "rootfs": {"type": "layers", "diff_ids": [digest(layer)]},
        "history": [{"created": created, "created_by": "deploy/docker/oci.py"}],
    }
    blobs: dict[str, bytes] = {}

    def blob(content: bytes, kind: str) -> dict[str, object]:
        blobs[digest(content)] = content
        return {"mediaType": kind, "digest": digest(content), "size": len(content)}

    def text(value: object) -> bytes:
        return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()

    kind = "application/vnd.oci.image"
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{kind}.manifest.v1+json",
        "config": blob(text(config), f"{kind}.config.v1+json"),
        "layers": [blob(packed, f"{kind}.layer.v1.tar+gzip")],
    }
    described = blob(text(manifest), f"{kind}.manifest.v1+json")
    described["platform"] = {"architecture": about.arch, "os": "linux"}
    described["annotations"] = {"org.opencontainers.image.ref.name": about.version}
    index = {"schemaVersion": 2, "mediaType": f"{kind}.index.v1+json", "manifests": [described]}
    files = {f"blobs/sha256/{name.removeprefix('sha256:')}": (0o644, content) for name, content in blobs.items()}
    files["oci-layout"] = (0o644, text({"imageLayoutVersion": "1.0.0"}))
    files["index.json"] = (0o644, text(index))
    # What `docker load` of older engines looks for.
    paths = {name: f"blobs/sha256/{name.removeprefix('sha256:')}" for name in blobs}
    loaded = {
        "Config": paths[manifest["config"]["digest"]],
        "RepoTags": [f"hookbus:{about.version}"],
        "Layers": [paths[layer["digest"]] for layer in manifest["layers"]],
    }
    files["manifest.json"] = (0o644, text([loaded]))
    return archive(files, epoch), str(described["digest"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--version", required=True)
    parser.add_argument("--revision", default="")
    parser.add_argument("--source", default="")
    parser.add_argument("--arch", choices=["amd64", "arm64"], required=True)
    parser.add_argument("--authorities", type=Path, default=Path("/etc/ssl/certs/ca-certificates.crt"))
    about = parser.parse_args()
    binary, authorities = about.binary.read_bytes(), about.authorities.read_bytes()
    if not binary.startswith(b"\x7fELF"):
        parser.error(f"{about.binary} is no program for Linux")
    if b"BEGIN CERTIFICATE" not in authorities:
        parser.error(f"{about.authorities} holds no certificates")
    made, name = image(binary, authorities, about, int(os.environ.get("SOURCE_DATE_EPOCH", "0")))
    about.out.parent.mkdir(parents=True, exist_ok=True)
    part = about.out.with_suffix(".part")
    part.write_bytes(made)
    part.replace(about.out)
    print(f"{about.out}: {len(binary) / 1e6:.1f} MB program, {len(made) / 1e6:.1f} MB packed")
    print(name)


if __name__ == "__main__":
    main()
