"""The one exception tree: whatever this project raises for its user's input derives from `BeaconError`."""


class BeaconError(Exception):
    """A failure that the user can act on: its text is one line saying what is wrong and what to do next."""


class ConfigError(BeaconError):
    """Settings that are malformed, contradict each other, or ask for what the method cannot do."""


class CheckpointError(BeaconError):
    """Model files that are missing, damaged, or do not belong together."""
