//! The rules that no CHECK can hold because they concern several rows, and who breaks them.

use super::{Conn, Place, Statement, sql, statements};
use crate::store::{Broken, Result};

/// Rows of one broken rule that are named; where there are more, a hundred tell as much.
pub(in crate::store) const NAMED_MAX: u32 = 100;

statements! {
    FINAL_NOTICE = "-- verify.final_notice
        SELECT short_id AS what FROM faxes f WHERE f.ended_at IS NOT NULL
           AND (SELECT count(*) FROM notices n WHERE n.fax_id = f.id AND n.kind = f.state) <> 1 LIMIT $1";
    EARLY_NOTICE = "-- verify.early_notice
        SELECT f.short_id AS what FROM notices n JOIN faxes f ON f.id = n.fax_id
         WHERE n.kind IN ('sent', 'partial', 'failed', 'unknown', 'cancelled') AND n.kind <> f.state LIMIT $1";
    OPEN_ATTEMPT = "-- verify.open_attempt
        SELECT f.short_id AS what FROM attempts a JOIN faxes f ON f.id = a.fax_id
         WHERE a.ended_at IS NULL AND f.state <> 'ready' LIMIT $1";
    CONFIRMED_PAGES = "-- verify.confirmed_pages
        SELECT f.short_id AS what FROM faxes f
         WHERE (SELECT count(*) FROM fax_pages p
                 WHERE p.fax_id = f.id AND p.page_no BETWEEN f.begin_page AND f.pages_confirmed)
               <> f.pages_confirmed - f.begin_page + 1
            OR EXISTS (SELECT 1 FROM fax_pages p WHERE p.fax_id = f.id AND p.page_no = f.pages_confirmed + 1) LIMIT $1";
    // A confirmation may come in after the end: it is kept as a fact, and the end stays. So `sent` alone is strict.
    TRUE_END = "-- verify.true_end
        SELECT short_id AS what FROM faxes
         WHERE (state = 'sent' AND pages_confirmed IS DISTINCT FROM page_count) OR (state = 'partial' AND pages_confirmed = 0) LIMIT $1";
    RECEIVED_PAGES = "-- verify.received_pages
        SELECT short_id AS what FROM received_faxes r WHERE r.state <> 'receiving'
           AND r.page_count IS DISTINCT FROM (SELECT count(*) FROM received_pages p WHERE p.received_fax_id = r.id) LIMIT $1";
    RECEIVED_NOTICE = "-- verify.received_notice
        SELECT short_id AS what FROM received_faxes r WHERE r.state <> 'receiving'
           AND NOT EXISTS (SELECT 1 FROM notices n WHERE n.received_fax_id = r.id AND n.kind = 'received') LIMIT $1";
    PRUNED_TOO_EARLY = "-- verify.pruned_too_early
        SELECT f.short_id AS what FROM faxes f WHERE f.ended_at IS NULL
           AND EXISTS (SELECT 1 FROM documents d WHERE d.pruned_at IS NOT NULL
                          AND d.key IN (f.document, (SELECT raw_document FROM messages m WHERE m.id = f.message_id))) LIMIT $1";
}

/// Rules that concern several rows: the name, the statement that finds who breaks it, and what that means.
const RULES: &[(&str, &Statement, &str)] = &[
    ("final-notice", &FINAL_NOTICE, "the fax has ended and does not have exactly one final report"),
    ("early-notice", &EARLY_NOTICE, "the fax has a final report that is not of the state it is in"),
    ("open-attempt", &OPEN_ATTEMPT, "the fax is not waiting for its call and has an open one"),
    ("confirmed-pages", &CONFIRMED_PAGES, "the count of confirmed pages is not that of the pages on record"),
    ("true-end", &TRUE_END, "the fax ended as sent or partial, and its pages say otherwise"),
    ("received-pages", &RECEIVED_PAGES, "the received fax does not have all its pages"),
    ("received-notice", &RECEIVED_NOTICE, "the received fax has no mail that carries it"),
    ("pruned-too-early", &PRUNED_TOO_EARLY, "retention removed the pages of a fax that has not ended"),
];

/// Everything that breaks one of them. Reads whole tables.
pub(in crate::store) async fn broken(conn: &mut Conn) -> Result<Vec<Broken>> {
    let mut found = Vec::new();
    for (rule, statement, cause) in RULES {
        for row in sql(statement).bind(NAMED_MAX).fetch_all(conn).await.place(rule)? {
            found.push(Broken { rule, what: row.col("what")?, cause });
        }
    }
    Ok(found)
}
