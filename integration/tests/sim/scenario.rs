//! What goes wrong in a run, and when: all of it drawn from the seed.

use std::time::Duration;

use weir_controller::app::parts::Size;
use weir_integration::random::Random;

use crate::model::NODES;

/// For how long things go wrong.
pub(crate) const TROUBLE: Duration = Duration::from_secs(10);

/// Something that goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// An agent is gone; with its node if the power is cut.
    AgentGone { node: usize, power: bool },
    /// An agent starts again.
    AgentBack { node: usize },
    /// An agent starts again, and its disk is empty.
    JournalLost { node: usize },
    /// The controller is gone.
    ControllerGone,
    /// The controller starts again.
    ControllerBack,
    /// The controller is gone, and starts again with an empty disk.
    StoreLost,
    /// What is sent between a node and the controller is lost.
    Parted { node: usize },
    /// The same for one way only: what the node sends, or else what it is sent.
    PartedOneWay { node: usize, sends: bool },
    /// What is sent between a node and the controller waits.
    Held { node: usize },
    /// It arrives after all, or again.
    Joined { node: usize },
    /// So many of a thousand messages, of anybody, are lost.
    Lossy { per_mille: u32 },
    /// A clock on a wall is put forward or back; node 0 is the controller's.
    ClockJumps { machine: usize, by_ms: i64 },
    /// The next sync of a disk fails.
    SyncFails { machine: usize },
    /// A kernel refuses its next steps on some objects, or cannot be read for a while.
    KernelFails { node: usize, lot: u64 },
}

/// A run.
#[derive(Debug)]
pub(crate) struct Scenario {
    /// How long a message takes at most.
    pub(crate) latency: Duration,
    /// As how large a fleet the five nodes are taken.
    pub(crate) size: Size,
    /// In their order.
    pub(crate) faults: Vec<(Duration, Fault)>,
}

impl Scenario {
    /// Draws a run from a seed.
    pub(crate) fn draw(random: &mut Random) -> Self {
        let latency = *random.pick(&[5, 20, 50, 100, 200]);
        let mut faults = Vec::new();
        for _ in 0..random.below(12) {
            let at = 500 + random.below(TROUBLE.as_millis() as usize - 500);
            let until = at + 20 + random.below(3_000);
            let node = random.below(NODES.len());
            let machine = random.below(NODES.len() + 1);
            let pair = |begin, end| vec![(at, begin), (until, end)];
            faults.extend(match random.below(16) {
                0..=2 => {
                    let power = random.below(2) == 0;
                    pair(Fault::AgentGone { node, power }, Fault::AgentBack { node })
                }
                3 | 4 => pair(Fault::ControllerGone, Fault::ControllerBack),
                5 => vec![(at, Fault::StoreLost)],
                6 => vec![(at, Fault::JournalLost { node })],
                7 | 8 => pair(Fault::Parted { node }, Fault::Joined { node }),
                9 => {
                    let sends = random.below(2) == 0;
                    pair(Fault::PartedOneWay { node, sends }, Fault::Joined { node })
                }
                10 => pair(Fault::Held { node }, Fault::Joined { node }),
                11 => {
                    let per_mille = 1 + random.below(20) as u32;
                    pair(Fault::Lossy { per_mille }, Fault::Lossy { per_mille: 0 })
                }
                12 => {
                    let by = random.below(7_200_000) as i64 - 3_600_000;
                    vec![(at, Fault::ClockJumps { machine, by_ms: by })]
                }
                13 => vec![(at, Fault::SyncFails { machine })],
                _ => {
                    let lot = random.below(1 << 30) as u64;
                    vec![(at, Fault::KernelFails { node, lot })]
                }
            });
        }
        let large = |answers_per_second| Size::Large { answers_per_second };
        let size = *random.pick(&[Size::Small, large(50), large(10)]);
        faults.sort_by_key(|(at, _)| *at);
        let faults = faults.into_iter();
        Self {
            latency: Duration::from_millis(latency),
            size,
            faults: faults
                .map(|(at, fault)| (Duration::from_millis(at as u64), fault))
                .collect(),
        }
    }
}
