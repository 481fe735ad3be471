"""One look at a folder of folders: what is deployed, kept, quarantined, mended and dropped."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from runtime.authoring.manifest import Manifest
from runtime.versions.catalog import Catalog, shape
from runtime.versions.registry import Registry
from tests.versions.conftest import House


def test_a_folder_is_deployed_and_then_left_alone(house: House) -> None:
    """Once, with its version unpacked; a second look costs no inspection and changes nothing."""
    house.write("first", "one", "two")
    inspected: list[str] = []
    (change,) = house.sync(inspected.append).changes
    assert change.deployed is not None
    assert inspected == ["first"]
    assert house.served() == {"one": "first", "two": "first"}
    assert (house.versions.path(change.deployed.version) / "__init__.py").is_file()
    assert house.changed() == {}
    house.sync(inspected.append)
    assert inspected == ["first"]


def test_a_changed_folder_is_a_new_version_and_the_old_one_stays(house: House) -> None:
    """Accepted work still finds the version that accepted it."""
    house.write("first", "one")
    old = house.changed()["first"]
    house.write("first", "one", "two")
    new = house.changed()["first"]
    assert old is not None
    assert new is not None
    assert old != new
    assert [function.name for function in house.registry.manifest(old).functions] == ["one"]
    assert house.versions.path(old).is_dir()
    house.write("first", "one")
    assert house.changed() == {"first": old}


def test_a_broken_save_keeps_the_former_version_serving(house: House) -> None:
    """It is quarantined with its problem, and mended by the next good save."""
    house.write("first", "one")
    good = house.changed()["first"]
    house.write("first", code="def broken(:\n")
    report = house.sync()
    assert report.changes == []
    (problem,) = report.problems
    assert (problem.folder, problem.file, problem.line) == ("first", "__init__.py", 2)
    assert "SyntaxError" in house.problems()["first"]
    assert house.registry.catalog().folders["first"].version == good
    assert house.sync().problems == [problem]
    house.write("first", "one")
    assert house.changed() == {"first": good}
    assert house.problems() == {}


def test_a_folder_that_never_worked_serves_nothing(house: House) -> None:
    """Until it is mended; its neighbours are served all the same."""
    house.write("bad", code="1 / 0")
    house.write("good", "one")
    assert list(house.changed()) == ["good"]
    assert "ZeroDivisionError" in house.problems()["bad"]
    shutil.rmtree(house.root / "bad")
    assert house.changed() == {"bad": None}
    assert house.problems() == {}


def test_a_vanished_folder_is_dropped(house: House) -> None:
    """And what others deploy is not this one's to drop."""
    house.write("first", "one")
    house.sync()
    elsewhere = house.root.parent / "elsewhere"
    elsewhere.mkdir()
    house.deployer.sync(elsewhere)
    assert house.served() == {"one": "first"}
    shutil.rmtree(house.root / "first")
    assert house.changed() == {"first": None}
    assert house.served() == {}
    assert house.changed() == {}


def test_a_missing_root_serves_nothing(house: House) -> None:
    """A functions folder that is not there is an empty one."""
    house.root.rmdir()
    assert house.sync().changes == []


def test_two_functions_of_one_name_in_two_folders_clash(house: House) -> None:
    """The second is refused, with both places and the cure; the first goes on; mending is enough."""
    house.write("first", "one")
    house.sync()
    house.write("second", "other", "one")
    (problem,) = house.sync().problems
    assert problem.folder == "second"
    assert problem.reason == "two functions are named 'one': first/__init__.py:2 and second/__init__.py:4; rename one"
    assert house.served() == {"one": "first"}
    house.write("second", "other", "two")
    assert list(house.changed()) == ["second"]
    assert house.problems() == {}


def test_a_clash_within_the_very_first_look(house: House) -> None:
    """By order of name: one is served, the other told."""
    house.write("b", "one")
    house.write("a", "one")
    (problem,) = house.sync().problems
    assert problem.folder == "b"
    assert house.served() == {"one": "a"}
    # the first one gives way, without a change of the second
    shutil.rmtree(house.root / "a")
    assert set(house.changed()) == {"a", "b"}
    assert house.served() == {"one": "b"}
    assert house.problems() == {}


def test_what_a_refused_folder_goes_on_serving_is_not_given_away(house: House) -> None:
    """A function can only move when the folder that gives it up is deployed, too."""
    house.write("a", "one")
    house.write("z", "moves")
    house.sync()
    house.write("b", "moves")
    house.write("z", "one")  # refused: so z goes on with `moves`
    report = house.sync()
    assert {problem.folder for problem in report.problems} == {"b", "z"}
    assert report.changes == []
    assert house.served() == {"one": "a", "moves": "z"}
    house.write("z", "two")
    assert set(house.changed()) == {"b", "z"}
    assert house.served() == {"one": "a", "moves": "b", "two": "z"}
    assert house.problems() == {}


def test_two_routes_of_one_shape_clash(house: House) -> None:
    """Parameter names make no difference between routes; methods do."""
    house.write("first", "one POST /hooks/{a}")
    house.sync()
    house.write("second", "two POST /hooks/{b}")
    house.write("third", "three PUT /hooks/{b}", "four POST /hooks/fixed")
    (problem,) = house.sync().problems
    assert problem.folder == "second"
    assert problem.reason == (
        "two functions declare the route POST /hooks/{a}: first/__init__.py:2 and second/__init__.py:2; change one path"
    )
    assert set(house.served()) == {"one", "three", "four"}


def test_a_function_moves_from_one_folder_to_another_in_one_look(house: House) -> None:
    """In either direction of names, with its route."""
    house.write("a", "one POST /one", "stays")
    house.write("b", "two")
    house.sync()
    house.write("a", "stays")
    house.write("b", "two", "one POST /one")
    assert set(house.changed()) == {"a", "b"}
    assert house.served() == {"one": "b", "stays": "a", "two": "b"}
    house.write("a", "one POST /one", "stays")
    house.write("b", "two")
    assert set(house.changed()) == {"a", "b"}
    assert house.served() == {"one": "a", "stays": "a", "two": "b"}
    house.write("a", "stays")
    shutil.rmtree(house.root / "b")
    house.write("c", "one POST /one", "two")
    assert house.changed() == {"a": house.registry.catalog().folders["a"].version, "b": None, "c": house.served_version("c")}
    assert house.served() == {"one": "c", "stays": "a", "two": "c"}


def test_a_renamed_folder_takes_its_functions_along(house: House) -> None:
    """The old name goes, the new one serves, in one look."""
    house.write("before", "one POST /one")
    house.sync()
    (house.root / "before").rename(house.root / "after")
    assert set(house.changed()) == {"before", "after"}
    assert house.served() == {"one": "after"}
    assert house.problems() == {}


def test_a_stray_file_is_told_and_forgotten_with_the_file(house: House) -> None:
    """A function lives in a folder of its own; hidden and private entries are none of ours."""
    (house.root / "hello.py").write_text("")
    (house.root / "_private.py").write_text("")
    (house.root / "README.md").write_text("")
    (house.root / ".hidden").mkdir()
    (house.root / "__pycache__").mkdir()
    (problem,) = house.sync().problems
    assert problem.reason == "hello.py is a file; a function lives in a folder of its own: hello/__init__.py"
    (house.root / "hello.py").unlink()
    assert house.changed() == {"hello.py": None}
    assert house.problems() == {}


def test_one_unreadable_folder_does_not_stop_the_others(house: House) -> None:
    """Odd names, links and clashes are one folder's problem each."""
    house.write("good", "one")
    house.write("has space", "two")
    (house.write("link", "three") / "odd").symlink_to("/etc/passwd")
    (house.write("name", "four") / os.fsdecode(b"\xff.txt")).write_text("")
    assert list(house.changed()) == ["good"]
    assert set(house.problems()) == {"has space", "link", "name"}
    assert "link/odd: 'odd' is a symbolic link" in house.problems()["link"]


def test_a_lost_copy_of_a_version_is_unpacked_again(house: House) -> None:
    """With the data folder gone, the next look brings back what is served."""
    house.write("first", "one")
    version = house.changed()["first"]
    assert version is not None
    shutil.rmtree(house.versions.path(version))
    assert house.changed() == {}
    assert (house.versions.path(version) / "__init__.py").is_file()


def test_a_flushed_registry_is_filled_again(house: House, flush: Callable[[], None]) -> None:
    """Redis without its data: the next look deploys everything anew."""
    house.write("first", "one")
    version = house.changed()["first"]
    flush()
    assert house.changed() == {"first": version}


def test_a_pointer_without_a_manifest_is_passed_by(house: House, flush: Callable[[], None]) -> None:
    """A folder whose version's manifest is gone is not served, and stops no other."""
    house.write("first", "one")
    house.write("second", "two")
    house.sync()
    house.registry._redis.delete(f"oncue:version:{house.served_version('first')}")
    house.registry._manifests.clear()
    assert house.served() == {"two": "second"}


def test_manifests_at_hand_are_bounded(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that sees versions come and go keeps so many, and reads again what it wants again."""
    monkeypatch.setattr("runtime.versions.registry.MAX_MANIFESTS", 2)
    reader = Registry(house.url)
    for n in range(4):
        house.write(f"f{n}", f"f{n}")
    house.sync()
    assert set(reader.catalog().functions) == {"f0", "f1", "f2", "f3"}
    assert len(reader._manifests) == 2
    assert set(reader.catalog().functions) == {"f0", "f1", "f2", "f3"}
    reader.close()


def test_shapes_of_paths_forget_parameter_names() -> None:
    """And nothing else."""
    assert shape("/a/{b}/c/{d}") == "/a/{}/c/{}"
    assert shape("/") == "/"


def test_an_empty_catalog_accepts_a_manifest_without_functions() -> None:
    """Nothing clashes with nothing."""
    Catalog().check(Manifest(folder="f", python="3.11", functions=()))


def test_versions_keep_states_apart_from_content(tmp_path: Path, house: House) -> None:
    """A folder's own state outlives its versions."""
    assert house.versions.state("first").name == "first"
    assert house.versions.state("first").parent != house.versions.path("x").parent
