//! Callers that the controller must not let in, each refused by the right code.

use std::time::{Duration, SystemTime};

use rustls::AlertDescription;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tonic::Code;
use weir_controller::ctl::pki::Validity;
use weir_proto::model::{Identity, Role};
use weir_proto::wire;
use weir_proto::wire::operator_client::OperatorClient;

use crate::stranger;
use crate::world::{PATIENCE, Root, World, node, operator};

const HOUR: Duration = Duration::from_secs(60 * 60);

fn list() -> wire::ListRequest {
    wire::ListRequest {
        kind: wire::Kind::Node.into(),
        ..wire::ListRequest::default()
    }
}

#[tokio::test]
async fn a_certificate_that_is_not_in_order_is_refused_by_the_alert_that_says_why() {
    let world = World::start().await;
    let now = SystemTime::now();
    let expired = Validity {
        begins: now - 3 * HOUR,
        ends: now - HOUR,
    };
    let early = Validity {
        begins: now + HOUR,
        ends: now + 3 * HOUR,
    };
    let admin = operator(Role::Admin);
    // one of the same name as the real one, and one of another
    let (rogue, stranger_root) = (Root::new("weir"), Root::new("rogue"));
    let server = Identity::Controller;
    for (what, who, issued, alert, words) in [
        (
            "expired",
            &admin,
            world.root.issue_for(&admin, expired),
            AlertDescription::CertificateExpired,
            "it refuses our certificate, that of admin/alice: it has expired",
        ),
        (
            "not yet valid",
            &admin,
            world.root.issue_for(&admin, early),
            AlertDescription::CertificateExpired,
            "it refuses our certificate, that of admin/alice: it is not valid yet",
        ),
        (
            "of a rogue authority",
            &admin,
            rogue.issue(&admin),
            AlertDescription::UnknownCA,
            "it refuses our certificate, that of admin/alice: no authority that the controller trusts has signed it",
        ),
        (
            "of an authority that nobody knows",
            &admin,
            stranger_root.issue(&admin),
            AlertDescription::UnknownCA,
            "its certificate is refused: it is of trust domain weir, not rogue",
        ),
        (
            "of another trust domain, whose authority is trusted",
            &admin,
            world.neighbour.issue(&admin),
            AlertDescription::CertificateUnknown,
            "its certificate is refused: it is of trust domain weir, not elsewhere",
        ),
        (
            "a server's",
            &server,
            world.root.issue(&server),
            AlertDescription::UnsupportedCertificate,
            "it refuses our certificate, that of controller: it is a server's, not a caller's",
        ),
    ] {
        let got = stranger::alert(world.address, &world.root, Some(&issued)).await;
        assert_eq!(got, Some(alert), "{what}");
        // what our own programs make of it; the controller's own files must not be written over
        if *who == admin {
            let refused = world.connect(who, &issued).await;
            assert_eq!(refused.expect_err(what), words, "{what}");
        }
    }
    let fine = world.root.issue(&admin);
    let got = stranger::alert(world.address, &world.root, Some(&fine)).await;
    assert_eq!(got, None);
    let channel = world.connect(&admin, &fine).await.expect("connected");
    let listed = OperatorClient::new(channel).list(list()).await;
    listed.expect("listed");
    world.stop().await;
}

#[tokio::test]
async fn who_has_no_certificate_is_told_so_at_each_call() {
    use hyper_util::rt::TokioIo;
    use tonic::transport::Endpoint;

    let world = World::start().await;
    let stream = stranger::shake(world.address, &world.root, None).await;
    let mut stream = Some(TokioIo::new(stream));
    let connector = tower::service_fn(move |_| {
        let stream = stream.take();
        async move { stream.ok_or_else(|| std::io::Error::other("once")) }
    });
    let endpoint = Endpoint::from_shared(world.url()).expect("a url");
    let channel = endpoint.connect_with_connector(connector).await;
    let mut client = OperatorClient::new(channel.expect("connected"));
    let refused = client.list(list()).await.expect_err("refused");
    assert_eq!(
        (refused.code(), refused.message()),
        (
            Code::Unauthenticated,
            "no certificate says who calls; give one by --tls-cert and --tls-key"
        )
    );
    // and is not listened to for ever: this connection cannot be made again
    let gone = timeout(PATIENCE, async {
        loop {
            let status = client.list(list()).await.expect_err("refused");
            if status.code() != Code::Unauthenticated {
                break status;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    let gone = gone.await.expect("it is let go");
    assert!(std::error::Error::source(&gone).is_some(), "{gone:?}");
    world.stop().await;
}

#[tokio::test]
async fn those_without_a_certificate_have_few_places_and_none_of_others() {
    let world = World::start().await;
    let mut strangers = Vec::new();
    let mut heard = 0;
    for _ in 0..70 {
        let mut stream = stranger::shake(world.address, &world.root, None).await;
        let read = timeout(PATIENCE, stream.read_u8()).await;
        // the first frame of HTTP/2, or nothing
        heard += u32::from(read.expect("in time").is_ok());
        strangers.push(stream);
    }
    assert_eq!(heard, 64, "the others were let go at once");
    let mut viewer = world.operator(Role::Viewer).await;
    viewer.list(list()).await.expect("listed");
    drop(strangers);
    world.stop().await;
}

#[tokio::test]
async fn plaintext_is_not_answered_where_there_is_tls() {
    let world = World::start().await;
    let url = format!("http://{}", world.address);
    let refused = match OperatorClient::connect(url).await {
        Ok(mut client) => {
            let answer = timeout(PATIENCE, client.list(list()))
                .await
                .expect("in time");
            let status = answer.expect_err("refused");
            // it is the transport that says so: no status of a server came
            assert!(std::error::Error::source(&status).is_some(), "{status:?}");
            status.code()
        }
        // it was closed even before
        Err(_) => Code::Unavailable,
    };
    assert!(
        matches!(refused, Code::Unavailable | Code::Unknown | Code::Internal),
        "{refused:?}"
    );
    world.stop().await;
}

/// A ClientHello as RFC 5246 section 7.4.1.2 has it: TLS 1.2 with ECDHE and AES, and without the extension by which a
/// client of TLS 1.3 names that version (RFC 8446 section 4.2.1).
fn tls12_hello() -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    // no session; one cipher suite, TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256; no compression
    body.extend([0, 0, 2, 0xc0, 0x2b, 1, 0]);
    let extensions = [
        // supported_groups: secp256r1
        [0, 10, 0, 4, 0, 2, 0, 23].as_slice(),
        // ec_point_formats: uncompressed
        &[0, 11, 0, 2, 1, 0],
        // signature_algorithms: ecdsa_secp256r1_sha256
        &[0, 13, 0, 4, 0, 2, 4, 3],
    ]
    .concat();
    let length = |bytes: &[u8]| u8::try_from(bytes.len()).expect("short");
    body.extend([0, length(&extensions)]);
    body.extend(extensions);
    let mut hello = vec![22, 3, 1, 0, length(&body) + 4, 1, 0, 0, length(&body)];
    hello.extend(body);
    hello
}

#[tokio::test]
async fn tls_1_2_is_refused_by_its_version() {
    let world = World::start().await;
    let mut socket = TcpStream::connect(world.address).await.expect("connected");
    socket.write_all(&tls12_hello()).await.expect("written");
    let mut answer = Vec::new();
    let read = timeout(PATIENCE, socket.read_to_end(&mut answer)).await;
    read.expect("in time").expect("read");
    // a fatal alert of two bytes: protocol_version (RFC 8446 section 6)
    assert_eq!(answer, [21, 3, 3, 0, 2, 2, 70]);
    world.stop().await;
}

#[tokio::test]
async fn peers_that_say_nothing_keep_nobody_waiting() {
    let world = World::start().await;
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(TcpStream::connect(world.address).await.expect("connected"));
    }
    let mut viewer = world.operator(Role::Viewer).await;
    let listed = timeout(PATIENCE, viewer.list(list())).await;
    listed.expect("in time").expect("listed");
    // and are let go after a while
    let mut rest = Vec::new();
    for socket in &mut silent {
        let read = timeout(PATIENCE, socket.read_to_end(&mut rest)).await;
        let _ = read.expect("in time");
    }
    assert!(rest.is_empty(), "{rest:?}");
    let state = world
        .connect(&node("a"), &world.root.issue(&node("a")))
        .await;
    state.expect("connected");
    world.stop().await;
}

/// Gives whether a peer that was sent nothing was let go.
fn is_let_go(silent: &TcpStream) -> bool {
    let nothing = silent.try_read(&mut [0; 1]);
    !matches!(nothing, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
}

#[tokio::test]
async fn more_silent_peers_than_there_is_room_for_give_way_one_by_one() {
    let world = World::start().await;
    let mut silent = Vec::new();
    for _ in 0..520 {
        silent.push(TcpStream::connect(world.address).await.expect("connected"));
    }
    let mut viewer = world.operator(Role::Viewer).await;
    viewer.list(list()).await.expect("listed");
    // known to the reactor by now
    let first = timeout(PATIENCE, silent[0].readable()).await;
    first.expect("in time").expect("readable");
    tokio::task::yield_now().await;
    assert!(is_let_go(&silent[0]), "the oldest gave way");
    let gave_way: Vec<usize> = (320..520).filter(|it| is_let_go(&silent[*it])).collect();
    assert_eq!(gave_way, [0; 0], "those that came last did not have to");
    world.stop().await;
}
