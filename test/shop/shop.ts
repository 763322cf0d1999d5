import { randomBytes, randomUUID } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { ApiServer } from '../support/api_server.ts';
import { ShopAgent } from './agent.ts';
import { Cgroup, cgroupRoot } from './cgroup.ts';
import { Engines, openFolder } from './engines.ts';
import { FAULTS, type FaultName } from './faults.ts';
import { LogCounts } from './log_counts.ts';
import { Machine } from './machine.ts';
import { announceShop, connectNode, podResolver, serviceRules } from './network.ts';
import { nameOfPod, type PodFacts, podOf, putNodes, putService } from './objects.ts';
import {
  AGENTS,
  NODE_PORT,
  NODES,
  type NodeName,
  type NodePlan,
  nodePlan,
  OUTSIDE,
  type OutsidePlan,
  outsideIp,
  ROUTER_IP,
  SHOP_NAME,
  WORKLOADS,
  type WorkloadPlan,
} from './plan.ts';
import { Pod } from './pod.ts';
import { type Truth, TruthTeller } from './truth.ts';

/** Milliseconds between two Jobs of the CronJob. */
const JOB_EVERY_MS = 60_000;
/** Request rate of the partner, relative to that of the browser. */
const PARTNER_RATE = 0.2;
/** Last octets of the first and the last Pod address on a node. */
const FIRST_IP = 2;
const LAST_IP = 254;

export type MachineName = NodeName | 'outside';

export interface AgentsGiven {
  /** Text of the configuration. */
  readonly config: string;
  /**
   * Port on this machine for the page of the first node's agent. The second node uses the next port. 0 selects any free
   * ports.
   */
  readonly port?: number;
}

/** A Pod of the cluster, with the facts that the API has recorded about it. */
export interface Member {
  readonly pod: Pod;
  readonly facts: PodFacts;
  readonly log: LogCounts;
}

/** A host outside of the cluster. */
export interface Outsider {
  readonly pod: Pod;
  readonly plan: OutsidePlan;
  readonly log: LogCounts;
}

/** The shop: two nodes, a router and hosts outside of the cluster, and all of their programs. */
export class Shop implements AsyncDisposable {
  readonly folder: string;
  readonly api: ApiServer;
  /** Running Pods, except those of Jobs. */
  members: readonly Member[] = [];
  outsiders: readonly Outsider[] = [];
  agents: readonly ShopAgent[] = [];
  readonly #cgroup: Cgroup;
  readonly #engines: Engines;
  readonly #resources: AsyncDisposableStack;
  readonly #machines = new Map<MachineName, Machine>();
  readonly #faults = new Set<FaultName>();
  readonly #teller = new TruthTeller();
  readonly #lastIp = new Map<NodeName, number>();
  /** UIDs of the Pods of the previous Jobs. */
  readonly #completed: string[] = [];
  /** Clock for timestamps in objects, in milliseconds since the epoch. */
  readonly #now = Date.now;
  #jobs: NodeJS.Timeout | undefined;
  #job: Promise<void> = Promise.resolve();

  private constructor(folder: string, cgroup: Cgroup, api: ApiServer, resources: AsyncDisposableStack) {
    this.folder = folder;
    this.#cgroup = cgroup;
    this.api = api;
    this.#resources = resources;
    this.#engines = new Engines(folder);
  }

  /** Returns the path of the cgroup of the shop that uses this directory. */
  static cgroupOf(folder: string): string {
    return join(cgroupRoot(), basename(folder));
  }

  /**
   * @param folder directory for the shop's files, whose base name is also that of its cgroup. It is not removed with
   * the shop.
   * @param agents undefined for a shop without agents
   */
  static async start(folder: string, agents?: AgentsGiven): Promise<Shop> {
    const resources = new AsyncDisposableStack();
    try {
      openFolder(folder);
      const cgroup = new Cgroup(Shop.cgroupOf(folder));
      resources.defer(() => cgroup.remove());
      const api = resources.use(await ApiServer.start());
      api.groups = { 'networking.k8s.io': ['v1'] };
      const shop = new Shop(folder, cgroup, api, resources);
      await shop.#start(agents);
      return shop;
    } catch (error) {
      await resources.disposeAsync();
      throw error;
    }
  }

  get faults(): readonly FaultName[] {
    return [...this.#faults];
  }

  /** Returns the actual edges, as counted by the programs themselves. */
  truth(): Promise<Truth> {
    return this.#teller.tell(this);
  }

  /** Switches a fault on or off. */
  async fault(name: FaultName, on: boolean): Promise<void> {
    if (this.#faults.has(name) === on) return;
    await FAULTS[name].set(this, on);
    if (on) this.#faults.add(name);
    else this.#faults.delete(name);
  }

  machine(name: MachineName): Machine {
    const found = this.#machines.get(name);
    if (found === undefined) throw new Error(`there is no machine ${name}`);
    return found;
  }

  podsOf(workload: string): readonly Pod[] {
    return this.members.filter(({ facts }) => facts.plan.name === workload).map(({ pod }) => pod);
  }

  /** Returns a cgroup for programs of a machine that do not belong to a Pod. */
  cgroupIn(machine: MachineName, name: string): Cgroup {
    return this.#cgroup.below(machine, name);
  }

  /** Stops the running agents, and starts an agent on each node. */
  async startAgents({ config, port = 0 }: AgentsGiven): Promise<void> {
    await this.stopAgents();
    const file = join(this.folder, 'netsonde.yaml');
    writeFileSync(file, config);
    const starting = NODES.map(async ({ name }, index) => {
      const folder = join(this.folder, `agent-${name}`);
      mkdirSync(folder, { recursive: true });
      const given = { node: name, machine: this.machine(name), api: this.api, config: file, folder };
      const cgroup = this.#agentCgroup(name, index);
      return ShopAgent.start({ ...given, cgroup, port: port === 0 ? 0 : port + index });
    });
    const started = await Promise.allSettled(starting);
    this.agents = started.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
    for (const result of started) if (result.status === 'rejected') throw result.reason;
  }

  async stopAgents(): Promise<void> {
    const { agents } = this;
    this.agents = [];
    await Promise.all(agents.map((agent) => agent[Symbol.asyncDispose]()));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#jobs);
    await this.#job;
    await this.stopAgents();
    await this.#resources.disposeAsync();
  }

  async #start(agents: AgentsGiven | undefined): Promise<void> {
    this.#engines.prepare();
    await this.#startMachines();
    await this.#connect();
    await this.#startServers();
    // The agents must start before the clients so that they observe all of the clients' connections.
    if (agents !== undefined) await this.startAgents(agents);
    await this.#startClients();
    this.#job = this.#runJob();
    await this.#job;
    this.#jobs = setInterval(() => {
      this.#job = this.#job.then(() => this.#runJob()).catch((error: unknown) => console.error(String(error)));
    }, JOB_EVERY_MS);
  }

  async #startMachines(): Promise<void> {
    const start = async (name: MachineName) => {
      const machine = await Machine.start(name, join(this.folder, name), this.cgroupIn(name, 'init'));
      this.#machines.set(name, this.#resources.use(machine));
    };
    await Promise.all([...NODES.map(({ name }) => start(name)), start('outside')]);
    const router = this.machine('outside');
    for (const node of NODES) await connectNode(node, this.machine(node.name), router);
    await announceShop(router);
  }

  /** Creates the namespaces of all Pods and hosts, the rules for Services, and the Kubernetes objects. */
  async #connect(): Promise<void> {
    const nowMs = this.#now();
    this.members = WORKLOADS.flatMap((plan) =>
      plan.kind === 'CronJob' ? [] : plan.nodes.map((node, index) => this.#newMember(plan, node, index, nowMs)),
    );
    this.outsiders = OUTSIDE.map((plan) => this.#newOutsider(plan));
    const scripts = new Map<Machine, string>();
    for (const { pod } of [...this.members, ...this.outsiders])
      scripts.set(pod.given.machine, (scripts.get(pod.given.machine) ?? '') + pod.networkScript);
    await Promise.all([...scripts].map(([machine, script]) => machine.run(script)));
    const backends = WORKLOADS.map((plan) => ({ plan, ips: this.#factsOf(plan).map(({ ip }) => ip) }));
    for (const node of NODES) await this.machine(node.name).run(`nft -f - <<END\n${serviceRules(node, backends)}\nEND`);
    putNodes(this.api);
    for (const { facts } of this.members) this.api.put('pods', podOf(facts));
    for (const plan of WORKLOADS) putService(this.api, plan, this.#factsOf(plan));
  }

  #factsOf(plan: WorkloadPlan): PodFacts[] {
    return this.members.filter(({ facts }) => facts.plan === plan).map(({ facts }) => facts);
  }

  #newMember(plan: WorkloadPlan, nodeName: NodeName, index: number, createdMs: number): Member {
    const node = nodePlan(nodeName);
    const naming = nameOfPod(plan, index, createdMs);
    const ip = this.#takeIp(node);
    const pod = new Pod({
      namespace: plan.namespace,
      name: naming.name,
      ip,
      hostIp: node.ip,
      machine: this.machine(nodeName),
      cgroup: this.cgroupIn(nodeName, 'kubepods').below('burstable'),
      resolver: this.#resolver(plan.namespace, podResolver(plan.namespace, CLUSTER_DNS)),
    });
    const log = new LogCounts(plan.engine);
    pod.heard = (line) => log.hear(line);
    return { pod, facts: { uid: pod.uid, plan, naming, node, ip, createdMs, phase: 'Running' }, log };
  }

  /** Returns the next free address after the last assigned one, like the CNI plugin `host-local`. */
  #takeIp({ name, subnet }: NodePlan): string {
    const used = new Set(this.members.map(({ facts }) => facts.ip));
    let last = this.#lastIp.get(name) ?? FIRST_IP - 1;
    do last = last === LAST_IP ? FIRST_IP : last + 1;
    while (used.has(`${subnet}.${last}`));
    this.#lastIp.set(name, last);
    return `${subnet}.${last}`;
  }

  #newOutsider(plan: OutsidePlan): Outsider {
    const pod = new Pod({
      namespace: '',
      name: plan.name,
      ip: plan.ip,
      hostIp: ROUTER_IP,
      machine: this.machine('outside'),
      cgroup: this.cgroupIn('outside', 'hosts'),
      resolver: this.#resolver('outside', `nameserver ${outsideIp('dns')}\n`),
    });
    const log = new LogCounts('nginx');
    pod.heard = (line) => log.hear(line);
    return { pod, plan, log };
  }

  #resolver(name: string, text: string): string {
    const file = join(this.folder, `resolv-${name}.conf`);
    writeFileSync(file, text);
    return file;
  }

  async #startServers(): Promise<void> {
    const [dns, payments] = [this.#outsider('dns'), this.#outsider('payments')];
    const [first, ...rest] = this.members;
    if (first === undefined) throw new Error('there is no resolver');
    // These two must start first, because all other programs resolve names when they start.
    await Promise.all([this.#engines.startOutsideDns(dns), this.#startMember(first)]);
    await Promise.all([this.#engines.startPayments(payments), ...rest.map((member) => this.#startMember(member))]);
  }

  #outsider(name: OutsidePlan['name']): Pod {
    const found = this.outsiders.find(({ plan }) => plan.name === name);
    if (found === undefined) throw new Error(`there is no ${name}`);
    return found.pod;
  }

  #startMember({ pod, facts: { plan } }: Member): Promise<void> {
    switch (plan.engine) {
      case 'dnsmasq':
        return this.#engines.startClusterDns(pod);
      case 'postgres':
        return this.#engines.startPostgres(pod);
      case 'redis':
        return this.#engines.startRedis(pod);
      case 'nginx':
        return this.#engines.startGateway(pod);
      default:
        return this.#engines.startApp(pod, plan.name);
    }
  }

  async #startClients(): Promise<void> {
    const nodePort = `http://${nodePlan('node-b').ip}:${NODE_PORT}`;
    const partner = { SHOP_URL: nodePort, SHOP_RATE: String(PARTNER_RATE) };
    await Promise.all([
      this.#engines.startApp(this.#outsider('browser'), 'browser', { SHOP_URL: `http://${SHOP_NAME}` }),
      this.#engines.startApp(this.#outsider('partner'), 'browser', partner),
    ]);
  }

  /** Runs one Job of each CronJob. The completed Pod stays in the API until the next Job has ended. */
  async #runJob(): Promise<void> {
    const uids: string[] = [];
    for (const plan of WORKLOADS) {
      if (plan.kind !== 'CronJob') continue;
      for (const [index, node] of plan.nodes.entries()) {
        const member = this.#newMember(plan, node, index, this.#now());
        await member.pod.given.machine.run(member.pod.networkScript);
        this.api.put('pods', podOf(member.facts));
        uids.push(member.pod.uid);
        try {
          await this.#startMember(member);
          await member.pod.askReport();
        } finally {
          this.#teller.keep(member);
          await member.pod.remove();
          this.api.put('pods', podOf({ ...member.facts, phase: 'Succeeded' }));
        }
      }
    }
    for (const uid of this.#completed.splice(0)) this.api.delete('pods', uid);
    this.#completed.push(...uids);
  }

  /** Returns the cgroup of the agent's container, and adds its Pod to the API. */
  #agentCgroup(nodeName: NodeName, index: number): Cgroup {
    const node = nodePlan(nodeName);
    const naming = nameOfPod(AGENTS, index, 0);
    const before = this.api.list('pods').find(({ metadata }) => metadata.name === naming.name);
    const uid = before?.metadata.uid ?? randomUUID();
    const facts = { uid, plan: AGENTS, naming, node, ip: node.ip, createdMs: this.#now(), phase: 'Running' } as const;
    if (before === undefined) this.api.put('pods', podOf(facts));
    return this.cgroupIn(nodeName, 'kubepods').below('besteffort', `pod${uid}`, randomBytes(32).toString('hex'));
  }
}

const CLUSTER_DNS = WORKLOADS.find(({ engine }) => engine === 'dnsmasq')?.service?.ip ?? '';
