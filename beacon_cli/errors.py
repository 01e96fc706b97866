"""What can go wrong for a person at the terminal; `app` turns each of these into one line and exit code 1."""

from activation_beacon.errors import BeaconError, CheckpointError, ConfigError

__all__ = [
    "BeaconError",
    "CacheError",
    "CheckpointError",
    "ConfigError",
    "DocumentError",
    "ModelError",
    "SettingsError",
    "TooLongError",
    "TrainingError",
]


class DocumentError(BeaconError):
    """A document that cannot be read: missing, empty, encrypted, damaged, without text."""


class TooLongError(DocumentError):
    """A text, or several together, that the model cannot hold with a question and its answer."""


class CacheError(BeaconError):
    """A cache that cannot be written, read or trusted."""


class ModelError(BeaconError):
    """A model that cannot be found, loaded or paired with the given beacon."""


class SettingsError(BeaconError):
    """An option, environment variable or configuration file with an unusable value."""


class TrainingError(BeaconError):
    """Training that cannot start or go on: its data, its saved state, or a loss that is no number."""
