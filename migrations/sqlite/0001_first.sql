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
    inline     BLOB    CHECK (inline IS NULL OR (length(inline) = size_bytes AND size_bytes <= 16384)),
    stored_at  INTEGER NOT NULL,
    gc_after   INTEGER                                                  -- set when the last reference is gone
) STRICT;

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
    suspect_at         INTEGER,                     -- for two-phase expiry, where several nodes share a store
    CHECK (pages_confirmed >= 0 AND (page_count IS NULL OR pages_confirmed <= page_count)),
    CHECK ((document IS NULL) = (page_count IS NULL)),
    CHECK (state NOT IN ('ready', 'sent', 'partial', 'unknown') OR document IS NOT NULL),
    CHECK ((ended_at IS NOT NULL) = (state IN ('sent', 'partial', 'failed', 'unknown', 'cancelled'))),
    CHECK ((lease_node IS NULL) = (lease_epoch IS NULL) AND (lease_node IS NULL) = (lease_expires_at IS NULL)),
    CHECK (lease_node IS NULL OR state IN ('accepted', 'ready'))
) STRICT;

CREATE INDEX faxes_to_render ON faxes (priority, not_before, id) WHERE state = 'accepted';
CREATE INDEX faxes_to_call ON faxes (priority, not_before, id) WHERE state = 'ready';
CREATE INDEX faxes_leased ON faxes (lease_node, lease_epoch) WHERE lease_node IS NOT NULL;
CREATE INDEX faxes_leased_number ON faxes (number) WHERE lease_node IS NOT NULL;
CREATE INDEX faxes_waiting ON faxes (accepted_at) WHERE state IN ('accepted', 'ready');
CREATE INDEX faxes_of_message ON faxes (message_id);
CREATE INDEX faxes_newest ON faxes (accepted_at, id);
CREATE INDEX faxes_by_state ON faxes (state, ended_at);
CREATE INDEX faxes_of_document ON faxes (document) WHERE document IS NOT NULL;
CREATE INDEX messages_of_document ON messages (raw_document);

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
    UNIQUE (fax_id, attempt_no)
) STRICT;

CREATE UNIQUE INDEX attempts_open ON attempts (fax_id) WHERE ended_at IS NULL;
-- One call at a time to one destination.
CREATE UNIQUE INDEX attempts_open_number ON attempts (number) WHERE ended_at IS NULL;

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

CREATE TABLE received_faxes (
    id             TEXT    NOT NULL PRIMARY KEY,
    short_id       TEXT    NOT NULL UNIQUE,
    node           TEXT    NOT NULL,
    epoch          TEXT    NOT NULL,
    call_no        INTEGER NOT NULL,                 -- counted by the agent: a journal can be replayed
    line           TEXT    NOT NULL,
    called_number  TEXT    NOT NULL,
    calling_number TEXT,
    remote_id      TEXT,
    state          TEXT    NOT NULL CHECK (state IN ('receiving', 'received', 'delivered')),
    document       TEXT    REFERENCES documents (key),
    page_count     INTEGER CHECK (page_count >= 1),
    cause          TEXT,
    detail         TEXT,
    started_at     INTEGER NOT NULL,
    received_at    INTEGER,
    delivered_at   INTEGER,
    UNIQUE (node, epoch, call_no),
    CHECK ((received_at IS NULL) = (state = 'receiving')),
    CHECK ((delivered_at IS NOT NULL) = (state = 'delivered')),
    CHECK (state = 'receiving' OR page_count IS NOT NULL)
) STRICT;

CREATE INDEX received_faxes_by_state ON received_faxes (state, started_at);
CREATE INDEX received_faxes_of_document ON received_faxes (document) WHERE document IS NOT NULL;

CREATE TABLE received_pages (
    received_fax_id TEXT    NOT NULL REFERENCES received_faxes (id),
    page_no         INTEGER NOT NULL CHECK (page_no >= 1),
    document        TEXT    NOT NULL REFERENCES documents (key),
    width_px        INTEGER NOT NULL CHECK (width_px >= 1),
    height_px       INTEGER NOT NULL CHECK (height_px >= 0),
    rate_bps        INTEGER NOT NULL,
    ecm             INTEGER NOT NULL CHECK (ecm IN (0, 1)),
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
    state             TEXT    NOT NULL CHECK (state IN ('owed', 'sent', 'dead', 'withheld')),
    recipient         TEXT,
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
    CHECK ((sent_at IS NOT NULL) = (state = 'sent')),
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
CREATE INDEX notices_by_state ON notices (state);

CREATE TABLE nodes (
    name       TEXT    NOT NULL PRIMARY KEY,
    epoch      TEXT    NOT NULL,
    version    TEXT    NOT NULL,
    roles      TEXT    NOT NULL,
    started_at INTEGER NOT NULL,
    seen_at    INTEGER NOT NULL,
    draining   INTEGER NOT NULL CHECK (draining IN (0, 1))
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
    ('held', 'partial'),    -- its time was over while it was held
    ('held', 'failed'),
    ('held', 'cancelled');

CREATE TABLE notice_moves (
    from_state TEXT NOT NULL,
    to_state   TEXT NOT NULL,
    PRIMARY KEY (from_state, to_state)
) STRICT, WITHOUT ROWID;

INSERT INTO notice_moves VALUES
    ('owed', 'sent'),
    ('owed', 'dead'),
    ('dead', 'owed');       -- an operator delivers it once more

CREATE TABLE received_fax_moves (
    from_state TEXT NOT NULL,
    to_state   TEXT NOT NULL,
    PRIMARY KEY (from_state, to_state)
) STRICT, WITHOUT ROWID;

INSERT INTO received_fax_moves VALUES
    ('receiving', 'received'),
    ('received', 'delivered');

-- ---------------------------------------------------------------------------------------------------- faxes

CREATE TRIGGER faxes_begin BEFORE INSERT ON faxes BEGIN
    SELECT RAISE(ABORT, 'a fax begins as accepted or held')
     WHERE new.state NOT IN ('accepted', 'held') OR new.pages_confirmed <> 0 OR new.lease_node IS NOT NULL;
END;

CREATE TRIGGER faxes_keep BEFORE UPDATE ON faxes BEGIN
    SELECT RAISE(ABORT, 'confirmed pages, attempts and lease token of a fax never fall')
     WHERE new.pages_confirmed < old.pages_confirmed OR new.attempts < old.attempts
        OR new.lease_token < old.lease_token;
    SELECT RAISE(ABORT, 'what a fax was accepted with never changes')
     WHERE new.id <> old.id OR new.short_id <> old.short_id OR new.message_id <> old.message_id
        OR new.recipient <> old.recipient OR new.number <> old.number OR new.accepted_at <> old.accepted_at;
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
CREATE TRIGGER faxes_stay BEFORE DELETE ON faxes WHEN old.ended_at IS NULL BEGIN
    SELECT RAISE(ABORT, 'a fax that has not ended is never deleted');
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
    SELECT RAISE(ABORT, 'what has left in an attempt never comes back')
     WHERE new.page_started < old.page_started OR new.all_pages_sent < old.all_pages_sent;
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

CREATE TRIGGER received_faxes_move BEFORE UPDATE OF state ON received_faxes WHEN new.state <> old.state BEGIN
    SELECT RAISE(ABORT, 'a received fax does not move from its state to that one')
     WHERE NOT EXISTS (SELECT 1 FROM received_fax_moves WHERE from_state = old.state AND to_state = new.state);
    SELECT RAISE(ABORT, 'a received fax has all its pages')
     WHERE new.state = 'received'
       AND new.page_count IS NOT (SELECT count(*) FROM received_pages WHERE received_fax_id = new.id);
    SELECT RAISE(ABORT, 'a fax is received together with its notice')
     WHERE new.state = 'received'
       AND NOT EXISTS (SELECT 1 FROM notices WHERE received_fax_id = new.id AND kind = 'received');
    SELECT RAISE(ABORT, 'a received fax is delivered when no notice of it is owed')
     WHERE new.state = 'delivered'
       AND EXISTS (SELECT 1 FROM notices WHERE received_fax_id = new.id AND state = 'owed');
END;

CREATE TRIGGER received_pages_begin BEFORE INSERT ON received_pages BEGIN
    SELECT RAISE(ABORT, 'a page belongs to a fax that is being received')
     WHERE NOT EXISTS (SELECT 1 FROM received_faxes WHERE id = new.received_fax_id AND state = 'receiving');
END;

CREATE TRIGGER received_pages_keep BEFORE UPDATE ON received_pages BEGIN
    SELECT RAISE(ABORT, 'a received page never changes');
END;

CREATE TRIGGER received_pages_stay BEFORE DELETE ON received_pages BEGIN
    SELECT RAISE(ABORT, 'the pages of a received fax that is not delivered are never deleted')
     WHERE EXISTS (SELECT 1 FROM received_faxes WHERE id = old.received_fax_id AND state <> 'delivered');
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
END;

CREATE TRIGGER notices_stay BEFORE DELETE ON notices BEGIN
    SELECT RAISE(ABORT, 'a notice that is owed, or whose fax has not ended, is never deleted')
     WHERE old.state = 'owed' OR EXISTS (SELECT 1 FROM faxes WHERE id = old.fax_id AND ended_at IS NULL);
END;

-- --------------------------------------------------------------------------------------- documents and events

CREATE TRIGGER documents_keep BEFORE UPDATE ON documents BEGIN
    SELECT RAISE(ABORT, 'the bytes behind a document key never change')
     WHERE new.key <> old.key OR new.size_bytes <> old.size_bytes OR new.inline IS NOT old.inline;
END;

CREATE TRIGGER events_keep BEFORE UPDATE ON events BEGIN
    SELECT RAISE(ABORT, 'an event never changes');
END;
