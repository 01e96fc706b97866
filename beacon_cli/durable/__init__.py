"""Files that outlive a power cut, locks, and checked JSON records."""
