"""Files are whole or not there, and what was there before survives a failure."""

import os

import pytest

from sk_hvae._data.whole_file import whole_file


def write(path, content, **kwargs):
    with whole_file(path, **kwargs) as file:
        file.write(content)


def write_half(path, error):
    with whole_file(path) as file:
        file.write(b"half")
        raise error


def test_a_new_file(tmp_path):
    write(tmp_path / "model", b"whole")
    assert (tmp_path / "model").read_bytes() == b"whole"
    assert os.listdir(tmp_path) == ["model"]


def test_its_permissions_are_those_of_any_new_file(tmp_path):
    (tmp_path / "plain").write_bytes(b"")
    write(tmp_path / "model", b"")
    assert (tmp_path / "model").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_readers_see_the_old_file_until_the_new_one_is_complete(tmp_path):
    path = str(tmp_path / "model")
    write(path, b"old")
    with whole_file(path) as file:
        file.write(b"new")
        file.flush()
        assert (tmp_path / "model").read_bytes() == b"old"
    assert (tmp_path / "model").read_bytes() == b"new"


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
@pytest.mark.parametrize("old", [b"old", None])
def test_a_failure_leaves_everything_as_it_was(tmp_path, error, old):
    path = tmp_path / "model"
    if old is not None:
        path.write_bytes(old)
    with pytest.raises(error):
        write_half(path, error)
    assert [p.read_bytes() for p in tmp_path.iterdir()] == ([] if old is None else [old])


def test_a_full_disk(tmp_path):
    (tmp_path / "model.unfinished").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        write(tmp_path / "model", b"whole")
    assert os.listdir(tmp_path) == []


def test_what_a_killed_process_left_behind_is_replaced(tmp_path):
    (tmp_path / "model.unfinished").write_bytes(b"half, and longer than the whole")
    write(tmp_path / "model", b"whole")
    assert [p.read_bytes() for p in tmp_path.iterdir()] == [b"whole"]


def test_several_writers_at_once(tmp_path):
    path = tmp_path / "model"
    with whole_file(path, suffix=".1") as first, whole_file(path, suffix=".2") as second:
        first.write(b"first")
        second.write(b"second")
    # The first to be opened is the last to be closed here.
    assert [p.read_bytes() for p in tmp_path.iterdir()] == [b"first"]


def test_the_disk_has_the_content_before_the_file_takes_its_place(tmp_path, monkeypatch):
    calls, fsync, replace = [], os.fsync, os.replace

    def noted_fsync(number):
        calls.append(("fsync", os.fstat(number).st_size))
        fsync(number)

    def noted_replace(*paths):
        calls.append("replace")
        replace(*paths)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "replace", noted_replace)
    write(tmp_path / "model", b"whole", sync=True)
    assert calls == [("fsync", len(b"whole")), "replace"]
