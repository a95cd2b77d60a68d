"""Optional packages are imported, or the message says what needs them and how to get them."""

import json
import sys

import pytest

from sk_hvae._extras import import_extra


def test_a_module_that_is_there():
    assert import_extra("json", "reading", "json") is json
    assert import_extra("json.decoder", "reading", "json") is sys.modules["json.decoder"]


@pytest.mark.parametrize("module", ["pandas", "pandas.io.json"])
def test_a_package_that_is_missing(monkeypatch, module):
    for name in ("pandas", "pandas.io", "pandas.io.json"):
        monkeypatch.setitem(sys.modules, name, None)
    message = r"^pandas is needed for to_frame: pip install 'pandas>=2'$"
    with pytest.raises(ImportError, match=message) as raised:
        import_extra(module, "to_frame", "'pandas>=2'")
    assert isinstance(raised.value.__cause__, ImportError)
