"""Functions for tasks of the running asyncio loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

__all__ = ("cancel_tasks", "finishes_within", "thread_runs_a_loop")


def thread_runs_a_loop() -> bool:
    """Return whether a loop runs on this thread, so that no other loop can."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


async def cancel_tasks() -> None:
    """Cancel all other tasks of the running loop, and wait for them."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def finishes_within(awaitable: Awaitable[Any], timeout: float) -> bool:
    """Await something for at most ``timeout`` seconds; return whether it finished."""
    try:
        await asyncio.wait_for(asyncio.ensure_future(awaitable), timeout)
    except TimeoutError:
        return False
    return True
