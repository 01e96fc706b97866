"""Condensing many documents on a Ray cluster: a document a task, each worker's model loaded once.

What is shared is the cache's folder, on a file system that all nodes see. There the work also is remembered: a document
that is complete is not condensed again, an unfinished one goes on, whoever began it. Ray starts a worker that died
anew, and gives it its document once more; one that kills its workers every time is left out in the end.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from beacon_cli.documents.finding import Place
from beacon_cli.errors import BeaconError, SettingsError
from beacon_cli.events import Condensed
from beacon_cli.library import load

# How often a document is given to a worker again after one died of it, or with it.
RETRIES = 2


class Worker:
    """Condenses documents; lives in a process of its own, somewhere in the cluster."""

    def __init__(self, model: Mapping[str, Any], how: Mapping[str, Any], room: Mapping[str, Any]) -> None:
        self._model = load(**model)
        self._how = {**how, "room": self._model.room_for(**room)}

    def condense(self, path: str) -> Condensed | str:
        """The figures of a document, or why it cannot be condensed."""
        try:
            (done,) = self._model.condense([path], **self._how)
        except BeaconError as error:
            return str(error)
        return done


def condense_on_ray(
    places: Sequence[Place], model: Mapping[str, Any], how: Mapping[str, Any], room: Mapping[str, Any]
) -> Iterator[tuple[Place, Condensed | str]]:
    """Condense documents on the cluster that this machine belongs to; each as it is done, or why it could not be.

    Args:
        places: absolute paths that all nodes see, or locations.
        model, how, room: arguments of `load`, the cache's folder among them, of `Model.condense` and `Model.room_for`.

    Raises:
        SettingsError: if Ray is not installed, or no cluster is there.
    """
    try:
        import ray  # noqa: PLC0415  an extra, and heavy
    except ImportError as error:
        raise SettingsError("--on ray needs Ray: pip install 'beacon-cli[ray]'") from error
    if not ray.is_initialized():
        try:
            ray.init(address="auto", log_to_driver=False)
        except ConnectionError as error:
            raise SettingsError(
                "there is no Ray cluster here: `ray start --head` starts one, RAY_ADDRESS names one"
            ) from error
    has_gpus = bool(ray.cluster_resources().get("GPU"))
    slots = int(ray.cluster_resources().get("GPU" if has_gpus else "CPU", 1))
    actor = ray.remote(num_cpus=0 if has_gpus else 1, num_gpus=int(has_gpus))(Worker)
    actor = actor.options(max_restarts=-1, max_task_retries=RETRIES)
    idle = [actor.remote(model, how, room) for _ in range(min(slots, len(places)))]
    waiting = list(reversed(places))
    running: dict[Any, tuple[Any, Place]] = {}
    while waiting or running:
        while waiting and idle:
            worker, place = idle.pop(), waiting.pop()
            running[worker.condense.remote(place.path)] = worker, place
        (done,), _ = ray.wait(list(running), num_returns=1)
        worker, place = running.pop(done)
        idle.append(worker)
        try:
            yield place, ray.get(done)
        except ray.exceptions.RayError as error:
            yield place, f"{place.path}: its workers died of it: {str(error).splitlines()[0]}"
