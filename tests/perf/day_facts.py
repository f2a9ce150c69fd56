"""What a simulated day is made of: figures that were measured, our own rules, and assumptions, each marked as what it is.

Times in seconds, sizes in bytes, shares from 0 to 1.
"""

# ---- Calls. Measured against Asterisk over T.38 at 14,400 bit/s with error correction (docs/interop.md): from the answer to the
# first page 10 to 12 s, a light page 6 s, a page full of text 23.5 to 26 s, 1.2 to 2.5 s from the last confirmation to the end.
SETUP_S = (10.0, 12.0)
PAGE_S = (6.0, 26.0, 13.0)  # least, most, most often (assumed: between the light and the full page)
END_S = (1.2, 2.5)
PAGE_SIGNALS_S = 2.5  # of each page, for the post-message command and its answer
IN_DOUBT_S = 1.5  # of the last page, from its end until it is confirmed
BYTES_PER_S = 14_400 / 8
# Assumed: how long it rings, and how long a call takes that is not answered.
RING_S = (4.0, 12.0)
BUSY_S, NO_ANSWER_S, UNASSIGNED_S = 3.0, 60.0, 4.0
# Assumed: what a call comes to. It breaks in a page drawn evenly.
OUTCOMES = (("busy", 0.12), ("no_answer", 0.06), ("unassigned", 0.02), ("breaks", 0.02))  # all others send everything
# Ours, dial.retry: so many calls more, so far apart, moved by a tenth at most; and when it is given up.
RETRY = {"busy": (3, 300.0), "no_answer": (3, 900.0), "breaks": (5, 600.0)}
GIVE_UP_S = 24 * 3600.0

# ---- Pages of a fax, assumed: (pages, share).
PAGES = ((1, 0.42), (2, 0.26), (3, 0.12), (4, 0.07), (5, 0.05), (8, 0.05), (15, 0.03))

# ---- Making pages, processor time. Measured (docs/explanation/measured.md says where): per document and per page.
RENDERING = (  # kind, share (assumed), per document, per page
    ("text mail", 0.45, 0.020, 0.004),
    ("pdf", 0.40, 0.008, 0.013),
    ("scan", 0.12, 0.008, 0.053),
    ("office", 0.03, 1.250, 0.020),
)
STAMP_S = 0.002  # per fax and page: the header line, and coding it again
MAIL_BYTES_PER_PAGE = {"text mail": 3_000, "pdf": 45_000, "scan": 120_000, "office": 40_000}  # assumed
INLINE_BYTES_MAX = 16_384  # ours: what lies in the row and not in the repository

# ---- Reports, assumed: composing one and a smart host that answers in 100 ms.
DELIVERY_S = 0.15

# ---- A day: share of the single mails that come in in each hour (assumed: one time zone, office hours).
HOURS = (2, 1, 1, 1, 2, 5, 15, 50, 110, 130, 125, 100, 70, 100, 120, 115, 90, 50, 25, 14, 10, 7, 5, 3)
MAILINGS_SHARE = 0.20  # of all faxes, in mailings of
MAILING_FAXES = 50_000
MAILING_RECIPIENTS = 100  # of one mail
MAILING_S = 600.0  # over which a mailing comes in
MAILING_HOURS = (9.0, 16.0)  # it begins in between

# ---- Ours: leases and graces (src/line, src/render, src/deliver, src/maintain), and what a listener waits for the store.
CALL_LEASE_S, CALL_GRACE_S, RENEWED_S = 45.0, 90.0, 8.0
WORK_LEASE_S, WORK_GRACE_S = 60.0, 15.0
HOLD_S, CLIENT_AGAIN_S = 25.0, 300.0  # the client's wait is assumed
# Measured with Patroni 4: a primary that dies is replaced within 19 to 21 s.
FAILOVER_S = 20.0
# Assumed: a balancer sees a dead node after two checks of a second; a lost machine is back after half an hour.
BALANCER_S, REPAIR_S = 2.0, 1800.0

# ---- One machine. Measured: 400 calls of T.38 at once from one process on two processors that also were the far end.
CALLS_PER_HOST = 300
RENDERERS_PER_NODE = 4
DELIVERERS_PER_NODE = 16

# ---- The store. Measured costs come from `make bench-store`; without them: transitions a second of raw SQL on a quiet machine of
# two processors at 16 clients, 10,295, halved for what our code adds, the same for every kind.
DEFAULT_STORE_US = 1e6 / (10_295 / 2)
# Rows of tables and indexes, of a fax of three pages in one call; measured on PostgreSQL, without the mail in its row.
DEFAULT_ROW_BYTES_PER_FAX = 8_800
ROWS_PER_FAX = 9 + 14  # message, 2 documents, fax, attempt, 3 pages, notice; events
TRANSITIONS = ("submit", "claim_render", "rendered", "claim_calls", "begin_attempt", "record_fact", "page_confirmed",
               "end_attempt", "claim_notices", "notice_sent")
RETAIN_DAYS = {"images": 30, "records": 400}
