"""An application of a folder, with files beside it."""
