use super::*;

fn event(reason: Reason, node: &str, object: &str) -> Event {
    let object = object.split_once('/').map(|(kind, name)| {
        let kind = ObjectKind::parse(kind).expect("a kind");
        EventObject::new(kind, name)
    });
    Event {
        number: 1,
        reason,
        node: NodeName::new(node).ok(),
        object,
        part: String::new(),
        who: String::new(),
        message: "a message".to_owned(),
        first_unix_ms: 1_000,
        last_unix_ms: 2_000,
        count: 3,
    }
}

fn object(text: &str) -> wire::event::Object {
    let (kind, name) = text.split_once('/').expect("KIND/NAME");
    wire::event::Object {
        kind: kind.to_owned(),
        name: name.to_owned(),
    }
}

#[test]
fn what_is_asked_for_is_told_and_nothing_else() {
    let all = [
        event(Reason::NodeConnected, "a", "node/a"),
        event(Reason::DriftRepaired, "a", "vip/10.1.0.1"),
        event(Reason::Applied, "", "service/web"),
        event(Reason::DrainBegan, "b", "backend/web/10.0.0.1:80"),
        event(Reason::Deleted, "", ""),
    ];
    let request = wire::EventsRequest::default;
    let of = |objects: &[&str]| wire::EventsRequest {
        objects: objects.iter().map(|text| object(text)).collect(),
        ..request()
    };
    for (request, told) in [
        (request(), &[0, 1, 2, 3, 4][..]),
        (of(&["node/a"]), &[0, 1]),
        (of(&["service/web"]), &[2, 3]),
        (of(&["backend/web/10.0.0.1:80", "vip/10.1.0.1"]), &[1, 3]),
        (of(&["service/we"]), &[]),
        (
            wire::EventsRequest {
                node: "b".to_owned(),
                ..request()
            },
            &[3],
        ),
        (
            wire::EventsRequest {
                types: vec![wire::event::Type::Warning.into()],
                ..request()
            },
            &[1],
        ),
        (
            wire::EventsRequest {
                reasons: vec![wire::event::Reason::Applied.into()],
                ..request()
            },
            &[2],
        ),
        (
            wire::EventsRequest {
                since_unix_ms: 2_001,
                ..request()
            },
            &[],
        ),
    ] {
        let filter = Filter::read(request.clone()).expect("it can be read");
        let seen = (0..all.len()).filter(|place| filter.lets_through(&all[*place]));
        assert_eq!(seen.collect::<Vec<_>>(), told, "{request:?}");
    }
}

#[test]
fn every_bad_field_of_what_is_asked_for_is_named() {
    let request = wire::EventsRequest {
        node: "A".to_owned(),
        objects: vec![object("pod/web"), object("node/")],
        types: vec![0],
        reasons: vec![99],
        ..wire::EventsRequest::default()
    };
    let refused = Filter::read(request).expect_err("refused");
    assert_eq!(
        refused.message(),
        "node: \"A\" is not a name (1-63 characters of a-z, 0-9, \"-\" and \".\", with a letter or digit at both ends)\n\
         objects[0].kind: \"pod\" is no kind of object (there are node, service, backendset, backend, vip, rollout)\n\
         objects[1].name: missing\n\
         types[0]: missing\n\
         reasons[0]: 99 is not a reason of an event"
    );
}

#[test]
fn events_come_in_messages_of_bounded_size() {
    let one = Arc::new(event(Reason::Applied, "a", "service/web"));
    let events = vec![Arc::clone(&one); 100];
    let largest = 10 * (event_to_wire(&one).encoded_len() + BESIDE);
    let messages: Vec<_> = chunks(&events, largest).collect();
    assert_eq!(messages.iter().map(Vec::len).collect::<Vec<_>>(), [10; 10]);
    for events in messages {
        let message = wire::EventsResponse { events };
        assert!(message.encoded_len() <= largest);
    }
    assert_eq!(chunks(&[], largest).count(), 0);
    assert_eq!(chunks(&events, 1).count(), 100, "one at least");
}
