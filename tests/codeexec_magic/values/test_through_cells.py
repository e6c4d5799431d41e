"""Variables and files through real cells: in, out, from cell to cell, large and small, wanted and unwanted."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pandas.testing
import pytest
from live_cluster import LiveCluster

from codeexec_magic import Client
from codeexec_magic.errors import BadRequest, BadValue, ValueLost, ValueStoreFull
from codeexec_magic.settings import Settings
from codeexec_magic.values.remote import RemoteValue, UntrustedValue


@pytest.fixture
def client(cluster: LiveCluster) -> Client:
    """A client of the shared cluster, whose worker runs."""
    cluster.start_worker()
    return cluster.client


def values_of(client: Client, code: str, **options: Any) -> Any:
    """The values of a cell that succeeded."""
    result = client.submit(code, **{"cache": False, **options}).raise_for_status(60)
    return result.values


def test_small_values_of_every_kind(client: Client) -> None:
    """A value that a cell gets and gives back is the one that was sent."""
    sent = {"a": float("nan"), "b": {1: "x", (2, 3): b"y"}, "c": 1 << 100, "d": {"$": [None, True]}, "e": "\ud800"}
    back = values_of(client, "pass", inputs=sent, outputs=list(sent))
    assert repr(dict(back)) == repr(sent)


def test_frames_and_arrays(client: Client) -> None:
    """Frames with indexes, categories and time zones, arrays with their layout; the cell may change its copy."""
    frame = pd.DataFrame(
        {
            "t": pd.date_range("2026", periods=5000, freq="h", tz="Europe/Berlin"),
            "k": pd.Categorical(["a", "b"] * 2500),
        },
        index=pd.MultiIndex.from_product([range(50), range(100)], names=["p", None]),
    )
    array = np.asfortranarray(np.random.default_rng(1).random((500, 300)))
    back = values_of(client, "a[0, 0] = 7; b = a * 2", inputs={"f": frame, "a": array}, outputs=["f", "a", "b"])
    pandas.testing.assert_frame_equal(back["f"], frame, check_freq=True)
    assert array[0, 0] != 7
    assert back["a"][0, 0] == 7
    assert back["b"].flags.f_contiguous


@pytest.mark.parametrize("megabytes", [3.2, 30])
def test_outputs_larger_than_a_message(client: Client, megabytes: float) -> None:
    """Megabytes of text come back whole, and the job's record stays small."""
    job = client.submit(f"O = 'x' * {int(megabytes * 1e6)}", outputs=["O"], cache=False)
    assert len(job.result(60).values["O"]) == int(megabytes * 1e6)
    record = client.store.redis.hgetall(f"{client.store.prefix}job:{job.id}")
    assert sum(map(len, record.values())) < 8192


def test_a_model_stays_away_and_is_used_by_another_cell(client: Client) -> None:
    """What no safe format carries is a handle; another cell has the object itself; here it is opened on demand."""
    code = "class Model:\n    def predict(self, x): return 2 * x\nmodel = Model()\nmodel.self = model"
    model = values_of(client, code, outputs=["model"])["model"]
    assert isinstance(model, RemoteValue)
    assert model.type == "Model"
    assert "Model object" in model.preview
    assert values_of(client, "y = model.predict(21)", inputs={"model": model}, outputs=["y"])["y"] == 42
    with pytest.raises(UntrustedValue, match="trusted=True"):
        model.fetch()
    assert model.fetch(trusted=True).predict(4) == 8
    with pytest.raises(TypeError, match="--in"):
        __import__("pickle").dumps(model)


def test_functions_classes_and_modules_go_along(client: Client) -> None:
    """They travel by cloudpickle, with what they refer to; modules are imported there."""
    factor = 3

    def scale(x: int) -> int:
        return x * factor

    class Box:
        def __init__(self, content: int) -> None:
            self.content = content

    sent = {"scale": scale, "Box": Box, "box": Box(5), "np": np}
    code = "y = scale(Box(7).content) + box.content + int(np.ones(2).sum())"
    assert values_of(client, code, inputs=sent, outputs=["y"])["y"] == 28


def test_reasons_why_values_do_not_come(client: Client) -> None:
    """Each has its own line, the others come, and the cell has succeeded."""
    code = "good = 1\nimport threading\nlock = threading.Lock()\ngen = (i for i in [])"
    values = values_of(client, code, outputs=["good", "lock", "gen", "never"])
    assert values["good"] == 1
    for name, reason in {"lock": "cannot be pickled", "gen": "cannot be pickled", "never": "did not assign"}.items():
        with pytest.raises(ValueLost, match=reason) as caught:
            values[name]
        assert "\n" not in str(caught.value)
    with pytest.raises(KeyError):
        values["unasked"]


@pytest.mark.parametrize(
    "attack",
    [
        "os.write(fd, os.urandom(100000))",
        "os.write(fd, struct.pack('<I', 1 << 31))",
        "entry(entry='value', name='get_ipython', size=0)",
        "entry(entry='value', name='x', size=1 << 60)",
        "entry(entry='value', name='x', size=5); os.write(fd, b'a')",
        "entry(entry='file', path='../../etc/passwd', size=0)",
        "entry(entry='value', name='x', size=64); os.write(fd, bytes(64)); entry(entry='value', name='x', size=0)",
        "entry(entry=5)",
        "os.write(fd, struct.pack('<I', 60) + b'[' * 60)",
        "[entry(entry='problem', name=str(i), text='x' * 9000) for i in range(200)]",
        "entry(entry='value', name='x', kind='safe', type='int', size=64); os.write(fd, b'CXVALUE1' + bytes(56))",
    ],
)
def test_a_cell_that_forges_what_it_returns(client: Client, attack: str) -> None:
    """Whatever it writes, nothing unasked for comes, and the job has its outcome."""
    code = f"""
import json, os, stat, struct
fds = [fd for fd in map(int, os.listdir('/proc/self/fd')) if fd > 3]
fd = next(fd for fd in fds if os.path.exists(f'/proc/self/fd/{{fd}}') and stat.S_ISFIFO(os.fstat(fd).st_mode))
def entry(**about):
    text = json.dumps(about).encode()
    text += b' ' * (-(4 + len(text)) % 64)
    os.write(fd, struct.pack('<I', len(text)) + text)
{attack}
os._exit(0)
"""
    result = client.submit(code, outputs=["x"], cache=False, retries=0).result(60)
    assert set(result.values) <= {"x"}
    assert result.files == ()
    assert all("\n" not in text and len(text) <= 600 for text in result.value_problems.values())
    assert len(result.value_problems) <= 21


def test_names_of_ipython_are_refused(client: Client) -> None:
    """They would shadow what the notebook needs."""
    for name in ("get_ipython", "In", "_", "__", "_1", "_i3", "__builtins__", "__name__", "exit", "a b", "class"):
        with pytest.raises(BadRequest):
            client.submit("1", outputs=[name])
        with pytest.raises(BadRequest):
            client.submit("1", inputs={name: 1})


def test_values_that_cannot_be_sent(client: Client, cluster: LiveCluster) -> None:
    """Refused before anything is queued, in one line with the name and the remedy."""
    import threading

    with pytest.raises(BadValue, match=r"^lock is a _thread\.lock, which cannot be pickled"):
        client.submit("1", inputs={"lock": threading.Lock()})
    small = Settings(broker_url=cluster.server.url, max_value_mb=1, values_mb=2)
    with Client(settings=small) as other:
        with pytest.raises(BadValue, match=r"big is 1\.91 MB, the limit is 1 MB \(CODEEXEC_MAX_VALUE_MB\)"):
            other.submit("1", inputs={"big": bytes(2_000_000)})
        with pytest.raises(ValueStoreFull, match="CODEEXEC_VALUES_MB"):
            other.submit("1", inputs={f"big{seed}": np.random.default_rng(seed).bytes(900_000) for seed in range(4)})


def test_a_cell_that_lacks_a_library_of_its_input(client: Client) -> None:
    """The cell does not run, and the error names input and library."""
    import polars as pl

    code = "import sys; sys.modules['polars'] = None"
    assert client.submit(code, cache=False).result(60).success
    frame = pl.DataFrame({"a": [1]})
    result = client.submit("f = frame.height", inputs={"frame": frame}, outputs=["f"], cache=False).result(60)
    assert result.success, result.error


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder with files of several kinds, which is the current one."""
    (tmp_path / "data" / "deep").mkdir(parents=True)
    (tmp_path / "data" / "a.csv").write_text("x\n1\n")
    (tmp_path / "data" / "deep" / "b.bin").write_bytes(os.urandom(100_000))
    (tmp_path / "run.sh").write_text("#!/bin/sh\necho hello\n")
    (tmp_path / "run.sh").chmod(0o755)
    before = Path.cwd()
    os.chdir(tmp_path)
    yield tmp_path
    os.chdir(before)


def test_files_in_and_out(client: Client, folder: Path) -> None:
    """Files and folders go into the work folder with their modes; files that match come back into a folder here."""
    code = """
import subprocess
print(open('data/a.csv').read(), subprocess.check_output(['./run.sh'], text=True))
import pathlib
pathlib.Path('figures').mkdir()
pathlib.Path('figures/one.png').write_bytes(b'1' * 5000)
pathlib.Path('figures/two.txt').write_text('two')
pathlib.Path('left.log').write_text('forgotten')
pathlib.Path('figures/link.png').symlink_to('/etc/passwd')
"""
    job = client.submit(
        code, uploads=["data", "run.sh"], downloads=["figures/*.png", "data/deep/b.bin", "no*"], cache=False
    )
    result = job.result(60)
    assert result.success, result.error
    assert "hello" in result.stdout
    assert {(file.path, file.size) for file in job.files()} == {("figures/one.png", 5000), ("data/deep/b.bin", 100_000)}
    assert result.value_problems == {"no*": "no file matches no*"}
    assert set(result.left_behind) == {("figures/two.txt", 3), ("left.log", 9)}
    assert job.download("figures", to=folder / "out") == [folder / "out" / "figures" / "one.png"]
    assert (folder / "out" / "figures" / "one.png").read_bytes() == b"1" * 5000
    with pytest.raises(BadRequest, match=r"exists; use overwrite=True"):
        job.download("figures/*", to=folder / "out")
    assert job.download("figures/*", to=folder / "out", overwrite=True)
    job.download("data/deep/*", to=folder / "out")
    assert (folder / "out/data/deep/b.bin").read_bytes() == (folder / "data/deep/b.bin").read_bytes()
    with pytest.raises(BadRequest, match="no file matches"):
        job.download("*.csv", to=folder)


def test_downloads_do_not_follow_links_here(client: Client, folder: Path) -> None:
    """A link in the way, in the place of a folder or of the file, is refused."""
    job = client.submit("import os; os.mkdir('d'); open('d/f', 'w').write('new')", downloads=["d"], cache=False)
    assert job.result(60).success
    outside = folder / "outside"
    outside.mkdir()
    (folder / "to").mkdir()
    (folder / "to" / "d").symlink_to(outside)
    with pytest.raises(BadRequest, match="stands in its way"):
        job.download("d", to=folder / "to", overwrite=True)
    (folder / "to" / "d").unlink()
    (folder / "to" / "d").mkdir()
    (folder / "to" / "d" / "f").symlink_to(outside / "f")
    with pytest.raises(BadRequest, match="stands in its way"):
        job.download("d", to=folder / "to", overwrite=True)
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize("pattern", ["../x", "/etc/passwd", "~/x", "", "a/../../b"])
def test_patterns_that_lead_out_are_refused(client: Client, pattern: str) -> None:
    """Before anything is queued."""
    with pytest.raises(BadRequest, match="work folder"):
        client.submit("1", downloads=[pattern])


def test_uploads_that_are_no_files(client: Client, folder: Path) -> None:
    """Missing ones, links and devices are refused by name."""
    (folder / "link").symlink_to("data")
    for path, reason in {"nothing": "No such file", "link": "no links", "/dev/null": "only regular files"}.items():
        with pytest.raises(BadRequest, match=reason):
            client.submit("1", uploads=[path])


def test_a_chain_of_cells_is_answered_from_the_cache(client: Client) -> None:
    """Equal inputs have equal hashes: the same chain of cells runs once; another input runs what depends on it."""

    def chain(start: float) -> tuple[list[bool], float]:
        first = client.submit("a = array * 2  # chain", inputs={"array": np.full(1000, start)}, outputs=["a"]).result(
            60
        )
        second = client.submit("s = float(a.sum())  # chain", inputs={"a": first.values["a"]}, outputs=["s"]).result(60)
        return [first.cached, second.cached], second.values["s"]

    assert chain(1.0) == ([False, False], 2000.0)
    assert chain(1.0) == ([True, True], 2000.0)
    assert chain(2.0) == ([False, False], 4000.0)


def test_a_value_does_not_expire_while_a_job_waits_for_it(client: Client, cluster: LiveCluster) -> None:
    """It has an expiry again when the job has ended."""
    cluster.stop_worker()
    array = np.random.default_rng(5).random(1000)
    job = client.submit("total = a.sum()", inputs={"a": array}, outputs=["total"], cache=False)
    redis = client.store.redis
    key = next(key for key in redis.scan_iter(f"{client.store.prefix}value_jobs:*") if redis.sismember(key, job.id))
    value = key.replace("value_jobs:", "value:")
    assert redis.ttl(value) == -1
    cluster.start_worker()
    assert job.result(60).values["total"] == array.sum()
    assert not redis.exists(key)
    assert 0 < redis.ttl(value) <= 3600


def test_a_value_that_has_expired(client: Client) -> None:
    """A cell that needs it is not queued, reading it is refused; a cached result without its values runs again."""
    first = client.submit("import os; big = os.urandom(5000)  # expires", outputs=["big"]).result(60)
    model = (
        client.submit("class M: data = bytes(5000)\nm = M()\nm.d = bytes(5000)", outputs=["m"]).result(60).values["m"]
    )
    redis = client.store.redis
    for ref in (first.values.refs["big"], model.ref):
        assert redis.delete(f"{client.store.prefix}value:{ref.hash}")
    with pytest.raises(ValueLost, match="run its cell again"):
        first.values["big"]
    with pytest.raises(ValueLost, match="input m is not in the store any more"):
        client.submit("m", inputs={"m": model})
    again = client.submit("import os; big = os.urandom(5000)  # expires", outputs=["big"]).result(60)
    assert not again.cached
    assert len(again.values["big"]) == 5000


def test_large_values_in_a_folder(cluster: LiveCluster, tmp_path: Path) -> None:
    """Above a size, bytes are files of a folder that fsspec opens, named by their hash; expired ones are removed."""
    settings = Settings(broker_url=cluster.server.url, artifacts=f"file://{tmp_path}/values", redis_value_mb=1)
    with Client(settings=settings) as client:
        from codeexec_magic.values.codec.encode import pack

        array = np.random.default_rng(3).random(300_000)
        ref = client.values.put(pack(array, "a"), "a")
        assert [path.name for path in (tmp_path / "values" / "default").iterdir()] == [ref.hash]
        assert bytes(client.values.load(ref)) == pack(array, "a").to_bytes()
        assert client.values.put(pack(array, "a"), "a") == ref
        assert client.values.sweep() == 0
        client.store.redis.delete(f"{client.store.prefix}value:{ref.hash}")
        assert (client.values.sweep(), client.values.sweep()) == (0, 1)
        assert list((tmp_path / "values" / "default").iterdir()) == []
