//! One seeded run: the controller, five agents and the operator, each on a machine that is simulated, and what goes wrong.

use std::cell::Cell;
use std::future::pending;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use turmoil::{Builder, Sim};
use weir_agent::app::Settings;
use weir_agent::kernel::StepError;
use weir_agent::kernel::fake::Fake;
use weir_agent::plan::{BackendSpec, Key, Object, Problem, ServiceSpec};
use weir_agent::session::Identity;
use weir_controller::app::parts;
use weir_integration::random::Random;
use weir_proto::disk::simulated::{Behaviour, Medium};
use weir_proto::machine::simulated::{Machine, leave};
use weir_proto::model::{ItemKey, Labels, Node, NodeName};

use crate::judge::{Ears, Ended, Judge};
use crate::model::{NODES, first_labels, foreign};
use crate::net::{CONTROLLER, Wire, listen};
use crate::operator::Operator;
use crate::scenario::{Fault, Scenario, TROUBLE};
use crate::watched::Watched;

/// How far the world goes at once: the grain of what happens on different machines.
const TICK: Duration = Duration::from_millis(10);
/// How long a message takes at least.
const LEAST_LATENCY: Duration = Duration::from_millis(1);
/// When all must be well: a connection that died unnoticed is found after 20 s and tried again within 15 s, twice over.
const LATEST: Duration = Duration::from_secs(100);
/// Much oftener than where nothing else happens: so many audits pass before the end.
const AUDIT: Duration = Duration::from_secs(5);
/// 22 November 2026.
const BEGINNING_UNIX_MS: u64 = 1_795_305_600_000;
const OPERATOR: &str = "operator";

/// How a run is made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run<'a> {
    pub(crate) seed: u64,
    /// Keeps it apart from others that run at the same time.
    pub(crate) tag: &'a str,
    /// Whether every line of its trace is wanted.
    pub(crate) keep: bool,
}

struct Host {
    name: &'static str,
    machine: Machine,
    medium: Medium,
}

struct World<'a> {
    sim: Sim<'a>,
    judge: Judge,
    /// The controller's first.
    hosts: Vec<Host>,
    /// Which of them were told to stop.
    down: Vec<bool>,
    kernels: Vec<Fake>,
    faults: Vec<(Duration, Fault)>,
    latency: Duration,
    /// The share of messages that is lost.
    loss: f64,
}

fn now() -> u64 {
    let elapsed = turmoil::sim_elapsed().unwrap_or_default();
    BEGINNING_UNIX_MS + elapsed.as_millis() as u64
}

impl Run<'_> {
    /// Runs it to its end.
    pub(crate) fn run(self) -> Ended {
        let kernels: Vec<Fake> = NODES.iter().map(|_| Fake::new()).collect();
        let judge = Judge::new(kernels.clone(), self.keep);
        let ears = Ears(judge.clone());
        tracing::subscriber::with_default(ears, || {
            let judged = judge.clone();
            let ran = catch_unwind(AssertUnwindSafe(|| {
                let mut random = Random::new(self.seed);
                let scenario = Scenario::draw(&mut random);
                World::new(self, kernels, judged, scenario, &mut random).go(random);
            }));
            if let Err(panic) = ran {
                let text = panic.downcast_ref::<String>().cloned();
                let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).into()));
                judge.violated(format!("a panic: {}", text.unwrap_or_default()));
            }
        });
        leave();
        judge.end()
    }

    fn host(self, number: usize, name: &'static str, random: &mut Random) -> Host {
        let seed = self.seed.wrapping_mul(31).wrapping_add(number as u64);
        let behaviour = Behaviour {
            seed,
            sync: Duration::from_millis(1 + random.below(40) as u64),
            // what tears a store so that its database does not see it, no controller starts with
            tears: number > 0,
            snapshots: Some(512),
        };
        let path = format!("/simulated/{}/{}/{name}", self.tag, self.seed);
        Host {
            name,
            machine: Machine::new(name, seed, now),
            medium: Medium::new(path, behaviour),
        }
    }
}

impl World<'_> {
    fn new(
        run: Run<'_>,
        kernels: Vec<Fake>,
        judge: Judge,
        scenario: Scenario,
        random: &mut Random,
    ) -> Self {
        let mut sim = Builder::new()
            .rng_seed(run.seed)
            .epoch(std::time::UNIX_EPOCH + Duration::from_millis(BEGINNING_UNIX_MS))
            .tick_duration(TICK)
            .simulation_duration(LATEST * 2)
            .min_message_latency(LEAST_LATENCY)
            .max_message_latency(scenario.latency)
            .tcp_capacity(1 << 16)
            .enable_random_order()
            .build();
        let names = [CONTROLLER].into_iter().chain(NODES).enumerate();
        let hosts: Vec<Host> = names
            .map(|(number, name)| run.host(number, name, random))
            .collect();
        let (machine, data_dir) = (hosts[0].machine.clone(), hosts[0].medium.path().to_owned());
        let told = judge.clone();
        let size = scenario.size;
        sim.host(CONTROLLER, move || {
            let (machine, data_dir, judge) = (machine.clone(), data_dir.clone(), told.clone());
            async move {
                machine.enter();
                let incoming = listen().await?;
                let served = parts::serve(incoming, data_dir, size);
                let ended = served.await;
                judge.note(format_args!("controller ended: {ended:#?}"));
                Ok(())
            }
        });
        for (node, (host, kernel)) in hosts[1..].iter().zip(&kernels).enumerate() {
            put_foreign(kernel);
            let (machine, journal) = (host.machine.clone(), host.medium.path().to_owned());
            let (kernel, judge) = (kernel.clone(), judge.clone());
            sim.host(host.name, move || {
                let (machine, journal) = (machine.clone(), journal.clone());
                let kernel = Watched {
                    node,
                    kernel: kernel.clone(),
                    judge: judge.clone(),
                };
                async move {
                    machine.enter();
                    let judge = kernel.judge.clone();
                    let settings = Settings {
                        identity: identity(node)?,
                        controller: Wire,
                        journal,
                        admin_listen: None,
                        backend_metrics: false,
                        socket: None,
                        called: String::new(),
                        audit_interval: AUDIT,
                        stale_after: None,
                    };
                    let ended = weir_agent::app::run(settings, kernel, pending()).await;
                    judge.violated(format!("{} ended: {ended:?}", NODES[node]));
                    Ok(())
                }
            });
        }
        Self {
            sim,
            judge,
            down: vec![false; hosts.len()],
            hosts,
            kernels,
            faults: scenario.faults,
            latency: scenario.latency,
            loss: 0.0,
        }
    }

    fn go(mut self, operator: Random) {
        let healed = Rc::new(Cell::new(false));
        let operator = Operator::new(operator, self.judge.clone(), Rc::clone(&healed));
        self.sim.client(OPERATOR, async move {
            operator.work().await;
            Ok(())
        });
        let mut faults = mem::take(&mut self.faults).into_iter().peekable();
        while !self.judge.has_violation() {
            let elapsed = self.sim.elapsed();
            while let Some((_, fault)) = faults.next_if(|(at, _)| *at <= elapsed) {
                self.happen(&fault);
            }
            if elapsed >= TROUBLE && faults.peek().is_none() && !healed.get() {
                self.heal();
                healed.set(true);
            }
            if let Some(node) = self.judge.at_odds().filter(|_| healed.get()) {
                self.stop(node + 1);
                self.boot(node);
                self.start(node + 1);
            }
            if !self.down[0] && !self.sim.is_host_running(CONTROLLER) {
                // it ended, as one does whose store takes no write: whoever started it starts it again
                self.start(0);
            }
            match self.sim.step() {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => self.judge.violated(format!("the run failed: {error}")),
            }
            if elapsed > LATEST {
                let wrong = self.judge.wrong_at_last();
                let why = format!("what is wanted is not there when all is well again: {wrong}");
                self.judge.violated(why);
            }
        }
    }

    fn happen(&mut self, fault: &Fault) {
        let at = self.sim.elapsed();
        self.judge.note(format_args!("at {at:?}: {fault:?}"));
        match *fault {
            Fault::AgentGone { node, power } => {
                self.stop(node + 1);
                if power {
                    self.boot(node);
                }
            }
            Fault::AgentBack { node } => self.start(node + 1),
            Fault::JournalLost { node } => {
                self.stop(node + 1);
                self.hosts[node + 1].medium.erase();
                self.judge.doubt(node);
                self.start(node + 1);
            }
            Fault::ControllerGone => self.stop(0),
            Fault::ControllerBack => self.start(0),
            Fault::StoreLost => {
                self.stop(0);
                self.hosts[0].medium.erase();
                self.start(0);
            }
            Fault::Parted { node } => self.sim.partition(NODES[node], CONTROLLER),
            Fault::PartedOneWay { node, sends: true } => {
                self.sim.partition_oneway(NODES[node], CONTROLLER);
            }
            Fault::PartedOneWay { node, sends: false } => {
                self.sim.partition_oneway(CONTROLLER, NODES[node]);
            }
            Fault::Held { node } => self.sim.hold(NODES[node], CONTROLLER),
            Fault::Joined { node } => self.join(node),
            Fault::Lossy { per_mille } => {
                self.loss = f64::from(per_mille) / 1_000.0;
                self.sim.set_fail_rate(self.loss);
            }
            Fault::ClockJumps { machine, by_ms } => self.hosts[machine].machine.jump(by_ms),
            Fault::SyncFails { machine } => self.hosts[machine].medium.fail_syncs(1),
            Fault::KernelFails { node, lot } => self.fail_kernel(node, &mut Random::new(lot)),
        }
    }

    /// Ends all trouble.
    fn heal(&mut self) {
        self.judge.note(format_args!("all is well again"));
        self.loss = 0.0;
        self.sim.set_fail_rate(self.loss);
        for (node, kernel) in self.kernels.iter().enumerate() {
            kernel.fail_reads(0);
            self.join(node);
        }
        for host in 0..self.hosts.len() {
            self.hosts[host].medium.fail_syncs(0);
            if self.down[host] {
                self.start(host);
            }
        }
    }

    fn stop(&mut self, host: usize) {
        self.down[host] = true;
        self.evenly(|sim, name| sim.crash(name), host);
    }

    fn start(&mut self, host: usize) {
        self.down[host] = false;
        self.evenly(|sim, name| sim.bounce(name), host);
    }

    /// Ends what runs on a host. In which order its connections go is not the seed's to say: tokio orders tasks by numbers
    /// that all runs of this process draw from. So for each of them the same is drawn.
    fn evenly(&mut self, end: impl FnOnce(&mut Sim<'_>, &str), host: usize) {
        self.sim.set_fail_rate(0.0);
        self.sim.set_max_message_latency(LEAST_LATENCY);
        end(&mut self.sim, self.hosts[host].name);
        self.sim.set_max_message_latency(self.latency);
        self.sim.set_fail_rate(self.loss);
    }

    /// Starts a node anew: its kernel holds nothing but what somebody else puts there at each boot.
    fn boot(&self, node: usize) {
        self.kernels[node].tamper(|table| *table = Fake::new().table());
        put_foreign(&self.kernels[node]);
        self.hosts[node + 1].machine.reboot();
        self.judge.booted(node);
    }

    fn join(&self, node: usize) {
        self.sim.release(NODES[node], CONTROLLER);
        self.sim.repair(NODES[node], CONTROLLER);
    }

    fn fail_kernel(&self, node: usize, random: &mut Random) {
        let kernel = &self.kernels[node];
        let reads = random.below(3) as u32;
        if reads > 0 {
            kernel.fail_reads(reads);
            return;
        }
        let items: Vec<Key> = kernel.table().into_keys().collect();
        let items = items.into_iter();
        let ours = items.filter(|key| matches!(key, Key::Item(_)) && !foreign().contains_key(key));
        for key in ours.filter(|_| random.below(4) == 0) {
            let refused = Problem::new(12, "no memory".to_owned());
            let lost = StepError::Unknown("no answer".to_owned());
            let error = if refuses(key) { refused.into() } else { lost };
            self.judge.expect_fault(node, key);
            kernel.fail(key, error);
        }
    }
}

/// Says whether a fault on an object is a refusal, rather than no answer.
fn refuses(key: Key) -> bool {
    !matches!(key, Key::Item(ItemKey::Vip(_)))
}

fn put_foreign(kernel: &Fake) {
    kernel.tamper(|table| {
        for (key, weight) in foreign() {
            let object = match weight {
                None => Object::Service(ServiceSpec {
                    scheduler: "rr".to_owned(),
                    ..ServiceSpec::default()
                }),
                Some(weight) => Object::Backend(BackendSpec {
                    weight,
                    ..BackendSpec::default()
                }),
            };
            table.insert(key, object);
        }
    });
}

fn identity(node: usize) -> anyhow::Result<Identity> {
    let labels = Labels::new(first_labels(node));
    let labels = labels.map_err(|refused| anyhow::anyhow!("{refused:?}"))?;
    Ok(Identity {
        node: Node::new(NodeName::new(NODES[node])?, labels, Vec::new()),
        capabilities: Vec::new(),
    })
}
