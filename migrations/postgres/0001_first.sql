-- kind: expand
-- oldest: 1
--
-- The whole schema, first version: the tables, columns, indexes and rules of SQLite's, in PostgreSQL's words.
--
-- Conventions. Ids are uuid; UUIDv7 sorts by time. Short ids are what people read out. Times are milliseconds since
-- the Unix epoch, UTC, bigint, as every number is. States are words. What is compared or sorted is COLLATE "C": it
-- sorts by its octets on every server, as on SQLite, whatever the locale of the database.
--
-- There is no running state. Whoever works on a row holds its lease: lease_node and lease_epoch say who,
-- lease_expires_at until when, and lease_token rises by one with each claim, so that a worker that wakes up late
-- changes nothing. lease_expires_at is the heartbeat column: no index holds it, so that a renewal stays within its
-- page (HOT). The tables that a queue lives in leave room for that, and are vacuumed early.
--
-- The rules that no program may break stand here as CHECKs, unique indexes and triggers; the tables *_moves list
-- every move that a state may make.
--
-- Transactions of many nodes run at once, each statement on what is committed when it begins (READ COMMITTED). A rule
-- about one row is a trigger's WHEN and costs no call. A rule about several rows holds because one row is the gate:
-- a trigger that looks at other rows locks the gate, or fires for an UPDATE of it, which holds that lock already. The
-- gate is the fax, the received fax, or the document that is to be pruned. Where a trigger leaves that to the writer
-- it says so.

CREATE TABLE documents (
    key                text COLLATE "C" NOT NULL PRIMARY KEY CHECK (length(key) = 64), -- SHA-256 of the bytes, hex
    size_bytes         bigint           NOT NULL CHECK (size_bytes >= 0),
    media              text             NOT NULL,              -- as it was first stored
    inline             bytea,                                  -- with 16 octets more when it is sealed
    location           text COLLATE "C" UNIQUE CHECK (length(location) = 32), -- the object's drawn name; NULL: by the key
    sealed_key         bytea            CHECK (octet_length(sealed_key) BETWEEN 16 AND 256), -- its own key, wrapped; gone with its bytes
    sealed_by          text COLLATE "C" CHECK (length(sealed_by) BETWEEN 1 AND 32), -- which key of store.keys wrapped it
    stored_at          bigint           NOT NULL,
    gc_after           bigint,                                 -- set when no row names it: removed after
    pruned_at          bigint,                                 -- retention removed the bytes; the name stays
    CHECK (inline IS NULL OR (size_bytes <= 16384 AND location IS NULL
        AND octet_length(inline) = size_bytes + CASE WHEN sealed_key IS NULL THEN 0 ELSE 16 END)),
    CHECK ((sealed_key IS NULL) = (sealed_by IS NULL)),
    CHECK (pruned_at IS NULL OR (inline IS NULL AND sealed_key IS NULL))
);

CREATE INDEX documents_by_age ON documents (stored_at) WHERE pruned_at IS NULL;
CREATE INDEX documents_to_forget ON documents (gc_after) WHERE gc_after IS NOT NULL;
CREATE INDEX documents_by_sealer ON documents (sealed_by) WHERE sealed_by IS NOT NULL;

CREATE TABLE messages (
    id                 uuid             NOT NULL PRIMARY KEY,
    short_id           text COLLATE "C" NOT NULL UNIQUE,
    idem_key           bytea            UNIQUE CHECK (idem_key IS NULL OR octet_length(idem_key) = 32),
    source             text COLLATE "C" NOT NULL CHECK (source IN ('smtp', 'imap', 'api', 'console', 'command')),
    client             text             NOT NULL,
    reverse_path       text,
    ret                text COLLATE "C" CHECK (ret IN ('full', 'hdrs')),
    envid              text,
    header_message_id  text COLLATE "C",
    subject            text             NOT NULL,
    from_name          text,
    from_address       text,
    automatic          boolean          NOT NULL,
    options            jsonb            NOT NULL,
    raw_document       text COLLATE "C" NOT NULL REFERENCES documents (key),
    identity           text COLLATE "C" CHECK (length(identity) BETWEEN 1 AND 128), -- on whose account it goes
    billing            text             CHECK (length(billing) BETWEEN 1 AND 128),
    accepted_at        bigint           NOT NULL
);

CREATE TABLE faxes (
    id                 uuid             NOT NULL PRIMARY KEY,
    short_id           text COLLATE "C" NOT NULL UNIQUE,
    message_id         uuid             NOT NULL REFERENCES messages (id),
    recipient          text COLLATE "C" NOT NULL,
    number             text COLLATE "C" NOT NULL CHECK (number LIKE '+%'),
    subaddress         text COLLATE "C",
    post_dial          text,
    to_name            text,
    to_company         text,
    original_recipient text,
    notify_success     boolean          NOT NULL,
    notify_failure     boolean          NOT NULL,
    notify_delay       boolean          NOT NULL,
    state              text COLLATE "C" NOT NULL CHECK (state IN
                           ('accepted', 'ready', 'held', 'sent', 'partial', 'failed', 'unknown', 'cancelled')),
    priority           bigint           NOT NULL,
    not_before         bigint           NOT NULL,              -- not worked on before
    first_call_at      bigint           NOT NULL,              -- becomes not_before when the pages are ready
    give_up_at         bigint           NOT NULL,
    document           text COLLATE "C" REFERENCES documents (key),
    page_count         bigint           CHECK (page_count >= 1),
    pages_confirmed    bigint           NOT NULL DEFAULT 0,    -- pages 1..=this are confirmed
    attempts           bigint           NOT NULL DEFAULT 0,
    renders_unfinished bigint           NOT NULL DEFAULT 0 CHECK (renders_unfinished >= 0), -- claims not written back
    cause              text COLLATE "C",
    detail             text,
    accepted_at        bigint           NOT NULL,
    ended_at           bigint,
    lease_node         text COLLATE "C",
    lease_epoch        uuid,
    lease_token        bigint           NOT NULL DEFAULT 0,
    lease_expires_at   bigint,
    suspect_at         bigint,                                 -- when maintenance first saw that the lease had run out
    retry_of           uuid             REFERENCES faxes (id), -- a person had this ended fax sent once more
    begin_page         bigint           NOT NULL DEFAULT 1 CHECK (begin_page >= 1), -- those before: by retry_of
    ordered            text COLLATE "C" CHECK (ordered IN ('hold', 'cancel')), -- carried out when nobody works on it
    ordered_by         text,
    held_at            bigint,                                 -- its time stands still from here until it is released
    legal_hold         boolean          NOT NULL DEFAULT FALSE, -- retention leaves it alone
    CHECK ((ordered IS NULL) = (ordered_by IS NULL)),
    CHECK (ordered IS NULL OR state IN ('accepted', 'ready')),
    CHECK ((held_at IS NOT NULL) = (state = 'held')),
    CHECK (pages_confirmed >= 0 AND (page_count IS NULL OR pages_confirmed <= page_count)),
    CHECK ((document IS NULL) = (page_count IS NULL)),
    CHECK (state NOT IN ('ready', 'sent', 'partial', 'unknown') OR document IS NOT NULL),
    CHECK ((ended_at IS NOT NULL) = (state IN ('sent', 'partial', 'failed', 'unknown', 'cancelled'))),
    CHECK ((lease_node IS NULL) = (lease_epoch IS NULL) AND (lease_node IS NULL) = (lease_expires_at IS NULL)),
    CHECK (lease_node IS NULL OR state IN ('accepted', 'ready'))
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_cost_delay = 0);

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
CREATE INDEX faxes_on_legal_hold ON faxes (id) WHERE legal_hold;

CREATE TABLE attempts (
    id                 uuid             NOT NULL PRIMARY KEY,
    fax_id             uuid             NOT NULL REFERENCES faxes (id),
    attempt_no         bigint           NOT NULL CHECK (attempt_no >= 1),
    node               text COLLATE "C" NOT NULL,
    epoch              uuid             NOT NULL,
    lease_token        bigint           NOT NULL,
    line               text COLLATE "C" NOT NULL,
    number             text COLLATE "C" NOT NULL,
    first_page         bigint           NOT NULL CHECK (first_page >= 1),
    started_at         bigint           NOT NULL,
    ringing_at         bigint,
    answered_at        bigint,
    ended_at           bigint,
    page_started       bigint           NOT NULL DEFAULT 0,
    all_pages_sent     boolean          NOT NULL DEFAULT FALSE,
    transport          text COLLATE "C" CHECK (transport IN ('t38', 'g711')),
    rate_bps           bigint,
    ecm                boolean,
    remote_id          text,
    sip_code           bigint,
    q850               bigint,
    t30_code           bigint,
    detail             text             NOT NULL DEFAULT '',
    cause              text COLLATE "C",
    told_end           jsonb,                                  -- how it ended, told as a fact
    UNIQUE (fax_id, attempt_no)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_cost_delay = 0);

CREATE UNIQUE INDEX attempts_open ON attempts (fax_id) WHERE ended_at IS NULL;
-- One call at a time to one destination.
CREATE UNIQUE INDEX attempts_open_number ON attempts (number) WHERE ended_at IS NULL;
CREATE INDEX attempts_open_line ON attempts (line) WHERE ended_at IS NULL;
-- How many calls began within the last minute.
CREATE INDEX attempts_started ON attempts (started_at);

CREATE TABLE fax_pages (
    fax_id             uuid             NOT NULL REFERENCES faxes (id),
    page_no            bigint           NOT NULL CHECK (page_no >= 1),
    attempt_id         uuid             NOT NULL REFERENCES attempts (id),
    confirmed_at       bigint           NOT NULL,
    rate_bps           bigint           NOT NULL,
    ecm                boolean          NOT NULL,
    duration_ms        bigint           NOT NULL,
    blocks_resent      bigint           NOT NULL,
    PRIMARY KEY (fax_id, page_no)
);

CREATE INDEX fax_pages_of_attempt ON fax_pages (attempt_id);

-- Facts of calls that no row takes (the store had lost the attempt): kept and shown, applied when they fit again.
CREATE TABLE parked_facts (
    id                 uuid             NOT NULL PRIMARY KEY,
    node               text COLLATE "C" NOT NULL,
    attempt_id         uuid             NOT NULL,
    fact               jsonb            NOT NULL,
    why                text             NOT NULL,
    happened_at        bigint           NOT NULL,
    parked_at          bigint           NOT NULL,
    applied_at         bigint
);

CREATE INDEX parked_facts_open ON parked_facts (parked_at) WHERE applied_at IS NULL;

-- What calls have taught about a number. Expires.
CREATE TABLE destinations (
    number             text COLLATE "C" NOT NULL PRIMARY KEY,
    avoid_t38_until    bigint           NOT NULL,
    detail             text             NOT NULL,
    updated_at         bigint           NOT NULL
);

-- Routes that a person set; those of the configuration are not here.
CREATE TABLE inbound_routes (
    name               text COLLATE "C" NOT NULL PRIMARY KEY,
    rule               jsonb            NOT NULL,
    changed_at         bigint           NOT NULL,
    changed_by         text             NOT NULL
);

CREATE TABLE received_faxes (
    id                 uuid             NOT NULL PRIMARY KEY,
    short_id           text COLLATE "C" NOT NULL UNIQUE,
    node               text COLLATE "C" NOT NULL,
    epoch              uuid             NOT NULL,
    call_no            bigint           NOT NULL,              -- counted by the agent: telling it twice stores it once
    line               text COLLATE "C" NOT NULL,
    called_number      text COLLATE "C" NOT NULL,
    calling_number     text COLLATE "C",
    remote_id          text,                                   -- TSI
    subaddress         text COLLATE "C",                       -- SUB
    transport          text COLLATE "C" CHECK (transport IN ('t38', 'g711')),
    state              text COLLATE "C" NOT NULL CHECK (state IN ('receiving', 'received', 'delivered')),
    complete           boolean,                                -- whether the end of the document was confirmed
    page_count         bigint           CHECK (page_count >= 1),
    route              text COLLATE "C",                       -- name of the rule that chose the mailboxes
    cause              text COLLATE "C",
    detail             text,
    started_at         bigint           NOT NULL,
    received_at        bigint,
    delivered_at       bigint,
    lease_node         text COLLATE "C",
    lease_epoch        uuid,
    lease_token        bigint           NOT NULL DEFAULT 1,
    lease_expires_at   bigint,
    suspect_at         bigint,
    legal_hold         boolean          NOT NULL DEFAULT FALSE,
    UNIQUE (node, epoch, call_no),
    CHECK ((received_at IS NULL) = (state = 'receiving')),
    CHECK ((delivered_at IS NOT NULL) = (state = 'delivered')),
    CHECK (state = 'receiving' OR (page_count IS NOT NULL AND complete IS NOT NULL)),
    CHECK ((lease_node IS NULL) = (lease_epoch IS NULL) AND (lease_node IS NULL) = (lease_expires_at IS NULL)),
    CHECK (lease_node IS NULL OR state = 'receiving')
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_cost_delay = 0);

CREATE INDEX received_faxes_by_state ON received_faxes (state, started_at);
CREATE INDEX received_faxes_leased ON received_faxes (lease_node, lease_epoch) WHERE lease_node IS NOT NULL;
CREATE INDEX received_faxes_newest ON received_faxes (started_at, id);
CREATE INDEX received_faxes_on_legal_hold ON received_faxes (id) WHERE legal_hold;

CREATE TABLE received_pages (
    received_fax_id    uuid             NOT NULL REFERENCES received_faxes (id),
    page_no            bigint           NOT NULL CHECK (page_no >= 1),
    document           text COLLATE "C" NOT NULL REFERENCES documents (key),
    width_px           bigint           NOT NULL CHECK (width_px >= 1),
    height_px          bigint           NOT NULL CHECK (height_px >= 0),
    rate_bps           bigint           NOT NULL,
    ecm                boolean          NOT NULL,
    damaged_lines      bigint           NOT NULL DEFAULT 0 CHECK (damaged_lines >= 0), -- 0 with error correction
    stored_at          bigint           NOT NULL,
    PRIMARY KEY (received_fax_id, page_no)
);

CREATE INDEX received_pages_of_document ON received_pages (document);

CREATE TABLE notices (
    id                 uuid             NOT NULL PRIMARY KEY,
    message_id         uuid             REFERENCES messages (id),
    fax_id             uuid             REFERENCES faxes (id),
    received_fax_id    uuid             REFERENCES received_faxes (id),
    kind               text COLLATE "C" NOT NULL CHECK (kind IN ('sent', 'partial', 'failed', 'unknown', 'cancelled',
                                                       'delayed', 'received', 'preview', 'help')),
    state              text COLLATE "C" NOT NULL CHECK (state IN ('owed', 'sent', 'dead', 'bounced', 'withheld')),
    recipient          text COLLATE "C",
    format             text COLLATE "C" CHECK (format IN ('pdf', 'tiff', 'both', 'text')), -- of a received fax
    header_message_id  text COLLATE "C" NOT NULL UNIQUE,
    created_at         bigint           NOT NULL,
    not_before         bigint           NOT NULL,
    sent_at            bigint,
    tries              bigint           NOT NULL DEFAULT 0,
    detail             text,
    lease_node         text COLLATE "C",
    lease_epoch        uuid,
    lease_token        bigint           NOT NULL DEFAULT 0,
    lease_expires_at   bigint,
    suspect_at         bigint,
    CHECK (fax_id IS NOT NULL OR received_fax_id IS NOT NULL OR message_id IS NOT NULL),
    CHECK (kind NOT IN ('sent', 'partial', 'failed', 'unknown', 'cancelled', 'delayed') OR fax_id IS NOT NULL),
    CHECK (kind <> 'received' OR received_fax_id IS NOT NULL),
    CHECK (state <> 'owed' OR recipient IS NOT NULL),
    CHECK ((sent_at IS NOT NULL) = (state IN ('sent', 'bounced'))),
    CHECK (state <> 'bounced' OR kind = 'received'),
    CHECK ((format IS NOT NULL) = (kind = 'received')),
    CHECK ((lease_node IS NULL) = (lease_epoch IS NULL) AND (lease_node IS NULL) = (lease_expires_at IS NULL)),
    CHECK (lease_node IS NULL OR state = 'owed')
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_cost_delay = 0);

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
    name               text COLLATE "C" NOT NULL PRIMARY KEY CHECK (name <> ''),
    value              bytea            NOT NULL CHECK (octet_length(value) BETWEEN 16 AND 1024),
    made_at            bigint           NOT NULL
);

-- Who may log in. No password is here, and nothing that a login could be made from.
CREATE TABLE accounts (
    name               text COLLATE "C" NOT NULL PRIMARY KEY CHECK (length(name) BETWEEN 1 AND 128),
    password           text             NOT NULL CHECK (password LIKE '$argon2id$%'),
    scram_salt         bytea            NOT NULL CHECK (octet_length(scram_salt) >= 16),
    scram_iterations   bigint           NOT NULL CHECK (scram_iterations >= 4096),   -- RFC 7677 section 4
    scram_stored_key   bytea            NOT NULL CHECK (octet_length(scram_stored_key) = 32),
    scram_server_key   bytea            NOT NULL CHECK (octet_length(scram_server_key) = 32),
    policy             text             NOT NULL CHECK (policy::jsonb IS NOT NULL),  -- what it may send, as JSON
    made_at            bigint           NOT NULL,
    made_by            text             NOT NULL
);

-- Logins that failed, by name and by network, until they are long enough ago.
CREATE TABLE login_failures (
    what               text COLLATE "C" NOT NULL PRIMARY KEY CHECK (length(what) BETWEEN 1 AND 400),
    failures           bigint           NOT NULL CHECK (failures >= 1),
    last_at            bigint           NOT NULL
);

CREATE INDEX login_failures_old ON login_failures (last_at);

-- A row for each identity that submits under a limit: whoever counts its faxes locks it first.
CREATE TABLE submitters (
    identity           text COLLATE "C" NOT NULL PRIMARY KEY
);

-- Signatures that let a mail in, by the number they let it fax: each does so once.
CREATE TABLE signatures (
    signature          bytea            NOT NULL CHECK (octet_length(signature) = 32),
    number             text COLLATE "C" NOT NULL CHECK (number LIKE '+%'),
    seen_at            bigint           NOT NULL,
    PRIMARY KEY (signature, number)
);

CREATE INDEX signatures_old ON signatures (seen_at);

-- What one node does for all of them, while its lease lasts.
CREATE TABLE duties (
    name               text COLLATE "C" NOT NULL PRIMARY KEY CHECK (name <> ''),
    lease_node         text COLLATE "C" NOT NULL,
    lease_epoch        uuid             NOT NULL,
    lease_expires_at   bigint           NOT NULL
);

CREATE TABLE nodes (
    name               text COLLATE "C" NOT NULL PRIMARY KEY,
    epoch              uuid             NOT NULL,
    version            text             NOT NULL,
    roles              text             NOT NULL,
    started_at         bigint           NOT NULL,
    seen_at            bigint           NOT NULL,
    draining           boolean          NOT NULL,
    drained            boolean          NOT NULL DEFAULT FALSE, -- nothing is left that it works on
    drain_ordered_at   bigint,          -- out of service from here until a person resumes it, restarts included
    drain_ordered_by   text COLLATE "C",
    schema             bigint           NOT NULL DEFAULT 1,   -- the newest schema that its program knows
    CHECK (NOT drained OR draining),
    CHECK ((drain_ordered_at IS NULL) = (drain_ordered_by IS NULL))
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_cost_delay = 0);

CREATE TABLE lines (
    line               text COLLATE "C" NOT NULL,
    node               text COLLATE "C" NOT NULL,
    channels           bigint           NOT NULL,
    calls              bigint           NOT NULL,
    up                 boolean          NOT NULL,
    detail             text             NOT NULL,
    seen_at            bigint           NOT NULL,
    PRIMARY KEY (line, node)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_cost_delay = 0);

-- A row for each trunk that calls have begun on, and '*' for all of them: locked while its calls are counted, so that no
-- two nodes take the last channel.
CREATE TABLE trunks (
    line               text COLLATE "C" NOT NULL PRIMARY KEY
);

-- Calls that came in and are not over: each takes a channel of its trunk, wherever its agent is. It has a lease, so that
-- the channel of a node that died is free again.
CREATE TABLE incoming_calls (
    id                 uuid             NOT NULL PRIMARY KEY,
    line               text COLLATE "C" NOT NULL,
    begun_at           bigint           NOT NULL,
    lease_node         text COLLATE "C" NOT NULL,
    lease_epoch        uuid             NOT NULL,
    lease_token        bigint           NOT NULL DEFAULT 1,
    lease_expires_at   bigint           NOT NULL,
    suspect_at         bigint
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_cost_delay = 0);

CREATE INDEX incoming_calls_of_line ON incoming_calls (line);

CREATE TABLE events (
    seq                bigint           GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    at                 bigint           NOT NULL,
    node               text COLLATE "C",
    message_id         uuid             REFERENCES messages (id),
    fax_id             uuid             REFERENCES faxes (id),
    received_fax_id    uuid             REFERENCES received_faxes (id),
    kind               text COLLATE "C" NOT NULL,
    text               text             NOT NULL
);

CREATE INDEX events_of_fax ON events (fax_id) WHERE fax_id IS NOT NULL;
CREATE INDEX events_of_message ON events (message_id) WHERE message_id IS NOT NULL;
CREATE INDEX events_of_received_fax ON events (received_fax_id) WHERE received_fax_id IS NOT NULL;

CREATE INDEX events_of_nobody ON events (at)
    WHERE fax_id IS NULL AND message_id IS NULL AND received_fax_id IS NULL;

-- The row that a health check writes.
CREATE TABLE probe (
    one                bigint           NOT NULL PRIMARY KEY CHECK (one = 1),
    written_at         bigint           NOT NULL
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_cost_delay = 0);

-- ---------------------------------------------------------------------------------------------------- moves


CREATE TABLE fax_moves (
    from_state         text COLLATE "C" NOT NULL,
    to_state           text COLLATE "C" NOT NULL,
    PRIMARY KEY (from_state, to_state)
);

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
    from_state         text COLLATE "C" NOT NULL,
    to_state           text COLLATE "C" NOT NULL,
    PRIMARY KEY (from_state, to_state)
);

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
    from_state         text COLLATE "C" NOT NULL,
    to_state           text COLLATE "C" NOT NULL,
    PRIMARY KEY (from_state, to_state)
);

INSERT INTO received_fax_moves VALUES
    ('receiving', 'received'),
    ('received', 'delivered'),
    ('delivered', 'received'); -- its mail came back, or a person has it delivered once more

-- ----------------------------------------------------------------------------------------------------- rules

-- Ends the statement with its trigger's words. As a violated CHECK: our mistake, and nothing has changed.
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'check_violation', MESSAGE = TG_ARGV[0],
        TABLE = TG_TABLE_NAME, CONSTRAINT = TG_NAME;
END $$;

-- The same for a rule that a query finds out.
CREATE FUNCTION refuse(rule text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'check_violation', MESSAGE = rule;
END $$;

-- A trigger for an UPDATE names the columns that its WHEN looks at: the server reads the rule of each trigger that may
-- fire anew for every statement, which is most of what a small UPDATE costs.
-- Functions that query find their tables where this script made them, whatever the caller's search_path is.

-- ----------------------------------------------------------------------------------------------------- faxes

CREATE TRIGGER faxes_begin BEFORE INSERT ON faxes FOR EACH ROW
    WHEN (new.state NOT IN ('accepted', 'held') OR new.pages_confirmed <> new.begin_page - 1
       OR (new.begin_page > 1 AND (new.retry_of IS NULL OR new.document IS NULL)) OR new.lease_node IS NOT NULL
       OR new.pages_confirmed IS NOT DISTINCT FROM new.page_count)
    EXECUTE FUNCTION refuse('a fax begins as accepted or held');

-- An ended fax stays so: the retried one needs no lock. A document may be pruned at the same time: the lock waits for
-- that, or has it wait for this fax and look again.
CREATE FUNCTION faxes_begin_with() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF new.retry_of IS NOT NULL
       AND NOT EXISTS (SELECT 1 FROM faxes WHERE id = new.retry_of AND ended_at IS NOT NULL) THEN
        PERFORM refuse('only a fax that has ended is sent once more');
    END IF;
    IF (SELECT bool_or(pruned_at IS NOT NULL) FROM (SELECT pruned_at FROM documents
            WHERE key = new.document OR key = (SELECT raw_document FROM messages WHERE id = new.message_id)
            ORDER BY key FOR SHARE) AS named) THEN
        PERFORM refuse('a fax does not begin with pages that retention has removed');
    END IF;
    RETURN new;
END $$;

CREATE TRIGGER faxes_begin_with BEFORE INSERT ON faxes FOR EACH ROW EXECUTE FUNCTION faxes_begin_with();

CREATE TRIGGER faxes_keep_counts BEFORE UPDATE OF pages_confirmed, attempts, lease_token ON faxes FOR EACH ROW
    WHEN (new.pages_confirmed < old.pages_confirmed OR new.attempts < old.attempts
       OR new.lease_token < old.lease_token)
    EXECUTE FUNCTION refuse('confirmed pages, attempts and lease token of a fax never fall');

CREATE TRIGGER faxes_keep_origin BEFORE UPDATE OF id, short_id, message_id, recipient, number, accepted_at,
    retry_of, begin_page ON faxes FOR EACH ROW
    WHEN (new.id <> old.id OR new.short_id <> old.short_id OR new.message_id <> old.message_id
       OR new.recipient <> old.recipient OR new.number <> old.number OR new.accepted_at <> old.accepted_at
       OR new.retry_of IS DISTINCT FROM old.retry_of OR new.begin_page <> old.begin_page)
    EXECUTE FUNCTION refuse('what a fax was accepted with never changes');

CREATE TRIGGER faxes_keep_pages BEFORE UPDATE OF document, page_count ON faxes FOR EACH ROW
    WHEN (old.pages_confirmed > 0
      AND (new.document IS DISTINCT FROM old.document OR new.page_count IS DISTINCT FROM old.page_count))
    EXECUTE FUNCTION refuse('the pages of a fax never change once one of them is confirmed');

CREATE TRIGGER faxes_keep_the_end BEFORE UPDATE OF ended_at, cause, detail ON faxes FOR EACH ROW
    WHEN (old.ended_at IS NOT NULL
      AND (new.ended_at IS DISTINCT FROM old.ended_at OR new.cause IS DISTINCT FROM old.cause
           OR new.detail IS DISTINCT FROM old.detail))
    EXECUTE FUNCTION refuse('the end of a fax never changes');

-- The fax is locked: attempts_begin waits for its lock, so that no attempt opens beside this.
CREATE FUNCTION faxes_move() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF NOT EXISTS (SELECT 1 FROM fax_moves WHERE from_state = old.state AND to_state = new.state) THEN
        PERFORM refuse('a fax does not move from its state to that one');
    END IF;
    IF EXISTS (SELECT 1 FROM attempts WHERE fax_id = new.id AND ended_at IS NULL) THEN
        PERFORM refuse('a fax with an open attempt stays ready');
    END IF;
    IF new.ended_at IS NOT NULL
       AND NOT EXISTS (SELECT 1 FROM notices WHERE fax_id = new.id AND kind = new.state) THEN
        PERFORM refuse('a fax ends together with the final notice of that kind');
    END IF;
    RETURN new;
END $$;

CREATE TRIGGER faxes_move BEFORE UPDATE OF state ON faxes FOR EACH ROW WHEN (new.state <> old.state)
    EXECUTE FUNCTION faxes_move();

CREATE TRIGGER faxes_move_as_sent BEFORE UPDATE OF state ON faxes FOR EACH ROW
    WHEN (new.state <> old.state
      AND ((new.state = 'sent' AND new.pages_confirmed IS DISTINCT FROM new.page_count)
           OR (new.state IN ('partial', 'failed', 'unknown', 'cancelled')
               AND new.pages_confirmed IS NOT DISTINCT FROM new.page_count)))
    EXECUTE FUNCTION refuse('a fax is sent exactly when all its pages are confirmed');

CREATE TRIGGER faxes_move_in_part BEFORE UPDATE OF state ON faxes FOR EACH ROW
    WHEN (new.state <> old.state
      AND ((new.state = 'partial' AND new.pages_confirmed = 0) OR (new.state = 'failed' AND new.pages_confirmed > 0)))
    EXECUTE FUNCTION refuse('a fax is partial when some of its pages are confirmed, and failed when none is');

-- Retention may remove what is over, and nothing else.
CREATE TRIGGER faxes_stay BEFORE DELETE ON faxes FOR EACH ROW WHEN (old.ended_at IS NULL OR old.legal_hold)
    EXECUTE FUNCTION refuse('a fax that has not ended, or is under a legal hold, is never deleted');

-- ------------------------------------------------------------------------------------------ attempts and pages

-- Locks the fax: it does not move, and loses no lease, until the attempt is there.
CREATE FUNCTION attempts_begin() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    fax faxes%ROWTYPE;
BEGIN
    SELECT * INTO fax FROM faxes WHERE id = new.fax_id FOR NO KEY UPDATE;
    IF new.ended_at IS NOT NULL
       OR (fax.state = 'ready' AND fax.number = new.number AND fax.lease_node = new.node
           AND fax.lease_epoch = new.epoch AND fax.lease_token = new.lease_token) IS NOT TRUE THEN
        PERFORM refuse('an attempt begins open, for a ready fax, under its lease and for its number');
    END IF;
    IF (new.first_page = fax.pages_confirmed + 1 AND new.first_page <= fax.page_count) IS NOT TRUE THEN
        PERFORM refuse('an attempt begins with the first page that is not confirmed');
    END IF;
    RETURN new;
END $$;

CREATE TRIGGER attempts_begin BEFORE INSERT ON attempts FOR EACH ROW EXECUTE FUNCTION attempts_begin();

CREATE TRIGGER attempts_keep_origin BEFORE UPDATE OF id, fax_id, attempt_no, node, epoch, lease_token, line,
    number, first_page, started_at ON attempts FOR EACH ROW
    WHEN (new.id <> old.id OR new.fax_id <> old.fax_id OR new.attempt_no <> old.attempt_no OR new.node <> old.node
       OR new.epoch <> old.epoch OR new.lease_token <> old.lease_token OR new.line <> old.line
       OR new.number <> old.number OR new.first_page <> old.first_page OR new.started_at <> old.started_at)
    EXECUTE FUNCTION refuse('the beginning of an attempt never changes');

-- A last page that was asked for again is outstanding again, as long as the call goes on.
CREATE TRIGGER attempts_keep_pages BEFORE UPDATE OF page_started, all_pages_sent ON attempts FOR EACH ROW
    WHEN (new.page_started < old.page_started
       OR (new.all_pages_sent < old.all_pages_sent AND old.ended_at IS NOT NULL))
    EXECUTE FUNCTION refuse('what has left in an attempt never comes back');

CREATE TRIGGER attempts_keep_the_end BEFORE UPDATE OF ended_at, cause ON attempts FOR EACH ROW
    WHEN (old.ended_at IS NOT NULL
      AND (new.ended_at IS DISTINCT FROM old.ended_at OR new.cause IS DISTINCT FROM old.cause))
    EXECUTE FUNCTION refuse('an attempt that has ended stays so');

-- Ended is for good: no lock.
CREATE FUNCTION stays_until_the_fax_ends() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM faxes WHERE id = old.fax_id AND ended_at IS NULL) THEN
        PERFORM refuse(TG_ARGV[0]);
    END IF;
    RETURN old;
END $$;

CREATE TRIGGER attempts_stay BEFORE DELETE ON attempts FOR EACH ROW
    EXECUTE FUNCTION stays_until_the_fax_ends('the attempts of a fax that has not ended are never deleted');

-- The writer has locked the fax; its page_count does not change once an attempt is there.
CREATE FUNCTION fax_pages_begin() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF NOT EXISTS (SELECT 1 FROM faxes f JOIN attempts a ON a.fax_id = f.id
                    WHERE f.id = new.fax_id AND a.id = new.attempt_id AND new.page_no <= f.page_count) THEN
        PERFORM refuse('the fax has no such page, or the attempt was for another fax');
    END IF;
    RETURN new;
END $$;

CREATE TRIGGER fax_pages_begin BEFORE INSERT ON fax_pages FOR EACH ROW EXECUTE FUNCTION fax_pages_begin();

CREATE TRIGGER fax_pages_keep BEFORE UPDATE ON fax_pages FOR EACH ROW
    EXECUTE FUNCTION refuse('a confirmed page never changes');

CREATE TRIGGER fax_pages_stay BEFORE DELETE ON fax_pages FOR EACH ROW
    EXECUTE FUNCTION stays_until_the_fax_ends('the confirmed pages of a fax that has not ended are never deleted');

-- ---------------------------------------------------------------------------------------------- received faxes

CREATE TRIGGER received_faxes_begin BEFORE INSERT ON received_faxes FOR EACH ROW WHEN (new.state <> 'receiving')
    EXECUTE FUNCTION refuse('a received fax begins as receiving');

CREATE TRIGGER received_faxes_keep_origin BEFORE UPDATE OF id, short_id, node, epoch, call_no, line, called_number,
    calling_number, remote_id, subaddress, started_at ON received_faxes FOR EACH ROW
    WHEN (new.id <> old.id OR new.short_id <> old.short_id OR new.node <> old.node OR new.epoch <> old.epoch
       OR new.call_no <> old.call_no OR new.line <> old.line OR new.called_number <> old.called_number
       OR new.calling_number IS DISTINCT FROM old.calling_number OR new.remote_id IS DISTINCT FROM old.remote_id
       OR new.subaddress IS DISTINCT FROM old.subaddress OR new.started_at <> old.started_at)
    EXECUTE FUNCTION refuse('what a received fax came in with never changes');

CREATE TRIGGER received_faxes_keep_the_end BEFORE UPDATE OF lease_token, received_at, complete, page_count
    ON received_faxes FOR EACH ROW
    WHEN (new.lease_token < old.lease_token
       OR (old.received_at IS NOT NULL
           AND (new.received_at IS DISTINCT FROM old.received_at OR new.complete IS DISTINCT FROM old.complete
                OR new.page_count IS DISTINCT FROM old.page_count)))
    EXECUTE FUNCTION refuse('the end of a received fax never changes, and its lease token never falls');

-- The received fax is locked: received_pages_begin waits for its lock. Whoever moves a notice of it, or adds one,
-- has locked it before.
CREATE FUNCTION received_faxes_move() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF NOT EXISTS (SELECT 1 FROM received_fax_moves WHERE from_state = old.state AND to_state = new.state) THEN
        PERFORM refuse('a received fax does not move from its state to that one');
    END IF;
    IF new.state = 'received' AND old.state = 'receiving'
       AND new.page_count IS DISTINCT FROM (SELECT count(*) FROM received_pages WHERE received_fax_id = new.id) THEN
        PERFORM refuse('a received fax has all its pages');
    END IF;
    IF new.state = 'received'
       AND NOT EXISTS (SELECT 1 FROM notices WHERE received_fax_id = new.id AND kind = 'received') THEN
        PERFORM refuse('a fax is received together with its notice');
    END IF;
    IF new.state = 'delivered'
       AND (EXISTS (SELECT 1 FROM notices WHERE received_fax_id = new.id AND state = 'owed')
            OR NOT EXISTS (SELECT 1 FROM notices WHERE received_fax_id = new.id AND state = 'sent')) THEN
        PERFORM refuse('a received fax is delivered when no notice of it is owed and one was taken');
    END IF;
    RETURN new;
END $$;

CREATE TRIGGER received_faxes_move BEFORE UPDATE OF state ON received_faxes FOR EACH ROW
    WHEN (new.state <> old.state) EXECUTE FUNCTION received_faxes_move();

-- Locks the received fax: it does not end beside a page that its count would miss.
CREATE FUNCTION received_pages_begin() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF (SELECT state FROM received_faxes WHERE id = new.received_fax_id FOR NO KEY UPDATE)
       IS DISTINCT FROM 'receiving' THEN
        PERFORM refuse('a page belongs to a fax that is being received');
    END IF;
    RETURN new;
END $$;

CREATE TRIGGER received_pages_begin BEFORE INSERT ON received_pages FOR EACH ROW
    EXECUTE FUNCTION received_pages_begin();

CREATE TRIGGER received_pages_keep BEFORE UPDATE ON received_pages FOR EACH ROW
    EXECUTE FUNCTION refuse('a received page never changes');

-- Whoever deletes pages deletes the received fax in the same transaction, and its trigger sees a new legal hold.
CREATE FUNCTION received_pages_stay() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM received_faxes WHERE id = old.received_fax_id AND (state = 'receiving' OR legal_hold))
       OR EXISTS (SELECT 1 FROM notices WHERE received_fax_id = old.received_fax_id AND state = 'owed') THEN
        PERFORM refuse('the pages of a received fax that is owed to somebody, or held, are never deleted');
    END IF;
    RETURN old;
END $$;

CREATE TRIGGER received_pages_stay BEFORE DELETE ON received_pages FOR EACH ROW
    EXECUTE FUNCTION received_pages_stay();

CREATE TRIGGER received_faxes_stay BEFORE DELETE ON received_faxes FOR EACH ROW
    WHEN (old.state = 'receiving' OR old.legal_hold)
    EXECUTE FUNCTION refuse('a fax that is being received, or is under a legal hold, is never deleted');

-- --------------------------------------------------------------------------------------------------- notices

CREATE TRIGGER notices_begin BEFORE INSERT ON notices FOR EACH ROW
    WHEN (new.state NOT IN ('owed', 'withheld') OR new.lease_node IS NOT NULL)
    EXECUTE FUNCTION refuse('a notice begins as owed or withheld');

CREATE TRIGGER notices_keep_counts BEFORE UPDATE OF tries, lease_token ON notices FOR EACH ROW
    WHEN (new.tries < old.tries OR new.lease_token < old.lease_token)
    EXECUTE FUNCTION refuse('tries and lease token of a notice never fall');

CREATE TRIGGER notices_keep_origin BEFORE UPDATE OF id, fax_id, received_fax_id, message_id, kind, recipient,
    header_message_id, created_at ON notices FOR EACH ROW
    WHEN (new.id <> old.id OR new.fax_id IS DISTINCT FROM old.fax_id
       OR new.received_fax_id IS DISTINCT FROM old.received_fax_id
       OR new.message_id IS DISTINCT FROM old.message_id OR new.kind <> old.kind
       OR new.recipient IS DISTINCT FROM old.recipient
       OR new.header_message_id <> old.header_message_id OR new.created_at <> old.created_at)
    EXECUTE FUNCTION refuse('what a notice tells never changes');

CREATE FUNCTION notices_move() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF NOT EXISTS (SELECT 1 FROM notice_moves WHERE from_state = old.state AND to_state = new.state) THEN
        PERFORM refuse('a notice does not move from its state to that one');
    END IF;
    RETURN new;
END $$;

CREATE TRIGGER notices_move BEFORE UPDATE OF state ON notices FOR EACH ROW WHEN (new.state <> old.state)
    EXECUTE FUNCTION notices_move();

CREATE TRIGGER notices_move_back BEFORE UPDATE OF state ON notices FOR EACH ROW
    WHEN (old.state = 'sent' AND new.state IN ('bounced', 'dead') AND new.kind <> 'received')
    EXECUTE FUNCTION refuse('only the mail of a received fax comes back');

CREATE TRIGGER notices_move_unsent BEFORE UPDATE OF state ON notices FOR EACH ROW
    WHEN (new.state <> old.state AND new.state = 'withheld' AND new.kind <> 'delayed')
    EXECUTE FUNCTION refuse('no notice but that a fax waits is ever withdrawn');

CREATE TRIGGER notices_stay BEFORE DELETE ON notices FOR EACH ROW
    EXECUTE FUNCTION stays_until_the_fax_ends('a notice that is owed, or whose fax has not ended, is never deleted');

CREATE TRIGGER notices_stay_owed BEFORE DELETE ON notices FOR EACH ROW WHEN (old.state = 'owed')
    EXECUTE FUNCTION refuse('a notice that is owed, or whose fax has not ended, is never deleted');

-- --------------------------------------------------------------------------------------- documents and events

CREATE TRIGGER documents_keep BEFORE UPDATE OF key, size_bytes, inline, pruned_at, sealed_by ON documents FOR EACH ROW
    WHEN (new.key <> old.key OR new.size_bytes <> old.size_bytes
       OR (new.inline IS DISTINCT FROM old.inline AND new.pruned_at IS NOT DISTINCT FROM old.pruned_at
           AND (old.sealed_by IS NOT NULL OR new.sealed_by IS NULL)))
    EXECUTE FUNCTION refuse('the bytes behind a document key never change');

CREATE TRIGGER documents_stay_sealed BEFORE UPDATE OF sealed_by, pruned_at ON documents FOR EACH ROW
    WHEN (old.sealed_by IS NOT NULL AND new.sealed_by IS NULL AND new.pruned_at IS NULL)
    EXECUTE FUNCTION refuse('a sealed document is not stored in the clear again');

-- The document is locked: faxes_begin_with waits for its lock. The faxes are locked too, so that no legal hold comes
-- between the look and the commit. Pages and mails that come in put their document in the same transaction, which
-- locks its row as well.
CREATE FUNCTION documents_prune() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF (SELECT bool_or(wanted) FROM (SELECT ended_at IS NULL OR legal_hold AS wanted FROM faxes
            WHERE document = old.key ORDER BY id FOR SHARE) AS sent)
       OR (SELECT bool_or(wanted) FROM (SELECT f.ended_at IS NULL OR f.legal_hold AS wanted
            FROM messages m JOIN faxes f ON f.message_id = m.id
            WHERE m.raw_document = old.key ORDER BY f.id FOR SHARE OF f) AS mailed)
       OR (SELECT bool_or(wanted) FROM (SELECT r.state = 'receiving' OR r.legal_hold AS wanted
            FROM received_pages p JOIN received_faxes r ON r.id = p.received_fax_id
            WHERE p.document = old.key ORDER BY r.id FOR SHARE OF r) AS received) THEN
        PERFORM refuse('a document that somebody still needs keeps its bytes');
    END IF;
    RETURN new;
END $$;

CREATE TRIGGER documents_prune BEFORE UPDATE OF pruned_at ON documents FOR EACH ROW
    WHEN (new.pruned_at IS NOT NULL AND old.pruned_at IS NULL) EXECUTE FUNCTION documents_prune();

CREATE TRIGGER events_keep BEFORE UPDATE ON events FOR EACH ROW
    EXECUTE FUNCTION refuse('an event never changes');
