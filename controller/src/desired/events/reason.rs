//! What can happen, and what it is worth. PURE

use std::fmt;

/// Whether somebody may want to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum EventType {
    Normal,
    Warning,
}

/// What events happen to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ObjectKind {
    Node,
    Service,
    BackendSet,
    Backend,
    Vip,
    Rollout,
}

/// What happened, as the operators' language has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reason {
    NodeRegistered,
    NodeAddressesChanged,
    NodeDeleted,
    NodeConnected,
    NodeDisconnected,
    NodeReplaced,
    NodeDegraded,
    NodeRecovered,
    Applied,
    Deleted,
    RolledBack,
    DriftRepaired,
    ItemsRefused,
    ItemsFailed,
    UpdateRejected,
    HeldBack,
    HoldReleased,
    HoldEnded,
    DrainAsked,
    DrainCancelled,
    DrainBegan,
    DrainDeadline,
    DrainEnded,
    RolloutBegan,
    RolloutPaused,
    RolloutResumed,
    RolloutHalted,
    RolloutDone,
    RolloutUndone,
}

impl EventType {
    /// Gives the word.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

impl ObjectKind {
    /// Every kind.
    pub(crate) const ALL: [Self; 6] = [
        Self::Node,
        Self::Service,
        Self::BackendSet,
        Self::Backend,
        Self::Vip,
        Self::Rollout,
    ];

    /// Gives the word, as the operators' language has it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Service => "service",
            Self::BackendSet => "backendset",
            Self::Backend => "backend",
            Self::Vip => "vip",
            Self::Rollout => "rollout",
        }
    }

    /// Reads a word.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

impl Reason {
    /// Says what it is worth.
    pub(crate) fn event_type(self) -> EventType {
        match self {
            Self::NodeRegistered
            | Self::NodeAddressesChanged
            | Self::NodeDeleted
            | Self::NodeConnected
            | Self::NodeRecovered
            | Self::Applied
            | Self::Deleted
            | Self::RolledBack
            | Self::HoldReleased
            | Self::HoldEnded
            | Self::DrainAsked
            | Self::DrainCancelled
            | Self::DrainBegan
            | Self::DrainEnded
            | Self::RolloutBegan
            | Self::RolloutPaused
            | Self::RolloutResumed
            | Self::RolloutDone
            | Self::RolloutUndone => EventType::Normal,
            Self::NodeDisconnected
            | Self::NodeReplaced
            | Self::NodeDegraded
            | Self::DriftRepaired
            | Self::ItemsRefused
            | Self::ItemsFailed
            | Self::UpdateRejected
            | Self::HeldBack
            | Self::DrainDeadline
            | Self::RolloutHalted => EventType::Warning,
        }
    }

    /// Says whether a node may tell of any number of different ones.
    pub(super) fn is_of_many(self) -> bool {
        match self {
            Self::DriftRepaired
            | Self::ItemsRefused
            | Self::ItemsFailed
            | Self::UpdateRejected
            | Self::HeldBack
            | Self::HoldEnded
            | Self::DrainBegan
            | Self::DrainDeadline
            | Self::DrainEnded => true,
            // what a node has once, and what people do
            Self::NodeRegistered
            | Self::NodeAddressesChanged
            | Self::NodeDeleted
            | Self::NodeConnected
            | Self::NodeDisconnected
            | Self::NodeReplaced
            | Self::NodeDegraded
            | Self::NodeRecovered
            | Self::Applied
            | Self::Deleted
            | Self::RolledBack
            | Self::HoldReleased
            | Self::DrainAsked
            | Self::DrainCancelled
            | Self::RolloutBegan
            | Self::RolloutPaused
            | Self::RolloutResumed
            | Self::RolloutHalted
            | Self::RolloutDone
            | Self::RolloutUndone => false,
        }
    }
}

/// As it is told people and counted: NodeConnected.
impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
