//! IP sets.

use std::net::IpAddr;

use nix::errno::Errno;
use weir_agent::kernel::linux::{
    ipset::{Command as Ask, Element, Family, HASH_IP_PORT_IP, Ipset, explain},
    netlink::NlError,
};

use crate::{
    errnos,
    netns::{in_new_netns, sh},
};

pub(crate) async fn ipset() -> Ipset {
    let mut sets = Ipset::open().unwrap();
    sets.protocol()
        .await
        .expect("the kernel has no IP sets: load the module ip_set");
    sets
}

fn element(ip: &str, port: u16) -> Element {
    let ip: IpAddr = ip.parse().unwrap();
    Element {
        ip,
        proto: 6,
        port,
        ip2: ip,
    }
}

#[test]
fn a_set_is_created_filled_listed_swapped_and_destroyed() {
    in_new_netns(|| async {
        let mut sets = ipset().await;
        assert!(sets.protocol().await.unwrap().1 >= 7);
        assert!(
            sets.revisions(HASH_IP_PORT_IP, Family::Inet)
                .await
                .unwrap()
                .max
                >= 5
        );
        let unknown = sets.revisions("hash:nosuch", Family::Inet).await;
        let name = unknown
            .err()
            .and_then(|error| explain(error.errno()?))
            .map(|e| e.name);
        assert_eq!(name, Some("IPSET_ERR_FIND_TYPE"));

        assert_eq!(sets.list("weir").await.unwrap(), None);
        assert_eq!(sets.index("weir").await.unwrap(), None);
        sets.create("weir", Family::Inet, 1000).await.unwrap();
        let twice = sets.create("weir", Family::Inet, 1000).await;
        assert!(
            matches!(twice, Err(NlError::Errno(errno)) if errno == Errno::EEXIST as i32),
            "{twice:?}"
        );

        let (one, two) = (element("192.0.2.1", 80), element("192.0.2.2", 80));
        let add = [one.clone(), two.clone(), one.clone()];
        assert_eq!(errnos(&sets.add("weir", &add).await), [None, None, None]);
        assert!(sets.test("weir", &one).await.unwrap());
        assert_eq!(
            errnos(&sets.del("weir", &[one.clone(), one.clone()]).await),
            [None, None]
        );
        assert!(!sets.test("weir", &one).await.unwrap());
        let set = sets.list("weir").await.unwrap().expect("the set");
        assert_eq!(set.elements.as_slice(), std::slice::from_ref(&two));
        assert_eq!(
            (set.header.max_elements, set.header.revision),
            (Some(1000), 5)
        );
        assert_eq!(set.header.index, sets.index("weir").await.unwrap());
        assert_eq!(set.header.type_name, HASH_IP_PORT_IP);
        let header = sets.header("weir").await.unwrap().expect("the set");
        assert_eq!((header.revision, header.family), (5, Some(Family::Inet)));
        assert!(sh("ipset list weir").contains("192.0.2.2,tcp:80,192.0.2.2"));

        sets.create("weir-next", Family::Inet, 1000).await.unwrap();
        assert_eq!(
            errnos(&sets.add("weir-next", std::slice::from_ref(&one)).await),
            [None]
        );
        sets.run(&Ask::Swap("weir", "weir-next")).await.unwrap();
        assert_eq!(
            sets.list("weir").await.unwrap().expect("the set").elements,
            [one]
        );
        sets.run(&Ask::Rename("weir-next", "weir-old"))
            .await
            .unwrap();
        sets.run(&Ask::Flush("weir-old")).await.unwrap();
        assert_eq!(
            sets.list("weir-old")
                .await
                .unwrap()
                .expect("the set")
                .elements,
            []
        );
        let names: Vec<_> = sets
            .headers()
            .await
            .unwrap()
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        assert_eq!(names, ["weir", "weir-old"]);
        for name in names {
            sets.run(&Ask::Destroy(&name)).await.unwrap();
        }
        assert_eq!(sets.headers().await.unwrap(), []);
    });
}

#[test]
fn elements_go_many_to_a_message_and_a_refused_one_is_told_from_the_others() {
    in_new_netns(|| async {
        let mut sets = ipset().await;
        sets.create("weir6", Family::Inet6, 20_000).await.unwrap();
        let elements: Vec<_> = (0..5000u32)
            .map(|n| element(&format!("2001:db8::{:x}", n + 1), 443))
            .collect();
        let before = sets.counts();
        let verdicts = sets.add("weir6", &elements).await;
        assert!(verdicts.iter().all(Result::is_ok));
        let after = sets.counts();
        // nine times at most 600
        assert_eq!(after.messages - before.messages, 9);
        let mut read = sets.list("weir6").await.unwrap().expect("the set").elements;
        read.sort();
        assert_eq!(read, elements);
        // in a full set what is in it may be added again, what is not is refused
        sets.create("full", Family::Inet6, 2).await.unwrap();
        assert!(
            sets.add("full", &elements[..2])
                .await
                .iter()
                .all(Result::is_ok)
        );
        let more = [
            elements[0].clone(),
            elements[2].clone(),
            elements[1].clone(),
        ];
        let verdicts = sets.add("full", &more).await;
        let names: Vec<_> = verdicts
            .iter()
            .map(|verdict| {
                verdict
                    .as_ref()
                    .err()
                    .and_then(|error| explain(error.errno()?))
                    .map(|e| e.name)
            })
            .collect();
        assert_eq!(names, [None, Some("IPSET_ERR_HASH_FULL"), None]);
    });
}
