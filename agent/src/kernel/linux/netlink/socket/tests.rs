//! The socket against the generic netlink controller, which every kernel has.

use super::*;

/// Asks the generic netlink controller, which every kernel has, for its own description.
fn describe_controller() -> Request {
    let mut request = Request::generic(16, 3, 2, 0);
    request.u16(1, 16);
    request
}

fn ask_absent_family() -> Request {
    let mut request = Request::generic(16, 3, 2, 0);
    request.string(2, "weir-no-such");
    request
}

#[tokio::test]
async fn each_verdict_belongs_to_its_own_request() {
    let mut socket = NetlinkSocket::open(Protocol::Generic).expect("a netlink socket");
    let requests: Vec<_> = (0..600)
        .map(|n| {
            if n % 3 == 0 {
                ask_absent_family()
            } else {
                describe_controller()
            }
        })
        .collect();
    let verdicts = socket.batch(&requests).await;
    let refused = |verdict: &Result<(), NlError>| verdict.as_ref().err().map(NlError::errno);
    let expected: Vec<_> = (0..600)
        .map(|n| (n % 3 == 0).then_some(Some(Errno::ENOENT as i32)))
        .collect();
    assert_eq!(verdicts.iter().map(refused).collect::<Vec<_>>(), expected);
    assert_eq!((socket.counts().sends, socket.counts().messages), (1, 600));
}

#[tokio::test]
async fn many_requests_take_few_system_calls() {
    let mut socket = NetlinkSocket::open(Protocol::Generic).expect("a netlink socket");
    let verdicts = socket.batch(&vec![ask_absent_family(); 1]).await;
    assert!(verdicts[0].is_err());
    // to name no operation is a request without a reply
    let quiet = Request::new(1, 0);
    let before = socket.counts();
    let verdicts = socket.batch(&vec![quiet; 2 * WINDOW]).await;
    assert!(verdicts.iter().all(Result::is_ok), "{:?}", verdicts.first());
    let counts = socket.counts();
    assert_eq!(counts.messages - before.messages, 2 * WINDOW as u64);
    assert_eq!(counts.sends - before.sends, 2);
    assert_eq!(
        counts.receives - before.receives,
        2,
        "one acknowledgement a send"
    );
}

#[tokio::test]
async fn a_lost_answer_is_an_overrun_and_the_next_call_works() {
    let mut socket = NetlinkSocket::open(Protocol::Generic).expect("a netlink socket");
    let small = socket.descriptor.as_ref().expect("open").socket_ref();
    setsockopt(small, sockopt::RcvBuf, &0).expect("the smallest receive buffer");
    let verdicts = socket.batch(&vec![describe_controller(); 300]).await;
    assert_eq!(verdicts.len(), 300);
    let last = verdicts.last();
    assert!(matches!(last, Some(Err(NlError::Overrun))), "{last:?}");
    let verdicts = socket.batch(&[describe_controller()]).await;
    assert!(matches!(verdicts[..], [Ok(())]), "{verdicts:?}");
}

#[tokio::test]
async fn a_dump_gives_every_entry_and_a_refused_one_its_errno() {
    let mut socket = NetlinkSocket::open(Protocol::Generic).expect("a netlink socket");
    let mut entries = 0;
    let dump = Request::generic(16, 3, 2, 0);
    socket
        .dump(&dump, |_| entries += 1)
        .await
        .expect("the families");
    assert!(entries > 0);
    let unknown = socket.dump(&Request::generic(16, 200, 2, 0), |_| {}).await;
    assert_eq!(
        unknown.err().and_then(|error| error.errno()),
        Some(Errno::EOPNOTSUPP as i32)
    );
    assert_eq!(socket.counts().dumps, 2);
}

#[test]
fn an_interrupted_dump_is_not_the_whole() {
    assert!(matches!(whole(true), Err(NlError::Interrupted)));
    assert!(whole(false).is_ok());
}
