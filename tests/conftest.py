"""Settings of all tests."""

import os
import tempfile
from pathlib import Path

import pytest


class PlainRoot:
    """Makes pytest see the project's root as a folder, not as a package.

    It is the package `bitwright`, and tests import it by that name. pytest would import it once more under the name of
    the folder that it happens to be cloned into, which need not even be a name.
    """

    @pytest.hookimpl(tryfirst=True)
    def pytest_collect_directory(self, path: Path, parent: pytest.Collector) -> pytest.Collector | None:
        if path != parent.config.rootpath:
            return None
        return pytest.Dir.from_parent(parent, path=path)


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(PlainRoot())
    # What the developer has tuned on this machine must not decide which schedules the tests run.
    folder = tempfile.TemporaryDirectory(prefix="bitwright-tests-")
    config.add_cleanup(folder.cleanup)
    os.environ["BITWRIGHT_DATA_DIR"] = folder.name
