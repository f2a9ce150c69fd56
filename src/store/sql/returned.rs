//! Mails of received faxes that were taken, refused, or came back: who has the fax in the end.
//!
//! A received fax is delivered while at least one of its notices is `sent` and none is owed. A mail that nobody takes, or
//! that comes back, makes its fax owed to the default mailboxes in the same transaction, so that no crash can leave a
//! fax that nobody has and nobody is owed.

use super::error::Place;
use super::rows;
use super::{Tx, deliver, received, sql, statements};
use crate::domain::{NoticeId, NoticeState};
use crate::store::{Instead, NewNotice, Notice, Result, StoreError};

statements! {
    DELIVERED = "-- received_faxes.delivered
        UPDATE received_faxes SET state = 'delivered', delivered_at = $2
        WHERE id = $1 AND state = 'received'
          AND NOT EXISTS (SELECT 1 FROM notices WHERE received_fax_id = $1 AND state = 'owed')
          AND EXISTS (SELECT 1 FROM notices WHERE received_fax_id = $1 AND state = 'sent')";
    UNDELIVERED = "-- received_faxes.undelivered
        UPDATE received_faxes SET state = 'received', delivered_at = NULL
        WHERE id = $1 AND state = 'delivered'
          AND (EXISTS (SELECT 1 FROM notices WHERE received_fax_id = $1 AND state = 'owed')
               OR NOT EXISTS (SELECT 1 FROM notices WHERE received_fax_id = $1 AND state = 'sent'))";
    BOUNCED = "-- notices.bounced
        UPDATE notices SET state = 'bounced', detail = $2 WHERE id = $1 AND state = 'sent'";
    LOST = "-- notices.lost
        UPDATE notices SET state = 'dead', sent_at = NULL, detail = $2 WHERE id = $1 AND state = 'sent'";
}

/// Whether the fax that the notice carries is delivered now, or not any more.
pub(super) async fn settle(tx: &mut Tx, notice: &Notice) -> Result<()> {
    let Some(fax) = notice.received else { return Ok(()) };
    let delivered = sql(&DELIVERED).bind(fax.to_string()).bind(tx.now().await?.0);
    let delivered = delivered.execute(&mut tx.conn).await.place("received_faxes.delivered")?;
    if delivered.rows_affected() > 0 {
        return received::event(tx, fax, None, "delivered", "delivered: no mail of it is owed any more").await;
    }
    let undelivered = sql(&UNDELIVERED).bind(fax.to_string());
    let undelivered = undelivered.execute(&mut tx.conn).await.place("received_faxes.undelivered")?;
    if undelivered.rows_affected() > 0 {
        return received::event(tx, fax, None, "undelivered", "not delivered any more: a mail of it came back").await;
    }
    Ok(())
}

/// Owes what the notice carries to those mailboxes that have no notice of the fax yet. Answers whether one of the
/// mailboxes has it or is owed it, the notice itself left aside.
pub(super) async fn owe_instead(tx: &mut Tx, notice: &Notice, instead: &Instead) -> Result<bool> {
    let (Some(fax), Some(format)) = (notice.received, notice.format) else { return Ok(false) };
    let known = received::notices(&mut tx.conn, fax).await?;
    let mut taken_care_of = false;
    for mailbox in &instead.mailboxes {
        let same = known
            .iter()
            .find(|known| known.recipient.as_deref().is_some_and(|recipient| recipient.eq_ignore_ascii_case(mailbox)));
        match same {
            Some(same) => {
                let kept = matches!(same.state, NoticeState::Owed | NoticeState::Sent);
                taken_care_of |= kept && same.id != notice.id;
            }
            None => {
                received::owe(tx, fax, &NewNotice::received(fax, mailbox, format, &instead.domain)).await?;
                let text = format!("owed to {mailbox} instead");
                received::event(tx, fax, None, "notice-instead", &text).await?;
                taken_care_of = true;
            }
        }
    }
    Ok(taken_care_of)
}

pub(super) async fn bounced(tx: &mut Tx, id: NoticeId, why: &str, instead: &Instead) -> Result<bool> {
    let notice = rows::notice(&deliver::lock(tx, id).await?)?;
    if notice.received.is_none() {
        return Err(StoreError::Refused(format!("the notice {id} carries no received fax")));
    }
    // Owed again by a person, bounced before, or dead: what came back changes nothing.
    if notice.state != NoticeState::Sent {
        return Ok(false);
    }
    let statement = if owe_instead(tx, &notice, instead).await? { &BOUNCED } else { &LOST };
    sql(statement).bind(id.to_string()).bind(why).execute(&mut tx.conn).await.place("notices.bounced")?;
    deliver::told(tx, &notice, None, "notice-bounced", &format!("came back: {why}")).await?;
    settle(tx, &notice).await?;
    Ok(true)
}
