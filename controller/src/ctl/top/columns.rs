//! The columns: what each shows, by what it sorts, and which of them there is room for. PURE.

use std::cmp::Ordering;

use weir_proto::wire;

use super::rows::{Detail, Row, Subject};
use super::trend;
use super::units::{NOTHING, bytes, count, float, percent, rate, ratio, share};

/// What stands between two columns.
pub(crate) const GAP: usize = 2;
/// What stands before each row: whether it is chosen, or silent.
pub(crate) const GUTTER: usize = 1;

/// How wide a name gets before the trend gets wider.
const FAIR_NAME: usize = 32;

/// What a column shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Column {
    Name,
    Connections,
    Failed,
    Bytes,
    BytesIn,
    BytesOut,
    Packets,
    Active,
    Inactive,
    Imbalance,
    Backends,
    Silent,
    Tracked,
    TrackedShare,
    TrackDrops,
    Total,
    Trend,
}

/// By what rows are sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sort {
    pub(crate) column: Column,
    /// The other way round than the column is sorted by itself.
    pub(crate) reversed: bool,
}

/// Where a column stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) column: Column,
    pub(crate) at: usize,
    pub(crate) width: usize,
}

/// What a cell tells besides its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Alarm {
    None,
    /// Should be looked at.
    Warning,
    /// Somebody must act.
    Bad,
}

/// Services from the left to the right.
const SERVICES: [Column; 14] = [
    Column::Name,
    Column::Connections,
    Column::Failed,
    Column::Bytes,
    Column::BytesIn,
    Column::BytesOut,
    Column::Packets,
    Column::Active,
    Column::Inactive,
    Column::Imbalance,
    Column::Backends,
    Column::Silent,
    Column::Total,
    Column::Trend,
];
const BACKENDS: [Column; 12] = [
    Column::Name,
    Column::Connections,
    Column::Failed,
    Column::Bytes,
    Column::BytesIn,
    Column::BytesOut,
    Column::Packets,
    Column::Active,
    Column::Inactive,
    Column::Imbalance,
    Column::Total,
    Column::Trend,
];
const NODES: [Column; 15] = [
    Column::Name,
    Column::Connections,
    Column::Failed,
    Column::Bytes,
    Column::BytesIn,
    Column::BytesOut,
    Column::Packets,
    Column::Active,
    Column::Inactive,
    Column::Imbalance,
    Column::TrackedShare,
    Column::Tracked,
    Column::TrackDrops,
    Column::Total,
    Column::Trend,
];
/// From the last that goes to the first, when room gets short; and the first that comes when there is more. The name
/// is always there.
const PRIORITY: [Column; 16] = [
    Column::Connections,
    Column::Active,
    Column::Bytes,
    Column::Failed,
    Column::Imbalance,
    Column::TrackedShare,
    Column::Inactive,
    Column::Trend,
    Column::BytesIn,
    Column::BytesOut,
    Column::Silent,
    Column::Backends,
    Column::TrackDrops,
    Column::Tracked,
    Column::Packets,
    Column::Total,
];
/// What tables for files and pipes leave out unless they are wide.
const WIDE_ONLY: [Column; 8] = [
    Column::BytesIn,
    Column::BytesOut,
    Column::Packets,
    Column::Backends,
    Column::Silent,
    Column::Tracked,
    Column::TrackDrops,
    Column::Total,
];

impl Subject {
    fn columns(self) -> &'static [Column] {
        match self {
            Self::Services => &SERVICES,
            Self::Backends => &BACKENDS,
            Self::Nodes => &NODES,
        }
    }

    /// Gives the columns of a table that goes to a file or a pipe.
    pub(crate) fn printed(self, wide: bool) -> Vec<Column> {
        let columns = self.columns().iter().copied();
        columns
            .filter(|column| *column != Column::Trend && (wide || !WIDE_ONLY.contains(column)))
            .collect()
    }

    /// Gives the columns by which rows can be sorted.
    pub(crate) fn sortable(self) -> impl Iterator<Item = Column> {
        let columns = self.columns().iter().copied();
        columns.filter(|column| *column != Column::Trend)
    }

    /// Gives how narrow a name may get before a column goes in its place.
    fn least_name(self) -> usize {
        match self {
            Self::Services => 18,
            // room for an IPv4 address with its port
            Self::Backends => 20,
            Self::Nodes => 14,
        }
    }

    /// Places the columns that `width` has room for: by priority, then more of the name, of the trend, and of the name.
    pub(crate) fn layout(self, width: usize, longest_name: usize) -> Vec<Place> {
        let narrowest = |column: Column| match column {
            Column::Name => self.least_name(),
            other => other.width(),
        };
        let mut chosen = vec![Column::Name];
        let mut left = width.saturating_sub(GUTTER + self.least_name());
        for column in PRIORITY {
            let wanted = narrowest(column) + GAP;
            if self.columns().contains(&column) && wanted <= left {
                chosen.push(column);
                left -= wanted;
            }
        }
        let least = self.least_name();
        let fair = longest_name.min(FAIR_NAME).saturating_sub(least).min(left);
        left -= fair;
        let trend = match chosen.contains(&Column::Trend) {
            true => trend::width(Column::Trend.width() + left),
            false => None,
        };
        let trend = trend.unwrap_or(Column::Trend.width());
        left -= trend - Column::Trend.width();
        let name = longest_name.saturating_sub(least + fair).min(left) + least + fair;
        let mut at = GUTTER;
        let mut places = Vec::new();
        for column in self.columns().iter().filter(|it| chosen.contains(it)) {
            let width = match column {
                Column::Name => name,
                Column::Trend => trend,
                other => other.width(),
            };
            places.push(Place {
                column: *column,
                at,
                width,
            });
            at += width + GAP;
        }
        places
    }
}

impl Column {
    /// Gives the head of the column. That of the trend depends on how long it is.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Name => "NAME",
            Self::Connections => "CONN/S",
            Self::Failed => "FAIL/S",
            Self::Bytes => "BYTES/S",
            Self::BytesIn => "IN/S",
            Self::BytesOut => "OUT/S",
            Self::Packets => "PKTS/S",
            Self::Active => "ACTIVE",
            Self::Inactive => "INACT",
            Self::Imbalance => "IMBAL",
            Self::Backends => "BACKENDS",
            Self::Silent => "SILENT",
            Self::Tracked => "ENTRIES",
            Self::TrackedShare => "CT%",
            Self::TrackDrops => "DROPS",
            Self::Total => "TOTAL",
            Self::Trend => "CONN/S",
        }
    }

    /// Gives the word of `--sort-by`.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Connections => "conn",
            Self::Failed => "fail",
            Self::Bytes => "bytes",
            Self::BytesIn => "in",
            Self::BytesOut => "out",
            Self::Packets => "pkts",
            Self::Active => "active",
            Self::Inactive => "inact",
            Self::Imbalance => "imbal",
            Self::Backends => "backends",
            Self::Silent => "silent",
            Self::Tracked => "entries",
            Self::TrackedShare => "ct",
            Self::TrackDrops => "drops",
            Self::Total => "total",
            Self::Trend => "trend",
        }
    }

    /// Gives the key that sorts by it at once, as k9s has them: shifted letters.
    pub(crate) fn key(self) -> Option<char> {
        match self {
            Self::Name => Some('N'),
            Self::Connections => Some('C'),
            Self::Failed => Some('F'),
            Self::Bytes => Some('B'),
            Self::Active => Some('A'),
            Self::Inactive => Some('I'),
            Self::Imbalance => Some('M'),
            Self::Total => Some('T'),
            _ => None,
        }
    }

    /// Gives how wide it is: the head, or the widest number.
    fn width(self) -> usize {
        match self {
            // `1023MiB`
            Self::Bytes | Self::BytesIn | Self::BytesOut => 7,
            Self::Trend => 10,
            Self::Name | Self::TrackedShare => 4,
            other => other.title().len().max(5),
        }
    }

    /// Says whether it is numbers, which stand on the right.
    pub(crate) fn is_number(self) -> bool {
        !matches!(self, Self::Name | Self::Trend)
    }

    /// Gives the text of a cell; of names and trends, which depend on where they stand, none.
    pub(crate) fn text(self, row: &Row) -> String {
        let counters = &row.counters;
        match self {
            Self::Name => row.name.clone(),
            Self::Connections => rate(counters.connections_per_second),
            Self::Failed => rate(counters.failed_connections_per_second),
            Self::Bytes => bytes(row.bytes_per_second()),
            Self::BytesIn => bytes(counters.bytes_in_per_second),
            Self::BytesOut => bytes(counters.bytes_out_per_second),
            Self::Packets => rate(packets(row)),
            Self::Active => count(counters.active_connections),
            Self::Inactive => count(counters.inactive_connections),
            Self::Imbalance => ratio(row.imbalance),
            Self::Total => count(counters.connections),
            Self::Trend => String::new(),
            Self::Backends
            | Self::Silent
            | Self::Tracked
            | Self::TrackedShare
            | Self::TrackDrops => self
                .of_detail(&row.detail)
                .unwrap_or_else(|| NOTHING.to_owned()),
        }
    }

    fn of_detail(self, detail: &Detail) -> Option<String> {
        match (detail, self) {
            (Detail::Service { backends, .. }, Self::Backends) => Some(count((*backends).into())),
            (Detail::Service { silent, .. }, Self::Silent) => Some(count((*silent).into())),
            (Detail::Node { conntrack }, _) => {
                let tracked = conntrack.as_ref()?;
                match self {
                    Self::Tracked => Some(count(tracked.entries)),
                    Self::TrackedShare => share(tracked.entries, tracked.max_entries),
                    Self::TrackDrops => Some(count(drops(detail)?)),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    /// Gives the number that it is sorted by; not a number: it is sorted last.
    fn value(self, row: &Row) -> f64 {
        let counters = &row.counters;
        let of_node = |value: fn(&wire::Conntrack) -> f64| match &row.detail {
            Detail::Node {
                conntrack: Some(tracked),
            } => value(tracked),
            _ => f64::NAN,
        };
        match self {
            Self::Name | Self::Trend => 0.0,
            Self::Connections => counters.connections_per_second,
            Self::Failed => counters.failed_connections_per_second,
            Self::Bytes => row.bytes_per_second(),
            Self::BytesIn => counters.bytes_in_per_second,
            Self::BytesOut => counters.bytes_out_per_second,
            Self::Packets => packets(row),
            Self::Active => float(counters.active_connections),
            Self::Inactive => float(counters.inactive_connections),
            Self::Imbalance => row.imbalance,
            Self::Total => float(counters.connections),
            Self::Backends => match row.detail {
                Detail::Service { backends, .. } => f64::from(backends),
                _ => f64::NAN,
            },
            Self::Silent => match row.detail {
                Detail::Service { silent, .. } => f64::from(silent),
                _ => f64::NAN,
            },
            Self::Tracked => of_node(|tracked| float(tracked.entries)),
            Self::TrackedShare => {
                of_node(|tracked| percent(tracked.entries, tracked.max_entries).unwrap_or(f64::NAN))
            }
            Self::TrackDrops => drops(&row.detail).map_or(f64::NAN, float),
        }
    }

    /// Says how much a cell matters.
    pub(crate) fn alarm(self, row: &Row) -> Alarm {
        match self {
            Self::Failed if row.counters.failed_connections_per_second > 0.0 => Alarm::Bad,
            Self::Name | Self::Silent if row.is_silent() => Alarm::Warning,
            // a full table drops new connections (nf_conntrack_alloc, net/netfilter/nf_conntrack_core.c)
            Self::TrackedShare => match self.value(row) {
                90.0.. => Alarm::Bad,
                75.0.. => Alarm::Warning,
                _ => Alarm::None,
            },
            Self::TrackDrops if self.value(row) > 0.0 => Alarm::Warning,
            _ => Alarm::None,
        }
    }
}

impl Sort {
    /// Sorts by a column as it is sorted by itself: names upwards, numbers from the largest.
    pub(crate) fn by(column: Column) -> Self {
        Self {
            column,
            reversed: false,
        }
    }

    /// Says whether the smallest is on top.
    pub(crate) fn is_ascending(self) -> bool {
        (self.column == Column::Name) != self.reversed
    }

    /// Orders two rows, which stand by name. What has no number comes last either way, and what is equal stays by name.
    pub(crate) fn order(self, rows: &[Row], one: usize, other: usize) -> Ordering {
        if self.column == Column::Name {
            return match self.reversed {
                true => other.cmp(&one),
                false => one.cmp(&other),
            };
        }
        let value = |at: usize| rows.get(at).map_or(f64::NAN, |row| self.column.value(row));
        self.by_value(value(one), value(other))
            .then(one.cmp(&other))
    }

    fn by_value(self, a: f64, b: f64) -> Ordering {
        match (a.is_nan(), b.is_nan()) {
            (true, false) => return Ordering::Greater,
            (false, true) => return Ordering::Less,
            (true, true) => return Ordering::Equal,
            (false, false) => {}
        }
        match self.is_ascending() {
            true => a.total_cmp(&b),
            false => b.total_cmp(&a),
        }
    }
}

fn packets(row: &Row) -> f64 {
    row.counters.packets_in_per_second + row.counters.packets_out_per_second
}

/// Gives how many connections a node's connection tracking lost, since the controller started.
fn drops(detail: &Detail) -> Option<u64> {
    match detail {
        Detail::Node { conntrack } => {
            let lost = conntrack.as_ref()?;
            let refused = lost.dropped.saturating_add(lost.insert_failed);
            Some(refused.saturating_add(lost.early_dropped))
        }
        Detail::Service { .. } | Detail::Backend { .. } => None,
    }
}
