"""Life-cycle hooks of the directory application."""

import os


def note(what):
    with open(os.environ["LIFECYCLE_LOG"], "a") as log:
        log.write(f"{what} {os.getpid()}\n")


def on_server_loaded(server_context):
    note("loaded")


def on_server_unloaded(server_context):
    note("unloaded")


def on_session_created(session_context):
    note("created")


def on_session_destroyed(session_context):
    note("destroyed")
