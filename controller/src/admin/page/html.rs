//! The page as HTML. PURE
//!
//! What people wrote is escaped by the macro. Everything that has an id keeps it from one look to the next: by it the script
//! knows what is open, and where the keyboard is.

use maud::{DOCTYPE, Markup, html};

use super::figures::{ago, bytes, short};
use super::query::{Order, Query};
use super::seen::{
    BackendSeen, EventSeen, NodeSeen, NodeState, ROWS, Seen, ServiceSeen, bytes_in, bytes_out,
    connections, failed, pages,
};
use crate::desired::Sum;

/// Which numbers services can be sorted by, as the heads of their columns say it.
const SORTED: [(Order, &str); 5] = [
    (Order::Active, "Active"),
    (Order::Connections, "New/s"),
    (Order::Failed, "Failed/s"),
    (Order::BytesIn, "In"),
    (Order::BytesOut, "Out"),
];

/// How many columns services have: the sorted ones, the name, the frontends and the scheduler.
const COLUMNS: usize = SORTED.len() + 3;

/// Pages on from one on.
struct Pager {
    label: &'static str,
    rows: usize,
    page: usize,
    back: String,
    on: String,
}

/// Writes the page.
pub(super) fn page(seen: &Seen) -> Markup {
    let main = html! {
        (summary(seen))
        (services(seen))
        (nodes(seen))
        (events(&seen.events))
    };
    document(main)
}

/// Writes what there is to say while nothing is loaded, or nothing is left.
pub(super) fn not_now() -> Markup {
    document(html! {
        p { "The controller is starting or stopping. Nodes go on as they are." }
    })
}

fn document(main: Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "weir" }
                link rel="icon" href="data:,";
                link rel="stylesheet" href="/page.css";
                script src="/page.js" defer {}
            }
            body {
                a.skip href="#services" { "To the services" }
                header {
                    h1 { "weir" }
                    p #updates {
                        "As of when it was loaded. "
                        a href="" { "Load again" }
                    }
                }
                main #main tabindex="-1" { (main) }
                footer {
                    p {
                        "Read only. Version " (env!("CARGO_PKG_VERSION")) ". Numbers for machines: "
                        a href="/metrics" { "/metrics" } "."
                    }
                }
            }
        }
    }
}

fn summary(seen: &Seen) -> Markup {
    let tally = &seen.tally;
    let now = &seen.fleet.now;
    let behind = tally.nodes - tally.converged;
    html! {
        section #summary aria-label="Summary" {
            dl.tiles {
                (tile("Services", &tally.services.to_string(), &format!("revision {}", seen.revision)))
                (tile("Nodes connected", &format!("{} of {}", tally.connected, tally.nodes), &match behind {
                    0 => "all converged".to_owned(),
                    behind => format!("{behind} not converged"),
                }))
                (tile("Items not held", &tally.failures.to_string(), "on all nodes"))
                (tile("Active connections", &short(now.active as f64), &format!("{} inactive", short(now.inactive as f64))))
                (tile("New connections", &format!("{}/s", short(connections(&seen.fleet))),
                    &format!("{}/s failed", short(failed(&seen.fleet)))))
                (tile("From clients", &bytes(bytes_in(&seen.fleet)), &format!("to clients {}", bytes(bytes_out(&seen.fleet)))))
            }
        }
    }
}

fn tile(name: &str, figure: &str, detail: &str) -> Markup {
    html! {
        div {
            dt { (name) }
            dd { strong { (figure) } " " small { (detail) } }
        }
    }
}

fn services(seen: &Seen) -> Markup {
    let asked = &seen.asked;
    let pager = Pager {
        label: "Pages of services",
        rows: seen.matching,
        page: asked.page,
        back: at_page(asked, asked.page - 1, "#services"),
        on: at_page(asked, asked.page + 1, "#services"),
    };
    html! {
        section #services aria-labelledby="services-head" tabindex="-1" {
            h2 #services-head { "Services" }
            form method="get" action="/" role="search" {
                label for="filter" { "Name, label, VIP or backend" }
                input #filter type="search" name="filter" value=(asked.filter) autocomplete="off" spellcheck="false";
                @if asked.order != Order::Name {
                    input type="hidden" name="sort" value=(asked.order.word());
                }
                button type="submit" { "Filter" }
                @if !asked.filter.is_empty() {
                    " " a href=(with_filter(asked, "")) { "Show all" }
                }
            }
            p { (counted(seen)) }
            @if !seen.services.is_empty() {
                div.wide role="region" aria-label="Table of services" tabindex="0" {
                    table {
                        thead {
                            tr {
                                (sort_head(asked, Order::Name, "Name", "words"))
                                th scope="col" { "Frontends" }
                                th scope="col" { "Scheduler" }
                                @for (order, head) in SORTED {
                                    (sort_head(asked, order, head, "number"))
                                }
                            }
                        }
                        @for service in &seen.services { (service_rows(service)) }
                    }
                }
            }
            (pager.html())
        }
    }
}

fn counted(seen: &Seen) -> String {
    let Seen {
        asked,
        tally,
        matching,
        ..
    } = seen;
    match (tally.services, asked.filter.is_empty()) {
        (0, _) => "There is no service yet. weirctl apply -f FILE makes one.".to_owned(),
        (all, true) => format!("{all} in all"),
        (all, false) => format!("{matching} of {all} have “{}”", asked.filter),
    }
}

fn service_rows(service: &ServiceSeen) -> Markup {
    let ServiceSeen {
        name,
        frontends,
        scheduler,
        sum,
        backend_count,
        backends,
        troubles,
        more_troubles,
    } = service;
    html! {
        tbody #{"service-" (name)} {
            tr {
                th scope="row" { (name) }
                td {
                    ul.plain { @for frontend in frontends { li { (frontend) } } }
                }
                td { (scheduler) }
                (figures(sum))
            }
            tr.more {
                td colspan=(COLUMNS) {
                    @if backends.is_empty() {
                        "No backend"
                    } @else {
                        details #{"backends-" (name)} {
                            summary { (backend_count) @if *backend_count == 1 { " backend" } @else { " backends" } }
                            (backend_table(name.as_str(), backends, *backend_count))
                        }
                    }
                    (trouble_list(troubles, *more_troubles))
                }
            }
        }
    }
}

fn backend_table(service: &str, backends: &[BackendSeen], count: usize) -> Markup {
    html! {
        table.inner {
            caption.hidden { "Backends of " (service) }
            thead {
                tr {
                    th scope="col" { "Backend" }
                    th scope="col" { "Node" }
                    th.number scope="col" { "Weight" }
                    @for (_, head) in SORTED { th.number scope="col" { (head) } }
                }
            }
            tbody {
                @for backend in backends {
                    tr {
                        th scope="row" { (backend.endpoint) }
                        td { @if backend.node.is_empty() { "any" } @else { (backend.node) } }
                        td.number { @if backend.cordoned { "0 (cordoned, else " (backend.weight) ")" } @else { (backend.weight) } }
                        (figures(&backend.sum))
                    }
                }
            }
        }
        @if count > backends.len() {
            p { "The busiest " (backends.len()) " of " (count) "; all with "
                code { "weirctl top backends" } "." }
        }
    }
}

fn figures(sum: &Sum) -> Markup {
    let failing = failed(sum);
    html! {
        td.number title=(format!("{} inactive", sum.now.inactive)) { (short(sum.now.active as f64)) }
        td.number { (short(connections(sum))) }
        td.number.bad[failing > 0.0] { (short(failing)) }
        td.number { (bytes(bytes_in(sum))) }
        td.number { (bytes(bytes_out(sum))) }
    }
}

fn nodes(seen: &Seen) -> Markup {
    let asked = &seen.asked;
    let at = |page| {
        let asked = Query {
            node_page: page,
            ..asked.clone()
        };
        format!("{}#nodes", asked.address())
    };
    let pager = Pager {
        label: "Pages of nodes",
        rows: seen.tally.nodes,
        page: asked.node_page,
        back: at(asked.node_page - 1),
        on: at(asked.node_page + 1),
    };
    html! {
        section #nodes aria-labelledby="nodes-head" tabindex="-1" {
            h2 #nodes-head { "Nodes" }
            @if seen.nodes.is_empty() {
                p { "No node yet: an agent registers its own." }
            } @else {
                div.wide role="region" aria-label="Table of nodes" tabindex="0" {
                    table {
                        thead {
                            tr {
                                th scope="col" { "Name" }
                                th scope="col" { "State" }
                                @for head in ["Wanted", "Accepted", "Converged", "Items", "Drains", "Repairs"] {
                                    th.number scope="col" { (head) }
                                }
                                th scope="col" { "Last heard" }
                                th scope="col" { "What is in the way" }
                            }
                        }
                        tbody {
                            @for node in &seen.nodes { (node_row(node)) }
                        }
                    }
                }
            }
            (pager.html())
        }
    }
}

fn node_row(node: &NodeSeen) -> Markup {
    let reached = |pick: fn((u64, u64)) -> u64| match node.reached {
        Some(reached) => pick(reached).to_string(),
        None => "?".to_owned(),
    };
    let class = match node.state {
        NodeState::Converged => "good",
        NodeState::Behind | NodeState::Unheard | NodeState::Held => "waiting",
        NodeState::Gone | NodeState::Degraded | NodeState::Rejecting | NodeState::Failing => "bad",
    };
    html! {
        tr #{"node-" (node.name)} {
            th scope="row" { (node.name) }
            td {
                span class={"state " (class)} { (node.state.word()) }
                @if node.cordoned { ", " span.state.waiting { "cordoned" } }
            }
            td.number { (node.wanted) }
            td.number { (reached(|(accepted, _)| accepted)) }
            td.number { (reached(|(_, converged)| converged)) }
            td.number { (node.items) }
            td.number { (node.drains) }
            td.number { (node.repairs) }
            td { @match node.heard_ms_ago { Some(heard) => { (ago(heard)) }, None => { "never" } } }
            td { (trouble_list(&node.troubles, node.more_troubles)) }
        }
    }
}

fn events(events: &[EventSeen]) -> Markup {
    html! {
        section #events aria-labelledby="events-head" tabindex="-1" {
            h2 #events-head { "Last events" }
            @if events.is_empty() {
                p { "Nothing has happened yet." }
            } @else {
                div.wide role="region" aria-label="Table of events" tabindex="0" {
                    table {
                        thead {
                            tr {
                                @for head in ["Last seen", "Type", "Reason", "Of", "Message"] {
                                    th scope="col" { (head) }
                                }
                                th.number scope="col" { "Times" }
                            }
                        }
                        tbody {
                            @for event in events { (event_row(event)) }
                        }
                    }
                }
                p { "More with " code { "weirctl get events" } "." }
            }
        }
    }
}

fn event_row(event: &EventSeen) -> Markup {
    let EventSeen {
        number,
        last_ms_ago,
        warns,
        reason,
        of,
        message,
        count,
    } = event;
    html! {
        tr #{"event-" (number)} {
            td { (ago(*last_ms_ago)) }
            td { @if *warns { span.state.bad { "Warning" } } @else { "Normal" } }
            th scope="row" { (reason) }
            td { @if of.is_empty() { "the cluster" } @else { (of) } }
            td { (message) }
            td.number { (count) }
        }
    }
}

fn trouble_list(troubles: &[String], more: usize) -> Markup {
    html! {
        @if !troubles.is_empty() {
            ul.troubles {
                @for trouble in troubles { li { (trouble) } }
                @if more > 0 { li { "and " (more) " more" } }
            }
        }
    }
}

fn sort_head(asked: &Query, order: Order, head: &str, class: &str) -> Markup {
    let sorted = asked.order == order;
    let direction = match (sorted, order) {
        (false, _) => None,
        (true, Order::Name) => Some("ascending"),
        (true, _) => Some("descending"),
    };
    let sorted_so = Query {
        order,
        page: 1,
        ..asked.clone()
    };
    let address = format!("{}#services", sorted_so.address());
    html! {
        th scope="col" class=(class) aria-sort=[direction] {
            a href=(address) { (head) @if sorted { span aria-hidden="true" { @if order == Order::Name { " ▲" } @else { " ▼" } } } }
        }
    }
}

fn at_page(asked: &Query, page: usize, part: &str) -> String {
    let asked = Query {
        page,
        ..asked.clone()
    };
    format!("{}{part}", asked.address())
}

fn with_filter(asked: &Query, filter: &str) -> String {
    let asked = Query {
        filter: filter.to_owned(),
        page: 1,
        ..asked.clone()
    };
    asked.address()
}

impl Pager {
    fn html(&self) -> Markup {
        let Self {
            label,
            rows,
            page,
            back,
            on,
        } = self;
        let last = pages(*rows);
        html! {
            @if last > 1 {
                nav aria-label=(label) {
                    @if *page > 1 { a rel="prev" href=(back) { "Previous" } }
                    span { ((page - 1) * ROWS + 1) "–" ((page * ROWS).min(*rows)) " of " (rows) }
                    @if *page < last { a rel="next" href=(on) { "Next" } }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
