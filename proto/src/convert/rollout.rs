//! Rollouts: the steps that are asked for, and where one stands.

use super::{FieldErrors, Problems};
use crate::model::{Canary, CanaryStep, Refused, RolloutPhase, Steering};
use crate::wire;
use crate::wire::canary::step::Size;

/// Reads the steps of a rollout that stand at `at`: `canary.steps[1].percent`.
pub fn canary_from_wire(canary: &wire::Canary, at: &str) -> Result<Canary, FieldErrors> {
    let mut problems = Problems::default();
    let place_of = |place: usize| match canary.steps.get(place).and_then(|step| step.size) {
        Some(Size::Nodes(_)) => format!("{at}.steps[{place}].nodes"),
        Some(Size::Percent(_)) => format!("{at}.steps[{place}].percent"),
        None => format!("{at}.steps[{place}]"),
    };
    let mut steps = Vec::with_capacity(canary.steps.len());
    for (place, step) in canary.steps.iter().enumerate() {
        match step.size {
            Some(Size::Nodes(nodes)) => steps.push(CanaryStep::Nodes(nodes)),
            Some(Size::Percent(percent)) => steps.push(CanaryStep::Percent(percent)),
            None => problems.add(place_of(place), Refused::Missing),
        }
    }
    // with a step missing the places of the others are not known
    if steps.len() < canary.steps.len() {
        return problems.finish(None);
    }
    match Canary::new(steps) {
        Ok(canary) => problems.finish(Some(canary)),
        Err(refused) => {
            for (place, refused) in refused {
                let path = place.map_or_else(|| format!("{at}.steps"), place_of);
                problems.add(path, refused);
            }
            problems.finish(None)
        }
    }
}

/// Writes the steps of a rollout.
pub fn canary_to_wire(canary: &Canary) -> wire::Canary {
    let steps = canary.steps().iter().map(|step| {
        let size = match *step {
            CanaryStep::Nodes(nodes) => Size::Nodes(nodes),
            CanaryStep::Percent(percent) => Size::Percent(percent),
        };
        wire::canary::Step { size: Some(size) }
    });
    wire::Canary {
        steps: steps.collect(),
    }
}

/// Reads where a rollout stands.
pub fn phase_from_wire(number: i32) -> Result<RolloutPhase, Refused> {
    use wire::rollout::Phase;
    match Phase::try_from(number) {
        Ok(Phase::Running) => Ok(RolloutPhase::Running),
        Ok(Phase::Paused) => Ok(RolloutPhase::Paused),
        Ok(Phase::Halted) => Ok(RolloutPhase::Halted),
        Ok(Phase::Done) => Ok(RolloutPhase::Done),
        Ok(Phase::Undone) => Ok(RolloutPhase::Undone),
        Ok(Phase::Unspecified) => Err(Refused::Missing),
        Err(_) => Err(Refused::Enum(number, "phase")),
    }
}

/// Writes where a rollout stands.
pub fn phase_to_wire(phase: RolloutPhase) -> wire::rollout::Phase {
    use wire::rollout::Phase;
    match phase {
        RolloutPhase::Running => Phase::Running,
        RolloutPhase::Paused => Phase::Paused,
        RolloutPhase::Halted => Phase::Halted,
        RolloutPhase::Done => Phase::Done,
        RolloutPhase::Undone => Phase::Undone,
    }
}

/// Reads what is to be done with a rollout.
pub fn steering_from_wire(number: i32) -> Result<Steering, Refused> {
    use wire::steer_rollout_request::Action;
    match Action::try_from(number) {
        Ok(Action::Pause) => Ok(Steering::Pause),
        Ok(Action::Resume) => Ok(Steering::Resume),
        Ok(Action::Undo) => Ok(Steering::Undo),
        Ok(Action::Unspecified) => Err(Refused::Missing),
        Err(_) => Err(Refused::Enum(number, "action")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(size: impl Into<Option<Size>>) -> wire::canary::Step {
        wire::canary::Step { size: size.into() }
    }

    fn read(steps: &[Option<Size>]) -> Result<Canary, String> {
        let steps = steps.iter().map(|size| step(*size)).collect();
        let read = canary_from_wire(&wire::Canary { steps }, "canary");
        read.map_err(|errors| errors.to_string())
    }

    #[test]
    fn steps_are_read_as_they_were_written() {
        let canary: Canary = "1,10%,100%".parse().expect("steps");
        let read = canary_from_wire(&canary_to_wire(&canary), "canary");
        assert_eq!(read, Ok(canary));
    }

    #[test]
    fn every_bad_step_is_named_by_its_path() {
        for (steps, why) in [
            (&[][..], "canary.steps: missing"),
            (
                &[Some(Size::Nodes(1)), None, None],
                "canary.steps[1]: missing; canary.steps[2]: missing",
            ),
            (
                &[Some(Size::Nodes(0)), Some(Size::Percent(101))],
                "canary.steps[0].nodes: a step is of at least 1 node; \
                 canary.steps[1].percent: 101 is not in 1-100; \
                 canary.steps[1].percent: the last step is 100%, so that every node gets it",
            ),
            (
                &[
                    Some(Size::Percent(20)),
                    Some(Size::Percent(10)),
                    Some(Size::Percent(100)),
                ],
                "canary.steps[1].percent: 10% is not more than 20%, which comes before it",
            ),
        ] {
            assert_eq!(read(steps), Err(why.to_owned()));
        }
        let many: Vec<_> = (1..=17).map(|nodes| Some(Size::Nodes(nodes))).collect();
        assert_eq!(
            read(&many),
            Err(
                "canary.steps: 17 steps are more than 16; canary.steps[16].nodes: the last step is \
                 100%, so that every node gets it"
                    .to_owned()
            )
        );
    }

    #[test]
    fn a_phase_is_read_as_it_was_written() {
        for phase in [
            RolloutPhase::Running,
            RolloutPhase::Paused,
            RolloutPhase::Halted,
            RolloutPhase::Done,
            RolloutPhase::Undone,
        ] {
            assert_eq!(phase_from_wire(phase_to_wire(phase).into()), Ok(phase));
        }
        assert_eq!(phase_from_wire(0), Err(Refused::Missing));
        assert_eq!(phase_from_wire(9), Err(Refused::Enum(9, "phase")));
        assert_eq!(steering_from_wire(9), Err(Refused::Enum(9, "action")));
        assert_eq!(steering_from_wire(2), Ok(Steering::Resume));
    }
}
