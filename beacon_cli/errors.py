"""What can go wrong for a person at the terminal; `app` turns each of these into one line and an exit code."""

from activation_beacon.errors import BeaconError as BeaconError
from activation_beacon.errors import CheckpointError as CheckpointError
from activation_beacon.errors import ConfigError as ConfigError


class DocumentError(BeaconError):
    """A document that cannot be read: missing, empty, encrypted, damaged, without text."""


class TooLongError(DocumentError):
    """A text, or several together, that the model cannot hold with a question and its answer."""


class CacheError(BeaconError):
    """A cache that cannot be written, read or trusted."""


class ModelError(BeaconError):
    """A model that cannot be found, loaded or paired with the given beacon."""


class SettingsError(BeaconError):
    """A flag, argument, environment variable or configuration file with an unusable value: exit code 2, others 1."""


class TrainingError(BeaconError):
    """Training that cannot start or go on: its data, its saved state, or a loss that is no number."""


class EvaluationError(BeaconError):
    """An evaluation whose questions or texts cannot be used, or whose results cannot be kept."""


class OutputError(BeaconError):
    """Standard output that takes no more."""
