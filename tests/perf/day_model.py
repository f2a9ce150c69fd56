"""The model of a day: mails come in, pages are made, calls run over trunks and agents, reports go out, the store pays for it.

Discrete events in virtual time, decided by the seed alone. The store is a fluid: every transition adds its measured cost
to the second that it falls into, the store works off one second of cost a second, and what it owes delays every step
that waits for a commit. What a loss costs follows from our own leases, graces and waits.
"""

import heapq
import random
from array import array
from collections import deque
from dataclasses import dataclass, field

import day_facts as facts

ARRIVE, AGAIN, RENDERED, CALL_ENDED, DUE, DELIVERED, RECOVERED, LOSE, BACK, SECOND = range(10)
NEVER, WAITS, DONE = 0, 1, 2
TIME_MAX_S = 3 * 24 * 3600  # a day, and what is left of it


@dataclass
class Plan:
    """What is there: sized for the faxes of a day unless it is said otherwise."""

    faxes: int
    seed: int = 1
    trunks: int = 4
    channels: int = 0  # of each trunk
    hosts: int = 0  # that call
    nodes: int = 0  # that listen, render and deliver
    lose: str = ""  # node, agent or primary
    lose_at: float = -1.0
    mailings_urgent: bool = False  # as urgent as single mails
    costs: dict = field(default_factory=dict)  # seconds of the store for each transition
    forget_orphans: bool = False  # a fault of the model itself, which its check has to find

    def sized(self):
        """Fills in what is not given, for the busiest hour with some air."""
        if not self.channels:
            busiest = max(facts.HOURS) / sum(facts.HOURS)
            pages = sum(n * share for n, share in facts.PAGES)
            call = 8 + 11 + pages * 15 + 2
            # 1.3 calls a fax, the failed ones short; mailings are spread out behind the single faxes.
            erlang = self.faxes * busiest * (call + 8) / 3600
            self.channels = max(2, round(erlang / 0.85 / self.trunks))
        self.hosts = self.hosts or max(2, -(-self.trunks * self.channels // facts.CALLS_PER_HOST) + 1)
        self.nodes = self.nodes or max(2, 1 + round(self.faxes / 400_000))
        return self


class Day:
    """One run. `run()`, then read the counters."""

    def __init__(self, plan):
        self.plan = plan.sized()
        self.random = random.Random(plan.seed)
        self.events, self.sequence, self.now = [], 0, 0.0
        self.make_faxes()
        self.cost = {name: plan.costs.get(name, facts.DEFAULT_STORE_US / 1e6) for name in facts.TRANSITIONS}
        self.store_work = array("d", bytes(8 * (TIME_MAX_S + 7200)))
        self.store_count = array("l", bytes(8 * (TIME_MAX_S + 7200)))
        self.backlog, self.store_away_until = 0.0, 0.0
        self.nodes_up = list(range(plan.nodes))
        self.rendering, self.render_queue = {}, deque()
        self.delivering, self.notice_queue = {}, deque()
        self.hosts = [dict() for _ in range(plan.hosts)]  # of each agent: fax → its call
        self.hosts_up = [True] * plan.hosts
        self.used = [0] * plan.trunks
        # By the trunk that is tried first; each has the next one as its second.
        self.ready = [(deque(), deque()) for _ in range(plan.trunks)]
        self.waiting, self.in_call, self.behind = 0, set(), {}
        self.queue_area, self.queue_since, self.wait_sum = 0.0, 0.0, 0.0
        self.seen = {name: array("d") for name in ("queue", "calls", "render", "deliver", "store", "transitions")}
        self.rows = dict.fromkeys(("messages", "documents", "faxes", "attempts", "fax_pages", "notices", "events"), 0)
        self.bytes = {"mails": 0, "inline": 0, "pages": 0}
        self.ends = {}
        self.calls_begun = array("l", bytes(8 * (TIME_MAX_S + 1)))
        self.refused, self.redone, self.orphans, self.pages_sent = 0, 0, 0, 0
        self.queue_peak, self.last_end, self.live = 0, 0.0, 0

    # ---- what comes in

    def make_faxes(self):
        """Draws every fax of the day: its mail, pages, number, trunk and how urgent it is."""
        plan, draw = self.plan, self.random
        mailing = int(plan.faxes * facts.MAILINGS_SHARE) // facts.MAILING_FAXES * facts.MAILING_FAXES
        hours = draw.choices(range(24), facts.HOURS, k=plan.faxes - mailing)
        mails = [(hour * 3600 + draw.random() * 3600, 1, 0) for hour in hours]
        low = 0 if plan.mailings_urgent else 1
        for _ in range(mailing // facts.MAILING_FAXES):
            begin = 3600 * draw.uniform(*facts.MAILING_HOURS)
            for _ in range(facts.MAILING_FAXES // facts.MAILING_RECIPIENTS):
                mails.append((begin + draw.random() * facts.MAILING_S, facts.MAILING_RECIPIENTS, low))
        mails.sort()
        kinds = draw.choices(range(len(facts.RENDERING)), [share for _, share, _, _ in facts.RENDERING], k=len(mails))
        pages = draw.choices([n for n, _ in facts.PAGES], [share for _, share in facts.PAGES], k=len(mails))
        count = plan.faxes
        self.mail_at, self.mail_kind = array("d", (at for at, _, _ in mails)), bytearray(kinds)
        self.mail_first, self.mail_faxes = array("l"), bytearray(faxes for _, faxes, _ in mails)
        self.pages, self.confirmed = array("B", bytes(count)), array("B", bytes(count))
        self.low, self.trunk, self.state = bytearray(count), bytearray(count), bytearray(count)
        self.tries, self.called = bytearray(3 * count), bytearray(count)
        self.number = array("l", bytes(8 * count))
        self.accepted_at, self.ready_at = array("d", bytes(8 * count)), array("d", bytes(8 * count))
        self.first_wait = array("d", bytes(8 * count))
        fax = 0
        numbers = max(1000, plan.faxes // 3)
        for (_, faxes, low), n in zip(mails, pages):
            self.mail_first.append(fax)
            for _ in range(faxes):
                self.pages[fax], self.low[fax] = n, low
                self.number[fax] = int(numbers * draw.random())
                self.trunk[fax] = self.number[fax] % plan.trunks
                fax += 1
        self.later(self.mail_at[0], ARRIVE, 0)

    # ---- time and the store

    def later(self, at, kind, what):
        self.sequence += 1
        heapq.heappush(self.events, (at, self.sequence, kind, what))

    def commit(self, name, at=None, count=1):
        """Counts transitions in the second that they fall into."""
        second = int(self.now if at is None else at)
        self.store_work[second] += self.cost[name] * count
        self.store_count[second] += count

    def delay(self):
        """How long a commit takes now."""
        return self.backlog + max(0.0, self.store_away_until - self.now)

    def second(self, _):
        second = int(self.now) - 1
        if second >= 0:
            able = 0.0 if self.now <= self.store_away_until else 1.0
            owed = self.backlog + self.store_work[second]
            self.backlog = max(0.0, owed - able)
            self.seen["store"].append(min(owed, 1.0))
            self.seen["transitions"].append(self.store_count[second])
        self.seen["queue"].append(self.waiting)
        self.seen["calls"].append(sum(self.used))
        self.seen["render"].append(len(self.rendering))
        self.seen["deliver"].append(len(self.delivering))
        self.later(self.now + 1.0, SECOND, None)

    def run(self):
        """Until every fax has ended and its report is out."""
        self.later(0.0, SECOND, None)
        if self.plan.lose:
            self.later(self.plan.lose_at, LOSE, None)
        steps = {ARRIVE: self.arrive, AGAIN: self.submit, RENDERED: self.rendered, CALL_ENDED: self.call_ended, DUE: self.due,
                 DELIVERED: self.delivered, RECOVERED: self.recovered, LOSE: self.lose, BACK: self.back,
                 SECOND: self.second}
        self.live = self.plan.faxes
        while self.live:
            self.now, _, kind, what = heapq.heappop(self.events)
            if self.now > TIME_MAX_S:
                raise AssertionError(f"{self.live} faxes have not ended after three days")
            steps[kind](what)
        return self

    # ---- mails and pages

    def arrive(self, mail):
        if mail + 1 < len(self.mail_at):
            self.later(self.mail_at[mail + 1], ARRIVE, mail + 1)
        self.submit(mail)

    def submit(self, mail):
        plan = self.plan
        at_dead_node = (plan.lose == "node" and 0 <= self.now - plan.lose_at < facts.BALANCER_S
                        and self.random.random() * plan.nodes < 1)
        if self.delay() > facts.HOLD_S or at_dead_node:
            self.refused += 1
            self.later(self.now + facts.CLIENT_AGAIN_S * (0.9 + 0.2 * self.random.random()), AGAIN, mail)
            return
        first, faxes = self.mail_first[mail], self.mail_faxes[mail]
        self.commit("submit")
        size = facts.MAIL_BYTES_PER_PAGE[facts.RENDERING[self.mail_kind[mail]][0]] * self.pages[first]
        self.bytes["mails" if size > facts.INLINE_BYTES_MAX else "inline"] += size
        for name, count in (("messages", 1), ("documents", 1), ("faxes", faxes), ("events", faxes)):
            self.rows[name] += count
        for fax in range(first, first + faxes):
            if self.state[fax] != NEVER:
                raise AssertionError(f"fax {fax} is accepted twice")
            self.state[fax], self.accepted_at[fax] = WAITS, self.now
        self.render_queue.append(mail)
        self.render()

    def render(self):
        while self.render_queue and len(self.rendering) < len(self.nodes_up) * facts.RENDERERS_PER_NODE:
            mail = self.render_queue.popleft()
            self.commit("claim_render")
            node = self.nodes_up[self.sequence % len(self.nodes_up)]
            self.rendering[mail] = node
            _, _, per_document, per_page = facts.RENDERING[self.mail_kind[mail]]
            pages = self.pages[self.mail_first[mail]]
            work = per_document + pages * (per_page + facts.STAMP_S * self.mail_faxes[mail])
            self.later(self.now + self.delay() + work, RENDERED, (mail, node))

    def rendered(self, what):
        mail, node = what
        if self.rendering.get(mail) != node:
            return  # its node has died meanwhile
        del self.rendering[mail]
        first, faxes = self.mail_first[mail], self.mail_faxes[mail]
        self.commit("rendered", count=faxes)
        self.rows["documents"] += faxes
        self.rows["events"] += faxes
        for fax in range(first, first + faxes):
            self.due(fax)
        self.render()

    # ---- calls

    def queued(self, change):
        self.queue_area += self.waiting * (self.now - self.queue_since)
        self.queue_since = self.now
        self.waiting += change
        self.queue_peak = max(self.queue_peak, self.waiting)

    def due(self, fax):
        self.ready_at[fax] = self.now
        self.queued(+1)
        self.ready[self.trunk[fax]][self.low[fax]].append(fax)
        for trunk in (self.trunk[fax], (self.trunk[fax] + 1) % self.plan.trunks):
            self.claim(trunk)

    def claim(self, trunk):
        """Fills the free channels of a trunk: urgent ones first, then whoever waits longest."""
        own, other = self.ready[trunk], self.ready[trunk - 1]
        while self.used[trunk] < self.plan.channels:
            host = self.free_host()
            if host is None:
                return
            queue = None
            for low in (0, 1):
                if own[low] and (not other[low] or self.ready_at[own[low][0]] <= self.ready_at[other[low][0]]):
                    queue = own[low]
                elif other[low]:
                    queue = other[low]
                if queue is not None:
                    break
            if queue is None:
                return
            fax = queue.popleft()
            if self.number[fax] in self.in_call:
                # What is not claimed keeps its place: it comes back to the head when the number is free.
                self.behind.setdefault(self.number[fax], []).append(fax)
            else:
                self.call(fax, trunk, host)

    def free_host(self):
        best, least = None, facts.CALLS_PER_HOST
        for host, calls in enumerate(self.hosts):
            if self.hosts_up[host] and len(calls) < least:
                best, least = host, len(calls)
        return best

    def call(self, fax, trunk, host):
        draw, now = self.random, self.now
        self.queued(-1)
        self.wait_sum += now - self.ready_at[fax]
        if not self.called[fax]:
            self.first_wait[fax] = now - self.accepted_at[fax]
        self.called[fax] = 1
        self.used[trunk] += 1
        self.in_call.add(self.number[fax])
        self.calls_begun[int(now)] += 1
        self.rows["attempts"] += 1
        self.rows["events"] += 1
        self.commit("claim_calls")
        self.commit("begin_attempt")
        at, dice, what = now + self.delay(), draw.random(), "sent"
        for name, share in facts.OUTCOMES:
            if dice < share:
                what = name
                break
            dice -= share
        times = []
        if what == "busy":
            end = at + facts.BUSY_S
        elif what == "unassigned":
            end = at + facts.UNASSIGNED_S
        elif what == "no_answer":
            self.fact(at + 1)
            end = at + facts.NO_ANSWER_S
        else:
            end = self.pages_of_call(fax, at, what, times)
        self.hosts[host][fax] = (trunk, what, times, now)
        self.later(end, CALL_ENDED, (fax, host, self.now))

    def fact(self, at, count=1):
        self.commit("record_fact", at, count)
        self.rows["events"] += count

    def pages_of_call(self, fax, at, what, times):
        """Fills in when each page is confirmed; answers when the call ends."""
        draw = self.random
        self.fact(at + 1)
        at += draw.uniform(*facts.RING_S)
        self.fact(at)
        at += draw.uniform(*facts.SETUP_S)
        self.fact(at, 2)
        page_s = draw.triangular(*facts.PAGE_S)
        missing = self.pages[fax] - self.confirmed[fax]
        whole = missing if what == "sent" else int(draw.random() * missing)
        for nth in range(missing):
            self.commit("record_fact", at, 2 if nth == missing - 1 else 1)
            if nth == whole:
                return at + draw.random() * page_s
            at += page_s
            times.append(at)
            self.commit("page_confirmed", at)
        if self.confirmed[fax] == 0:
            self.bytes["pages"] += int(missing * (page_s - facts.PAGE_SIGNALS_S) * facts.BYTES_PER_S)
        return at + draw.uniform(*facts.END_S)

    def call_ended(self, what):
        fax, host, begun = what
        if fax not in self.hosts[host] or self.hosts[host][fax][3] != abs(begun):
            return  # its agent has died meanwhile
        if begun >= 0.0 and self.delay() > 0.0:  # the channel is free when the end is written
            self.later(self.now + self.delay(), CALL_ENDED, (fax, host, -begun))
            return
        trunk, outcome, times, _ = self.hosts[host].pop(fax)
        self.confirm(fax, len(times))
        self.commit("end_attempt")
        self.rows["events"] += 1
        self.free(fax, trunk)
        self.next_of(fax, outcome)
        self.claim(trunk)

    def confirm(self, fax, pages):
        self.pages_sent += pages
        self.rows["fax_pages"] += pages
        self.rows["events"] += pages
        if self.confirmed[fax] + pages > self.pages[fax]:
            raise AssertionError(f"fax {fax}: more pages confirmed than it has")
        self.confirmed[fax] += pages

    def free(self, fax, trunk):
        self.used[trunk] -= 1
        self.in_call.remove(self.number[fax])
        for other in reversed(self.behind.pop(self.number[fax], [])):
            self.ready[self.trunk[other]][self.low[other]].appendleft(other)

    def next_of(self, fax, outcome):
        """Again later by our rules, or over."""
        self.rows["events"] += 1
        if self.confirmed[fax] == self.pages[fax]:
            return self.end(fax, "sent")
        times, wait = facts.RETRY.get(outcome, (0, 0.0))
        slot = 3 * fax + (list(facts.RETRY).index(outcome) if times else 0)
        at = self.now + wait * (0.9 + 0.2 * self.random.random())
        if self.tries[slot] >= times or at > self.accepted_at[fax] + facts.GIVE_UP_S:
            return self.end(fax, "partial" if self.confirmed[fax] else "failed")
        self.tries[slot] += 1
        return self.later(at, DUE, fax)

    # ---- reports

    def end(self, fax, outcome):
        if self.state[fax] != WAITS:
            raise AssertionError(f"fax {fax} ends twice")
        self.state[fax] = DONE
        self.ends[outcome] = self.ends.get(outcome, 0) + 1
        self.rows["notices"] += 1
        self.rows["events"] += 1  # with the one of its end: what it came to, and whom the report is owed to
        self.notice_queue.append(fax)
        self.deliver()

    def deliver(self):
        while self.notice_queue and len(self.delivering) < len(self.nodes_up) * facts.DELIVERERS_PER_NODE:
            fax = self.notice_queue.popleft()
            self.commit("claim_notices")
            node = self.nodes_up[self.sequence % len(self.nodes_up)]
            self.delivering[fax] = node
            self.later(self.now + self.delay() + facts.DELIVERY_S, DELIVERED, (fax, node))

    def delivered(self, what):
        fax, node = what
        if self.delivering.get(fax) != node:
            return
        del self.delivering[fax]
        self.commit("notice_sent")
        self.rows["events"] += 1
        self.live -= 1
        self.last_end = self.now
        self.deliver()

    # ---- losses

    def lose(self, _):
        if self.plan.lose == "primary":
            self.store_away_until = self.now + facts.FAILOVER_S
        elif self.plan.lose == "node":
            dead = self.nodes_up.pop()
            at = self.now + facts.WORK_LEASE_S + facts.WORK_GRACE_S
            for kind, work in (("render", self.rendering), ("deliver", self.delivering)):
                for what in [what for what, node in work.items() if node == dead]:
                    del work[what]
                    self.redone += 1
                    self.later(at, RECOVERED, (kind, what))
            self.later(self.now + facts.REPAIR_S, BACK, ("node", dead))
        else:
            dead = max(range(self.plan.hosts), key=lambda host: len(self.hosts[host]))
            self.hosts_up[dead] = False
            calls, self.hosts[dead] = self.hosts[dead], {}
            self.orphans = len(calls)
            for fax, (trunk, outcome, times, _) in calls.items():
                lease = facts.CALL_LEASE_S - facts.RENEWED_S * self.random.random()
                confirmed = sum(1 for time in times if time <= self.now)
                in_doubt = (outcome == "sent" and confirmed == len(times) - 1
                            and self.now >= times[-1] - facts.IN_DOUBT_S)
                if not self.plan.forget_orphans:
                    what = (fax, trunk, confirmed, in_doubt)
                    self.later(self.now + lease + facts.CALL_GRACE_S, RECOVERED, ("call", what))
            self.later(self.now + facts.REPAIR_S, BACK, ("agent", dead))

    def recovered(self, what):
        """Lease and grace are over: somebody else goes on."""
        kind, what = what
        if kind == "render":
            self.render_queue.appendleft(what)
            self.render()
        elif kind == "deliver":
            self.notice_queue.appendleft(what)
            self.deliver()
        else:
            fax, trunk, confirmed, in_doubt = what
            self.confirm(fax, confirmed)
            self.commit("end_attempt")
            self.rows["events"] += 2
            self.free(fax, trunk)
            if self.confirmed[fax] == self.pages[fax]:
                self.end(fax, "sent")
            elif in_doubt:
                self.end(fax, "unknown")
            else:
                self.due(fax)
            self.claim(trunk)

    def back(self, what):
        kind, which = what
        if kind == "node":
            self.nodes_up.append(which)
            self.render()
            self.deliver()
        else:
            self.hosts_up[which] = True
            for trunk in range(self.plan.trunks):
                self.claim(trunk)
