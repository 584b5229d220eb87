//! The state of a node in a run, and every transition between states.
//!
//! ```text
//!           Wanted             LookupStarted
//! Unwanted --------> Waiting ----------------> LookingUp
//!                     ^ |  \                      |
//!           Undecided | |   \                     | Settled, Failed, Planned, Undecided (to Waiting)
//!           Withdrawn | |    \                    |
//!                     | |     +-------------------+
//!                     | | Planned                 |
//!                     | v                         v
//!                     +- Ready ---> Active ---> Done | Failed
//!                     |      Started  |  Settled, Failed
//!                     +---------------+
//! ```
//!
//! A node is `Ready` also while another process holds the lock of its action: it starts when the lock is free.
//! `Withdrawn` takes a node back whose decision no longer holds: its inputs or its cached result are gone, or another process
//! has recorded its result. It is decided again.
//!
//! Generic over the work `W` and the result `R`, neither of which a transition looks at.

use crate::store::Outcome;

/// What a node is doing in this run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RunState<W, R> {
    /// It is not part of this run.
    Unwanted,
    /// It can't be decided before other nodes have a result.
    Waiting,
    /// Remotes are asked for its result.
    LookingUp,
    /// Its work can start when resources and the lock of its action are free.
    Ready(W),
    /// Its work is in progress.
    Active(W),
    /// It has a result.
    Done(R),
    /// It has no result and gets none in this run.
    Failed(Outcome),
}

/// What happens to a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Transition<W, R> {
    /// The run needs the node.
    Wanted,
    /// A decision on it needs an answer from remotes.
    LookupStarted,
    /// It was decided: other nodes have to end first.
    Undecided,
    /// It was decided: this is to be done.
    Planned(W),
    /// Its work was started.
    Started,
    /// Its decision no longer holds.
    Withdrawn,
    /// It has a result: by a decision, or because its work has ended.
    Settled(R),
    /// It ends without a result.
    Failed(Outcome),
}

/// A transition that the state diagram does not have: a bug in the scheduler.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a node that is {state} can't be {transition}")]
pub(super) struct IllegalTransition {
    state: &'static str,
    transition: &'static str,
}

impl<W, R> RunState<W, R> {
    /// The state after a transition.
    pub(super) fn after(self, transition: Transition<W, R>) -> Result<Self, IllegalTransition> {
        Ok(match (self, transition) {
            (Self::Unwanted, Transition::Wanted) => Self::Waiting,
            (Self::Waiting, Transition::LookupStarted) => Self::LookingUp,
            (Self::Waiting | Self::LookingUp, Transition::Undecided) => Self::Waiting,
            (Self::Waiting | Self::LookingUp, Transition::Planned(work)) => Self::Ready(work),
            (Self::Ready(work), Transition::Started) => Self::Active(work),
            (Self::Ready(_) | Self::Active(_), Transition::Withdrawn) => Self::Waiting,
            (Self::Waiting | Self::LookingUp | Self::Active(_), Transition::Settled(result)) => {
                Self::Done(result)
            }
            (Self::Waiting | Self::LookingUp | Self::Active(_), Transition::Failed(outcome)) => {
                Self::Failed(outcome)
            }
            (state, transition) => {
                return Err(IllegalTransition { state: state.name(), transition: transition.name() });
            }
        })
    }

    /// Whether the node has ended, with a result or without.
    pub(super) const fn has_ended(&self) -> bool {
        matches!(self, Self::Done(_) | Self::Failed(_))
    }

    const fn name(&self) -> &'static str {
        match self {
            Self::Unwanted => "unwanted",
            Self::Waiting => "waiting",
            Self::LookingUp => "looking up",
            Self::Ready(_) => "ready",
            Self::Active(_) => "active",
            Self::Done(_) => "done",
            Self::Failed(_) => "failed",
        }
    }
}

impl<W, R> Transition<W, R> {
    const fn name(&self) -> &'static str {
        match self {
            Self::Wanted => "wanted",
            Self::LookupStarted => "looked up",
            Self::Undecided => "left undecided",
            Self::Planned(_) => "planned",
            Self::Started => "started",
            Self::Withdrawn => "withdrawn",
            Self::Settled(_) => "settled",
            Self::Failed(_) => "failed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type State = RunState<&'static str, u32>;
    type Event = Transition<&'static str, u32>;

    const STATES: [State; 7] = [
        State::Unwanted,
        State::Waiting,
        State::LookingUp,
        State::Ready("work"),
        State::Active("work"),
        State::Done(1),
        State::Failed(Outcome::Fail),
    ];

    const EVENTS: [Event; 8] = [
        Event::Wanted,
        Event::LookupStarted,
        Event::Undecided,
        Event::Planned("other"),
        Event::Started,
        Event::Withdrawn,
        Event::Settled(2),
        Event::Failed(Outcome::Infra),
    ];

    /// The arrows of the diagram; every other pair of a state and an event is illegal.
    const ARROWS: [(State, Event, State); 15] = [
        (State::Unwanted, Event::Wanted, State::Waiting),
        (State::Waiting, Event::LookupStarted, State::LookingUp),
        (State::Waiting, Event::Undecided, State::Waiting),
        (State::LookingUp, Event::Undecided, State::Waiting),
        (State::Waiting, Event::Planned("other"), State::Ready("other")),
        (State::LookingUp, Event::Planned("other"), State::Ready("other")),
        (State::Ready("work"), Event::Started, State::Active("work")),
        (State::Ready("work"), Event::Withdrawn, State::Waiting),
        (State::Active("work"), Event::Withdrawn, State::Waiting),
        (State::Waiting, Event::Settled(2), State::Done(2)),
        (State::LookingUp, Event::Settled(2), State::Done(2)),
        (State::Active("work"), Event::Settled(2), State::Done(2)),
        (State::Waiting, Event::Failed(Outcome::Infra), State::Failed(Outcome::Infra)),
        (State::LookingUp, Event::Failed(Outcome::Infra), State::Failed(Outcome::Infra)),
        (State::Active("work"), Event::Failed(Outcome::Infra), State::Failed(Outcome::Infra)),
    ];

    #[test]
    fn transitions_are_those_of_the_diagram() {
        for state in STATES {
            for event in EVENTS {
                let arrow = ARROWS.iter().find(|(from, by, _)| (from, by) == (&state, &event));
                let after = state.clone().after(event.clone());
                match arrow {
                    Some((_, _, to)) => assert_eq!(after.as_ref(), Ok(to), "{state:?} {event:?}"),
                    None => assert!(after.is_err(), "{state:?} {event:?}: {after:?}"),
                }
            }
        }
    }

    #[test]
    fn an_illegal_transition_names_state_and_event() {
        let error = State::Done(1).after(Event::Started).unwrap_err();
        assert_eq!(error.to_string(), "a node that is done can't be started");
    }
}
