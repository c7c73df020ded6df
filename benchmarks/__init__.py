"""Speed, memory and descriptors, measured side by side. See ``README.md``."""
