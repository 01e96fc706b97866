"""Looking after the cache: verified, repaired, kept within its limits, carried to other machines."""
