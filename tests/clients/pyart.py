"""What pyartifactory does with a repository: written at one site, read at another.

usage: pyart.py URL_A TOKEN_A URL_B TOKEN_B REPO    (URLs end in /artifactory)
"""

import hashlib
import os
import sys
import tempfile
import time

from pyartifactory import Artifactory
from pyartifactory.exception import ArtifactNotFoundError, PropertyNotFoundError, RepositoryNotFoundError
from pyartifactory.models import LocalRepository, FederatedRepository

url_a, token_a, url_b, token_b, repo = sys.argv[1:6]


def section(name):
    print(f"### {name}", flush=True)


def eventually(holds, what):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if holds():
                return
        except (ArtifactNotFoundError, PropertyNotFoundError):
            pass
        time.sleep(0.05)
    raise AssertionError(f"within a minute: {what}")


work = tempfile.mkdtemp()
body = b"hello again\n" * 1000
f_bin = os.path.join(work, "f.bin")
with open(f_bin, "wb") as file:
    file.write(body)
sha1, sha256 = hashlib.sha1(body).hexdigest(), hashlib.sha256(body).hexdigest()

section("connect")
a = Artifactory(url=url_a, auth=("admin", token_a), api_version=1)
b = Artifactory(url=url_b, auth=("admin", token_b), api_version=1)

section("deploy")
a.artifacts.deploy(f_bin, f"{repo}/p/f.bin")
eventually(lambda: b.artifacts.info(f"{repo}/p/f.bin"), "the file is at the other site")
section("deploy with properties")
a.artifacts.deploy(f_bin, f"{repo}/p/f3.bin", properties={"k": ["v1", "v2"]})
eventually(lambda: b.artifacts.info(f"{repo}/p/f3.bin"), "the second file is at the other site")
assert b.artifacts.properties(f"{repo}/p/f3.bin").properties == {"k": ["v1", "v2"]}

section("deploy by checksum")
a.artifacts.deploy(f_bin, f"{repo}/by-sum/f2.bin", checksum_enabled=True)
eventually(lambda: b.artifacts.info(f"{repo}/by-sum/f2.bin"), "what was deployed by its checksum is at the other site")
assert b.artifacts.info(f"{repo}/by-sum/f2.bin").checksums.sha256 == sha256

section("stats")
before = b.artifacts.stats(f"{repo}/p/f.bin").downloadCount
b.artifacts.download(f"{repo}/p/f.bin", work + "/stats")
assert b.artifacts.stats(f"{repo}/p/f.bin").downloadCount == before + 1

section("info")
info = b.artifacts.info(f"{repo}/p/f.bin")
assert (info.size, info.checksums.sha1, info.checksums.sha256) == (len(body), sha1, sha256), info
folder = b.artifacts.info(f"{repo}/p")
assert sorted(child.uri for child in folder.children) == ["/f.bin", "/f3.bin"], folder

section("list")
listed = b.artifacts.list(f"{repo}/p")
assert sorted(file.uri for file in listed.files) == ["/f.bin", "/f3.bin"], listed

section("download")
got = b.artifacts.download(f"{repo}/p/f.bin", work + "/down")
with open(got, "rb") as file:
    assert file.read() == body

section("properties")
a.artifacts.set_properties(f"{repo}/p/f.bin", {"a": ["b", "c"]})
eventually(lambda: b.artifacts.properties(f"{repo}/p/f.bin").properties == {"a": ["b", "c"]}, "properties arrive")
a.artifacts.update_properties(f"{repo}/p/f.bin", {"a": ["d"], "e": ["f"]})
eventually(lambda: b.artifacts.properties(f"{repo}/p/f.bin").properties == {"a": ["d"], "e": ["f"]}, "changes arrive")

section("copy, move, delete")
a.artifacts.copy(f"{repo}/p/f.bin", f"{repo}/q/f.bin")
a.artifacts.move(f"{repo}/q/f.bin", f"{repo}/r/f.bin")
eventually(lambda: b.artifacts.info(f"{repo}/r/f.bin"), "what was moved is at the other site")
a.artifacts.delete(f"{repo}/r/f.bin")
try:
    a.artifacts.info(f"{repo}/r/f.bin")
    raise AssertionError("what was deleted is still there")
except ArtifactNotFoundError:
    pass

section("repositories")
assert repo in [found.key for found in a.repositories.list()]
try:
    a.repositories.get_repo("py-local")
    raise AssertionError("a repository that isn't there was found")
except RepositoryNotFoundError:
    pass
a.repositories.create_repo(LocalRepository(key="py-local"))
local = a.repositories.get_repo("py-local")
assert (local.key, local.rclass) == ("py-local", "local"), local
local.description = "changed"
a.repositories.update_repo(local)
assert a.repositories.get_repo("py-local").description == "changed"
a.repositories.create_repo(FederatedRepository(key="py-fed", members=[]))
assert a.repositories.get_repo("py-fed").key == "py-fed"
a.repositories.delete("py-local")
a.repositories.delete("py-fed")
print("ok")
