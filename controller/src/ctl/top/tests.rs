//! The screens that people see, as text, and what keys make of them.

mod keys;
mod screens;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use weir_proto::wire;

use super::columns::{Column, Sort};
use super::draw::{Palette, draw};
use super::rows::Subject;
use super::state::{Start, Top};

/// When the first answer is made, in Unix milliseconds.
const START: u64 = 1_700_000_000_000;

/// What passes through something.
struct Load {
    name: &'static str,
    rate: f64,
    failed: f64,
    bytes: f64,
    active: u64,
    inactive: u64,
}

fn load(name: &'static str, rate: f64, bytes: f64, active: u64) -> Load {
    Load {
        name,
        rate,
        failed: 0.0,
        bytes,
        active,
        inactive: active / 3,
    }
}

impl Load {
    fn failing(self, failed: f64) -> Self {
        Self { failed, ..self }
    }

    /// Gives what is counted, with a rate that is more or less.
    fn counters(&self, factor: f64) -> wire::Counters {
        wire::Counters {
            connections: 1_234_567,
            failed_connections: 17,
            packets_in: 9_000_000,
            packets_out: 8_000_000,
            bytes_in: 1 << 33,
            bytes_out: 1 << 36,
            active_connections: self.active,
            inactive_connections: self.inactive,
            connections_per_second: self.rate * factor,
            failed_connections_per_second: self.failed,
            packets_in_per_second: self.rate * 12.0,
            packets_out_per_second: self.rate * 10.0,
            bytes_in_per_second: self.bytes * 0.2,
            bytes_out_per_second: self.bytes * 0.8,
        }
    }
}

/// A service with so many backends, of which so many are silent.
fn service(load: &Load, factor: f64, backends: u32, silent: u32) -> wire::ServiceTraffic {
    wire::ServiceTraffic {
        name: load.name.to_owned(),
        counters: Some(load.counters(factor)),
        backend_count: backends,
        silent_backend_count: silent,
        imbalance: match load.active {
            0 => 0.0,
            active => 1.0 + f64::from(u32::try_from(active % 40).unwrap_or(0)) / 25.0,
        },
    }
}

fn backend(load: &Load, service: &str, silent: bool) -> wire::BackendTraffic {
    wire::BackendTraffic {
        service: service.to_owned(),
        address: load.name.to_owned(),
        port: 8080,
        counters: Some(load.counters(1.0)),
        silent,
    }
}

fn node(load: &Load, factor: f64, conntrack: Option<wire::Conntrack>) -> wire::NodeTraffic {
    wire::NodeTraffic {
        name: load.name.to_owned(),
        counters: Some(load.counters(factor)),
        conntrack,
        vips: Vec::new(),
    }
}

fn conntrack(entries: u64, dropped: u64) -> Option<wire::Conntrack> {
    Some(wire::Conntrack {
        entries,
        max_entries: 262_144,
        dropped,
        insert_failed: 0,
        early_dropped: 0,
    })
}

/// Goes up and down, between a half and one and a half, within 24 answers.
fn wave(number: u64) -> f64 {
    let phase = f64::from(u32::try_from(number % 24).unwrap_or(0));
    0.5 + (phase - 12.0).abs() / 12.0
}

/// What passes through a shop of some services.
fn shop(number: u64) -> wire::TrafficResponse {
    let factor = wave(number);
    let mib = 1_048_576.0;
    let services = [
        (load("api-gateway", 1_840.0, 92.0 * mib, 48_210), 24, 0),
        (load("checkout", 312.0, 4.1 * mib, 2_904).failing(1.4), 8, 0),
        (load("dns", 25_400.0, 1.9 * mib, 0), 3, 0),
        (load("idle", 0.0, 0.0, 0), 2, 0),
        (load("images", 96.0, 812.0 * mib, 1_033), 12, 0),
        (load("ledger", 0.4, 812.0, 12), 3, 1),
        (
            load(
                "payments-settlement-reconciliation-eu-west-1-production",
                41.0,
                0.3 * mib,
                388,
            ),
            6,
            0,
        ),
        (load("search", 720.0, 11.0 * mib, 6_122), 16, 0),
        (load("sessions", 1_003.0, 2.2 * mib, 123_456), 4, 0),
        (
            load("web", 2_210.0, 160.0 * mib, 21_874).failing(0.004),
            40,
            2,
        ),
    ];
    let backends = [
        (
            load("10.0.0.11", 120.0, 1.4 * mib, 1_300),
            "checkout",
            false,
        ),
        (
            load("10.0.0.12", 118.0, 1.3 * mib, 1_204),
            "checkout",
            false,
        ),
        (
            load("10.0.0.13", 74.0, 1.4 * mib, 400).failing(1.4),
            "checkout",
            true,
        ),
        (
            load("fd00:10:96::1:2a", 41.0, 0.3 * mib, 388),
            "payments-settlement-reconciliation-eu-west-1-production",
            false,
        ),
        (load("10.0.1.1", 2_210.0, 160.0 * mib, 21_874), "web", false),
    ];
    let nodes = [
        (
            load("edge-a", 16_000.0, 540.0 * mib, 101_000),
            conntrack(120_000, 0),
        ),
        (
            load("edge-b", 14_800.0, 530.0 * mib, 98_000),
            conntrack(249_000, 31),
        ),
        (load("edge-c", 0.0, 0.0, 0), None),
    ];
    wire::TrafficResponse {
        at_unix_ms: START + number * 2_000,
        services: services
            .iter()
            .map(|(load, backends, silent)| service(load, factor, *backends, *silent))
            .collect(),
        backends: backends
            .iter()
            .map(|(load, service, silent)| backend(load, service, *silent))
            .collect(),
        nodes: nodes
            .iter()
            .map(|(load, conntrack)| node(load, factor, *conntrack))
            .collect(),
    }
}

/// Many services, each with a rate of its own.
fn many(count: u32) -> wire::TrafficResponse {
    let services = (0..count).map(|number| {
        let rate = f64::from(number * 7_919 % count);
        wire::ServiceTraffic {
            name: format!("service-{number:05}"),
            counters: Some(load("", rate, rate * 1_024.0, u64::from(number)).counters(1.0)),
            backend_count: 10,
            silent_backend_count: 0,
            imbalance: 1.0,
        }
    });
    wire::TrafficResponse {
        at_unix_ms: START,
        services: services.collect(),
        ..wire::TrafficResponse::default()
    }
}

fn start(subject: Subject, size: (u16, u16)) -> Top {
    Top::new(Start {
        subject,
        names: Vec::new(),
        sort: None,
        filter: String::new(),
        interval_ms: 2_000,
        url: "http://127.0.0.1:7420".to_owned(),
        size,
    })
}

/// What is shown of the shop after some minutes.
fn open(subject: Subject, size: (u16, u16)) -> Top {
    let mut top = start(subject, size);
    for number in 0..70 {
        top.answer(shop(number), START + number * 2_000);
    }
    top
}

fn buffer(top: &Top, coloured: bool) -> Buffer {
    let (columns, lines) = top.size;
    let backend = TestBackend::new(columns, lines);
    let mut terminal = Terminal::new(backend).expect("a terminal in memory");
    let drawn = terminal.draw(|frame| draw(top, Palette { coloured }, frame.buffer_mut()));
    drawn.expect("it takes everything");
    terminal.backend().buffer().clone()
}

/// The screen as text, without what trails.
fn text(top: &Top) -> String {
    let buffer = buffer(top, true);
    let width = usize::from(buffer.area.width.max(1));
    let mut text = String::new();
    for line in buffer.content().chunks(width) {
        let line: String = line.iter().map(|cell| cell.symbol()).collect();
        text += line.trim_end();
        text.push('\n');
    }
    text
}

/// The names on the screen, from above.
fn names(top: &Top) -> Vec<String> {
    top.shown().iter().map(|row| row.name.clone()).collect()
}

fn by(column: Column) -> Sort {
    Sort::by(column)
}
