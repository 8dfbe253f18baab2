//! Sums of what passes. PURE
//!
//! What is there now is added and taken away again as whole numbers, so that what is left when all is gone is nothing.

use weir_proto::model::Increment;

/// Rates are kept in thousandths, so that they are whole numbers.
const PER: u128 = 1_000;

/// What passed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) connections: u64,
    pub(crate) failed: u64,
    pub(crate) packets_in: u64,
    pub(crate) packets_out: u64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
}

/// What there is now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Present {
    pub(crate) active: u64,
    pub(crate) inactive: u64,
    /// Connections of the last intervals.
    pub(crate) opened: u64,
    /// How often it is told that a backend answers none.
    pub(crate) silent: u64,
    /// What passes in a thousand seconds.
    rates: Totals,
}

/// What passed, and what there is now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Sum {
    pub(crate) total: Totals,
    pub(crate) now: Present,
}

/// What passed through one backend of one node in an interval, and what there was at its end. Small, since there is one for
/// each backend of each node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Interval {
    milliseconds: u32,
    connections: u32,
    failed: u32,
    packets_in: u32,
    packets_out: u32,
    active: u32,
    inactive: u32,
    bytes_in: u64,
    bytes_out: u64,
    silent: bool,
}

impl Totals {
    /// Takes what passed in an interval.
    pub(super) fn of(increment: &Increment) -> Self {
        let Increment {
            backend: _,
            connections,
            failed,
            packets_in,
            packets_out,
            bytes_in,
            bytes_out,
            active: _,
            inactive: _,
            silent: _,
        } = *increment;
        Self {
            connections,
            failed,
            packets_in,
            packets_out,
            bytes_in,
            bytes_out,
        }
    }

    /// Adds what passed; it never goes back.
    pub(super) fn add(&mut self, more: Self) {
        self.each(more, u64::saturating_add);
    }

    fn each(&mut self, other: Self, act: impl Fn(u64, u64) -> u64) {
        let Self {
            connections,
            failed,
            packets_in,
            packets_out,
            bytes_in,
            bytes_out,
        } = self;
        for (mine, others) in [
            (connections, other.connections),
            (failed, other.failed),
            (packets_in, other.packets_in),
            (packets_out, other.packets_out),
            (bytes_in, other.bytes_in),
            (bytes_out, other.bytes_out),
        ] {
            *mine = act(*mine, others);
        }
    }
}

impl Present {
    /// Adds what there is.
    pub(super) fn add(&mut self, more: Self) {
        self.each(more, u64::wrapping_add);
    }

    /// Takes away what was added.
    pub(super) fn take_away(&mut self, less: Self) {
        self.each(less, u64::wrapping_sub);
    }

    fn each(&mut self, other: Self, act: impl Fn(u64, u64) -> u64) {
        self.active = act(self.active, other.active);
        self.inactive = act(self.inactive, other.inactive);
        self.opened = act(self.opened, other.opened);
        self.silent = act(self.silent, other.silent);
        self.rates.each(other.rates, act);
    }

    /// Gives how many pass in a second, of one kind.
    pub(crate) fn per_second(&self, of: impl Fn(&Totals) -> u64) -> f64 {
        of(&self.rates) as f64 / PER as f64
    }

    /// Gives how busy it is: connections there are, or those of the interval where these are over sooner.
    pub(crate) fn load(&self) -> u64 {
        self.active.max(self.opened)
    }
}

impl Interval {
    /// Takes what passed in so many milliseconds.
    pub(super) fn new(increment: &Increment, milliseconds: u64) -> Self {
        // more than that in one interval passes through no machine
        let small = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        Self {
            milliseconds: small(milliseconds.max(1)),
            connections: small(increment.connections),
            failed: small(increment.failed),
            packets_in: small(increment.packets_in),
            packets_out: small(increment.packets_out),
            active: small(increment.active),
            inactive: small(increment.inactive),
            bytes_in: increment.bytes_in,
            bytes_out: increment.bytes_out,
            silent: increment.silent,
        }
    }

    /// Says whether there is nothing that would stay when nothing passes.
    pub(super) fn leaves_nothing(&self) -> bool {
        self.at_rest() == Self::default()
    }

    /// Gives what is left when nothing passes any more: the connections, and that none is answered.
    pub(super) fn at_rest(self) -> Self {
        Self {
            active: self.active,
            inactive: self.inactive,
            silent: self.silent,
            ..Self::default()
        }
    }

    /// Gives what there is by it.
    pub(super) fn present(&self) -> Present {
        let milliseconds = u128::from(self.milliseconds.max(1));
        let rate = |number: u64| {
            let rate = u128::from(number) * 1_000 * PER / milliseconds;
            u64::try_from(rate).unwrap_or(u64::MAX)
        };
        Present {
            active: self.active.into(),
            inactive: self.inactive.into(),
            opened: self.connections.into(),
            silent: self.silent.into(),
            rates: Totals {
                connections: rate(self.connections.into()),
                failed: rate(self.failed.into()),
                packets_in: rate(self.packets_in.into()),
                packets_out: rate(self.packets_out.into()),
                bytes_in: rate(self.bytes_in),
                bytes_out: rate(self.bytes_out),
            },
        }
    }
}
