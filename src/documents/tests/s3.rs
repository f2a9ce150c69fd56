//! Documents in a bucket of a real S3 server, through a network that fails on demand.

mod network;
#[path = "s3_server.rs"]
mod s3_server;

use std::time::Instant as Clocked;

use network::{Fault, Network};
use s3_server::{S3Server, s3_server};

use super::*;
use crate::config::BucketConfig;

/// What the tests wait for a server that is silent.
const QUICK: BucketTimes = BucketTimes {
    connect: Duration::from_millis(500),
    request: Duration::from_millis(1500),
    put: Duration::from_secs(4),
    get: Duration::from_secs(4),
};

struct InBucket {
    test: TestStore,
    documents: Documents,
    network: Network,
    server: &'static S3Server,
    bucket: String,
}

fn place(bucket: &str, port: u16) -> DocumentsPlace {
    DocumentsPlace::Bucket(BucketConfig {
        bucket: bucket.to_owned(),
        prefix: "fax/a".to_owned(),
        endpoint: Some(format!("http://127.0.0.1:{port}")),
        region: Some("eu-central-1".to_owned()),
        access_key: Some("testing".to_owned()),
        secret_key: Some("testing".to_owned()),
    })
}

async fn in_bucket(how: Kept, times: BucketTimes) -> InBucket {
    let server = tokio::task::spawn_blocking(s3_server).await.unwrap();
    let bucket = tokio::task::spawn_blocking(|| server.fresh_bucket()).await.unwrap();
    let network = Network::before(server.port()).await;
    let test = store_of_today().await;
    let keys =
        (how == Kept::Sealed).then(|| Arc::new(KeyRing::read(&add_key(test.directory.path(), "2026-01-01")).unwrap()));
    let settings = DocumentsSettings { keys, times, ..DocumentsSettings::default() };
    let documents = Documents::open(place(&bucket, network.port()), test.store.clone(), settings).unwrap();
    InBucket { test, documents, network, server, bucket }
}

impl InBucket {
    async fn put(&self, bytes: Vec<u8>) -> DocumentRef {
        let put = self.documents.put(bytes, "image/tiff").await.unwrap();
        let mut message = testing::message(&["+99910200"]);
        message.raw = put.clone();
        self.test.store.submit(message).await.unwrap();
        put
    }

    fn keys(&self) -> Vec<String> {
        self.server.keys(&self.bucket)
    }

    fn name(document: &DocumentRef) -> ObjectName {
        document.placement.object(&document.key).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_put_into_a_bucket_is_got_and_known_the_next_time() {
    for how in BOTH {
        let bench = in_bucket(how, BucketTimes::default()).await;
        for len in [100, INLINE_BYTES_MAX + 1, 700_000] {
            let put = bench.put(bytes(len, 7)).await;
            assert_eq!(bench.documents.get(&put.key).await.unwrap(), bytes(len, 7), "{how:?} {len}");
            assert!(bench.documents.keeps(&put).await.unwrap());
            let again = bench.documents.put(bytes(len, 7), "image/tiff").await.unwrap();
            assert_eq!(again.placement.drawn, put.placement.drawn, "{how:?} {len}");
        }
        let keys = bench.keys();
        assert_eq!(keys.len(), 2, "{keys:?}");
        assert!(keys.iter().all(|key| key.starts_with("fax/a/drawn/")), "{keys:?}");
        bench.documents.check().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_that_create_one_object_each_is_told_that_it_is_there() {
    let bench = in_bucket(Kept::Clear, BucketTimes::default()).await;
    let name = ObjectName::Drawn(Uuid::new_v4());
    let creates = (0..16).map(|_| {
        let objects = bench.documents.repository().objects.clone();
        tokio::spawn(async move { objects.create(&name, bytes(50_000, 1)).await })
    });
    for create in creates.collect::<Vec<_>>() {
        create.await.unwrap().unwrap();
    }
    assert_eq!(bench.keys().len(), 1);
    // What has another length under this name is no document of ours.
    let objects = &bench.documents.repository().objects;
    objects.replace(&name, b"cut".to_vec()).await.unwrap();
    objects.create(&name, bytes(50_000, 1)).await.unwrap();
    assert_eq!(objects.read(&name).await.unwrap().unwrap(), bytes(50_000, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_put_outlives_errors_broken_connections_and_lost_answers() {
    let bench = in_bucket(Kept::Sealed, BucketTimes::default()).await;
    let cases = [
        vec![Fault::Answers(503, "SlowDown")],
        vec![Fault::Answers(500, "InternalError"), Fault::Answers(503, "ServiceUnavailable")],
        vec![Fault::CutsRequest],
        vec![Fault::CutsRequest, Fault::CutsRequest],
        vec![Fault::LosesAnswer],
        vec![Fault::LosesAnswer, Fault::Answers(503, "SlowDown"), Fault::CutsRequest],
    ];
    for (number, faults) in cases.into_iter().enumerate() {
        let plain = bytes(60_000, number as u8);
        bench.network.next(faults.clone());
        let put = bench.put(plain.clone()).await;
        assert!(bench.network.is_fair(), "{faults:?} all happened");
        assert_eq!(bench.documents.get(&put.key).await.unwrap(), plain, "{faults:?}");
        assert_eq!(bench.keys().len(), number + 1, "{faults:?}: one object a document");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_get_outlives_errors_and_answers_that_break_off() {
    let bench = in_bucket(Kept::Sealed, BucketTimes::default()).await;
    let put = bench.put(bytes(300_000, 1)).await;
    for faults in [
        vec![Fault::Answers(503, "SlowDown")],
        vec![Fault::CutsRequest],
        vec![Fault::CutsAnswer],
        vec![Fault::LosesAnswer, Fault::CutsAnswer],
    ] {
        bench.network.next(faults.clone());
        assert_eq!(bench.documents.get(&put.key).await.unwrap(), bytes(300_000, 1), "{faults:?}");
        assert!(bench.network.is_fair(), "{faults:?} all happened");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_server_is_told_in_time_and_nothing_is_left_behind() {
    let bench = in_bucket(Kept::Clear, QUICK).await;
    let put = bench.put(bytes(60_000, 1)).await;
    bench.network.always(Fault::Silent);
    let began = Clocked::now();
    let refused = bench.documents.put(bytes(60_000, 2), "image/tiff").await;
    let Err(error @ DocumentsError::Unavailable(_)) = refused else { panic!("{refused:?}") };
    assert!(error.to_string().contains("fix:"), "{error}");
    assert!(matches!(bench.documents.get(&put.key).await, Err(DocumentsError::Unavailable(_))));
    assert!(bench.documents.check().await.is_err());
    assert!(began.elapsed() < Duration::from_secs(60), "an intake holds its client meanwhile");
    bench.network.clears_up();
    bench.put(bytes(60_000, 2)).await;
    assert_eq!(bench.documents.get(&put.key).await.unwrap(), bytes(60_000, 1));
    bench.documents.check().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_refuses_is_told_with_its_fix_at_once() {
    let bench = in_bucket(Kept::Clear, BucketTimes::default()).await;
    let put = bench.put(bytes(60_000, 1)).await;
    for (status, code) in [(403, "AccessDenied"), (401, "InvalidAccessKeyId")] {
        bench.network.always(Fault::Answers(status, code));
        let error = bench.documents.put(bytes(60_000, 3), "image/tiff").await.unwrap_err().to_string();
        assert!(error.contains("refuses these credentials") && error.contains("fix: see store.s3"), "{error}");
        let error = bench.documents.get(&put.key).await.unwrap_err();
        assert!(matches!(error, DocumentsError::Unavailable(_)), "{error}: no damage");
        bench.network.clears_up();
    }
    let open = |bucket: &str, port: u16| {
        let settings = DocumentsSettings { times: QUICK, ..DocumentsSettings::default() };
        Documents::open(place(bucket, port), bench.test.store.clone(), settings).unwrap()
    };
    let nowhere = open("not-there", bench.server.port());
    for error in [
        nowhere.put(bytes(60_000, 3), "image/tiff").await.map(drop).unwrap_err(),
        nowhere.check().await.unwrap_err(),
        nowhere.get(&put.key).await.map(drop).unwrap_err(),
    ] {
        assert!(error.to_string().contains("there is no such bucket"), "{error}");
    }
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error = open("fax", closed).check().await.unwrap_err().to_string();
    assert!(error.contains("cannot be reached"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_in_a_bucket_is_told_and_putting_it_again_mends_it() {
    for how in BOTH {
        let bench = in_bucket(how, BucketTimes::default()).await;
        let put = bench.put(bytes(50_000, 3)).await;
        let (objects, name) = (&bench.documents.repository().objects, InBucket::name(&put));
        let whole = objects.read(&name).await.unwrap().unwrap();
        let mut flipped = whole.clone();
        flipped[25_000] ^= 1;
        objects.replace(&name, flipped).await.unwrap();
        assert!(matches!(bench.documents.get(&put.key).await, Err(DocumentsError::Damaged { .. })), "{how:?}");
        objects.replace(&name, whole[..100].to_vec()).await.unwrap();
        assert!(matches!(bench.documents.get(&put.key).await, Err(DocumentsError::Damaged { .. })), "{how:?}");
        assert!(!bench.documents.keeps(&put).await.unwrap());
        bench.documents.put(bytes(50_000, 3), "image/tiff").await.unwrap();
        assert_eq!(objects.read(&name).await.unwrap().unwrap(), whole, "{how:?}");
        assert_eq!(bench.documents.get(&put.key).await.unwrap(), bytes(50_000, 3));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_lists_in_pages_and_removes_what_is_old() {
    let bench = in_bucket(Kept::Clear, BucketTimes::default()).await;
    let mut put = Vec::new();
    for seed in 0..6 {
        put.push(InBucket::name(&bench.put(bytes(20_000, seed)).await));
    }
    let repository = bench.documents.repository();
    let (now, later) = (SystemClock.now(), SystemClock.now().plus(OBJECTS_WAIT).to_system());
    let mut listed = Vec::new();
    for folder in 0..FOLDERS {
        let all = repository.list_old(folder as u8, None, later, later).await.unwrap();
        assert_eq!((all.unfinished.len(), &all.next), (0, &None));
        for name in &all.old {
            // As if each had been a page of its own.
            let after = format!("1fax/a/{}", path_in(Path::new(""), name).display());
            let rest = repository.list_old(folder as u8, Some(&after), later, later).await.unwrap();
            assert!(!rest.old.contains(name));
        }
        listed.extend(all.old);
    }
    listed.sort();
    put.sort();
    assert_eq!(listed, put);
    let yesterday = now.minus(OBJECTS_WAIT).to_system();
    assert_eq!(repository.remove(&put, yesterday).await.unwrap(), Removed::default(), "all of them are young");
    let removed = repository.remove(&put[..4], later).await.unwrap();
    assert_eq!((removed.files, removed.size_bytes), (4, 80_000));
    assert_eq!(repository.remove(&put[..4], later).await.unwrap().files, 0, "what is gone is no error");
    assert_eq!(bench.keys().len(), 2);
}
