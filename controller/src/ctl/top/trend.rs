//! What a rate was in the last intervals, and its picture. PURE.

/// How many intervals are kept: two minutes of answers every 2 s. A number that many columns divide.
pub(crate) const KEPT: usize = 60;

/// How wide a picture can be, so that each of its cells is of as many intervals.
const WIDTHS: [usize; 6] = [10, 12, 15, 20, 30, 60];

/// From nothing to the most there was.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// A rate over time, measured in ticks: numbers of intervals. Rates that were always zero take no room.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Trend {
    /// The first tick that was told; none: none was.
    first: Option<u64>,
    last: u64,
    /// Of the last [`KEPT`] ticks, each at its number modulo that; not a number where nothing was told.
    rates: Option<Box<[f32; KEPT]>>,
}

/// Gives the widest picture that fits; none: none does.
pub(crate) fn width(room: usize) -> Option<usize> {
    WIDTHS.into_iter().rev().find(|width| *width <= room)
}

impl Trend {
    /// Takes what the rate is at a tick; ticks only grow.
    pub(crate) fn push(&mut self, tick: u64, rate: f64) {
        let first = *self.first.get_or_insert(tick);
        // what people are shown has eight steps
        #[allow(clippy::cast_possible_truncation)]
        let rate = rate as f32;
        if self.rates.is_none() && rate > 0.0 {
            let mut rates = Box::new([f32::NAN; KEPT]);
            let oldest = first.max(tick.saturating_sub(kept() - 1));
            for known in oldest..tick {
                rates[slot(known)] = 0.0;
            }
            self.rates = Some(rates);
            self.last = tick.saturating_sub(1);
        }
        if let Some(rates) = &mut self.rates {
            let unheard = (self.last + 1).max(tick.saturating_sub(kept() - 1));
            for unheard in unheard..tick {
                rates[slot(unheard)] = f32::NAN;
            }
            rates[slot(tick)] = rate;
        }
        self.last = tick;
    }

    /// Draws the last [`KEPT`] intervals up to `now` in so many cells, each the mean of its intervals, as parts of the
    /// highest of them. Cells keep their intervals while time passes, so that the picture moves and does not flicker.
    pub(crate) fn picture(&self, now: u64, cells: usize) -> String {
        let each = u64::try_from(KEPT / cells.max(1)).unwrap_or(1).max(1);
        let newest = now / each;
        let oldest = (newest + 1).saturating_sub(u64::try_from(cells).unwrap_or(0));
        let means: Vec<Option<f32>> = (oldest..=newest)
            .map(|cell| self.mean(cell * each, (cell + 1) * each))
            .collect();
        let highest = means
            .iter()
            .flatten()
            .fold(0.0, |high: f32, mean| high.max(*mean));
        let bars = means.iter().map(|mean| match mean {
            None => ' ',
            Some(mean) => bar(*mean, highest),
        });
        let missing = cells.saturating_sub(means.len());
        std::iter::repeat_n(' ', missing).chain(bars).collect()
    }

    /// Gives the mean of the ticks that were told, from one to before another.
    fn mean(&self, from: u64, before: u64) -> Option<f32> {
        let from = from
            .max(self.first?)
            .max((self.last + 1).saturating_sub(kept()));
        let told = (from..before.min(self.last + 1)).map(|tick| match &self.rates {
            Some(rates) => rates[slot(tick)],
            None => 0.0,
        });
        let (mut sum, mut count) = (0.0, 0.0);
        for rate in told.filter(|rate| !rate.is_nan()) {
            sum += rate;
            count += 1.0;
        }
        (count > 0.0).then(|| sum / count)
    }
}

/// Nothing is the lowest bar, and little is seen to be more than that.
fn bar(mean: f32, highest: f32) -> char {
    let above = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0].map(|step| highest * step / 7.0);
    let steps = above.iter().filter(|step| mean > **step).count();
    BARS[steps.min(BARS.len() - 1)]
}

fn kept() -> u64 {
    u64::try_from(KEPT).unwrap_or(u64::MAX)
}

fn slot(tick: u64) -> usize {
    usize::try_from(tick % kept()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trend(rates: &[(u64, f64)]) -> Trend {
        let mut trend = Trend::default();
        for (tick, rate) in rates {
            trend.push(*tick, *rate);
        }
        trend
    }

    #[test]
    fn a_picture_is_of_a_width_that_divides_what_is_kept() {
        for (room, fits) in [(9, None), (10, Some(10)), (29, Some(20)), (200, Some(60))] {
            assert_eq!(width(room), fits);
        }
        assert!(WIDTHS.iter().all(|width| KEPT.is_multiple_of(*width)));
    }

    #[test]
    fn rates_are_bars_up_to_the_highest_of_them() {
        let rates: Vec<(u64, f64)> = (0_u32..8)
            .map(|at| (u64::from(at), f64::from(at)))
            .collect();
        assert_eq!(trend(&rates).picture(7, 60).trim_start(), "▁▂▃▄▅▆▇█");
        assert_eq!(trend(&rates).picture(7, 60).chars().count(), 60);
    }

    #[test]
    fn cells_of_several_intervals_are_their_means_and_keep_them() {
        let rates: Vec<(u64, f64)> = (0..18)
            .map(|at| (at, if at < 12 { 7.0 } else { 3.5 }))
            .collect();
        let trend = trend(&rates);
        assert_eq!(trend.picture(17, 10), "       ██▅");
        assert_eq!(trend.picture(18, 10), "      ██▅ ");
    }

    #[test]
    fn what_was_not_told_is_left_out_and_nothing_is_the_lowest_bar() {
        let trend = trend(&[(3, 0.0), (4, 1.0), (7, 1.0)]);
        assert_eq!(trend.picture(7, 60).trim_start(), "▁█  █");
    }

    #[test]
    fn what_was_always_zero_takes_no_room() {
        let idle = trend(&[(0, 0.0), (1, 0.0), (2, 0.0)]);
        assert_eq!(
            (idle.rates.as_ref(), idle.picture(2, 60).trim_start()),
            (None, "▁▁▁")
        );
    }

    #[test]
    fn only_the_last_intervals_are_kept() {
        let mut rates: Vec<(u64, f64)> = vec![(0, 9.0)];
        rates.extend((1..=60).map(|tick| (tick, 1.0)));
        assert_eq!(trend(&rates).picture(60, 60), "█".repeat(60));
        let after_long = trend(&[(0, 9.0), (1_000, 1.0)]);
        assert_eq!(after_long.picture(1_000, 60).trim_start(), "█");
    }
}
