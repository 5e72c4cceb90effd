"""What dohq-artifactory does with a repository: written at one site, read at another.

usage: dohq.py URL_A TOKEN_A URL_B TOKEN_B REPO    (URLs end in /artifactory)
"""

import hashlib
import io
import os
import sys
import tarfile
import tempfile
import time
import zipfile

from artifactory import ArtifactoryBuildManager, ArtifactoryPath, md5sum, sha1sum
from dohq_artifactory.exception import ArtifactoryException

url_a, token_a, url_b, token_b, repo = sys.argv[1:6]


def there(path):
    return ArtifactoryPath(f"{url_b}/{repo}/{path}".rstrip("/"), token=token_b)


def here(path):
    return ArtifactoryPath(f"{url_a}/{repo}/{path}".rstrip("/"), token=token_a)


def eventually(holds, what):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if holds():
            return
        time.sleep(0.05)
    raise AssertionError(f"within a minute: {what}")


def section(name):
    print(f"### {name}", flush=True)


work = tempfile.mkdtemp()
body = b"hello world\n" * 1000
f_bin = os.path.join(work, "f.bin")
with open(f_bin, "wb") as file:
    file.write(body)
sha1, md5 = hashlib.sha1(body).hexdigest(), hashlib.md5(body).hexdigest()
sha256 = hashlib.sha256(body).hexdigest()

section("exists missing")
assert not here("a/x.bin").exists()

section("mkdir")
here("dirx").mkdir()
eventually(lambda: there("dirx").exists(), "the folder is at the other site")
assert there("dirx").is_dir()

section("deploy_file")
here("a/f.bin").deploy_file(f_bin)
assert here("a/f.bin").exists()
eventually(lambda: there("a/f.bin").exists(), "the file is at the other site")

section("deploy_file with properties")
here("a/b/g.bin").deploy_file(f_bin, parameters={"arch": ["a", "b"], "build.name": "x y"})
eventually(lambda: there("a/b/g.bin").exists(), "the second file is at the other site")
assert there("a/b/g.bin").properties == {"arch": ["a", "b"], "build.name": ["x y"]}

section("deploy_file with calculated sums")
here("a/f2.bin").deploy_file(f_bin, calc_md5=True, calc_sha1=True, calc_sha256=True)
here("a/f3.bin").deploy(io.BytesIO(body), sha1=sha1)
try:
    here("a/wrong.bin").deploy(io.BytesIO(body), sha1="0" * 40)
    raise AssertionError("a wrong checksum was taken")
except ArtifactoryException as error:
    assert sha1 in str(error), error
assert not here("a/wrong.bin").exists()

section("checksum deploy")
here("a/by-sum/chk1.bin").deploy_by_checksum(sha1=sha1)
here("a/by-sum/chk256.bin").deploy_by_checksum(sha256=sha256)
eventually(lambda: there("a/by-sum/chk256.bin").exists(), "what was deployed by its checksum is at the other site")
assert there("a/by-sum/chk256.bin").read_bytes() == body
try:
    here("a/by-sum/none.bin").deploy_by_checksum(sha1="0" * 40)
    raise AssertionError("bytes that nobody has were deployed")
except ArtifactoryException as error:
    assert "No existing file" in str(error), error
here("a/by-sum").rmdir()
eventually(lambda: not there("a/by-sum").exists(), "they are gone again")

section("download_stats")
before = there("a/f.bin").download_stats()
assert there("a/f.bin").read_bytes() == body
after = there("a/f.bin").download_stats()
assert (before.download_count + 1, after.last_downloaded_by) == (after.download_count, "admin"), (before, after)
assert after.last_downloaded, after

section("stat")
eventually(lambda: there("a/f2.bin").exists(), "the third file is at the other site")
stat = there("a/f.bin").stat()
assert (stat.size, stat.sha1, stat.md5, stat.sha256) == (len(body), sha1, md5, sha256), stat
assert not stat.is_dir and stat.created_by == "admin" and stat.mime_type, stat
assert stat.ctime.year >= 2026 and stat.mtime >= stat.ctime, stat

section("iterdir, is_dir, glob, walk")
eventually(lambda: there("a/f3.bin").exists(), "the fourth file is at the other site")
assert there("a").is_dir() and not there("a/f.bin").is_dir() and there("a/f.bin").is_file()
assert sorted(path.name for path in there("a")) == ["b", "f.bin", "f2.bin", "f3.bin"]
assert sorted(path.name for path in there("").glob("**/*.bin")) == ["f.bin", "f2.bin", "f3.bin", "g.bin"]
assert sorted(str(path).rsplit(f"/{repo}/", 1)[1] for path in there("").rglob("g*")) == ["a/b/g.bin"]

section("open, read, write")
with there("a/f.bin").open() as file:
    assert file.read() == body
assert there("a/f.bin").read_bytes() == body
assert there("a/f.bin").read_text() == body.decode()
out = os.path.join(work, "out.bin")
with open(out, "wb") as file:
    there("a/f.bin").writeto(file, chunk_size=1024)
assert sha1sum(out) == sha1 and md5sum(out) == md5
here("t/text.txt").write_text("some text")
eventually(lambda: there("t/text.txt").exists(), "the text is at the other site")
assert there("t/text.txt").read_text() == "some text"

section("apikey, bearer, a token as the password")
for way in [{"apikey": token_b}, {"token": token_b}, {"auth": ("admin", token_b)}]:
    assert ArtifactoryPath(f"{url_b}/{repo}/a/f.bin", **way).exists(), way
try:
    ArtifactoryPath(f"{url_b}/{repo}/a/f.bin", apikey="wrong").stat()
    raise AssertionError("a wrong key was taken")
except ArtifactoryException:
    pass

section("builds")
assert ArtifactoryBuildManager(url_b, token=token_b).builds == []

section("archive")
for kind in ["zip", "tar", "tar.gz", "tgz"]:
    packed = os.path.join(work, f"packed.{kind}")
    with open(packed, "wb") as file:
        there("a").archive(archive_type=kind, check_sum=True).writeto(file, chunk_size=4096)
    if kind == "zip":
        with zipfile.ZipFile(packed) as archive:
            assert archive.testzip() is None
            found = {name: archive.read(name) for name in archive.namelist()}
    else:
        with tarfile.open(packed) as archive:
            found = {member.name: archive.extractfile(member).read() for member in archive if member.isfile()}
    files = ["b/g.bin", "f.bin", "f2.bin", "f3.bin"]
    assert all(found[name] == body and found[name + ".sha1"] == sha1.encode() for name in files), found.keys()
    assert len(found) == 4 * len(files), found.keys()

section("copy, move")
here("a/f.bin").copy(here("c/f.bin"))
assert here("c/f.bin").exists() and here("a/f.bin").exists()
here("c/f.bin").move(here("d/f.bin"))
assert here("d/f.bin").exists() and not here("c/f.bin").exists()
eventually(lambda: there("d/f.bin").exists(), "what was moved is at the other site")
assert there("d/f.bin").read_bytes() == body

section("properties")
path = here("a/f.bin")
assert path.properties == {}
path.properties = {"test": ["test_property"], "time": ["2018-01-16 12:17:44.135143"]}
assert path.properties == {"test": ["test_property"], "time": ["2018-01-16 12:17:44.135143"]}
path.set_properties({"test": ["c", "d"]})
assert path.properties["test"] == ["c", "d"]
path.update_properties({"test": "e", "new": ["f"]})
path.properties = {"test": ["v1"]}
assert path.properties == {"test": ["v1"]}
path.del_properties(["test"])
eventually(lambda: there("a/f.bin").properties == {}, "the properties are gone at the other site")

section("aql")
aql = ArtifactoryPath(url_b, token=token_b)
found = aql.aql("items.find", {"repo": repo, "name": {"$match": "*.bin"}, "@arch": "a"}, ".include", ["name", "path", "repo"])
assert [(row["path"], row["name"]) for row in found] == [("a/b", "g.bin")], found
paths = [aql.from_aql(row) for row in aql.aql("items.find", {"repo": repo, "path": "a"}, ".sort", {"$desc": ["name"]}, ".limit", 2)]
assert [path.name for path in paths] == ["f3.bin", "f2.bin"], paths

section("unlink, rmdir")
here("d/f.bin").unlink()
assert not here("d/f.bin").exists()
try:
    here("d/f.bin").unlink()
    raise AssertionError("what isn't there was deleted")
except (FileNotFoundError, OSError):
    pass
here("a/b").rmdir()
eventually(lambda: not there("a/b/g.bin").exists(), "the folder is gone at the other site")

section("repositories")
root = ArtifactoryPath(url_a, token=token_a)
keys = [found.name for found in root.get_repositories()]
assert repo in keys, keys
print("ok")
