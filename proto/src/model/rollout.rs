//! How a batch reaches the nodes step by step.

use std::fmt;
use std::str::FromStr;

use super::Refused;

/// The steps of a rollout: 1-16, each of more nodes than the one before, the last of all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Canary(Vec<CanaryStep>);

/// How many of the nodes that a batch touches have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CanaryStep {
    /// So many, at least 1.
    Nodes(u32),
    /// So many of a hundred, 1-100, rounded up to whole nodes.
    Percent(u32),
}

/// Where a rollout stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RolloutPhase {
    /// It goes on by itself.
    Running,
    /// An operator stopped it.
    Paused,
    /// It stopped itself.
    Halted,
    /// Every node has the batch.
    Done,
    /// Every node has what was there before.
    Undone,
}

/// What an operator does with a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Steering {
    /// It stops where it is.
    Pause,
    /// It goes on.
    Resume,
    /// Every node gets what was there before.
    Undo,
}

impl Canary {
    /// More steps than anybody watches.
    pub const MOST_STEPS: usize = 16;

    /// Takes 1-16 steps that grow up to 100 percent. What is wrong comes with the place of the step; none: with all of
    /// them. Nodes and percents are compared among themselves: how the two compare depends on how many nodes there are.
    pub fn new(steps: Vec<CanaryStep>) -> Result<Self, Vec<(Option<usize>, Refused)>> {
        let mut problems = Vec::new();
        if steps.is_empty() {
            return Err(vec![(None, Refused::Missing)]);
        }
        if steps.len() > Self::MOST_STEPS {
            let many = format!("{} steps are more than {}", steps.len(), Self::MOST_STEPS);
            problems.push((None, Refused::Other(many)));
        }
        for (place, step) in steps.iter().enumerate() {
            if let Err(refused) = step.check() {
                problems.push((Some(place), refused));
                continue;
            }
            let before = steps.iter().take(place).rev();
            let larger = before.copied().find(|before| !before.is_below(*step));
            if let Some(larger) = larger {
                let text = format!("{step} is not more than {larger}, which comes before it");
                problems.push((Some(place), Refused::Other(text)));
            }
        }
        let last = steps.len() - 1;
        if steps.get(last) != Some(&CanaryStep::Percent(100)) {
            let text = "the last step is 100%, so that every node gets it";
            problems.push((Some(last), Refused::Other(text.to_owned())));
        }
        if problems.is_empty() {
            Ok(Self(steps))
        } else {
            Err(problems)
        }
    }

    /// Gives the steps.
    pub fn steps(&self) -> &[CanaryStep] {
        &self.0
    }

    /// Gives the place of the last step.
    pub fn last(&self) -> usize {
        self.0.len().saturating_sub(1)
    }

    /// Says how many of `nodes` have the batch when a step is over; never fewer than after a step before it.
    pub fn reach(&self, step: usize, nodes: usize) -> usize {
        let steps = self.0.iter().take(step.saturating_add(1));
        steps.map(|step| step.of(nodes)).max().unwrap_or_default()
    }

    /// Gives the step that reaches the node at a place of `nodes`, both from 0.
    pub fn step_of(&self, place: usize, nodes: usize) -> usize {
        let mut steps = 0..self.0.len();
        let reaches = |step: &usize| self.reach(*step, nodes) > place;
        steps.find(reaches).unwrap_or(self.last())
    }
}

impl CanaryStep {
    fn check(self) -> Result<(), Refused> {
        match self {
            Self::Nodes(0) => Err(Refused::Other("a step is of at least 1 node".to_owned())),
            Self::Nodes(_) | Self::Percent(1..=100) => Ok(()),
            Self::Percent(percent) => Err(Refused::OutOf(percent, 1, 100)),
        }
    }

    /// Says whether a later step may be `next`.
    fn is_below(self, next: Self) -> bool {
        match (self, next) {
            (Self::Nodes(one), Self::Nodes(next)) => one < next,
            (Self::Percent(one), Self::Percent(next)) => one < next,
            (Self::Nodes(_), Self::Percent(_)) => true,
            (Self::Percent(one), Self::Nodes(_)) => one < 100,
        }
    }

    fn of(self, nodes: usize) -> usize {
        match self {
            Self::Nodes(count) => usize::try_from(count).unwrap_or(usize::MAX).min(nodes),
            Self::Percent(percent) => {
                let percent = usize::try_from(percent).unwrap_or(100).min(100);
                (nodes * percent).div_ceil(100)
            }
        }
    }
}

impl fmt::Display for CanaryStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nodes(count) => write!(f, "{count}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl FromStr for CanaryStep {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        let (number, make): (&str, fn(u32) -> Self) = match text.strip_suffix('%') {
            Some(number) => (number, Self::Percent),
            None => (text, Self::Nodes),
        };
        let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        let number = digits.then(|| number.parse().ok()).flatten();
        number.map(make).ok_or_else(|| {
            Refused::Other(format!(
                "{text:?} is not a step; write a number of nodes, or 10%"
            ))
        })
    }
}

/// As on a command line: `1,10%,100%`.
impl fmt::Display for Canary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let steps: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&steps.join(","))
    }
}

impl FromStr for Canary {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        let steps = text.split(',').map(|step| step.trim().parse());
        let steps: Result<Vec<CanaryStep>, Refused> = steps.collect();
        Self::new(steps?).map_err(|problems| {
            let problems = problems.into_iter().map(|(place, refused)| match place {
                Some(place) => format!("step {}: {refused}", place + 1),
                None => refused.to_string(),
            });
            Refused::Other(problems.collect::<Vec<_>>().join("; "))
        })
    }
}

impl RolloutPhase {
    /// Says whether it is under way: other writes of what it is of wait for its end.
    pub fn is_under_way(self) -> bool {
        match self {
            Self::Running | Self::Paused | Self::Halted => true,
            Self::Done | Self::Undone => false,
        }
    }

    /// Gives the phase as text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Halted => "halted",
            Self::Done => "done",
            Self::Undone => "undone",
        }
    }
}

impl fmt::Display for RolloutPhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Canary, String> {
        text.parse().map_err(|refused: Refused| refused.to_string())
    }

    #[test]
    fn steps_are_written_as_they_are_read() {
        for text in ["100%", "1,10%,100%", "1,2,3,50%,100%", "10%,5,100%"] {
            assert_eq!(read(text).map(|canary| canary.to_string()), Ok(text.into()));
        }
        let spaced = read("1, 10%, 100%").map(|canary| canary.to_string());
        assert_eq!(spaced, Ok("1,10%,100%".into()));
    }

    #[test]
    fn what_are_no_steps_is_refused() {
        let many = (1..=16).map(|step| step.to_string());
        let many = many.collect::<Vec<_>>().join(",") + ",100%";
        for (text, why) in [
            ("", "\"\" is not a step; write a number of nodes, or 10%"),
            (
                "1,x",
                "\"x\" is not a step; write a number of nodes, or 10%",
            ),
            (
                "+1,100%",
                "\"+1\" is not a step; write a number of nodes, or 10%",
            ),
            (
                "1,,100%",
                "\"\" is not a step; write a number of nodes, or 10%",
            ),
            ("0,100%", "step 1: a step is of at least 1 node"),
            (
                "101%",
                "step 1: 101 is not in 1-100; step 1: the last step is 100%, so that every node gets it",
            ),
            (
                "1,10%",
                "step 2: the last step is 100%, so that every node gets it",
            ),
            (
                "2,1,100%",
                "step 2: 1 is not more than 2, which comes before it",
            ),
            (
                "10%,2,10%,100%",
                "step 3: 10% is not more than 10%, which comes before it",
            ),
            (
                "100%,200,100%",
                "step 2: 200 is not more than 100%, which comes before it; \
                 step 3: 100% is not more than 100%, which comes before it",
            ),
            (&many, "17 steps are more than 16"),
        ] {
            assert_eq!(
                read(text).map(|canary| canary.to_string()),
                Err(why.into()),
                "{text}"
            );
        }
    }

    #[test]
    fn a_step_reaches_whole_nodes_and_never_fewer_than_the_one_before() {
        let canary = read("1,10%,100%").expect("steps");
        let reach = |nodes| [0, 1, 2].map(|step| canary.reach(step, nodes));
        assert_eq!(reach(0), [0, 0, 0]);
        assert_eq!(reach(1), [1, 1, 1]);
        assert_eq!(reach(5), [1, 1, 5]);
        assert_eq!(reach(11), [1, 2, 11]);
        assert_eq!(reach(100), [1, 10, 100]);
        let canary = read("50,1%,100%").expect("steps");
        assert_eq!([0, 1, 2].map(|step| canary.reach(step, 100)), [50, 50, 100]);
    }

    #[test]
    fn a_place_has_the_step_that_reaches_it() {
        let canary = read("1,20%,100%").expect("steps");
        let steps: Vec<usize> = (0..10).map(|place| canary.step_of(place, 10)).collect();
        assert_eq!(steps, [0, 1, 2, 2, 2, 2, 2, 2, 2, 2]);
    }
}
