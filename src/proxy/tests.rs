//! Real sockets: headers whole and in pieces, from balancers and from others.

use proxy_header::ProxiedAddress;
use tokio::io::AsyncWriteExt as _;

use super::*;

const DEADLINE: Duration = Duration::from_secs(20);
const SAID: &[u8] = b"EHLO client.example.com\r\n";

async fn door(balancers: &[&str]) -> Door {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let balancers: Vec<IpNet> = balancers.iter().map(|network| network.parse().unwrap()).collect();
    Door::open(listener, &balancers).unwrap()
}

async fn connect(door: &Door) -> TcpStream {
    let stream = TcpStream::connect(door.local_addr()).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// The next client and everything it says.
async fn heard(door: &mut Door) -> (SocketAddr, Vec<u8>) {
    let (mut stream, client) = tokio::time::timeout(DEADLINE, door.accept()).await.expect("a client in time").unwrap();
    let mut said = Vec::new();
    tokio::time::timeout(DEADLINE, stream.read_to_end(&mut said)).await.expect("all of it in time").unwrap();
    (client, said)
}

/// Says this and waits until the other side closes.
async fn is_closed(door: &Door, says: &[u8]) {
    let mut stream = connect(door).await;
    stream.write_all(says).await.unwrap();
    let mut nothing = [0; 1];
    let ended = tokio::time::timeout(DEADLINE, stream.read(&mut nothing)).await.expect("closed in time");
    // Closed with octets unread is a reset.
    assert!(!matches!(ended, Ok(1..)), "{ended:?}");
}

fn v2(source: &str, destination: &str) -> Vec<u8> {
    let addresses = ProxiedAddress::stream(source.parse().unwrap(), destination.parse().unwrap());
    let mut header = vec![0; 512];
    let length = ProxyHeader::with_address(addresses).encode_to_slice_v2(&mut header).unwrap();
    header.truncate(length);
    header
}

fn v2_local() -> Vec<u8> {
    let mut header = vec![0; 512];
    let length = ProxyHeader::with_local().encode_to_slice_v2(&mut header).unwrap();
    header.truncate(length);
    header
}

fn headers() -> Vec<(Vec<u8>, Option<&'static str>)> {
    vec![
        (b"PROXY TCP4 203.0.113.7 10.0.0.10 40000 25\r\n".to_vec(), Some("203.0.113.7:40000")),
        (b"PROXY TCP6 2001:db8::7 2001:db8::10 40000 25\r\n".to_vec(), Some("[2001:db8::7]:40000")),
        (b"PROXY UNKNOWN\r\n".to_vec(), None),
        (b"PROXY UNKNOWN anything at all\r\n".to_vec(), None),
        (v2("203.0.113.7:40000", "10.0.0.10:25"), Some("203.0.113.7:40000")),
        (v2("[2001:db8::7]:40000", "[2001:db8::10]:25"), Some("[2001:db8::7]:40000")),
        (v2_local(), None),
    ]
}

#[tokio::test]
async fn a_balancers_header_names_the_client_wherever_it_is_cut_and_takes_nothing_of_what_he_says() {
    for (header, client) in headers() {
        let whole = [header.as_slice(), SAID].concat();
        for cut in 0..=header.len() + 1 {
            let mut door = door(&["127.0.0.0/8"]).await;
            let mut stream = connect(&door).await;
            let own = stream.local_addr().unwrap();
            stream.write_all(&whole[..cut]).await.unwrap();
            stream.flush().await.unwrap();
            // The other task has read the first piece, or will read both at once: both are to be right.
            tokio::task::yield_now().await;
            stream.write_all(&whole[cut..]).await.unwrap();
            stream.shutdown().await.unwrap();
            let expected = client.map_or(own, |client| client.parse().unwrap());
            assert_eq!(heard(&mut door).await, (expected, SAID.to_vec()), "cut at {cut}: {header:?}");
        }
    }
}

#[tokio::test]
async fn a_header_that_comes_octet_by_octet_is_whole_with_its_last() {
    for (header, client) in headers() {
        let own = "10.0.0.10:40000".parse().unwrap();
        let whole = [header.as_slice(), SAID].concat();
        let mut reader = one_by_one(&whole);
        let found = client_of(&mut reader, own, DEADLINE).await.unwrap();
        assert_eq!(found, client.map_or(own, |client| client.parse().unwrap()));
        let mut rest = Vec::new();
        reader.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, SAID);
    }
}

/// Every read answers one octet.
fn one_by_one(octets: &[u8]) -> impl AsyncRead + Unpin {
    struct OneByOne(std::collections::VecDeque<u8>);
    impl AsyncRead for OneByOne {
        fn poll_read(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
            buffer: &mut tokio::io::ReadBuf<'_>,
        ) -> std::task::Poll<io::Result<()>> {
            if let Some(octet) = self.0.pop_front() {
                buffer.put_slice(&[octet]);
            }
            std::task::Poll::Ready(Ok(()))
        }
    }
    OneByOne(octets.iter().copied().collect())
}

#[tokio::test]
async fn nobody_but_a_balancer_is_asked_for_a_header_or_believed() {
    let mut door = door(&["10.0.0.10/32"]).await;
    for (header, _) in headers() {
        let whole = [header.as_slice(), SAID].concat();
        let mut stream = connect(&door).await;
        let own = stream.local_addr().unwrap();
        stream.write_all(&whole).await.unwrap();
        stream.shutdown().await.unwrap();
        assert_eq!(heard(&mut door).await, (own, whole), "its octets are the protocol's affair");
    }
}

#[tokio::test]
async fn what_is_no_header_closes_the_connection_and_keeps_nobody_else_waiting() {
    let mut door = door(&["127.0.0.0/8"]).await;
    let endless = [b"PROXY TCP4 ".as_slice(), &[b'1'; 200]].concat();
    let mut huge = v2("203.0.113.7:40000", "10.0.0.10:25");
    huge[14..16].copy_from_slice(&u16::MAX.to_be_bytes());
    let mut version_3 = v2_local();
    version_3[12] = 0x31;
    for says in [
        SAID.to_vec(),
        b"X".to_vec(),
        b"PROXY TCP4 203.0.113.7\r\n".to_vec(),
        b"PROXY TCP4 203.0.113.7 10.0.0.10 99999 25\r\n".to_vec(),
        b"proxy TCP4 203.0.113.7 10.0.0.10 40000 25\r\n".to_vec(),
        endless,
        huge,
        version_3,
    ] {
        is_closed(&door, &says).await;
    }
    // Connected, and silent for now.
    let silent = connect(&door).await;
    let mut stream = connect(&door).await;
    stream.write_all(&[headers()[0].0.as_slice(), SAID].concat()).await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(heard(&mut door).await, ("203.0.113.7:40000".parse().unwrap(), SAID.to_vec()));
    drop(silent);
}

#[tokio::test]
async fn a_header_that_does_not_come_in_time_is_not_waited_for() {
    let (mut ours, mut theirs) = tokio::io::duplex(64);
    theirs.write_all(b"PROXY TCP4 203.0").await.unwrap();
    let peer = "127.0.0.1:9".parse().unwrap();
    let limit = Duration::from_millis(1);
    assert!(matches!(client_of(&mut ours, peer, limit).await, Err(HeaderError::Late(_))));
    drop(theirs);
}

#[tokio::test]
async fn who_had_connected_before_the_door_closed_is_let_in_and_nobody_after() {
    let mut door = door(&["127.0.0.2/32"]).await;
    let address = door.local_addr();
    let mut early = Vec::new();
    for _ in 0..5 {
        early.push(connect(&door).await.local_addr().unwrap());
    }
    door.close();
    let mut let_in = Vec::new();
    while let Some((_, client)) = tokio::time::timeout(DEADLINE, door.accept()).await.expect("an end in time") {
        let_in.push(client);
    }
    assert_eq!(let_in, early);
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_dropped_door_takes_nobody_any_more() {
    let door = door(&["127.0.0.0/8"]).await;
    let address = door.local_addr();
    let waiting = connect(&door).await;
    drop(door);
    let gone = async {
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, gone).await.expect("the socket is closed");
    drop(waiting);
}
