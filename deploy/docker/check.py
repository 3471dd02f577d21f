"""Checks what deploy/docker/oci.py packs: digests, contents, owners, what it runs as, and that twice the same comes out.

usage: check.py BINARY   any program will do; one that is static is also started, in its own root
"""

import gzip
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
EXPECTED = {
    "etc": (0o755, "folder"),
    "etc/group": (0o644, "file"),
    "etc/passwd": (0o644, "file"),
    "etc/ssl": (0o755, "folder"),
    "etc/ssl/certs": (0o755, "folder"),
    "etc/ssl/certs/ca-certificates.crt": (0o644, "file"),
    "hookbus": (0o755, "file"),
}


def pack(binary: Path, out: Path, epoch: str = "1790000000") -> str:
    """Returns the digest that was said."""
    command = [sys.executable, HERE / "oci.py", binary, out, "--version", "9.8.7", "--revision", "abc", "--arch", "amd64"]
    environment = {**os.environ, "SOURCE_DATE_EPOCH": epoch}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1]


def blob(tar: tarfile.TarFile, name: str) -> bytes:
    """What has this digest, checked."""
    member = tar.extractfile(f"blobs/sha256/{name.removeprefix('sha256:')}")
    assert member is not None, name
    content = member.read()
    assert "sha256:" + hashlib.sha256(content).hexdigest() == name, f"{name} is not what it says"
    return content


def look(out: Path, said: str, binary: Path) -> None:
    with tarfile.open(out) as tar:
        layout = tar.extractfile("oci-layout")
        index = tar.extractfile("index.json")
        assert layout is not None and index is not None
        assert json.load(layout) == {"imageLayoutVersion": "1.0.0"}
        [described] = json.load(index)["manifests"]
        assert described["digest"] == said, (described["digest"], said)
        manifest = json.loads(blob(tar, said))
        assert described["size"] == len(blob(tar, said))
        config = json.loads(blob(tar, manifest["config"]["digest"]))
        run = config["config"]
        assert run["User"] == "65532:65532" and run["Entrypoint"] == ["/hookbus"], run
        assert run["Labels"]["org.opencontainers.image.version"] == "9.8.7", run
        [layer] = manifest["layers"]
        packed = blob(tar, layer["digest"])
    assert layer["size"] == len(packed)
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        found = {}
        for member in tar:
            assert (member.uid, member.gid, member.mtime) == (0, 0, 1790000000), member
            assert member.isdir() or member.isfile(), f"{member.name} is neither file nor folder"
            assert not member.mode & 0o6022, f"{member.name} may be changed by others, or changes who runs it"
            found[member.name] = (member.mode, "folder" if member.isdir() else "file")
        assert found == EXPECTED, found
        program = tar.extractfile("hookbus")
        assert program is not None and program.read() == binary.read_bytes()
    [diff] = config["rootfs"]["diff_ids"]
    assert diff == "sha256:" + hashlib.sha256(gzip.decompress(packed)).hexdigest()


def is_static(binary: Path) -> bool:
    told = subprocess.run(["readelf", "-lW", binary], capture_output=True, text=True, check=True)
    return "INTERP" not in told.stdout


def start(out: Path) -> str | None:
    """Starts it as its user in its own root, which nobody may write; returns what it says of itself. None: not allowed here."""
    if os.geteuid() != 0:
        return None
    with tempfile.TemporaryDirectory() as root:
        with tarfile.open(out) as tar:
            index = tar.extractfile("index.json")
            assert index is not None
            manifest = json.loads(blob(tar, json.load(index)["manifests"][0]["digest"]))
            packed = blob(tar, manifest["layers"][0]["digest"])
        with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
            tar.extractall(root, filter="tar")
        os.chmod(root, 0o555)
        command = ["chroot", "--userspec=65532:65532", root, "/hookbus", "--version"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


def main() -> None:
    [binary] = map(Path, sys.argv[1:])
    with tempfile.TemporaryDirectory() as folder:
        first, second, other = (Path(folder) / name for name in ("first.tar", "second.tar", "other.tar"))
        said = pack(binary, first)
        assert pack(binary, second) == said and first.read_bytes() == second.read_bytes(), "two builds differ"
        assert pack(binary, other, epoch="1790000001") != said, "the time of the commit is in it"
        look(first, said, binary)
        print(f"the image is whole, and twice the same: {said}")
        script = Path(folder) / "script"
        script.write_text("#!/bin/sh\n")
        command = [sys.executable, HERE / "oci.py", script, other, "--version", "1", "--arch", "amd64"]
        assert subprocess.run(command, capture_output=True, check=False).returncode == 2, "a script is no program"
        if not is_static(binary):
            print("it was not started: this binary is not static")
        elif (version := start(first)) is None:
            print("it was not started: that takes root")
        else:
            print(f"as 65532 in a root of its own: {version}")


if __name__ == "__main__":
    main()
