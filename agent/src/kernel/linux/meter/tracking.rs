//! Connection tracking by a socket of its own: how full it is, what it lost, and which connections VIPs have.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use nix::errno::Errno;
use weir_proto::model::{ConnectionState, Conntrack, Protocol};

use crate::kernel::linux::conntrack::{Command, CpuStats, Family, GlobalStats, Tracked};
use crate::kernel::linux::netlink::{
    Counts, DecodeError, Message, NetlinkSocket, NlError, Protocol as Netlink,
};
use crate::plan::VipStates;

/// Length of the `nfgenmsg` in front of the attributes.
const NFGEN_HEADER_LEN: usize = 4;
/// So many walks over the table, each within the kernel, cost about what it costs to show and to read all of it once.
const ONE_BY_ONE: usize = 16;
/// Looks between two attempts to find connection tracking where there is none: each asks the kernel to load a module.
const ABSENT_FOR: u32 = 60;

/// Connection tracking of the network namespace that it is first used in.
#[derive(Default)]
pub(super) struct Tracking {
    socket: Option<NetlinkSocket>,
    /// Looks that are left out since there was none.
    absent: u32,
    unfiltered: bool,
    lost: Lost,
}

/// What the processors have lost, in numbers that do not begin anew past 32 bits.
#[derive(Debug, Default)]
struct Lost(BTreeMap<u16, [Wide; 3]>);

/// A number that the kernel keeps in 32 bits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Wide {
    shown: u32,
    all: u64,
}

impl Tracking {
    /// Gives what was said so far.
    pub(super) fn counts(&self) -> Counts {
        let counts = self.socket.as_ref().map(NetlinkSocket::counts);
        counts.unwrap_or_default()
    }

    /// Gives how full it is and what it has lost; none: there is none.
    pub(super) async fn look(&mut self) -> Result<Option<Conntrack>, NlError> {
        if self.absent > 0 {
            self.absent -= 1;
            return Ok(None);
        }
        match self.look_once().await {
            Ok(conntrack) => Ok(Some(conntrack)),
            // what `nfnetlink_rcv_msg` in net/netfilter/nfnetlink.c says of a subsystem that is not there
            Err(NlError::Errno(errno)) if errno == Errno::EINVAL as i32 => {
                self.absent = ABSENT_FOR;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    async fn look_once(&mut self) -> Result<Conntrack, NlError> {
        let socket = opened(&mut self.socket)?;
        let mut global = None;
        let take = |message: Message<'_>| {
            global = Some(GlobalStats::decode(message.attrs(NFGEN_HEADER_LEN)));
        };
        socket.request(&Command::Stats.encode(), take).await?;
        let global = DecodeError::need("STATS_GLOBAL", global)??;
        let mut each = Vec::new();
        let take = |message: Message<'_>| each.push(CpuStats::decode(&message));
        socket.dump(&Command::CpuStats.encode(), take).await?;
        for stats in each {
            self.lost.take(&stats?);
        }
        let [dropped, insert_failed, early_dropped] = self.lost.sum();
        Ok(Conntrack {
            entries: global.entries.into(),
            max_entries: global.max_entries.map_or(0, u64::from),
            dropped,
            insert_failed,
            early_dropped,
        })
    }

    /// Counts the connections to these VIPs, as they are shown: one that goes meanwhile, or is shown twice, is counted as it
    /// was shown.
    pub(super) async fn count(&mut self, vips: &BTreeSet<IpAddr>) -> Result<VipStates, NlError> {
        let mut states = VipStates::new();
        'anew: loop {
            states.clear();
            for question in questions(vips, self.unfiltered) {
                match self.ask(question, vips, &mut states).await {
                    Ok(true) => {}
                    Ok(false) => {
                        self.unfiltered = true;
                        continue 'anew;
                    }
                    // a filter that it does not know
                    Err(NlError::Errno(errno)) if !self.unfiltered && refuses(errno) => {
                        self.unfiltered = true;
                        continue 'anew;
                    }
                    Err(error) => return Err(error),
                }
            }
            return Ok(states);
        }
    }

    /// Counts what one dump shows, bit by bit; says whether it kept to what was asked for.
    async fn ask(
        &mut self,
        question: Question,
        vips: &BTreeSet<IpAddr>,
        states: &mut VipStates,
    ) -> Result<bool, NlError> {
        let command = match question {
            Question::To(vip) => Command::To(vip),
            Question::All(family) => Command::All(family),
        };
        let mut heeded = true;
        let take = |message: Message<'_>| {
            // one that cannot be read is no connection to a VIP
            let Ok(tracked) = Tracked::decode(message.attrs(NFGEN_HEADER_LEN)) else {
                return;
            };
            if let Question::To(vip) = question {
                heeded &= tracked.destination == vip;
            }
            if let Some(protocol) = Protocol::from_number(tracked.protocol)
                && vips.contains(&tracked.destination)
            {
                let state = state(protocol, tracked.state);
                let key = (tracked.destination, protocol, state);
                *states.entry(key).or_default() += 1;
            }
        };
        let socket = opened(&mut self.socket)?;
        match socket.dump(&command.encode(), take).await {
            Ok(()) | Err(NlError::Interrupted) => Ok(heeded),
            Err(error) => Err(error),
        }
    }
}

fn opened(socket: &mut Option<NetlinkSocket>) -> Result<&mut NetlinkSocket, NlError> {
    match socket {
        Some(socket) => Ok(socket),
        none => Ok(none.insert(NetlinkSocket::open(Netlink::Netfilter)?)),
    }
}

/// One dump.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Question {
    To(Ipv4Addr),
    All(Family),
}

/// Gives the dumps that show every connection to these VIPs, and as few others as can be. IPv6 addresses are not asked for: those
/// match that differ (`ctnetlink_filter_match_tuple`).
fn questions(vips: &BTreeSet<IpAddr>, unfiltered: bool) -> Vec<Question> {
    let inet = vips.iter().filter_map(|vip| match vip {
        IpAddr::V4(vip) => Some(Question::To(*vip)),
        IpAddr::V6(_) => None,
    });
    let mut questions: Vec<Question> = inet.collect();
    if !questions.is_empty() && (unfiltered || questions.len() > ONE_BY_ONE) {
        questions = vec![Question::All(Family::Inet)];
    }
    if vips.iter().any(IpAddr::is_ipv6) {
        questions.push(Question::All(Family::Inet6));
    }
    questions
}

/// Says whether it may be the filter that a kernel refuses.
fn refuses(errno: i32) -> bool {
    [Errno::EINVAL as i32, Errno::EOPNOTSUPP as i32].contains(&errno)
}

/// Gives a state by its protocol's own number (`enum tcp_conntrack` and `enum sctp_conntrack` in `include/uapi/linux/netfilter`).
pub(in crate::kernel::linux) fn state(protocol: Protocol, number: Option<u8>) -> ConnectionState {
    use ConnectionState as State;
    const TCP: [ConnectionState; 10] = [
        State::None,
        State::SynSent,
        State::SynRecv,
        State::Established,
        State::FinWait,
        State::CloseWait,
        State::LastAck,
        State::TimeWait,
        State::Close,
        State::SynSent2,
    ];
    const SCTP: [ConnectionState; 10] = [
        State::None,
        State::Closed,
        State::CookieWait,
        State::CookieEchoed,
        State::Established,
        State::ShutdownSent,
        State::ShutdownRecd,
        State::ShutdownAckSent,
        State::HeartbeatSent,
        State::HeartbeatAcked,
    ];
    let Some(number) = number else {
        return State::None;
    };
    let known = match protocol {
        Protocol::Tcp => TCP.get(usize::from(number)),
        Protocol::Sctp => SCTP.get(usize::from(number)),
        Protocol::Udp => None,
    };
    known.copied().unwrap_or(State::Other)
}

impl Lost {
    fn take(&mut self, stats: &CpuStats) {
        let CpuStats {
            cpu,
            dropped,
            insert_failed,
            early_dropped,
        } = *stats;
        let of_cpu = self.0.entry(cpu).or_default();
        let shown = [dropped, insert_failed, early_dropped];
        for (wide, shown) in of_cpu.iter_mut().zip(shown) {
            wide.take(shown);
        }
    }

    fn sum(&self) -> [u64; 3] {
        let mut sum = [0_u64; 3];
        for of_cpu in self.0.values() {
            for (sum, wide) in sum.iter_mut().zip(of_cpu) {
                *sum = sum.saturating_add(wide.all);
            }
        }
        sum
    }
}

impl Wide {
    /// Takes what is shown now. One that was near its end and is near its beginning went past 32 bits; any other that went back
    /// began anew.
    fn take(&mut self, shown: u32) {
        const NEAR: u32 = 1 << 30;
        let wrapped = self.shown > u32::MAX - NEAR && shown < NEAR;
        let more = if shown >= self.shown || wrapped {
            shown.wrapping_sub(self.shown)
        } else {
            shown
        };
        self.shown = shown;
        self.all = self.all.saturating_add(more.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_vips_are_asked_for_one_by_one_and_many_with_everything() {
        let vip = |last: u8| IpAddr::from([10, 100, 0, last]);
        let six = IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, 1]);
        let one = |last: u8| Question::To(Ipv4Addr::new(10, 100, 0, last));
        let (all, all_of_six) = (Question::All(Family::Inet), Question::All(Family::Inet6));
        assert_eq!(questions(&BTreeSet::new(), false), []);
        let few = [vip(1), vip(2), six].into();
        assert_eq!(questions(&few, false), [one(1), one(2), all_of_six]);
        assert_eq!(questions(&few, true), [all, all_of_six]);
        assert_eq!(questions(&[six].into(), true), [all_of_six]);
        let many = (1..=17).map(vip).collect();
        assert_eq!(questions(&many, false), [all]);
    }

    #[test]
    fn states_have_the_names_of_their_protocols() {
        for (protocol, number, named) in [
            (Protocol::Tcp, Some(3), "ESTABLISHED"),
            (Protocol::Tcp, Some(9), "SYN_SENT2"),
            (Protocol::Tcp, Some(10), "OTHER"),
            (Protocol::Sctp, Some(4), "ESTABLISHED"),
            (Protocol::Sctp, Some(1), "CLOSED"),
            (Protocol::Udp, None, "NONE"),
            (Protocol::Tcp, None, "NONE"),
        ] {
            assert_eq!(state(protocol, number).as_str(), named);
        }
    }

    #[test]
    fn what_processors_lost_goes_on_past_32_bits_and_when_it_begins_anew() {
        let mut lost = Lost::default();
        let mut take = |cpu, dropped| {
            lost.take(&CpuStats {
                cpu,
                dropped,
                insert_failed: 1,
                early_dropped: 0,
            });
            lost.sum()
        };
        assert_eq!(take(0, u32::MAX), [u32::MAX.into(), 1, 0]);
        assert_eq!(take(0, 4), [u64::from(u32::MAX) + 5, 1, 0]);
        assert_eq!(take(1, 10), [u64::from(u32::MAX) + 15, 2, 0]);
        assert_eq!(take(1, 3), [u64::from(u32::MAX) + 18, 2, 0]);
    }
}
