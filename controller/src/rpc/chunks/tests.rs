use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use weir_proto::digest::Digest;
use weir_proto::model::Vip;

use super::*;

fn update(vips: u32, removed: u32) -> Update {
    let address = |number: u32| IpAddr::V4(Ipv4Addr::from(0x0a00_0001 + number));
    Update {
        generation: Generation(7),
        base: Some(Generation(5)),
        content: Content {
            common: None,
            upserted: (0..vips).map(|n| Item::Vip(Vip::new(address(n)))).collect(),
            removed: (0..removed).map(|n| ItemKey::Vip(address(n))).collect(),
        },
        digest: Digest::default(),
    }
}

const CLUSTER: &str = "0123456789abcdef0123456789abcdef";

fn beside(traceparent: &str) -> Beside {
    Beside {
        traceparent: traceparent.into(),
        cluster: CLUSTER.into(),
        allow_mass_delete: true,
        answer_within: Duration::from_millis(70),
    }
}

/// Gives the chunks as who gets them reads them.
fn sent(update: Update, beside: Beside) -> Vec<wire::Update> {
    let (chunks, _) = Chunks::new(update, beside);
    chunks.map(|chunk| read(&chunk)).collect()
}

fn read(Chunk { own, common }: &Chunk) -> wire::Update {
    let bytes = [own, common.as_deref().unwrap_or_default()].concat();
    wire::Update::decode(bytes.as_slice()).expect("an update")
}

#[test]
fn a_small_update_is_one_chunk() {
    let chunks: Vec<_> = sent(update(1, 1), beside("00-a"));
    assert_eq!(
        chunks,
        [wire::Update {
            generation: 7,
            base_generation: 5,
            upserted: vec![
                item_to_wire(&update(1, 0).content.upserted[0])
                    .encode_to_vec()
                    .into()
            ],
            removed: vec![item_key_to_wire(&update(0, 1).content.removed[0])],
            digest: vec![0; 16],
            chunk: 0,
            last: true,
            traceparent: "00-a".to_owned(),
            cluster: CLUSTER.to_owned(),
            allow_mass_delete: true,
            answer_within_ms: 70,
        }]
    );
}

#[test]
fn an_empty_update_is_one_chunk() {
    let chunks: Vec<_> = sent(update(0, 0), beside(""));
    assert_eq!(chunks.len(), 1);
    assert!(chunks[0].last);
}

#[test]
fn a_large_update_is_cut_and_nothing_is_lost() {
    let whole = update(100_000, 50_000);
    let chunks: Vec<_> = sent(whole, beside(&"x".repeat(55)));
    assert!(chunks.len() >= 2, "{} chunks", chunks.len());
    for (place, chunk) in chunks.iter().enumerate() {
        assert!(chunk.encoded_len() <= LARGEST, "{}", chunk.encoded_len());
        assert_eq!(chunk.chunk as usize, place);
        assert_eq!(
            (chunk.cluster.as_str(), chunk.allow_mass_delete),
            (CLUSTER, true)
        );
        assert_eq!(chunk.last, place + 1 == chunks.len());
        assert_eq!(chunk.digest.is_empty(), !chunk.last);
    }
    let upserted: usize = chunks.iter().map(|chunk| chunk.upserted.len()).sum();
    let removed: usize = chunks.iter().map(|chunk| chunk.removed.len()).sum();
    assert_eq!((upserted, removed), (100_000, 50_000));
}

#[test]
fn what_nodes_are_sent_alike_is_encoded_by_the_first_and_sent_to_all() {
    let whole = update(100_000, 50_000).content;
    let alike = Arc::new(Shared::new(whole.upserted, whole.removed));
    let mut encoded = Vec::new();
    for node in 0..3 {
        let mut update = update(1, 0);
        update.generation = Generation(node);
        update.content.common = Some(Arc::clone(&alike));
        let (chunks, encodings) = Chunks::new(update, beside(""));
        encoded.push(encodings);
        let chunks: Vec<_> = chunks.map(|chunk| read(&chunk)).collect();
        assert!(chunks.len() >= 2, "{} chunks", chunks.len());
        for (place, chunk) in chunks.iter().enumerate() {
            assert!(chunk.encoded_len() <= LARGEST, "{}", chunk.encoded_len());
            assert_eq!((chunk.chunk as usize, chunk.generation), (place, node));
            assert_eq!(chunk.last, place + 1 == chunks.len());
            assert_eq!(chunk.digest.is_empty(), !chunk.last);
        }
        let upserted: usize = chunks.iter().map(|chunk| chunk.upserted.len()).sum();
        let removed: usize = chunks.iter().map(|chunk| chunk.removed.len()).sum();
        assert_eq!((upserted, removed), (100_001, 50_000), "one of its own");
    }
    assert_eq!(encoded, [1, 0, 0]);
}
