"""Checks the model on small days: nothing is lost or ends twice, no limit is passed, time adds up, a seed is a day.

A model that forgets the calls of a dead agent has to be found out by the same checks.
"""

import day_facts as facts
from day_model import DONE, Day, Plan

FAXES = 4_000
# Mailings are smaller than those of a real day, so that there are some.
MAILING_FAXES = 400


class Watched(Day):
    """Looks at every call that begins."""

    def call(self, fax, trunk, host):
        if self.number[fax] in self.in_call:
            raise AssertionError(f"two calls to number {self.number[fax]} at the same time")
        super().call(fax, trunk, host)
        if self.used[trunk] > self.plan.channels:
            raise AssertionError(f"trunk {trunk} has {self.used[trunk]} calls on {self.plan.channels} channels")
        if len(self.hosts[host]) > facts.CALLS_PER_HOST or not self.hosts_up[host]:
            raise AssertionError(f"agent {host} is dead or full and begins a call")

    def claim(self, trunk):
        super().claim(trunk)
        if sum(len(calls) for calls in self.hosts) > sum(self.used):
            raise AssertionError("a call has no channel")


def finished(plan):
    """Runs a day and checks what has to hold at its end."""
    day = Watched(plan).run()
    expect = {
        "faxes that did not end": (sum(state != DONE for state in day.state), 0),
        "final reports": (sum(day.ends.values()), plan.faxes),
        "faxes stored": (day.rows["faxes"], plan.faxes),
        "notices stored": (day.rows["notices"], plan.faxes),
        "pages stored": (day.rows["fax_pages"], sum(day.confirmed)),
        "faxes sent": (day.ends["sent"], sum(a == b for a, b in zip(day.pages, day.confirmed))),
        "channels in use": (sum(day.used), 0),
        "numbers in a call": (len(day.in_call), 0),
        "faxes behind another": (len(day.behind), 0),
        "faxes in the queue": (day.waiting, 0),
    }
    for what, (found, expected) in expect.items():
        if found != expected:
            raise AssertionError(f"{what}: {found}, expected {expected}")
    # Little's law: what waits, summed over time, is how long each has waited.
    if abs(day.queue_area - day.wait_sum) > 1e-6 * (1 + day.wait_sum):
        raise AssertionError(f"the queue's area is {day.queue_area}, the waits add up to {day.wait_sum}")
    return day


def digest(day):
    """Everything that a day has come to."""
    return (day.ends, day.rows, day.bytes, day.last_end, day.queue_peak, list(day.first_wait[:50]), sum(day.calls_begun))


def check():
    """0 when all of it holds."""
    facts.MAILING_FAXES = MAILING_FAXES
    noon = 10.5 * 3600
    plain = finished(Plan(FAXES))
    assert digest(plain) == digest(finished(Plan(FAXES))), "the same seed gives another day"
    assert digest(plain) != digest(finished(Plan(FAXES, seed=2))), "another seed gives the same day"
    narrow = finished(Plan(FAXES, channels=1))
    assert narrow.queue_peak > plain.queue_peak, "fewer channels leave a shorter queue"
    assert max(narrow.first_wait) > max(plain.first_wait), "fewer channels make nobody wait longer"
    assert finished(Plan(FAXES, lose="agent", lose_at=noon)).orphans > 0, "an agent is lost and no call is cut"
    away = finished(Plan(FAXES, lose="primary", lose_at=noon))
    assert away.last_end > 0 and away.refused == 0, "a failover shorter than a listener waits refuses a mail"
    finished(Plan(FAXES, lose="node", lose_at=noon))
    # A store that needs 0.6 s for a transition: it is full, commits wait, clients are sent away, and still nothing is lost.
    slow = finished(Plan(FAXES, costs={name: 0.6 for name in facts.TRANSITIONS}))
    assert max(slow.seen["store"]) == 1.0 and slow.refused > 0, "a store that is too slow is never full"
    try:
        finished(Plan(FAXES, lose="agent", lose_at=noon, forget_orphans=True))
    except AssertionError:
        print(f"simulate-day: {FAXES} faxes, 8 days: nothing lost, nothing twice, no limit passed; a model that loses calls is found out")
        return 0
    raise AssertionError("a model that forgets the calls of a dead agent is not found out")
