//! What was ordered of this process, and when it comes.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::{LazyLock, Mutex};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Action, Bug, Injected, Point};

/// Longer than any round trip, and shorter than any time-out.
const DELAY: Duration = Duration::from_millis(500);

static ORDERS: LazyLock<Orders> =
    LazyLock::new(|| Orders::new(env::var("WEIR_FAULT").unwrap_or_default()));
static PLANTED: LazyLock<Option<Bug>> = LazyLock::new(|| {
    let name = env::var("WEIR_PLANT").ok()?;
    let bug = Bug::ALL.into_iter().find(|bug| bug.name() == name);
    if bug.is_none() {
        eprintln!("weir fault: there is no bug {name:?}");
    }
    bug
});

/// A fault, as it is ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Order {
    point: Point,
    action: Action,
    nth: u32,
}

/// Where orders come from, and the one that is waited with.
#[derive(Debug)]
struct Orders {
    file: Option<PathBuf>,
    pending: Mutex<Pending>,
}

#[derive(Debug, Default)]
struct Pending {
    text: String,
    order: Option<Order>,
    passed: u32,
}

/// Passes a point, on a thread that may block. It fails if that was ordered.
pub fn pass(point: Point) -> Result<(), Injected> {
    match ORDERS.due(point) {
        Some(Action::Delay) => {
            thread::sleep(DELAY);
            Ok(())
        }
        action => strike(point, action),
    }
}

/// Passes a point within a task. It fails if that was ordered.
pub async fn reach(point: Point) -> Result<(), Injected> {
    match ORDERS.due(point) {
        Some(Action::Delay) => {
            tokio::time::sleep(DELAY).await;
            Ok(())
        }
        action => strike(point, action),
    }
}

/// Says whether a bug is planted.
pub fn planted(bug: Bug) -> bool {
    *PLANTED == Some(bug)
}

fn strike(point: Point, action: Option<Action>) -> Result<(), Injected> {
    match action {
        None | Some(Action::Delay) => Ok(()),
        Some(Action::Error) => Err(Injected(point)),
        Some(Action::Panic) => panic!("{}", Injected(point)),
        Some(Action::Kill) => {
            // it does not come back from that; were the signal refused, the fault would still be one
            let _ = kill(Pid::this(), Signal::SIGKILL);
            Err(Injected(point))
        }
    }
}

impl Orders {
    fn new(text: String) -> Self {
        let orders = Self {
            file: text.strip_prefix('@').map(PathBuf::from),
            pending: Mutex::default(),
        };
        if orders.file.is_none() {
            orders.lock().take(text);
        }
        orders
    }

    /// Gives what must happen at a point now.
    fn due(&self, point: Point) -> Option<Action> {
        let mut pending = self.lock();
        if let Some(file) = &self.file {
            // one that is not there orders nothing
            pending.take(fs::read_to_string(file).unwrap_or_default());
        }
        let action = pending.pass(point)?;
        if let Some(file) = &self.file {
            let _ = fs::remove_file(file);
        }
        eprintln!("weir fault: {point} {action}");
        Some(action)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(|held| held.into_inner())
    }
}

impl Pending {
    /// Takes an order, if it is another one than before.
    fn take(&mut self, text: String) {
        if text == self.text {
            return;
        }
        let order = text.trim();
        self.order = (!order.is_empty()).then(|| order.parse().ok()).flatten();
        if self.order.is_none() && !order.is_empty() {
            eprintln!("weir fault: {order:?} is no POINT=ACTION[:NTH]");
        }
        self.text = text;
        self.passed = 0;
    }

    /// Counts a pass; gives what is due, once.
    fn pass(&mut self, point: Point) -> Option<Action> {
        let order = self.order.filter(|order| order.point == point)?;
        self.passed += 1;
        (self.passed == order.nth).then(|| {
            // the same may be ordered again
            (self.order, self.text) = (None, String::new());
            order.action
        })
    }
}

impl FromStr for Order {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (point, rest) = text.split_once('=').ok_or(())?;
        let (action, nth) = rest.split_once(':').unwrap_or((rest, "1"));
        let point = Point::ALL.into_iter().find(|known| known.name() == point);
        let action = Action::ALL.into_iter().find(|known| known.name() == action);
        let nth = nth.parse().ok().filter(|nth| *nth > 0);
        Ok(Self {
            point: point.ok_or(())?,
            action: action.ok_or(())?,
            nth: nth.ok_or(())?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passes(orders: &Orders, point: Point, count: usize) -> Vec<Option<Action>> {
        (0..count).map(|_| orders.due(point)).collect()
    }

    #[test]
    fn every_point_and_action_can_be_ordered_by_its_name() {
        for point in Point::ALL {
            for action in Action::ALL {
                let order = Order {
                    point,
                    action,
                    nth: 3,
                };
                assert_eq!(format!("{point}={action}:3").parse(), Ok(order));
            }
        }
        for nonsense in [
            "",
            "journal-open",
            "journal-open=no",
            "no=kill",
            "read-after=kill:0",
        ] {
            assert_eq!(nonsense.parse::<Order>(), Err(()), "{nonsense}");
        }
    }

    #[test]
    fn a_fault_comes_once_at_the_pass_that_was_ordered() {
        let orders = Orders::new("read-after=error:2".to_owned());
        assert_eq!(passes(&orders, Point::ReadBefore, 3), [None; 3]);
        let wanted = [None, Some(Action::Error), None, None];
        assert_eq!(passes(&orders, Point::ReadAfter, 4), wanted);
    }

    #[test]
    fn an_order_in_a_file_may_come_later_and_is_gone_before_the_fault() {
        let dir = tempfile::tempdir().expect("dir");
        let file = dir.path().join("fault");
        let orders = Orders::new(format!("@{}", file.display()));
        assert_eq!(passes(&orders, Point::ApplyAfter, 2), [None; 2]);
        for action in [Action::Kill, Action::Kill, Action::Panic] {
            fs::write(&file, format!("apply-after={action}\n")).expect("written");
            assert_eq!(orders.due(Point::ApplyAfter), Some(action));
            assert!(!file.exists());
            assert_eq!(orders.due(Point::ApplyAfter), None);
        }
    }
}
