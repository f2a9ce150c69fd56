-- kind: expand
-- oldest: 1
--
-- The whole schema, first version.
--
-- Conventions. Ids are UUIDs as lower-case hyphenated TEXT: readable in any SQL shell, and UUIDv7 sorts by time as
-- text too. Short ids are what people read out. Times are milliseconds since the Unix epoch, UTC, INTEGER. States are
-- words. Booleans are 0 or 1.
--
-- There is no running state. Whoever works on a row holds its lease: lease_node and lease_epoch say who,
-- lease_expires_at until when, and lease_token rises by one with each claim, so that a worker that wakes up late
-- changes nothing. lease_expires_at is the heartbeat column: no index holds it.
--
-- The rules that no program may break stand here as CHECKs, unique indexes and triggers; the tables *_moves list
-- every move that a state may make.

CREATE TABLE documents (
    key        TEXT    NOT NULL PRIMARY KEY CHECK (length(key) = 64),   -- SHA-256 of the bytes, hex
    size_bytes INTEGER NOT NULL CHECK (size_bytes >= 0),
    media      TEXT    NOT NULL,                                        -- as it was first stored
    inline     BLOB,                                                    -- with 16 octets more when it is sealed
    location   TEXT    UNIQUE CHECK (length(location) = 32),            -- the object's drawn name; NULL: by the key
    sealed_key BLOB    CHECK (length(sealed_key) BETWEEN 16 AND 256),   -- its own key, wrapped; gone with its bytes
    sealed_by  TEXT    CHECK (length(sealed_by) BETWEEN 1 AND 32),      -- which key of store.keys wrapped it
    stored_at  INTEGER NOT NULL,
    gc_after   INTEGER,                                                 -- set when no row names it: removed after
    pruned_at  INTEGER,                                                 -- retention removed the bytes; the name stays
    CHECK (inline IS NULL OR (size_bytes <= 16384 AND location IS NULL
        AND length(inline) = size_bytes + CASE WHEN sealed_key IS NULL THEN 0 ELSE 16 END)),
    CHECK ((sealed_key IS NULL) = (sealed_by IS NULL)),
    CHECK (pruned_at IS NULL OR (inline IS NULL AND sealed_key IS NULL))
) STRICT;

CREATE INDEX documents_by_age ON documents (stored_at) WHERE pruned_at IS NULL;
CREATE INDEX documents_to_forget ON documents (gc_after) WHERE gc_after IS NOT NULL;
CREATE INDEX documents_by_sealer ON documents (sealed_by) WHERE sealed_by IS NOT NULL;

CREATE TABLE messages (
    id                TEXT    NOT NULL PRIMARY KEY,
    short_id          TEXT    NOT NULL UNIQUE,
    idem_key          BLOB    UNIQUE CHECK (idem_key IS NULL OR length(idem_key) = 32),
    source            TEXT    NOT NULL CHECK (source IN ('smtp', 'imap', 'api', 'console', 'command')),
    client            TEXT    NOT NULL,
    reverse_path      TEXT,
    ret               TEXT    CHECK (ret IN ('full', 'hdrs')),
    envid             TEXT,
    header_message_id TEXT,
    subject           TEXT    NOT NULL,
    from_name         TEXT,
    from_address      TEXT,
    automatic         INTEGER NOT NULL CHECK (automatic IN (0, 1)),
    options           TEXT    NOT NULL CHECK (json_valid(options)),
    raw_document      TEXT    NOT NULL REFERENCES documents (key),
    identity          TEXT    CHECK (length(identity) BETWEEN 1 AND 128), -- on whose account it goes
    billing           TEXT    CHECK (length(billing) BETWEEN 1 AND 128),
    accepted_at       INTEGER NOT NULL
) STRICT;

CREATE TABLE faxes (
    id                 TEXT    NOT NULL PRIMARY KEY,
    short_id           TEXT    NOT NULL UNIQUE,
    message_id         TEXT    NOT NULL REFERENCES messages (id),
    recipient          TEXT    NOT NULL,
    number             TEXT    NOT NULL CHECK (number LIKE '+%'),
    subaddress         TEXT,
    post_dial          TEXT,
    to_name            TEXT,
    to_company         TEXT,
    original_recipient TEXT,
    notify_success     INTEGER NOT NULL CHECK (notify_success IN (0, 1)),
    notify_failure     INTEGER NOT NULL CHECK (notify_failure IN (0, 1)),
    notify_delay       INTEGER NOT NULL CHECK (notify_delay IN (0, 1)),
    state              TEXT    NOT NULL CHECK (state IN
                           ('accepted', 'ready', 'held', 'sent', 'partial', 'failed', 'unknown', 'cancelled')),
    priority           INTEGER NOT NULL,
    not_before         INTEGER NOT NULL,            -- not worked on before
    first_call_at      INTEGER NOT NULL,            -- becomes not_before when the pages are ready
    give_up_at         INTEGER NOT NULL,
    document           TEXT    REFERENCES documents (key),
    page_count         INTEGER CHECK (page_count >= 1),
    pages_confirmed    INTEGER NOT NULL DEFAULT 0,  -- pages 1..=this are confirmed
    attempts           INTEGER NOT NULL DEFAULT 0,
    renders_unfinished INTEGER NOT NULL DEFAULT 0 CHECK (renders_unfinished >= 0), -- claims that never wrote back
    cause              TEXT,
    detail             TEXT,
    accepted_at        INTEGER NOT NULL,
    ended_at           INTEGER,
    lease_node         TEXT,
    lease_epoch        TEXT,
    lease_token        INTEGER NOT NULL DEFAULT 0,
    lease_expires_at   INTEGER,
    suspect_at         INTEGER,                     -- when maintenance first saw that the lease had run out
    retry_of           TEXT    REFERENCES faxes (id),            -- a person had this ended fax sent once more
    begin_page         INTEGER NOT NULL DEFAULT 1 CHECK (begin_page >= 1), -- pages before it arrived with retry_of
    ordered            TEXT    CHECK (ordered IN ('hold', 'cancel')), -- carried out when nobody works on it
    ordered_by         TEXT,
    held_at            INTEGER,                     -- its time stands still from here until it is released
    legal_hold         INTEGER NOT NULL DEFAULT 0 CHECK (legal_hold IN (0, 1)), -- retention leaves it alone
    CHECK ((ordered IS NULL) = (ordered_by IS NULL)),
    CHECK (ordered IS NULL OR state IN ('accepted', 'ready')),
    CHECK ((held_at IS NOT NULL) = (state = 'held')),
    CHECK (pages_confirmed >= 0 AND (page_count IS NULL OR pages_confirmed <= page_count)),
    CHECK ((document IS NULL) = (page_count IS NULL)),
    CHECK (state NOT IN ('ready', 'sent', 'partial', 'unknown') OR document IS NOT NULL),
    CHECK ((ended_at IS NOT NULL) = (state IN ('sent', 'partial', 'failed', 'unknown', 'cancelled'))),
    CHECK ((lease_node IS NULL) = (lease_epoch IS NULL) AND (lease_node IS NULL) = (lease_expires_at IS NULL)),
    CHECK (lease_node IS NULL OR state IN ('accepted', 'ready'))
) STRICT;

CREATE INDEX faxes_to_render ON faxes (priority, not_before, id) WHERE state = 'accepted' AND lease_node IS NULL;
-- A call in progress is not in it: a claim at the head of the queue steps over nothing.
CREATE INDEX faxes_to_call ON faxes (priority, not_before, id) WHERE state = 'ready' AND lease_node IS NULL;
CREATE INDEX faxes_leased ON faxes (lease_node, lease_epoch) WHERE lease_node IS NOT NULL;
CREATE INDEX faxes_leased_number ON faxes (number) WHERE lease_node IS NOT NULL;
CREATE INDEX faxes_waiting ON faxes (accepted_at) WHERE state IN ('accepted', 'ready');
CREATE INDEX faxes_of_message ON faxes (message_id);
CREATE INDEX faxes_newest ON faxes (accepted_at, id);
CREATE INDEX faxes_by_state ON faxes (state, ended_at);
CREATE INDEX faxes_ordered ON faxes (id) WHERE ordered IS NOT NULL;
-- Sent once more once: whoever wants it a third time asks for the second one.
CREATE UNIQUE INDEX faxes_retried ON faxes (retry_of) WHERE retry_of IS NOT NULL;
CREATE INDEX faxes_of_document ON faxes (document) WHERE document IS NOT NULL;
CREATE INDEX messages_of_document ON messages (raw_document);
CREATE INDEX messages_of_identity ON messages (identity, accepted_at) WHERE identity IS NOT NULL;
CREATE INDEX messages_with_key ON messages (accepted_at) WHERE idem_key IS NOT NULL;
CREATE INDEX messages_by_age ON messages (accepted_at);
CREATE INDEX faxes_on_legal_hold ON faxes (id) WHERE legal_hold = 1;

CREATE TABLE attempts (
    id             TEXT    NOT NULL PRIMARY KEY,
    fax_id         TEXT    NOT NULL REFERENCES faxes (id),
    attempt_no     INTEGER NOT NULL CHECK (attempt_no >= 1),
    node           TEXT    NOT NULL,
    epoch          TEXT    NOT NULL,
    lease_token    INTEGER NOT NULL,
    line           TEXT    NOT NULL,
    number         TEXT    NOT NULL,
    first_page     INTEGER NOT NULL CHECK (first_page >= 1),
    started_at     INTEGER NOT NULL,
    ringing_at     INTEGER,
    answered_at    INTEGER,
    ended_at       INTEGER,
    page_started   INTEGER NOT NULL DEFAULT 0,
    all_pages_sent INTEGER NOT NULL DEFAULT 0 CHECK (all_pages_sent IN (0, 1)),
    transport      TEXT    CHECK (transport IN ('t38', 'g711')),
    rate_bps       INTEGER,
    ecm            INTEGER CHECK (ecm IN (0, 1)),
    remote_id      TEXT,
    sip_code       INTEGER,
    q850           INTEGER,
    t30_code       INTEGER,
    detail         TEXT    NOT NULL DEFAULT '',
    cause          TEXT,
    told_end       TEXT    CHECK (told_end IS NULL OR json_valid(told_end)), -- how it ended, told as a fact
    UNIQUE (fax_id, attempt_no)
) STRICT;

CREATE UNIQUE INDEX attempts_open ON attempts (fax_id) WHERE ended_at IS NULL;
-- One call at a time to one destination.
CREATE UNIQUE INDEX attempts_open_number ON attempts (number) WHERE ended_at IS NULL;
CREATE INDEX attempts_open_line ON attempts (line) WHERE ended_at IS NULL;
-- How many calls began within the last minute.
CREATE INDEX attempts_started ON attempts (started_at);

CREATE TABLE fax_pages (
    fax_id        TEXT    NOT NULL REFERENCES faxes (id),
    page_no       INTEGER NOT NULL CHECK (page_no >= 1),
    attempt_id    TEXT    NOT NULL REFERENCES attempts (id),
    confirmed_at  INTEGER NOT NULL,
    rate_bps      INTEGER NOT NULL,
    ecm           INTEGER NOT NULL CHECK (ecm IN (0, 1)),
    duration_ms   INTEGER NOT NULL,
    blocks_resent INTEGER NOT NULL,
    PRIMARY KEY (fax_id, page_no)
) STRICT, WITHOUT ROWID;

CREATE INDEX fax_pages_of_attempt ON fax_pages (attempt_id);

-- Facts of calls that no row takes (the store had lost the attempt): kept and shown, applied when they fit again.
CREATE TABLE parked_facts (
    id         TEXT    NOT NULL PRIMARY KEY,
    node       TEXT    NOT NULL,
    attempt_id TEXT    NOT NULL,
    fact       TEXT    NOT NULL CHECK (json_valid(fact)),
    why        TEXT    NOT NULL,
    happened_at INTEGER NOT NULL,
    parked_at  INTEGER NOT NULL,
    applied_at INTEGER
) STRICT;

CREATE INDEX parked_facts_open ON parked_facts (parked_at) WHERE applied_at IS NULL;

-- What calls have taught about a number. Expires.
CREATE TABLE destinations (
    number          TEXT    NOT NULL PRIMARY KEY,
    avoid_t38_until INTEGER NOT NULL,
    detail          TEXT    NOT NULL,
    updated_at      INTEGER NOT NULL
) STRICT;

-- Routes that a person set; those of the configuration are not here.
CREATE TABLE inbound_routes (
    name       TEXT    NOT NULL PRIMARY KEY,
    rule       TEXT    NOT NULL CHECK (json_valid(rule)),
    changed_at INTEGER NOT NULL,
    changed_by TEXT    NOT NULL
) STRICT;

CREATE TABLE received_faxes (
    id               TEXT    NOT NULL PRIMARY KEY,
    short_id         TEXT    NOT NULL UNIQUE,
    node             TEXT    NOT NULL,
    epoch            TEXT    NOT NULL,
    call_no          INTEGER NOT NULL,               -- counted by the agent: telling it twice stores it once
    line             TEXT    NOT NULL,
    called_number    TEXT    NOT NULL,
    calling_number   TEXT,
    remote_id        TEXT,                           -- TSI
    subaddress       TEXT,                           -- SUB
    transport        TEXT    CHECK (transport IN ('t38', 'g711')),
    state            TEXT    NOT NULL CHECK (state IN ('receiving', 'received', 'delivered')),
    complete         INTEGER CHECK (complete IN (0, 1)), -- whether the end of the document was confirmed
    page_count       INTEGER CHECK (page_count >= 1),
    route            TEXT,                           -- name of the rule that chose the mailboxes
    cause            TEXT,
    detail           TEXT,
    started_at       INTEGER NOT NULL,
    received_at      INTEGER,
    delivered_at     INTEGER,
    lease_node       TEXT,
    lease_epoch      TEXT,
    lease_token      INTEGER NOT NULL DEFAULT 1,
    lease_expires_at INTEGER,
    suspect_at       INTEGER,
    legal_hold       INTEGER NOT NULL DEFAULT 0 CHECK (legal_hold IN (0, 1)),
    UNIQUE (node, epoch, call_no),
    CHECK ((received_at IS NULL) = (state = 'receiving')),
    CHECK ((delivered_at IS NOT NULL) = (state = 'delivered')),
    CHECK (state = 'receiving' OR (page_count IS NOT NULL AND complete IS NOT NULL)),
    CHECK ((lease_node IS NULL) = (lease_epoch IS NULL) AND (lease_node IS NULL) = (lease_expires_at IS NULL)),
    CHECK (lease_node IS NULL OR state = 'receiving')
) STRICT;

CREATE INDEX received_faxes_by_state ON received_faxes (state, started_at);
CREATE INDEX received_faxes_leased ON received_faxes (lease_node, lease_epoch) WHERE lease_node IS NOT NULL;
CREATE INDEX received_faxes_newest ON received_faxes (started_at, id);
CREATE INDEX received_faxes_on_legal_hold ON received_faxes (id) WHERE legal_hold = 1;

CREATE TABLE received_pages (
    received_fax_id TEXT    NOT NULL REFERENCES received_faxes (id),
    page_no         INTEGER NOT NULL CHECK (page_no >= 1),
    document        TEXT    NOT NULL REFERENCES documents (key),
    width_px        INTEGER NOT NULL CHECK (width_px >= 1),
    height_px       INTEGER NOT NULL CHECK (height_px >= 0),
    rate_bps        INTEGER NOT NULL,
    ecm             INTEGER NOT NULL CHECK (ecm IN (0, 1)),
    damaged_lines   INTEGER NOT NULL DEFAULT 0 CHECK (damaged_lines >= 0), -- 0 with error correction
    stored_at       INTEGER NOT NULL,
    PRIMARY KEY (received_fax_id, page_no)
) STRICT, WITHOUT ROWID;

CREATE INDEX received_pages_of_document ON received_pages (document);

CREATE TABLE notices (
    id                TEXT    NOT NULL PRIMARY KEY,
    message_id        TEXT    REFERENCES messages (id),
    fax_id            TEXT    REFERENCES faxes (id),
    received_fax_id   TEXT    REFERENCES received_faxes (id),
    kind              TEXT    NOT NULL CHECK (kind IN ('sent', 'partial', 'failed', 'unknown', 'cancelled',
                                                       'delayed', 'received', 'preview', 'help')),
    state             TEXT    NOT NULL CHECK (state IN ('owed', 'sent', 'dead', 'bounced', 'withheld')),
    recipient         TEXT,
    format            TEXT    CHECK (format IN ('pdf', 'tiff', 'both', 'text')), -- what a received fax's mail carries
    header_message_id TEXT    NOT NULL UNIQUE,
    created_at        INTEGER NOT NULL,
    not_before        INTEGER NOT NULL,
    sent_at           INTEGER,
    tries             INTEGER NOT NULL DEFAULT 0,
    detail            TEXT,
    lease_node        TEXT,
    lease_epoch       TEXT,
    lease_token       INTEGER NOT NULL DEFAULT 0,
    lease_expires_at  INTEGER,
    suspect_at        INTEGER,
    CHECK (fax_id IS NOT NULL OR received_fax_id IS NOT NULL OR message_id IS NOT NULL),
    CHECK (kind NOT IN ('sent', 'partial', 'failed', 'unknown', 'cancelled', 'delayed') OR fax_id IS NOT NULL),
    CHECK (kind <> 'received' OR received_fax_id IS NOT NULL),
    CHECK (state <> 'owed' OR recipient IS NOT NULL),
    CHECK ((sent_at IS NOT NULL) = (state IN ('sent', 'bounced'))),
    CHECK (state <> 'bounced' OR kind = 'received'),
    CHECK ((format IS NOT NULL) = (kind = 'received')),
    CHECK ((lease_node IS NULL) = (lease_epoch IS NULL) AND (lease_node IS NULL) = (lease_expires_at IS NULL)),
    CHECK (lease_node IS NULL OR state = 'owed')
) STRICT;

-- Exactly one final report for each fax.
CREATE UNIQUE INDEX notices_final ON notices (fax_id)
    WHERE kind IN ('sent', 'partial', 'failed', 'unknown', 'cancelled');
CREATE UNIQUE INDEX notices_delayed ON notices (fax_id) WHERE kind = 'delayed';
CREATE UNIQUE INDEX notices_received ON notices (received_fax_id, recipient) WHERE kind = 'received';
CREATE INDEX notices_owed ON notices (not_before, id) WHERE state = 'owed';
CREATE INDEX notices_leased ON notices (lease_node, lease_epoch) WHERE lease_node IS NOT NULL;
CREATE INDEX notices_of_fax ON notices (fax_id) WHERE fax_id IS NOT NULL;
CREATE INDEX notices_of_message ON notices (message_id) WHERE message_id IS NOT NULL;
CREATE INDEX notices_of_received_fax ON notices (received_fax_id) WHERE received_fax_id IS NOT NULL;
CREATE INDEX notices_by_state ON notices (state);

-- What every node must have alike and nobody else may know: the first node that needs one makes it.
CREATE TABLE secrets (
    name    TEXT    NOT NULL PRIMARY KEY CHECK (name <> ''),
    value   BLOB    NOT NULL CHECK (length(value) BETWEEN 16 AND 1024),
    made_at INTEGER NOT NULL
) STRICT;

-- Who may log in. No password is here, and nothing that a login could be made from.
CREATE TABLE accounts (
    name             TEXT    NOT NULL PRIMARY KEY CHECK (length(name) BETWEEN 1 AND 128),
    password         TEXT    NOT NULL CHECK (password LIKE '$argon2id$%'),
    scram_salt       BLOB    NOT NULL CHECK (length(scram_salt) >= 16),
    scram_iterations INTEGER NOT NULL CHECK (scram_iterations >= 4096),          -- RFC 7677 section 4
    scram_stored_key BLOB    NOT NULL CHECK (length(scram_stored_key) = 32),
    scram_server_key BLOB    NOT NULL CHECK (length(scram_server_key) = 32),
    policy           TEXT    NOT NULL CHECK (json_valid(policy)),                -- what it may send, as JSON
    made_at          INTEGER NOT NULL,
    made_by          TEXT    NOT NULL
) STRICT;

-- Logins that failed, by name and by network, until they are long enough ago.
CREATE TABLE login_failures (
    what     TEXT    NOT NULL PRIMARY KEY CHECK (length(what) BETWEEN 1 AND 400),
    failures INTEGER NOT NULL CHECK (failures >= 1),
    last_at  INTEGER NOT NULL
) STRICT;

CREATE INDEX login_failures_old ON login_failures (last_at);

-- A row for each identity that submits under a limit: whoever counts its faxes locks it first.
CREATE TABLE submitters (
    identity TEXT NOT NULL PRIMARY KEY
) STRICT;

-- Signatures that let a mail in, by the number they let it fax: each does so once.
CREATE TABLE signatures (
    signature BLOB    NOT NULL CHECK (length(signature) = 32),
    number    TEXT    NOT NULL CHECK (number LIKE '+%'),
    seen_at   INTEGER NOT NULL,
    PRIMARY KEY (signature, number)
) STRICT;

CREATE INDEX signatures_old ON signatures (seen_at);

-- What one node does for all of them, while its lease lasts.
CREATE TABLE duties (
    name             TEXT    NOT NULL PRIMARY KEY CHECK (name <> ''),
    lease_node       TEXT    NOT NULL,
    lease_epoch      TEXT    NOT NULL,
    lease_expires_at INTEGER NOT NULL
) STRICT;

CREATE TABLE nodes (
    name       TEXT    NOT NULL PRIMARY KEY,
    epoch      TEXT    NOT NULL,
    version    TEXT    NOT NULL,
    roles      TEXT    NOT NULL,
    started_at INTEGER NOT NULL,
    seen_at    INTEGER NOT NULL,
    draining   INTEGER NOT NULL CHECK (draining IN (0, 1)),
    drained    INTEGER NOT NULL DEFAULT 0 CHECK (drained IN (0, 1)), -- nothing is left that it works on
    drain_ordered_at INTEGER,               -- out of service from here until a person resumes it, restarts included
    drain_ordered_by TEXT,
    schema     INTEGER NOT NULL DEFAULT 1,           -- the newest schema that its program knows
    CHECK (drained = 0 OR draining = 1),
    CHECK ((drain_ordered_at IS NULL) = (drain_ordered_by IS NULL))
) STRICT;

CREATE TABLE lines (
    line     TEXT    NOT NULL,
    node     TEXT    NOT NULL,
    channels INTEGER NOT NULL,
    calls    INTEGER NOT NULL,
    up       INTEGER NOT NULL CHECK (up IN (0, 1)),
    detail   TEXT    NOT NULL,
    seen_at  INTEGER NOT NULL,
    PRIMARY KEY (line, node)
) STRICT;

-- A row for each trunk that calls have begun on, and '*' for all of them: locked while its calls are counted, so that no
-- two nodes take the last channel. SQLite has one writer and needs no lock.
CREATE TABLE trunks (
    line TEXT NOT NULL PRIMARY KEY
) STRICT;

-- Calls that came in and are not over: each takes a channel of its trunk, wherever its agent is. It has a lease, so that
-- the channel of a node that died is free again.
CREATE TABLE incoming_calls (
    id               TEXT    NOT NULL PRIMARY KEY,
    line             TEXT    NOT NULL,
    begun_at         INTEGER NOT NULL,
    lease_node       TEXT    NOT NULL,
    lease_epoch      TEXT    NOT NULL,
    lease_token      INTEGER NOT NULL DEFAULT 1,
    lease_expires_at INTEGER NOT NULL,
    suspect_at       INTEGER
) STRICT;

CREATE INDEX incoming_calls_of_line ON incoming_calls (line);

CREATE TABLE events (
    seq             INTEGER PRIMARY KEY AUTOINCREMENT,
    at              INTEGER NOT NULL,
    node            TEXT,
    message_id      TEXT REFERENCES messages (id),
    fax_id          TEXT REFERENCES faxes (id),
    received_fax_id TEXT REFERENCES received_faxes (id),
    kind            TEXT NOT NULL,
    text            TEXT NOT NULL
) STRICT;

CREATE INDEX events_of_fax ON events (fax_id) WHERE fax_id IS NOT NULL;
CREATE INDEX events_of_message ON events (message_id) WHERE message_id IS NOT NULL;
CREATE INDEX events_of_received_fax ON events (received_fax_id) WHERE received_fax_id IS NOT NULL;

CREATE INDEX events_of_nobody ON events (at)
    WHERE fax_id IS NULL AND message_id IS NULL AND received_fax_id IS NULL;

-- The row that a health check writes.
CREATE TABLE probe (
    one        INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    written_at INTEGER NOT NULL
) STRICT;

-- ---------------------------------------------------------------------------------------------------- moves

CREATE TABLE fax_moves (
    from_state TEXT NOT NULL,
    to_state   TEXT NOT NULL,
    PRIMARY KEY (from_state, to_state)
) STRICT, WITHOUT ROWID;

INSERT INTO fax_moves VALUES
    ('accepted', 'ready'),
    ('accepted', 'failed'),
    ('accepted', 'cancelled'),
    ('accepted', 'held'),
    ('ready', 'sent'),
    ('ready', 'partial'),
    ('ready', 'failed'),
    ('ready', 'unknown'),
    ('ready', 'cancelled'),
    ('ready', 'held'),
    ('held', 'accepted'),
    ('held', 'ready'),
    ('held', 'sent'),       -- cancelled when a late fact had confirmed its last page
    ('held', 'cancelled');

CREATE TABLE notice_moves (
    from_state TEXT NOT NULL,
    to_state   TEXT NOT NULL,
    PRIMARY KEY (from_state, to_state)
) STRICT, WITHOUT ROWID;

INSERT INTO notice_moves VALUES
    ('owed', 'sent'),
    ('owed', 'dead'),
    ('owed', 'withheld'),   -- what it was to tell is not true any more: a fax that waited has ended
    ('sent', 'bounced'),    -- its mailbox's host gave it back later, and another mailbox has it or is owed it
    ('sent', 'dead'),       -- it came back and nobody else takes it
    ('sent', 'owed'),       -- a person has it delivered once more, under the same Message-ID
    ('bounced', 'owed'),
    ('dead', 'owed');

CREATE TABLE received_fax_moves (
    from_state TEXT NOT NULL,
    to_state   TEXT NOT NULL,
    PRIMARY KEY (from_state, to_state)
) STRICT, WITHOUT ROWID;

INSERT INTO received_fax_moves VALUES
    ('receiving', 'received'),
    ('received', 'delivered'),
    ('delivered', 'received'); -- its mail came back, or a person has it delivered once more

-- ---------------------------------------------------------------------------------------------------- faxes

CREATE TRIGGER faxes_begin BEFORE INSERT ON faxes BEGIN
    SELECT RAISE(ABORT, 'a fax begins as accepted or held')
     WHERE new.state NOT IN ('accepted', 'held') OR new.pages_confirmed <> new.begin_page - 1
        OR (new.begin_page > 1 AND (new.retry_of IS NULL OR new.document IS NULL)) OR new.lease_node IS NOT NULL
        OR new.pages_confirmed IS new.page_count;
    SELECT RAISE(ABORT, 'only a fax that has ended is sent once more')
     WHERE new.retry_of IS NOT NULL
       AND NOT EXISTS (SELECT 1 FROM faxes WHERE id = new.retry_of AND ended_at IS NOT NULL);
    SELECT RAISE(ABORT, 'a fax does not begin with pages that retention has removed')
     WHERE EXISTS (SELECT 1 FROM documents WHERE pruned_at IS NOT NULL
                      AND key IN (new.document, (SELECT raw_document FROM messages WHERE id = new.message_id)));
END;

CREATE TRIGGER faxes_keep BEFORE UPDATE ON faxes BEGIN
    SELECT RAISE(ABORT, 'confirmed pages, attempts and lease token of a fax never fall')
     WHERE new.pages_confirmed < old.pages_confirmed OR new.attempts < old.attempts
        OR new.lease_token < old.lease_token;
    SELECT RAISE(ABORT, 'what a fax was accepted with never changes')
     WHERE new.id <> old.id OR new.short_id <> old.short_id OR new.message_id <> old.message_id
        OR new.recipient <> old.recipient OR new.number <> old.number OR new.accepted_at <> old.accepted_at
        OR new.retry_of IS NOT old.retry_of OR new.begin_page <> old.begin_page;
    SELECT RAISE(ABORT, 'the pages of a fax never change once one of them is confirmed')
     WHERE old.pages_confirmed > 0
       AND (new.document IS NOT old.document OR new.page_count IS NOT old.page_count);
    SELECT RAISE(ABORT, 'the end of a fax never changes')
     WHERE old.ended_at IS NOT NULL
       AND (new.ended_at IS NOT old.ended_at OR new.cause IS NOT old.cause OR new.detail IS NOT old.detail);
END;

CREATE TRIGGER faxes_move BEFORE UPDATE OF state ON faxes WHEN new.state <> old.state BEGIN
    SELECT RAISE(ABORT, 'a fax does not move from its state to that one')
     WHERE NOT EXISTS (SELECT 1 FROM fax_moves WHERE from_state = old.state AND to_state = new.state);
    SELECT RAISE(ABORT, 'a fax with an open attempt stays ready')
     WHERE EXISTS (SELECT 1 FROM attempts WHERE fax_id = new.id AND ended_at IS NULL);
    SELECT RAISE(ABORT, 'a fax is sent exactly when all its pages are confirmed')
     WHERE (new.state = 'sent' AND new.pages_confirmed IS NOT new.page_count)
        OR (new.state IN ('partial', 'failed', 'unknown', 'cancelled') AND new.pages_confirmed IS new.page_count);
    SELECT RAISE(ABORT, 'a fax is partial when some of its pages are confirmed, and failed when none is')
     WHERE (new.state = 'partial' AND new.pages_confirmed = 0)
        OR (new.state = 'failed' AND new.pages_confirmed > 0);
    SELECT RAISE(ABORT, 'a fax ends together with the final notice of that kind')
     WHERE new.ended_at IS NOT NULL
       AND NOT EXISTS (SELECT 1 FROM notices WHERE fax_id = new.id AND kind = new.state);
END;

-- Retention may remove what is over, and nothing else.
CREATE TRIGGER faxes_stay BEFORE DELETE ON faxes WHEN old.ended_at IS NULL OR old.legal_hold = 1 BEGIN
    SELECT RAISE(ABORT, 'a fax that has not ended, or is under a legal hold, is never deleted');
END;

-- ------------------------------------------------------------------------------------------ attempts and pages

CREATE TRIGGER attempts_begin BEFORE INSERT ON attempts BEGIN
    SELECT RAISE(ABORT, 'an attempt begins open, for a ready fax, under its lease and for its number')
     WHERE new.ended_at IS NOT NULL
        OR NOT EXISTS (SELECT 1 FROM faxes WHERE id = new.fax_id AND state = 'ready' AND number = new.number
                        AND lease_node = new.node AND lease_epoch = new.epoch AND lease_token = new.lease_token);
    SELECT RAISE(ABORT, 'an attempt begins with the first page that is not confirmed')
     WHERE NOT EXISTS (SELECT 1 FROM faxes WHERE id = new.fax_id AND new.first_page = pages_confirmed + 1
                        AND new.first_page <= page_count);
END;

CREATE TRIGGER attempts_keep BEFORE UPDATE ON attempts BEGIN
    SELECT RAISE(ABORT, 'the beginning of an attempt never changes')
     WHERE new.id <> old.id OR new.fax_id <> old.fax_id OR new.attempt_no <> old.attempt_no OR new.node <> old.node
        OR new.epoch <> old.epoch OR new.lease_token <> old.lease_token OR new.line <> old.line
        OR new.number <> old.number OR new.first_page <> old.first_page OR new.started_at <> old.started_at;
    -- A last page that was asked for again is outstanding again, as long as the call goes on.
    SELECT RAISE(ABORT, 'what has left in an attempt never comes back')
     WHERE new.page_started < old.page_started
        OR (new.all_pages_sent < old.all_pages_sent AND old.ended_at IS NOT NULL);
    SELECT RAISE(ABORT, 'an attempt that has ended stays so')
     WHERE old.ended_at IS NOT NULL AND (new.ended_at IS NOT old.ended_at OR new.cause IS NOT old.cause);
END;

CREATE TRIGGER attempts_stay BEFORE DELETE ON attempts BEGIN
    SELECT RAISE(ABORT, 'the attempts of a fax that has not ended are never deleted')
     WHERE EXISTS (SELECT 1 FROM faxes WHERE id = old.fax_id AND ended_at IS NULL);
END;

CREATE TRIGGER fax_pages_begin BEFORE INSERT ON fax_pages BEGIN
    SELECT RAISE(ABORT, 'the fax has no such page, or the attempt was for another fax')
     WHERE NOT EXISTS (SELECT 1 FROM faxes f JOIN attempts a ON a.fax_id = f.id
                        WHERE f.id = new.fax_id AND a.id = new.attempt_id AND new.page_no <= f.page_count);
END;

CREATE TRIGGER fax_pages_keep BEFORE UPDATE ON fax_pages BEGIN
    SELECT RAISE(ABORT, 'a confirmed page never changes');
END;

CREATE TRIGGER fax_pages_stay BEFORE DELETE ON fax_pages BEGIN
    SELECT RAISE(ABORT, 'the confirmed pages of a fax that has not ended are never deleted')
     WHERE EXISTS (SELECT 1 FROM faxes WHERE id = old.fax_id AND ended_at IS NULL);
END;

-- ---------------------------------------------------------------------------------------------- received faxes

CREATE TRIGGER received_faxes_begin BEFORE INSERT ON received_faxes BEGIN
    SELECT RAISE(ABORT, 'a received fax begins as receiving') WHERE new.state <> 'receiving';
END;

CREATE TRIGGER received_faxes_keep BEFORE UPDATE ON received_faxes BEGIN
    SELECT RAISE(ABORT, 'what a received fax came in with never changes')
     WHERE new.id <> old.id OR new.short_id <> old.short_id OR new.node <> old.node OR new.epoch <> old.epoch
        OR new.call_no <> old.call_no OR new.line <> old.line OR new.called_number <> old.called_number
        OR new.calling_number IS NOT old.calling_number OR new.remote_id IS NOT old.remote_id
        OR new.subaddress IS NOT old.subaddress OR new.started_at <> old.started_at;
    SELECT RAISE(ABORT, 'the end of a received fax never changes, and its lease token never falls')
     WHERE new.lease_token < old.lease_token
        OR (old.received_at IS NOT NULL
            AND (new.received_at IS NOT old.received_at OR new.complete IS NOT old.complete
                 OR new.page_count IS NOT old.page_count));
END;

CREATE TRIGGER received_faxes_move BEFORE UPDATE OF state ON received_faxes WHEN new.state <> old.state BEGIN
    SELECT RAISE(ABORT, 'a received fax does not move from its state to that one')
     WHERE NOT EXISTS (SELECT 1 FROM received_fax_moves WHERE from_state = old.state AND to_state = new.state);
    SELECT RAISE(ABORT, 'a received fax has all its pages')
     WHERE new.state = 'received' AND old.state = 'receiving'
       AND new.page_count IS NOT (SELECT count(*) FROM received_pages WHERE received_fax_id = new.id);
    SELECT RAISE(ABORT, 'a fax is received together with its notice')
     WHERE new.state = 'received'
       AND NOT EXISTS (SELECT 1 FROM notices WHERE received_fax_id = new.id AND kind = 'received');
    SELECT RAISE(ABORT, 'a received fax is delivered when no notice of it is owed and one was taken')
     WHERE new.state = 'delivered'
       AND (EXISTS (SELECT 1 FROM notices WHERE received_fax_id = new.id AND state = 'owed')
            OR NOT EXISTS (SELECT 1 FROM notices WHERE received_fax_id = new.id AND state = 'sent'));
END;

CREATE TRIGGER received_pages_begin BEFORE INSERT ON received_pages BEGIN
    SELECT RAISE(ABORT, 'a page belongs to a fax that is being received')
     WHERE NOT EXISTS (SELECT 1 FROM received_faxes WHERE id = new.received_fax_id AND state = 'receiving');
END;

CREATE TRIGGER received_pages_keep BEFORE UPDATE ON received_pages BEGIN
    SELECT RAISE(ABORT, 'a received page never changes');
END;

CREATE TRIGGER received_pages_stay BEFORE DELETE ON received_pages BEGIN
    SELECT RAISE(ABORT, 'the pages of a received fax that is owed to somebody, or held, are never deleted')
     WHERE EXISTS (SELECT 1 FROM received_faxes WHERE id = old.received_fax_id
                      AND (state = 'receiving' OR legal_hold = 1))
        OR EXISTS (SELECT 1 FROM notices WHERE received_fax_id = old.received_fax_id AND state = 'owed');
END;

CREATE TRIGGER received_faxes_stay BEFORE DELETE ON received_faxes
    WHEN old.state = 'receiving' OR old.legal_hold = 1 BEGIN
    SELECT RAISE(ABORT, 'a fax that is being received, or is under a legal hold, is never deleted');
END;

-- --------------------------------------------------------------------------------------------------- notices

CREATE TRIGGER notices_begin BEFORE INSERT ON notices BEGIN
    SELECT RAISE(ABORT, 'a notice begins as owed or withheld')
     WHERE new.state NOT IN ('owed', 'withheld') OR new.lease_node IS NOT NULL;
END;

CREATE TRIGGER notices_keep BEFORE UPDATE ON notices BEGIN
    SELECT RAISE(ABORT, 'tries and lease token of a notice never fall')
     WHERE new.tries < old.tries OR new.lease_token < old.lease_token;
    SELECT RAISE(ABORT, 'what a notice tells never changes')
     WHERE new.id <> old.id OR new.fax_id IS NOT old.fax_id OR new.received_fax_id IS NOT old.received_fax_id
        OR new.message_id IS NOT old.message_id OR new.kind <> old.kind OR new.recipient IS NOT old.recipient
        OR new.header_message_id <> old.header_message_id OR new.created_at <> old.created_at;
END;

CREATE TRIGGER notices_move BEFORE UPDATE OF state ON notices WHEN new.state <> old.state BEGIN
    SELECT RAISE(ABORT, 'a notice does not move from its state to that one')
     WHERE NOT EXISTS (SELECT 1 FROM notice_moves WHERE from_state = old.state AND to_state = new.state);
    SELECT RAISE(ABORT, 'no notice but that a fax waits is ever withdrawn')
     WHERE new.state = 'withheld' AND new.kind <> 'delayed';
    SELECT RAISE(ABORT, 'only the mail of a received fax comes back')
     WHERE old.state = 'sent' AND new.state IN ('bounced', 'dead') AND new.kind <> 'received';
END;

CREATE TRIGGER notices_stay BEFORE DELETE ON notices BEGIN
    SELECT RAISE(ABORT, 'a notice that is owed, or whose fax has not ended, is never deleted')
     WHERE old.state = 'owed' OR EXISTS (SELECT 1 FROM faxes WHERE id = old.fax_id AND ended_at IS NULL);
END;

-- --------------------------------------------------------------------------------------- documents and events

CREATE TRIGGER documents_keep BEFORE UPDATE ON documents BEGIN
    SELECT RAISE(ABORT, 'the bytes behind a document key never change')
     WHERE new.key <> old.key OR new.size_bytes <> old.size_bytes
        OR (new.inline IS NOT old.inline AND new.pruned_at IS old.pruned_at
            AND (old.sealed_by IS NOT NULL OR new.sealed_by IS NULL));
    SELECT RAISE(ABORT, 'a sealed document is not stored in the clear again')
     WHERE old.sealed_by IS NOT NULL AND new.sealed_by IS NULL AND new.pruned_at IS NULL;
END;

CREATE TRIGGER documents_prune BEFORE UPDATE OF pruned_at ON documents
    WHEN new.pruned_at IS NOT NULL AND old.pruned_at IS NULL BEGIN
    SELECT RAISE(ABORT, 'a document that somebody still needs keeps its bytes')
     WHERE EXISTS (SELECT 1 FROM faxes WHERE document = old.key AND (ended_at IS NULL OR legal_hold = 1))
        OR EXISTS (SELECT 1 FROM messages m JOIN faxes f ON f.message_id = m.id
                    WHERE m.raw_document = old.key AND (f.ended_at IS NULL OR f.legal_hold = 1))
        OR EXISTS (SELECT 1 FROM received_pages p JOIN received_faxes r ON r.id = p.received_fax_id
                    WHERE p.document = old.key AND (r.state = 'receiving' OR r.legal_hold = 1));
END;

CREATE TRIGGER events_keep BEFORE UPDATE ON events BEGIN
    SELECT RAISE(ABORT, 'an event never changes');
END;
