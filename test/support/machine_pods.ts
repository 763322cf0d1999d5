/** Link-local address of the node at the link of each Pod. */
const GATEWAY = '169.254.1.1';

/** Returns the commands that give a machine a network namespace with an address, as a network plugin does for a Pod. */
export function podCommands(name: string, ip: string): string {
  return `
ip netns add ${name}
ip link add v-${name} type veth peer name eth0 netns ${name}
ip addr add ${GATEWAY}/32 dev v-${name}
ip link set v-${name} up
ip -n ${name} addr add ${ip}/32 dev eth0
ip -n ${name} link set lo up
ip -n ${name} link set eth0 up
ip -n ${name} route add ${GATEWAY} dev eth0
ip -n ${name} route add default via ${GATEWAY}
ip route add ${ip} dev v-${name}
`;
}
