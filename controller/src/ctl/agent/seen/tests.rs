use super::*;

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn kinds_are_asked_for_as_of_the_controller() {
    for (text, kind, names) in [
        ("services", Kind::Services, ""),
        ("fe 10.0.0.1:80/TCP", Kind::Services, "10.0.0.1:80/TCP"),
        ("be web dns", Kind::Backends, "web dns"),
        ("vip/10.0.0.1", Kind::Vips, "10.0.0.1"),
        ("Events", Kind::Events, ""),
    ] {
        assert_eq!(
            Kind::asked(&words(text)),
            Ok((kind, words(names))),
            "{text}"
        );
    }
    for (text, why) in [
        ("", "name a kind"),
        (
            "nodes",
            "an agent shows no \"nodes\" (it has services, backends, vips, events)",
        ),
        ("vip/10.0.0.1 service/web", "get shows one kind at a time"),
        ("events web", "an event has no name"),
    ] {
        assert_eq!(Kind::asked(&words(text)), Err(why.to_owned()), "{text}");
    }
}

fn item(last: u8, failure: Option<&str>) -> wire::AgentItem {
    let address = format!("10.0.0.{last}");
    wire::AgentItem {
        object: format!("vip {address}"),
        kind: "vip".to_owned(),
        item: Some(wire::Item {
            kind: Some(Item::Vip(wire::item::Vip {
                address,
                binding: wire::VipBinding::Address.into(),
                ..wire::item::Vip::default()
            })),
        }),
        failure: failure.map(|cause| wire::ItemFailure {
            cause: cause.to_owned(),
            ..wire::ItemFailure::default()
        }),
    }
}

fn object(last: u8, foreign: bool) -> wire::AgentObject {
    let address = format!("10.0.0.{last}");
    wire::AgentObject {
        foreign,
        object: Some(wire::KernelObject {
            object: format!("vip {address}"),
            kind: "vip".to_owned(),
            value: Some(Value::Vip(wire::KernelVip {
                address,
                binding: wire::VipBinding::Route.into(),
                silent: true,
            })),
            ..wire::KernelObject::default()
        }),
        ..wire::AgentObject::default()
    }
}

#[test]
fn what_is_wanted_is_put_beside_what_is_there() {
    let node = Node {
        state: wire::AgentState {
            items: vec![item(1, None), item(2, None), item(3, Some("in use"))],
            ..wire::AgentState::default()
        },
        objects: vec![object(9, true), object(1, false), object(8, false)],
    };
    let (all, missing) = rows(Kind::Vips, &node, &[]);
    let cells: Vec<String> = all.iter().map(|row| row.cells(true).join(" ")).collect();
    assert_eq!(
        cells,
        [
            "10.0.0.1 ROUTE silent converged <none>",
            "10.0.0.2 ADDRESS answered missing <none>",
            "10.0.0.3 ADDRESS answered refused in use",
            "10.0.0.9 ROUTE silent foreign <none>",
            "10.0.0.8 ROUTE silent leaving <none>",
        ]
    );
    assert_eq!(missing, [] as [String; 0]);
    let (some, missing) = rows(Kind::Vips, &node, &words("10.0.0.8 10.0.0.7"));
    assert_eq!((some.len(), missing), (1, words("vip/10.0.0.7")));
    assert_eq!(rows(Kind::Services, &node, &[]).0, []);
}
