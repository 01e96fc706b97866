"""No test touches the user's own cache, configuration or network, nor depends on what the default model answers."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from beacon_cli.checkpoints.threads import wait_briefly
from tests.stories import story

if TYPE_CHECKING:
    from tests.scripted import Script

wait_briefly()
if "PYTEST_XDIST_WORKER" in os.environ:
    # Each worker has a core, so to speak.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
# A job in the background ignores Ctrl-C, and so would the processes that tests send it to.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path_factory.mktemp("home")
    for name in [name for name in os.environ if name.startswith("BEACON_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("BEACON_CACHE_DIR", str(home / "cache"))
    monkeypatch.setenv("BEACON_MODELS_DIR", str(home / "models"))
    monkeypatch.setenv("BEACON_STATE_DIR", str(home / "state"))
    monkeypatch.setenv("BEACON_CONFIG", str(home / "config.toml"))
    (home / "config.toml").touch()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture
def cache_dir() -> Path:
    return Path(os.environ["BEACON_CACHE_DIR"])


@pytest.fixture
def models_dir() -> Path:
    return Path(os.environ["BEACON_MODELS_DIR"])


@pytest.fixture(scope="session")
def scripted_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the scripted model; nothing may be changed in it."""
    # Imported here because it takes seconds that tests without a model can do without.
    from tests import scripted  # noqa: PLC0415  as above

    return scripted.make_model(tmp_path_factory.mktemp("models") / "scripted")


@pytest.fixture
def says(scripted_model: Path) -> Iterator["Script"]:
    """`says("Edda Voss")`: that is what the scripted model answers, in this process."""
    from tests.scripted import Script  # noqa: PLC0415  as above

    with Script(scripted_model).followed() as script:
        yield script


@pytest.fixture
def one_thread() -> Iterator[None]:
    """With several, how a product is split among them decides how it is rounded."""
    import torch  # noqa: PLC0415  as above

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def book(tmp_path: Path) -> Path:
    """A text of about 1,600 tokens: a dozen intervals of the scripted model."""
    path = tmp_path / "book.txt"
    path.write_text(story(20, fact_at=7))
    return path
