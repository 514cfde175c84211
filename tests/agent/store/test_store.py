"""The store: models by name, whole or not there, found again and checked again."""

import asyncio
import hashlib
import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from arriero.agent.backends import IsolatedModel
from arriero.agent.store import Catalogue, ModelStore, StoreError, open_model, read_reference
from arriero.agent.store.catalogue import bundled_catalogue
from arriero.agent.store.hub import Hub
from arriero.agent.store.opening import model_path
from arriero.tools._http import Retry

from .hub import Loopback

ONE = "hf:o/r/tiny.gguf"


@pytest.fixture
def files(bundled: Path) -> dict[str, bytes]:
    parts = {f"big/m-Q4_K_M-0000{n}-of-00003.gguf": bytes([n]) * 100 for n in (1, 2, 3)}
    return {"tiny.gguf": b"GGUF" + b"x" * 1000, "m-Q8_0.gguf": b"GGUF8", "README.md": b"hello", **parts}


@pytest.fixture
def bundled() -> Path:
    return model_path("bundled")


@pytest.fixture
def hub(files: dict[str, bytes]) -> Iterator[Loopback]:
    with Loopback(files) as hub:
        yield hub


def store_of(hub: Loopback, folder: Path, token: str = "") -> ModelStore:
    return ModelStore(folder, hub=Hub(hub.url, token), retry=Retry(attempts=2, base=0.0))


def pull(store: ModelStore, name: str, **options: object) -> Path:
    return asyncio.run(store.pull(name, **options))  # type: ignore[arg-type]


def test_pulled_once_and_found_by_every_name(hub: Loopback, tmp_path: Path) -> None:
    store = store_of(hub, tmp_path)
    path = pull(store, ONE)
    assert path == store.path(ONE) == store.path("o--r--tiny")
    assert pull(store, ONE) == path
    assert len(hub.asked("/cdn/")) == 1
    (model,) = ModelStore(tmp_path).installed()
    assert (model.reference, model.size, model.files[0].checked) == (ONE, 1004, True)
    assert store.verify(ONE) == []


def test_a_split_model_comes_whole(hub: Loopback, tmp_path: Path) -> None:
    store = store_of(hub, tmp_path)
    path = pull(store, "hf:o/r/big/m-Q4_K_M-00002-of-00003.gguf")
    assert path.name == "m-Q4_K_M-00001-of-00003.gguf"
    assert len(store.installed()[0].files) == 3
    assert pull(store, "hf:o/r:q4_k_m").name == path.name


def test_a_pull_that_broke_is_not_a_model(hub: Loopback, tmp_path: Path) -> None:
    store = store_of(hub, tmp_path)
    hub.moods.drop_after = [100, 0, 0]
    with pytest.raises(StoreError, match="kept"):
        pull(store, ONE)
    assert store.installed() == ()
    with pytest.raises(StoreError, match=f"arriero models pull {ONE}"):
        store.path(ONE)
    hub.moods.drop_after = []
    assert pull(store, ONE).read_bytes() == hub.files["tiny.gguf"]


def test_what_changes_on_the_disk_is_noticed_and_mended(hub: Loopback, tmp_path: Path) -> None:
    store = store_of(hub, tmp_path)
    path = pull(store, ONE)
    path.write_bytes(b"GGUF" + b"y" * 1000)
    (line,) = store.verify(ONE)
    assert "has the SHA-256" in line
    store.discard_broken(ONE)
    assert "is missing" in store.verify(ONE)[0]
    with pytest.raises(StoreError, match="is missing or has another size"):
        store.path(ONE)
    pull(store, ONE)
    assert store.verify(ONE) == []
    path.write_bytes(b"GGUF")
    assert "4 bytes instead of 1004" in store.verify(ONE)[0]


def test_removing(hub: Loopback, tmp_path: Path) -> None:
    store = store_of(hub, tmp_path)
    pull(store, ONE)
    assert store.remove(ONE) > 1000
    assert store.installed() == ()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(StoreError, match="not on this machine; here are: none yet"):
        store.remove(ONE)
    hub.moods.drop_after = [100, 0, 0]
    with pytest.raises(StoreError):
        pull(store, ONE)
    assert store.remove(ONE) > 100


def test_two_processes_do_not_fetch_one_model(hub: Loopback, tmp_path: Path) -> None:
    store = store_of(hub, tmp_path)
    code = "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.flock(f, 2); print(1, flush=True); input()"
    program = [sys.executable, "-ISc", code, str(tmp_path / ".o--r--tiny.lock")]
    other = subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with other:
        assert other.stdout
        assert other.stdout.readline() == b"1\n"
        with pytest.raises(StoreError, match="being fetched by another process"):
            pull(store, ONE)
        other.kill()
    pull(store, ONE)  # the lock went with its holder


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("llama3.1-8", "did you mean llama3.1-8b"),
        ("llama3.1-8b:q9", "can be had as q4_k_m, q5_k_m"),
        ("hf:o/r", "should be like"),
        ("hf:o/../x.gguf", "should be like"),
        ("hf:o/r/../../x.gguf", "should be like"),
        ("https://h/x.bin", "ends in .gguf"),
        ("https://h/.gguf", "ends in .gguf"),
    ],
)
def test_names_that_are_none(name: str, said: str) -> None:
    with pytest.raises(StoreError, match=said):
        read_reference(name)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("hf:o/r/nothing.gguf", "no file like nothing.gguf; it has: .*tiny.gguf"),
        ("hf:o/r:q3_k_m", "no file like"),
    ],
)
def test_files_that_the_hub_lacks(hub: Loopback, tmp_path: Path, name: str, said: str) -> None:
    with pytest.raises(StoreError, match=said):
        pull(store_of(hub, tmp_path), name)


def test_a_pattern_that_means_two_models(tmp_path: Path) -> None:
    said = r"several such files; name one: a-Q4_0\.gguf, b-Q4_0\.gguf"
    with Loopback({"a-Q4_0.gguf": b"1", "b-Q4_0.gguf": b"2"}) as hub, pytest.raises(StoreError, match=said):
        pull(store_of(hub, tmp_path), "hf:o/r:q4_0")


def test_gated_models_need_a_token(files: dict[str, bytes], tmp_path: Path) -> None:
    with Loopback(files, token="hf_x") as hub:
        with pytest.raises(StoreError, match=r"licence must be accepted.*HF_TOKEN"):
            pull(store_of(hub, tmp_path), ONE)
        assert pull(store_of(hub, tmp_path, "hf_x"), ONE).is_file()


def test_an_address_with_a_sum_of_the_callers(hub: Loopback, tmp_path: Path) -> None:
    store, url = store_of(hub, tmp_path), f"{hub.cdn}/cdn/tiny.gguf"
    with pytest.raises(StoreError, match="does not match"):
        pull(store, url, sha256="0" * 64)
    digest = hashlib.sha256(hub.files["tiny.gguf"]).hexdigest()
    assert pull(store, url, sha256=digest.upper()).is_file()
    assert store.installed()[0].files[0].checked


def test_a_page_in_the_place_of_a_model_is_not_kept(bundled: Path, tmp_path: Path) -> None:
    with Loopback({"page.gguf": b"<html>log in</html>", "real.gguf": bundled.read_bytes()}) as hub:
        store = store_of(hub, tmp_path)
        with pytest.raises(StoreError, match=r"is no model and was removed: .*not a GGUF file"):
            pull(store, f"{hub.cdn}/cdn/page.gguf")
        assert store.installed() == ()
        assert pull(store, f"{hub.cdn}/cdn/real.gguf").is_file()
        assert not store.installed()[0].files[0].checked


def test_a_record_that_leads_out_of_its_folder_is_not_believed(hub: Loopback, tmp_path: Path) -> None:
    store = store_of(hub, tmp_path)
    pull(store, ONE)
    record = tmp_path / "o--r--tiny" / "model.json"
    values = json.loads(record.read_text())
    values["files"][0]["name"] = "../../victim"
    record.write_text(json.dumps(values))
    assert store.installed() == ()
    record.write_text("{")
    assert store.installed() == ()


def test_the_catalogue_is_well_formed() -> None:
    catalogue = bundled_catalogue()
    names = {entry.name for entry in catalogue.models}
    assert {"llama3.1-8b", "llama3.1-70b", "llama3.1-405b", "llama3.2-1b", "llama3.2-3b"} <= names
    assert {"llama3.3-70b", "llama-guard3-1b", "llama-guard3-8b", "prompt-guard-86m"} <= names
    for entry in catalogue.models:
        assert entry.default in entry.quants
        assert entry.licence in catalogue.licences
        assert all(quant.gb > 0 < quant.ram_gb for quant in entry.quants.values())
        assert read_reference(entry.name).licence.startswith("Llama 3")
    with pytest.raises(StoreError, match="catalogue cannot be used: version"):
        Catalogue.read('{"version": 2, "licences": {}, "models": []}')


def test_a_classifier_is_a_folder(tmp_path: Path) -> None:
    names = ("config.json", "tokenizer.json", "model.safetensors", "README.md")
    with Loopback({name: name.encode() for name in names}) as hub:
        folder = pull(store_of(hub, tmp_path), "prompt-guard-86m")
    assert sorted(path.name for path in folder.iterdir()) == sorted([*names[:3], "model.json"])


def llamafile(path: Path, model: Path) -> Path:
    path.write_bytes(b"MZqFpD='\n#!/bin/sh\n" + b"program" * 100)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("args", "-m\nmodel.gguf\n")
        archive.write(model, "inner/model.gguf")
    return path


def test_a_llamafile_is_loaded_like_its_model(
    bundled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARRIERO_HOME", str(tmp_path / "home"))
    file = llamafile(tmp_path / "m.llamafile", bundled)
    path = model_path(str(file))
    assert path.read_bytes() == bundled.read_bytes()
    before = path.stat().st_mtime_ns
    assert model_path(str(file)).stat().st_mtime_ns == before
    assert [one.name for one in path.parent.iterdir()] == [path.name]
    model = open_model(str(file))
    assert model.dialect
    asyncio.run(model.aclose())


@pytest.mark.parametrize("damage", ["no model", "cut"])
def test_llamafiles_that_are_damaged(
    bundled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    monkeypatch.setenv("ARRIERO_HOME", str(tmp_path / "home"))
    file = tmp_path / "m.llamafile"
    if damage == "no model":
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("args", "x")
    else:
        data = bytearray(llamafile(file, bundled).read_bytes())
        data[100_000:100_100] = bytes(100)
        file.write_bytes(data)
    with pytest.raises(StoreError, match=r"holds no GGUF|is damaged"):
        model_path(str(file))


def test_names_open_what_they_mean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARRIERO_HOME", str(tmp_path))
    with pytest.raises(StoreError, match=r"arriero models pull llama3\.1-8b"):
        open_model("llama3.1-8b")
    with pytest.raises(StoreError, match=r"no model file lama3\.1-8b; did you mean llama3\.1-8b"):
        open_model("lama3.1-8b")
    with pytest.raises(StoreError, match=r"pull https://h/m\.gguf"):
        open_model("https://h/m.gguf")
    model = open_model("bundled", context=500)
    assert model.context_length == 500
    asyncio.run(model.aclose())


def test_a_model_in_a_process_of_its_own(bundled: Path) -> None:
    model = open_model(str(bundled), context=500, isolated=True)
    assert isinstance(model, IsolatedModel)
    assert model.context_length == 500
    model.close()
