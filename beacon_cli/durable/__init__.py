"""Files that outlive a power cut, files that grow line by line, locks, and checked JSON records."""
