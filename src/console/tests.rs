//! The routes over a real Unix socket and a real store, with pages and intake played.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use axum::body::Body;
use http_body_util::BodyExt as _;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::domain::{FaxOptions, NoticeId, NoticeKind, NotifyOn, Outcome, ReceivedFaxId, ReceivedFormat, SystemClock};
use crate::store::{
    DocumentRef, FinalEnd, NewFax, NewMessage, NewNotice, NewReceived, Owner, Placement, ReceivedEnd, ReceivedPage,
    RenderedPages, Source, SqlStore, SqliteSettings,
};

struct Played {
    submissions: Mutex<Vec<Submission>>,
    draining: std::sync::atomic::AtomicBool,
}

#[async_trait]
impl Submit for Played {
    async fn submit(&self, submission: Submission) -> Result<Accepted, Refusal> {
        if submission.recipients.iter().any(|to| to.contains("900")) {
            return Err(Refusal { cause: Cause::NumberNotAllowed, detail: "+41900 is not allowed".to_owned() });
        }
        self.submissions.lock().unwrap().push(submission);
        Ok(Accepted { message: MessageId::new(), faxes: vec![FaxId::new()], text: "accepted: 1 fax".to_owned() })
    }
}

#[async_trait]
impl Pages for Played {
    async fn tiff(&self, key: &DocumentKey) -> Result<Vec<u8>, PagesError> {
        Ok(key.0.to_vec())
    }
    async fn pdf(&self, _key: &DocumentKey) -> Result<Vec<u8>, PagesError> {
        Err(PagesError::Failed("the codec failed".to_owned()))
    }
    async fn png(&self, _key: &DocumentKey, page: u32) -> Result<Vec<u8>, PagesError> {
        if page == 1 { Ok(b"png".to_vec()) } else { Err(PagesError::NotFound(format!("no page {page}"))) }
    }
    async fn bound(&self, keys: &[DocumentKey]) -> Result<Vec<u8>, PagesError> {
        Ok(keys.iter().flat_map(|key| key.0).collect())
    }
}

#[async_trait]
impl Storage for Played {
    async fn prune(&self) -> Result<view::PruneView, String> {
        Ok(view::PruneView { documents: 2, done: true, ..view::PruneView::default() })
    }
    async fn prunable(&self) -> Result<view::PruneView, String> {
        Err("the disk is gone".to_owned())
    }
    async fn state(&self) -> view::StorageView {
        view::StorageView::default()
    }
    async fn rewrap(&self, after: Option<DocumentKey>) -> Result<view::SealingView, String> {
        Ok(view::SealingView { done: 1, damaged: 0, next: after.map(|key| key.to_string()) })
    }
    async fn seal(&self, _: Option<DocumentKey>) -> Result<view::SealingView, String> {
        Err("store.keys is not set".to_owned())
    }
    async fn copy(&self) -> Result<StoreCopy, String> {
        Err("no room for a copy".to_owned())
    }
}

#[async_trait]
impl Figures for Played {
    async fn text(&self) -> String {
        "# EOF\n".to_owned()
    }
}

impl Readiness for Played {
    fn ready(&self, role: Option<Role>) -> Result<(), String> {
        if self.draining.load(std::sync::atomic::Ordering::SeqCst) {
            return Err("draining".to_owned());
        }
        if role == Some(Role::Maintain) { Err("the role maintain does not run here".to_owned()) } else { Ok(()) }
    }
}

/// A console over a socket in a directory of its own.
struct Bench {
    dir: tempfile::TempDir,
    services: Services,
    played: Arc<Played>,
    store: Arc<SqlStore>,
    stop: CancellationToken,
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Bench {
    async fn new(access: Access) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = Arc::new(Config::sandbox(dir.path().to_owned(), 2525));
        let store =
            SqlStore::open_sqlite(dir.path().join("faxwell.db"), Arc::new(SystemClock), SqliteSettings::default())
                .await
                .unwrap();
        let store = Arc::new(store);
        let played = Arc::new(Played { submissions: Mutex::default(), draining: false.into() });
        let services = Services {
            config: Arc::clone(&config),
            store: Arc::clone(&store) as Arc<dyn Store>,
            submit: Arc::clone(&played) as Arc<dyn Submit>,
            pages: Arc::clone(&played) as Arc<dyn Pages>,
            storage: Arc::clone(&played) as Arc<dyn Storage>,
            figures: Arc::clone(&played) as Arc<dyn Figures>,
            readiness: Arc::clone(&played) as Arc<dyn Readiness>,
            node_ordered: Hint::new(),
            test_calls: None,
        };
        let stop = CancellationToken::new();
        let listener = bind_control(&config.control_socket()).await.unwrap();
        tokio::spawn(serve(listener, router(services.clone(), access), stop.clone()));
        Self { dir, services, played, store, stop }
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        fields: &[(&str, &str)],
        body: &str,
    ) -> (StatusCode, hyper::HeaderMap, String) {
        let stream = UnixStream::connect(self.dir.path().join("control.sock")).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let response = sender.send_request(request.body(Body::from(body.to_owned())).unwrap()).await.unwrap();
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        (head.status, head.headers, String::from_utf8_lossy(&body).into_owned())
    }

    async fn get(&self, path: &str) -> (StatusCode, String) {
        let (status, _, body) = self.ask(Method::GET, path, &[("host", "127.0.0.1:8080")], "").await;
        (status, body)
    }

    async fn json(&self, path: &str) -> serde_json::Value {
        let (status, body) = self.get(path).await;
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        serde_json::from_str(&body).unwrap()
    }

    /// A fax in state `accepted`.
    async fn accepted(&self, number: &str, subject: &str) -> FaxId {
        let fax = NewFax {
            id: FaxId::new(),
            recipient: format!("{number}@fax.local"),
            number: number.parse().unwrap(),
            subaddress: None,
            post_dial: None,
            to_name: None,
            to_company: None,
            original_recipient: None,
            notify: NotifyOn::default(),
            not_before: None,
            give_up_after: Duration::from_secs(600),
        };
        let id = fax.id;
        let raw = document(format!("mail to {number}: {subject}").into_bytes());
        let message = NewMessage {
            held: false,
            answer: None,
            id: MessageId::new(),
            idem_key: None,
            source: Source::Smtp,
            client: "127.0.0.1".to_owned(),
            reverse_path: Some("anna@example.com".to_owned()),
            ret: None,
            envid: None,
            header_message_id: None,
            subject: subject.to_owned(),
            from_name: None,
            from_address: None,
            automatic: false,
            options: FaxOptions::default(),
            priority: 5,
            raw,
            submitter: None,
            faxes: vec![fax],
        };
        self.store.submit(message).await.unwrap();
        id
    }

    /// Ends it as `document-damaged`.
    async fn fail(&self, fax: FaxId) {
        let owner = Owner { node: "bench".to_owned(), epoch: uuid::Uuid::now_v7() };
        let work = self.store.claim_render(&owner, Duration::from_secs(60)).await.unwrap().unwrap();
        let (_, token) = work.faxes.iter().find(|(claimed, _)| claimed.id == fax).unwrap();
        let notice = NewNotice {
            id: NoticeId::new(),
            kind: NoticeKind::Failed,
            recipient: None,
            header_message_id: "notice@fax.local".to_owned(),
            withheld: Some("a test".to_owned()),
            format: None,
        };
        let end = FinalEnd {
            outcome: Outcome::Failed,
            cause: Some(Cause::DocumentDamaged),
            detail: Some("offer.pdf: no pages".to_owned()),
            notice,
        };
        self.store.render_failed(fax, *token, end).await.unwrap();
    }

    /// A received fax of two pages whose call broke.
    async fn received(&self, remote_id: &str) -> ReceivedFaxId {
        let owner = Owner { node: "bench".to_owned(), epoch: uuid::Uuid::now_v7() };
        let page = |page: u32| ReceivedPage {
            page,
            document: document(format!("page {page} of {remote_id}").into_bytes()),
            width_px: 1728,
            height_px: 2291,
            rate_bps: 14_400,
            ecm: true,
            damaged_lines: 0,
        };
        let fax = NewReceived {
            id: ReceivedFaxId::new(),
            call_no: 1,
            line: "trunk1".to_owned(),
            called_number: "+41440000001".to_owned(),
            calling_number: Some("+41310000002".to_owned()),
            remote_id: Some(remote_id.to_owned()),
            subaddress: None,
            transport: None,
        };
        let id = fax.id;
        let token = self.store.begin_received(&owner, fax, page(1), Duration::from_secs(60)).await.unwrap();
        self.store.received_page(id, token, page(2)).await.unwrap();
        let end = ReceivedEnd {
            complete: false,
            cause: Some(Cause::RemoteHangup),
            detail: Some("the far end hung up in page 3".to_owned()),
            route: None,
            notices: vec![NewNotice::received(id, "office@example.com", ReceivedFormat::Pdf, "fax.local")],
        };
        self.store.end_received(id, token, end).await.unwrap();
        id
    }

    async fn rendered(&self, fax: FaxId) {
        let owner = Owner { node: "bench".to_owned(), epoch: uuid::Uuid::now_v7() };
        let work = self.store.claim_render(&owner, Duration::from_secs(60)).await.unwrap().unwrap();
        let (_, token) = work.faxes.iter().find(|(claimed, _)| claimed.id == fax).unwrap();
        let pages = RenderedPages { document: document(b"pages".to_vec()), page_count: 3 };
        self.store.rendered(fax, *token, pages).await.unwrap();
    }
}

fn document(bytes: Vec<u8>) -> DocumentRef {
    use sha2::Digest as _;
    let key = DocumentKey(sha2::Sha256::digest(&bytes).into());
    let size_bytes = bytes.len() as u64;
    let placement = Placement { inline: Some(bytes), ..Placement::default() };
    DocumentRef { key, size_bytes, media: "message/rfc822".to_owned(), placement }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fax_is_listed_shown_and_found_by_both_of_its_ids() {
    let bench = Bench::new(Access::Control).await;
    let fax = bench.accepted("+99910200", "Offer 4711").await;
    bench.accepted("+99910486", "Other").await;
    let list = bench.json("/api/v1/faxes?to=%2B99910200").await;
    assert_eq!(list["faxes"].as_array().unwrap().len(), 1);
    assert_eq!(list["faxes"][0]["short"], fax.short().as_str());
    assert!(list["faxes"][0]["accepted_at"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok());
    for id in [fax.short().to_string(), fax.to_string(), fax.short().as_str().to_lowercase()] {
        let shown = bench.json(&format!("/api/v1/faxes/{id}")).await;
        assert_eq!(shown["subject"], "Offer 4711", "{id}");
        assert!(!shown["events"].as_array().unwrap().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_says_how_many_more_there_are() {
    let bench = Bench::new(Access::Control).await;
    for number in 0..4 {
        bench.accepted(&format!("+9991020{number}"), "one of four").await;
    }
    let list = bench.json("/api/v1/faxes?limit=3").await;
    assert_eq!(
        (list["faxes"].as_array().unwrap().len(), &list["truncated"], &list["more"]),
        (3, &true.into(), &1.into())
    );
    let list = bench.json("/api/v1/faxes?limit=4&state=accepted").await;
    assert_eq!((&list["truncated"], &list["more"]), (&false.into(), &serde_json::Value::Null));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_problem_is_a_document_with_cause_and_fix() {
    let bench = Bench::new(Access::Control).await;
    let fax = bench.accepted("+99910200", "no pages yet").await;
    let cases = [
        ("/api/v1/faxes/F-0000000000".to_owned(), 404, "not-found"),
        ("/api/v1/faxes/nonsense".to_owned(), 404, "not-found"),
        ("/api/v1/faxes?state=lost".to_owned(), 400, "bad-request"),
        ("/api/v1/faxes?since=yesterday".to_owned(), 400, "bad-request"),
        (format!("/api/v1/faxes/{}/document.tiff", fax.short()), 409, "wrong-state"),
        (format!("/api/v1/faxes/{}/pages/0.png", fax.short()), 400, "bad-request"),
        ("/no/such/page".to_owned(), 404, "not-found"),
        ("/readyz?role=maintain".to_owned(), 503, "not-ready"),
    ];
    for (path, status, slug) in cases {
        let (got, fields, body) = bench.ask(Method::GET, &path, &[], "").await;
        assert_eq!(got.as_u16(), status, "{path}: {body}");
        assert_eq!(fields["content-type"], "application/problem+json", "{path}");
        let problem: Problem = serde_json::from_str(&body).unwrap();
        assert_eq!(problem.slug, slug, "{path}");
        assert!(!problem.cause.is_empty() && !problem.fix.is_empty(), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_come_as_tiff_and_png_and_a_failing_codec_is_an_internal_problem() {
    let bench = Bench::new(Access::Control).await;
    let fax = bench.accepted("+99910200", "with pages").await;
    bench.rendered(fax).await;
    let base = format!("/api/v1/faxes/{}", fax.short());
    let (status, fields, _) = bench.ask(Method::GET, &format!("{base}/document.tiff"), &[], "").await;
    assert_eq!((status, fields["content-type"].to_str().unwrap()), (StatusCode::OK, "image/tiff"));
    assert_eq!(fields["x-content-type-options"], "nosniff");
    assert_eq!(bench.get(&format!("{base}/pages/1.png")).await, (StatusCode::OK, "png".to_owned()));
    assert_eq!(bench.get(&format!("{base}/pages/9.png")).await.0, StatusCode::NOT_FOUND);
    assert_eq!(bench.get(&format!("{base}/document.pdf")).await.0, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_submission_goes_to_intake_and_its_refusal_comes_back() {
    let bench = Bench::new(Access::Control).await;
    let mail = [("content-type", "message/rfc822"), ("idempotency-key", "one")];
    let (status, _, body) = bench
        .ask(Method::POST, "/api/v1/submit?to=%2B99910200,%2B99910486&from=a@b.example", &mail, "Subject: x\r\n\r\ny")
        .await;
    assert_eq!(status, StatusCode::ACCEPTED, "{body}");
    let seen = bench.played.submissions.lock().unwrap().pop().unwrap();
    assert_eq!(seen.recipients, ["+99910200", "+99910486"]);
    assert_eq!((seen.reverse_path.as_deref(), seen.idempotency_key.as_deref()), (Some("a@b.example"), Some("one")));
    assert_eq!(seen.mail, b"Subject: x\r\n\r\ny");
    let refused = [
        ("/api/v1/submit?to=%2B41900", "message/rfc822", 403),
        ("/api/v1/submit?to=", "message/rfc822", 400),
        ("/api/v1/submit?to=%2B99910200", "application/json", 400),
    ];
    for (path, media, expected) in refused {
        let (status, _, body) = bench.ask(Method::POST, path, &[("content-type", media)], "x").await;
        assert_eq!(status.as_u16(), expected, "{path}: {body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_tells_every_event_and_ends_with_the_fax_in_its_end() {
    use super::view::WatchLine;
    let bench = Bench::new(Access::Control).await;
    let fax = bench.accepted("+99910200", "watched").await;
    let path = format!("/api/v1/faxes/{}/watch", fax.short());
    let end = async {
        // The watch is open before anything happens: it would hang here if it missed the end.
        tokio::task::yield_now().await;
        bench.fail(fax).await;
    };
    let ((status, body), ()) = tokio::join!(bench.get(&path), end);
    assert_eq!(status, StatusCode::OK);
    let lines: Vec<WatchLine> = body.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let events = lines.iter().filter(|line| matches!(line, WatchLine::Event(_))).count();
    assert_eq!(events, bench.store.events(crate::store::EventsOf::Fax(fax), 0, 2000).await.unwrap().len());
    let Some(WatchLine::Fax(last)) = lines.last() else { panic!("the last line is not the fax: {body}") };
    assert_eq!(last.state, crate::domain::FaxState::Failed);
    assert_eq!(last.cause.as_ref().unwrap().slug, "document-damaged");
    let (_, again) = bench.get(&format!("{path}?after=1000000")).await;
    assert_eq!(again.lines().count(), 1, "nothing new but the fax itself: {again}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pages_escape_what_senders_write_and_carry_cause_and_fix() {
    let bench = Bench::new(Access::Sandbox).await;
    let fax = bench.accepted("+99910200", "<script>alert(1)</script>").await;
    bench.fail(fax).await;
    for path in ["/".to_owned(), format!("/faxes/{}", fax.short())] {
        let (status, body) = bench.get(&path).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        assert!(!body.contains("<script"), "{path}");
        assert!(body.contains("&lt;script&gt;"), "{path}");
        assert!(body.contains(Cause::DocumentDamaged.entry().fix), "{path}");
        assert!(body.contains("<html lang=\"en\">") && body.contains("<title>"), "{path}");
    }
    assert_eq!(bench.get("/style.css").await.0, StatusCode::OK);
    assert_eq!(bench.get("/faxes/F-0000000000").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn tray_and_mailbox_hand_out_what_their_folder_lists_and_nothing_else() {
    let bench = Bench::new(Access::Sandbox).await;
    let config = &bench.services.config;
    std::fs::create_dir_all(config.tray()).unwrap();
    std::fs::create_dir_all(config.data.join("mailbox/new")).unwrap();
    std::fs::write(config.tray().join("+99910200-F-1.tif"), b"tiff").unwrap();
    std::fs::write(config.data.join("mailbox/new/1.a:2,S"), b"<b>mail</b>").unwrap();
    let (_, body) = bench.get("/tray").await;
    assert!(body.contains("tray/%2B99910200-F-1.tif"), "{body}");
    assert_eq!(bench.get("/tray/%2B99910200-F-1.tif").await, (StatusCode::OK, "tiff".to_owned()));
    let (_, fields, _) = bench.ask(Method::GET, "/mailbox/1.a%3A2%2CS", &[("host", "localhost")], "").await;
    assert_eq!(fields["content-type"], "text/plain; charset=utf-8");
    for path in ["/tray/..%2Ffaxwell.db", "/tray/..", "/mailbox/%2e%2e%2f%2e%2e%2ffaxwell.db", "/tray/%2Fetc%2Fpasswd"]
    {
        assert_eq!(bench.get(path).await.0, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_received_fax_has_its_page_its_pictures_and_its_pdf() {
    let bench = Bench::new(Access::Sandbox).await;
    let (_, empty) = bench.get("/received").await;
    assert!(empty.contains("No fax has come in yet") && empty.contains("demo receive"), "{empty}");
    let fax = bench.received("<script>alert(1)</script>").await;
    let short = fax.short().to_string();
    let (status, list) = bench.get("/received").await;
    assert_eq!(status, StatusCode::OK);
    assert!(list.contains(&format!("href=\"/received/{short}\"")) && list.contains("received, incomplete"), "{list}");
    let (status, one) = bench.get(&format!("/received/{short}")).await;
    assert_eq!(status, StatusCode::OK);
    for shown in [
        "+41440000001",
        "+41310000002 (&lt;script&gt;",
        "the far end hung up in page 3",
        "none: the default mailboxes",
        "office@example.com: owed",
        &format!("src=\"/api/v1/received/{short}/pages/2.png\" alt=\"Page 2\""),
        &format!("href=\"/api/v1/received/{short}/document.pdf\""),
    ] {
        assert!(one.contains(shown), "{shown} is missing in {one}");
    }
    assert!(!one.contains("<script") && !list.contains("<script"));

    let path = |name: &str| format!("/api/v1/received/{short}/{name}");
    let keys = bench.store.received(fax).await.unwrap().pages;
    let all: Vec<u8> = keys.iter().flat_map(|page| page.document.0).collect();
    let (status, fields, pdf) = bench.ask(Method::GET, &path("document.pdf"), &[("host", "localhost")], "").await;
    assert_eq!((status, &fields["content-type"]), (StatusCode::OK, &"application/pdf".parse().unwrap()));
    assert_eq!(pdf, String::from_utf8_lossy(&all), "every page in order");
    assert_eq!(bench.get(&path("pages/2.pdf")).await.1, String::from_utf8_lossy(&keys[1].document.0));
    assert_eq!(bench.get(&path("pages/2.png")).await, (StatusCode::OK, "png".to_owned()));
    for missing in ["pages/3.png", "pages/0.tiff"] {
        assert_eq!(bench.get(&path(missing)).await.0, StatusCode::NOT_FOUND, "{missing}");
    }
    assert_eq!(bench.get(&path("pages/2.gif")).await.0, StatusCode::BAD_REQUEST);
    assert_eq!(bench.get("/received/R-0000000000").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_login_the_network_sees_health_and_masked_states_only() {
    let bench = Bench::new(Access::Public).await;
    let fax = bench.accepted("+99912345678", "secret subject").await;
    bench.fail(fax).await;
    let (status, body) = bench.get("/").await;
    assert_eq!(status, StatusCode::OK);
    for hidden in ["+99912345678", "secret subject", "anna@example.com", "offer.pdf"] {
        assert!(!body.contains(hidden), "{hidden}");
    }
    assert!(body.contains("+999…78") && body.contains("attachment damaged"), "{body}");
    let received = bench.received("secret station").await;
    for path in
        ["/received".to_owned(), format!("/received/{received}"), format!("/api/v1/received/{received}/document.pdf")]
    {
        assert_eq!(bench.get(&path).await.0, StatusCode::NOT_FOUND, "{path}");
    }
    assert!(!body.contains("/received"), "no link to what is not there");
    for path in
        ["/api/v1/faxes", "/tray", "/mailbox", &format!("/faxes/{}", fax.short()), &format!("/api/v1/faxes/{fax}")]
    {
        assert_eq!(bench.get(path).await.0, StatusCode::NOT_FOUND, "{path}");
    }
    assert_eq!(bench.get("/livez").await, (StatusCode::OK, "ok\n".to_owned()));
    assert_eq!(bench.get("/readyz").await, (StatusCode::OK, "ready\n".to_owned()));
    bench.played.draining.store(true, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(bench.get("/readyz").await.0, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_port_for_load_balancers_answers_health_and_nothing_else() {
    let bench = Bench::new(Access::Health).await;
    assert_eq!(bench.get("/livez").await, (StatusCode::OK, "ok\n".to_owned()));
    assert_eq!(bench.get("/readyz").await, (StatusCode::OK, "ready\n".to_owned()));
    for path in ["/", "/style.css", "/api/v1/status", "/api/v1/faxes", "/received", "/tray"] {
        assert_eq!(bench.get(path).await.0, StatusCode::NOT_FOUND, "{path}");
    }
    bench.played.draining.store(true, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(bench.get("/readyz").await.0, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sandbox_answers_under_local_names_only_and_takes_no_submission_over_the_web() {
    let bench = Bench::new(Access::Sandbox).await;
    for (host, expected) in
        [("127.0.0.1:8080", 200), ("localhost", 200), ("[::1]:8080", 200), ("evil.example:8080", 403), ("", 403)]
    {
        let (status, _, _) = bench.ask(Method::GET, "/api/v1/status", &[("host", host)], "").await;
        assert_eq!(status.as_u16(), expected, "{host}");
    }
    let fields = [("host", "127.0.0.1"), ("content-type", "message/rfc822")];
    let (status, _, _) = bench.ask(Method::POST, "/api/v1/submit?to=%2B99910200", &fields, "x").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_control_socket_is_private_and_a_second_gateway_is_told_of_the_first() {
    use std::os::unix::fs::PermissionsExt as _;
    let bench = Bench::new(Access::Control).await;
    let path = bench.dir.path().join("control.sock");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(matches!(bind_control(&path).await, Err(ConsoleError::InUse(_))));
    let left = bench.dir.path().join("left.sock");
    drop(std::os::unix::net::UnixListener::bind(&left).unwrap());
    assert!(bind_control(&left).await.is_ok(), "a socket that a crash left is replaced");
}

const JSON: (&str, &str) = ("content-type", "application/json");

#[tokio::test(flavor = "multi_thread")]
async fn orders_are_taken_as_the_state_allows_and_refused_with_cause_and_fix() {
    let bench = Bench::new(Access::Control).await;
    let fax = bench.accepted("+99910200", "ordered").await.short().to_string();
    let message = bench.json(&format!("/api/v1/faxes/{fax}")).await["message"].as_str().unwrap().to_owned();
    let steps = [
        (fax.as_str(), "hold", r#"{"by":"anna"}"#, 200, r#""result":"done""#),
        (&fax, "retry", "{}", 409, "faxwell fax release"),
        (&fax, "release", r#"{"by":"anna"}"#, 200, "goes on"),
        (&fax, "release", "{}", 409, "only what is held can be released"),
        (&fax, "redeliver", "{}", 409, "there is no mail yet"),
        (&fax, "cancel", "{}", 200, r#""order":"cancel""#),
        (&fax, "cancel", "{}", 409, "cancelled"),
        (&fax, "retry", "{}", 200, r#""result":"new""#),
        (&fax, "retry", "{}", 409, "sent once more already"),
        (&fax, "explode", "{}", 400, "hold, release, cancel"),
        (&fax, "hold", r#"{"hurry":true}"#, 400, "hurry"),
        (&fax, "hold", "by=anna", 400, "body"),
        (&message, "hold", "{}", 400, "name a fax"),
        ("F-0000000000", "hold", "{}", 404, "there is no fax"),
        ("R-0000000000", "redeliver", "{}", 404, "there is no received fax"),
    ];
    for (id, order, body, expected, says) in steps {
        let path = format!("/api/v1/faxes/{id}/{order}");
        let (status, _, answer) = bench.ask(Method::POST, &path, &[JSON], body).await;
        assert_eq!(status.as_u16(), expected, "{order} {body}: {answer}");
        assert!(answer.contains(says), "{order} {body}: {answer}");
        if expected != 200 {
            let problem: Problem = serde_json::from_str(&answer).unwrap();
            assert!(!problem.cause.is_empty() && !problem.fix.is_empty(), "{answer}");
        }
    }
    let story = bench.json(&format!("/api/v1/events?of={fax}")).await;
    let kinds: Vec<_> =
        story["events"].as_array().unwrap().iter().map(|event| event["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["accepted", "held", "released", "cancelled", "notice-owed", "retried"]);
    let whole = bench.json(&format!("/api/v1/events?of={message}&limit=2")).await;
    assert_eq!((whole["events"].as_array().unwrap().len(), &whole["more"]), (2, &true.into()));
    let rest = bench.json(&format!("/api/v1/events?of={message}&after={}", whole["after"])).await;
    assert_eq!((rest["events"].as_array().unwrap().len(), &rest["more"]), (5, &false.into()), "the new fax's too");
    assert_eq!(bench.json("/api/v1/events?last=1").await["events"][0]["kind"], "accepted");
    assert_eq!(bench.json("/api/v1/events?since=2100-01-01T00:00:00Z").await["events"].as_array().unwrap().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_other_site_can_make_a_browser_give_orders() {
    let control = Bench::new(Access::Control).await;
    let fax = control.accepted("+99910200", "ordered").await.short();
    for media in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"] {
        let path = format!("/api/v1/faxes/{fax}/hold");
        let (status, _, body) = control.ask(Method::POST, &path, &[("content-type", media)], "{}").await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "a form of any site can send {media}: {body}");
    }

    let bench = Bench::new(Access::Sandbox).await;
    let fax = bench.accepted("+99910200", "ordered").await.short();
    let host = ("host", "127.0.0.1:8080");
    let (status, _, _) = bench.ask(Method::POST, &format!("/api/v1/faxes/{fax}/hold"), &[host, JSON], "{}").await;
    assert_eq!(status, StatusCode::NOT_FOUND, "the API takes orders on the control socket alone");
    let (_, page) = bench.get(&format!("/faxes/{fax}")).await;
    let token = page.split("name=\"token\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    let (right, wrong) = (format!("token={token}"), "token=0123456789abcdef0123456789abcdef".to_owned());
    let path = format!("/faxes/{fax}/hold");
    let refused: [(&[(&str, &str)], &str); 6] = [
        (&[host], &wrong),
        (&[host], ""),
        (&[host, ("origin", "http://evil.example")], &right),
        (&[host, ("origin", "null")], &right),
        (&[host, ("sec-fetch-site", "cross-site")], &right),
        (&[("host", "evil.example")], &right),
    ];
    for (fields, body) in refused {
        let (status, _, answer) = bench.ask(Method::POST, &path, fields, body).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{fields:?} {body}: {answer}");
    }
    assert_eq!(bench.json(&format!("/api/v1/faxes/{fax}")).await["state"], "accepted");
    let ours = [host, ("origin", "http://127.0.0.1:8080"), ("sec-fetch-site", "same-origin")];
    let (status, fields, _) = bench.ask(Method::POST, &path, &ours, &right).await;
    assert_eq!((status, fields["location"].to_str().unwrap()), (StatusCode::SEE_OTHER, &*format!("/faxes/{fax}")));
    assert_eq!(bench.json(&format!("/api/v1/faxes/{fax}")).await["state"], "held");
    let (_, page) = bench.get(&format!("/faxes/{fax}")).await;
    assert!(page.contains(">Release<") && page.contains(">Cancel<") && !page.contains(">Hold<"), "{page}");
    let (status, _, again) = bench.ask(Method::POST, &format!("/faxes/{fax}/retry"), &ours, &right).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert!(again.contains("faxwell fax release"), "{again}");
}
