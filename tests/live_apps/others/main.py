"""An application in a directory, with files beside it."""
