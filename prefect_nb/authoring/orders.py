"""Waiting for the machine's next order inside an execute request, with Stop heard at any time.

Knows desks and asyncio; not what an order asks for.
"""

from __future__ import annotations

import asyncio

from prefect_nb.authoring.job import Job
from prefect_nb.core import events as ev
from prefect_nb.engine.desk import Order
from prefect_nb.engine.session import Session
from prefect_nb.wiring import now

__all__ = ["next_order", "stopped"]

_AWAKE_S = 0.2
_SOON_S = 0.005


async def next_order(job: Job, session: Session) -> Order:
    """The next order that the runner has not acted on already; Stop while waiting cancels the visit."""
    while True:
        order = await _arrived(job, session)
        if not job.foreknown or type(order) is not job.foreknown[0]:
            return order
        job.foreknown.popleft()


def stopped() -> bool:
    """Whether Stop was pressed and nobody has attended to it yet."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def _arrived(job: Job, session: Session) -> Order:
    future = job.desk.next()
    if not stopped():
        try:  # most come within the time of a commit, and a turn of the kernel's loop would cost as much again
            order = future.result(_SOON_S)
        except TimeoutError:
            pass
        else:
            if not stopped():
                return order
    waiting = asyncio.wrap_future(future)
    try:
        while not waiting.done():  # a signal alone does not wake a loop that sleeps, so Stop would come late
            await asyncio.wait((waiting,), timeout=_AWAKE_S)
        return waiting.result()
    except asyncio.CancelledError:
        assert job.visit is not None
        session.post(ev.CancelRequested(at=now(), visit=job.visit, actor="stop", message="by Stop"))
        task = asyncio.current_task()
        if task is not None:
            task.uncancel()
        return await waiting
