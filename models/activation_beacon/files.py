"""How the files of an adapter are called. It says no more, so that who only looks for them need not import torch."""

CONFIG_FILE = "beacon_config.json"
WEIGHTS_FILE = "beacon.safetensors"
SCORER_FILE = "scorer.safetensors"
